"""Turns SkyPilot's terminal output into plain log lines.

SkyPilot and its child processes write to file descriptors 1 and 2: colours, spinners, carriage
returns, and encoded status lines meant for its own client. All of it goes through a pipe here.
"""

from __future__ import annotations

import base64
import collections
import json
import math
import os
import re
import sys
import threading
import time
import urllib.parse
from secrets import token_hex
from typing import TYPE_CHECKING, Self

from k8s_sky_provider.protocol import LOG_PACE
from k8s_sky_provider.runner.output import BYTES_PER_SECOND, Pace, lines_of, pieces, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

TAIL_LINES = 30
MASK = "***"
SECONDS_TO_DRAIN = 5.0
"""How long the end waits for output: a child that lives on (an ssh control master) may hold the pipe open."""

HEARTBEAT = "K8S_SKY_HEARTBEAT_SECONDS"
"""Environment variable: after how many seconds without output a line says what is still at work; 0 for never."""

HEARTBEAT_SECONDS = 300.0

END_OF_TAIL = f"\x1b]k8s-sky;end-of-tail;{token_hex(8)}\x07"
"""Printed when an action has failed and only tidies up: what follows says nothing of why. A terminal shows nothing,
and no job can print it."""

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\-~])")
# What neither a terminal nor a database takes for text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# It never looks at a character twice: a job may print what it likes, and a search holds up all threads.
_STATUS_PAYLOAD = re.compile(r"<sky-payload[^<>]*>(?:[^<]|<(?!/?sky-payload))*+</sky-payload>")


def without_terminal_codes(text: str) -> str:
    """Return a text without colours and cursor movements."""
    return _ESCAPE_SEQUENCE.sub("", text)


def clean_line(line: str) -> str | None:
    """Return one line of output without terminal codes, or None where nothing is left to show."""
    plain = _CONTROLS.sub("", _STATUS_PAYLOAD.sub("", without_terminal_codes(line)))
    shown = next((part for part in reversed(plain.rstrip("\r\n").split("\r")) if part.strip()), "")
    if not shown and line.strip():
        return None
    return shown.rstrip()


def _forms_of(secret: str) -> Iterable[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield urllib.parse.quote(secret, safe="", errors="replace")
    # As a Kubernetes Secret has it; within a longer text that is encoded it is another one.
    yield base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")


class Console:
    """While open, everything that this process and its children print comes out as plain lines.

    :param secrets: values that are replaced by ``***`` wherever they appear
    """

    def __init__(self, secrets: frozenset[str] = frozenset()) -> None:
        self._secrets: list[str] = []
        self.add_secrets(secrets)
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._tail_has_ended = False
        self._last_was_empty = True
        self._is_ending = threading.Event()
        self._began = time.monotonic()
        self.doing: Callable[[], str] = lambda: "the action"
        """Returns what is at work, in words, for the line that says so when there was no output for long."""

    @property
    def tail(self) -> list[str]:
        """The last lines that were shown before :data:`END_OF_TAIL`, the oldest first."""
        return list(self._tail)

    def add_secrets(self, secrets: frozenset[str]) -> None:
        """Replace these values too from now on, also as JSON, URLs and base64 write them."""
        forms = {form for secret in secrets for form in _forms_of(secret)}
        self._secrets = sorted({*self._secrets, *forms}, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return the text without the values of secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def __enter__(self) -> Self:
        self._flush()
        self._saved = (os.dup(1), os.dup(2))
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(line_buffering=True)
        lines = lines_of(
            reading,
            silence=_number_of(HEARTBEAT, HEARTBEAT_SECONDS) or None,
            on_silence=lambda seconds: write_all(self._saved[0], f"{self._heartbeat(seconds)}\n".encode()),
        )
        self._pump = threading.Thread(target=self._copy, args=(lines, self._saved[0]), name="console", daemon=True)
        self._pump.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hurry()
        self._flush()
        for saved, descriptor in zip(self._saved, (1, 2), strict=True):
            os.dup2(saved, descriptor)
        self._pump.join(timeout=SECONDS_TO_DRAIN)
        self._flush()

    def hurry(self) -> None:
        """Hold nothing back any more: what the pipe still has is little, and who prints now must not wait for it."""
        self._is_ending.set()

    def _heartbeat(self, seconds: float) -> str:
        whole = time.monotonic() - self._began
        return self.mask(f"No output for {_duration(seconds)}: {self.doing()}, {_duration(whole)} since the pod began")

    def _copy(self, lines: Iterable[list[str]], output: int) -> None:
        pace = Pace(_number_of(LOG_PACE, BYTES_PER_SECOND) or math.inf, self._is_ending.wait)
        for those_there in lines:
            shown = [piece for line in those_there for piece in self._show(line)]
            # At once: see SECONDS_OF_A_PAUSE.
            write_all(output, b"".join(shown))
            pace.wait(shown)

    def _show(self, line: str) -> Iterable[bytes]:
        """Keep a line for the tail, and return what is shown of it."""
        self._tail_has_ended |= END_OF_TAIL in line
        shown = clean_line(line)
        if shown is None or (not shown and self._last_was_empty):
            return ()
        self._last_was_empty = not shown
        shown = self.mask(shown)
        if shown and not self._tail_has_ended:
            self._tail.append(shown)
        return pieces(shown)

    @staticmethod
    def _flush() -> None:
        sys.stdout.flush()
        sys.stderr.flush()


def _number_of(variable: str, default: float) -> float:
    try:
        return float(os.environ.get(variable, default))
    except ValueError:
        print(f"{variable} is no number: {os.environ[variable]!r}")
        return default


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
