"""Output is read in pieces that stay small, and held back where it is too much. Real pipes."""

from __future__ import annotations

import math
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from k8s_sky_provider.runner import output
from k8s_sky_provider.runner.output import LONGEST_LINE, Pace, lines_of, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def lines(
    writes: Sequence[bytes | float], *, silence: float = 60, on_silence: Callable[[float], None] = lambda _: None
) -> list[str]:
    """Return the lines of what is written; a number is a pause in seconds."""
    reading, writing = os.pipe()

    def write() -> None:
        for what in writes:
            if isinstance(what, float):
                time.sleep(what)
            else:
                os.write(writing, what)
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    found = [line for those_there in lines_of(reading, silence=silence, on_silence=on_silence) for line in those_there]
    thread.join()
    os.close(reading)
    return found


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"on", 0.05, b"e\n\ntw", 0.05, b"o"], ["one", "", "two"]),
        ([b"gr\xc3", 0.05, b"\xb6\xc3\x9fer\n"], ["größer"]),
        ([b"caf\xe9\n"], ["caf\N{REPLACEMENT CHARACTER}"]),
        ([b"10%\r", 0.05, b"50%\r100%", 0.05, b"\n"], ["50%\r100%"]),
        ([b"windows\r", 0.05, b"\n"], ["windows\r"]),
        ([], []),
    ],
)
def test_lines_come_whole(writes: list[bytes | float], expected: list[str]) -> None:
    assert lines(writes) == expected


def test_a_progress_bar_shows_its_state_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "SECONDS_BETWEEN_STATES", 0.1)
    writes: list[bytes | float] = []
    for percent in range(30):
        writes += [b"%d%% \r" % percent, 0.02]
    began = time.monotonic()
    states = lines([*writes, b"done\n"])
    # On a busy machine the bar takes longer, and has more of them.
    assert 2 <= len(states[:-1]) <= (time.monotonic() - began) / 0.1 + 1
    assert states[-1].endswith("done")


def test_what_never_ends_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_WITHOUT_END", 100_000)
    found = lines([b"x" * 50_000 for _ in range(20)])
    assert "".join(found) == "x" * 1_000_000
    assert max(map(len, found)) < 250_000


def test_silence_is_told_of_again_and_again_until_there_is_output() -> None:
    seconds: list[float] = []
    # Half of a silence is what a busy machine may be late.
    assert lines([2.5, b"out", 1.5, b"put\n"], silence=1.0, on_silence=seconds.append) == ["output"]
    assert [int(second) for second in seconds] == [1, 2, 1]


@pytest.mark.parametrize("character", ["x", "ö", "\N{GRINNING FACE}"])
def test_a_long_line_comes_in_pieces_that_are_text(character: str) -> None:
    line = "a" + character * (3 * LONGEST_LINE)
    found = list(pieces(line))
    assert max(map(len, found)) <= LONGEST_LINE + 1
    assert "".join(piece.decode().removesuffix("\n") for piece in found) == line


def test_output_without_a_pace_is_never_held_back() -> None:
    pace = Pace(math.inf, lambda seconds: pytest.fail(f"{seconds} s"))
    for _ in range(10):
        pace.wait([b"x" * output.BURST])


@pytest.mark.parametrize("size", [1, 100, 16_000])
def test_output_is_held_back_after_a_burst_by_pauses(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.monotonic", lambda: sum(waited))
    pace = Pace(output.BYTES_PER_SECOND, waited.append)
    lines = 10 * 1024 * 1024 // (size + output.BYTES_BEFORE_A_LINE)
    for _ in range(lines):
        pace.wait([b"x" * size])
    # What the container runtime writes, line by line, is what fills the log file.
    written = lines * (len("2026-01-01T00:00:00.000000000+00:00 stdout F ") + size)
    assert sum(waited) == pytest.approx((written - output.BURST) / output.BYTES_PER_SECOND, abs=1)
    assert min(waited) >= output.SECONDS_OF_A_PAUSE
