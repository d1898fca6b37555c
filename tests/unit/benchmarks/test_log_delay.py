"""What the measurement of late lines makes of what it has read."""

from __future__ import annotations

import subprocess
import time

import pytest

from benchmarks import log_delay
from benchmarks.log_delay import LONG_SILENCE, Delays, ratios, script, silence_after


def line(number: int, printed: float) -> str:
    return f"2026-01-01 [info] [base] line {number} printed at {printed:.9f}\n"


def delays(*seconds: float, lost: int = 0, doubled: int = 0) -> Delays:
    return Delays(seconds=list(seconds), lost=lost, doubled=doubled)


def test_a_delay_is_the_time_from_the_pod_to_the_log() -> None:
    assert Delays.of([(10.5, line(0, 10.0)), (12.25, line(1, 12.0)), (13, "no line")], lines=2) == delays(0.5, 0.25)


def test_two_lines_of_one_record_are_two() -> None:
    assert Delays.of([(10.5, line(0, 10.0) + line(1, 10.25))], lines=2) == delays(0.5, 0.25)


def test_a_line_that_comes_again_counts_once_and_one_that_does_not_come_is_lost() -> None:
    found = Delays.of([(10.5, line(0, 10.0)), (19.0, line(0, 10.0)), (12.25, line(2, 12.0))], lines=3)
    assert found == delays(0.5, 0.25, lost=1, doubled=1)


def test_the_pods_print_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_delay, "SECONDS_TO_BEGIN", 0)
    monkeypatch.setattr(log_delay, "SILENCES", (0.01,))
    printed = subprocess.run(["bash", "-c", script(3)], capture_output=True, text=True, check=True).stdout
    found = Delays.of([(time.time(), printed)], lines=3)
    assert (len(found.seconds), found.lost, found.doubled) == (3, 0, 0)
    assert all(0 <= seconds < 60 for seconds in found.seconds)


def test_some_silences_outlast_a_connection() -> None:
    silences = [silence_after(number) for number in range(log_delay.LINES)]
    assert silences.count(LONG_SILENCE) == 10
    assert min(silences) > 0


@pytest.mark.parametrize(
    ("ours", "is_kept"),
    [
        (delays(0.1, 0.2, 1.4), (True, True)),
        (delays(0.1, 0.2, 1.6), (True, False)),
        (delays(1.6, 1.7, 1.8), (False, False)),
        (delays(0.1, 0.2, lost=1), (False, False)),
        (delays(0.1, 0.2, doubled=1), (False, False)),
        (delays(lost=3), (False, False)),
    ],
    ids=["in time", "one late", "all late", "one lost", "one doubled", "none"],
)
@pytest.mark.parametrize("theirs", [delays(3.0, 12.0), delays(0.1, 0.2)], ids=["late", "soon"])
def test_the_promise_is_a_time_whatever_theirs_is(ours: Delays, theirs: Delays, is_kept: tuple[bool, bool]) -> None:
    rows = ratios("worker", {("ours", "worker"): ours, ("theirs", "worker"): theirs})
    assert tuple(row.is_kept for row in rows) == is_kept


def test_nothing_to_compare_with_is_no_measurement() -> None:
    found = {("ours", "worker"): delays(0.1), ("theirs", "worker"): delays(lost=1)}
    with pytest.raises(RuntimeError, match="nothing to compare with"):
        ratios("worker", found)
