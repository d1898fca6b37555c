"""Reads what is printed, in pieces that stay small, and holds it back where it is more than can be followed."""

from __future__ import annotations

import math
import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_LINE = 16_000
"""Bytes. A container runtime cuts lines at 16 KiB, and Kubernetes then puts a timestamp into the middle of them."""

SECONDS_BETWEEN_STATES = 60.0
"""How often the state of a progress bar is shown: it is one line that has no end for hours."""

BYTES_PER_SECOND = 256 * 1024
"""How fast output may come for long, unless :data:`~k8s_sky_provider.protocol.LOG_PACE` says otherwise. Kubernetes
starts a new log file after 10 MiB (containerLogMaxSize) and gives nobody the older ones, so whoever reads must not be a
whole file behind, not even after a break."""

BURST = 2 * 1024 * 1024
"""Bytes that may come at once."""

BYTES_BEFORE_A_LINE = 45
"""What the container runtime puts before each line: the time and the stream. They fill the log file, too."""

SECONDS_OF_A_PAUSE = 1.0
"""Output that is held back comes with pauses at least that long. An older kubelet that renames the log file does not
look for what it has not read of it: there is mostly nothing if mostly nothing is written."""

_CHUNK = 64 * 1024
_WITHOUT_END = 1024 * 1024


def lines_of(descriptor: int, *, silence: float | None, on_silence: Callable[[float], None]) -> Iterator[list[str]]:
    """Yield the lines that come from a pipe until it is closed, each without its end; together those that are there.

    What a progress bar overwrites is left out, but for its state once in a while. A line that does not end comes in
    pieces of a MiB.

    :param silence: seconds without output after which, and again after which, ``on_silence`` is called; None for never
    :param on_silence: gets the seconds since the last output
    """
    begun = b""
    last = told = shown = time.monotonic()
    while True:
        patience = None if silence is None else max(0.0, told + silence - time.monotonic())
        if not select.select([descriptor], [], [], patience)[0]:
            told = time.monotonic()
            on_silence(told - last)
            continue
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            break
        last = told = time.monotonic()
        *whole, begun = (begun + chunk).split(b"\n")
        if whole:
            yield [line.decode(errors="replace") for line in whole]
            shown = last
        if b"\r" in begun:
            state, begun = _newest(begun)
            if last - shown > SECONDS_BETWEEN_STATES:
                yield [state.decode(errors="replace")]
                shown = last
        if len(begun) > _WITHOUT_END:
            yield [begun.decode(errors="replace")]
            begun = b""
    if begun:
        yield [begun.decode(errors="replace")]


def _newest(line: bytes) -> tuple[bytes, bytes]:
    """Return the last whole state of a line that is overwritten again and again, and all that is still needed of it."""
    *states, begun = line.split(b"\r")
    state = next((state for state in reversed(states) if state.strip()), b"")
    return state, state + b"\r" + begun


def pieces(line: str) -> Iterator[bytes]:
    """Yield a line with its end, or several where it is longer than :data:`LONGEST_LINE`."""
    data = line.encode()
    while len(data) > LONGEST_LINE:
        at = LONGEST_LINE
        # Not within a character.
        while data[at] & 0xC0 == 0x80:
            at -= 1
        yield data[:at] + b"\n"
        data = data[at:]
    yield data + b"\n"


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes as they are, in as many pieces as it takes."""
    while data:
        data = data[os.write(descriptor, data) :]


class Pace:
    """Makes pauses so long that no more than so many bytes pass in a second, but for a :data:`BURST`.

    :param bytes_per_second: infinite for no pauses
    :param pause: waits for so many seconds
    """

    def __init__(self, bytes_per_second: float, pause: Callable[[float], object]) -> None:
        self._per_second = bytes_per_second
        self._pause = pause
        self._left = float(BURST)
        self._at = time.monotonic()

    def wait(self, lines: list[bytes]) -> None:
        """Return when more may pass after these lines."""
        if self._per_second == math.inf:
            return
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * self._per_second)
        self._left -= sum(BYTES_BEFORE_A_LINE + len(line) for line in lines)
        self._at = now
        seconds = -self._left / self._per_second
        if seconds >= SECONDS_OF_A_PAUSE:
            self._pause(seconds)
