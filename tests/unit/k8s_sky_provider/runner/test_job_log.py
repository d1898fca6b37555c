"""A job's log is read at an offset: over breaks of the connection each byte comes once. The real program, run here."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from k8s_sky_provider.runner.job_log import JobLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEFORE = b"what SkyPilot prints before\n"
FIRST = "├── Waiting for task resources on 1 node.\n".encode()
LINES = [FIRST, *(f"(task, pid=1) line {number}\n".encode() for number in range(1000)), "größer\r".encode(), b"end\n"]
LOG = b"".join(LINES)


class Cluster:
    """A head node: SkyPilot's table of jobs and a job's directory."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "job" / "run.log"
        self.log.parent.mkdir()
        self.statuses = directory / "statuses"
        skylet = directory / "modules" / "sky" / "skylet"
        skylet.mkdir(parents=True)
        (skylet / "log_lib.py").write_text("LOG_FILE_START_STREAMING_AT = 'Waiting for task resources on '\n")
        (skylet / "job_lib.py").write_text(
            textwrap.dedent(f"""
            import enum, pathlib, time
            time.sleep = lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.01))
            class JobStatus(enum.Enum):
                RUNNING = "RUNNING"
                SUCCEEDED = "SUCCEEDED"
                def is_terminal(self):
                    return self is JobStatus.SUCCEEDED
            statuses = pathlib.Path({str(self.statuses)!r})
            def get_status_no_lock(job_id):
                assert job_id == 7
                first, *more = statuses.read_text().split()
                if more:
                    statuses.write_text(" ".join(more))
                return None if first == "none" else JobStatus(first)
            def update_job_status(job_ids, silent):
                return [get_status_no_lock(*job_ids)]
            def get_log_dir_for_job(job_id):
                return {str(self.log.parent)!r}
            """)
        )
        self.environment = {"PYTHONPATH": str(directory / "modules"), "PATH": os.environ["PATH"]}

    def has(self, log: bytes | None, *statuses: str) -> None:
        if log is not None:
            self.log.write_bytes(log)
        self.statuses.write_text(" ".join(statuses))

    def answer(self, log: JobLog) -> bytes:
        return subprocess.run(
            ["bash", "-c", log.command(sys.executable)],
            env=self.environment,
            stdout=subprocess.PIPE,
            timeout=30,
            check=True,
        ).stdout


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


class Reader:
    """What came of a log."""

    def __init__(self, *, tail: int = 0) -> None:
        self.shown: list[bytes] = []
        self.statuses: list[str] = []
        self.log = JobLog(7, self.shown.append, self.statuses.append, tail=tail)

    @property
    def text(self) -> bytes:
        return b"".join(self.shown)


def in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 65536])
def test_the_log_of_a_job_comes_whole_from_where_skypilot_shows_it(cluster: Cluster, size: int) -> None:
    cluster.has(BEFORE + LOG, "RUNNING", "RUNNING", "SUCCEEDED")
    reader = Reader()
    for piece in in_pieces(b"a login shell says hello\n" + cluster.answer(reader.log), size):
        reader.log.take(piece)
    assert reader.text == LOG
    assert reader.statuses == ["RUNNING", "SUCCEEDED"]
    assert reader.log.is_whole
    assert reader.log.status == "SUCCEEDED"


@pytest.mark.parametrize("broken_at", [0, 10, 60, 61, 500, 5000, 20_000])
def test_after_a_break_of_the_connection_each_byte_comes_once(cluster: Cluster, broken_at: int) -> None:
    cluster.has(BEFORE + LOG, "RUNNING", "SUCCEEDED")
    reader = Reader()
    reader.log.take(cluster.answer(reader.log)[:broken_at])
    assert not reader.log.is_whole
    assert reader.text == b"" or reader.text.endswith(b"\n"), "a line that is not whole waits"
    reader.log.take(cluster.answer(reader.log))
    assert reader.log.is_whole
    assert reader.text == LOG


def test_only_the_last_lines_come_and_after_a_break_what_is_new(cluster: Cluster) -> None:
    cluster.has(BEFORE + LOG, "SUCCEEDED")
    reader = Reader(tail=3)
    reader.log.take(cluster.answer(reader.log)[:-5])
    reader.log.take(cluster.answer(reader.log))
    assert reader.text == b"".join(LINES[-4:])


def test_more_lines_than_there_are_are_all(cluster: Cluster) -> None:
    cluster.has(BEFORE + FIRST, "SUCCEEDED")
    reader = Reader(tail=100)
    reader.log.take(cluster.answer(reader.log))
    assert reader.text == FIRST


def test_a_line_without_an_end_is_shown_when_the_job_is_over(cluster: Cluster) -> None:
    cluster.has(FIRST + b"no end", "SUCCEEDED")
    reader = Reader()
    reader.log.take(cluster.answer(reader.log))
    assert reader.text == FIRST + b"no end\n"


@pytest.mark.parametrize("log", [None, b"", BEFORE], ids=["no file", "an empty file", "nothing of the job yet"])
def test_a_job_that_ended_without_output_has_none(cluster: Cluster, log: bytes | None) -> None:
    cluster.has(log, "RUNNING", "SUCCEEDED")
    reader = Reader()
    reader.log.take(cluster.answer(reader.log))
    assert (reader.text, reader.log.is_whole, reader.log.status) == (b"", True, "SUCCEEDED")


def test_a_job_that_is_not_there_has_no_status(cluster: Cluster) -> None:
    cluster.has(None, "none")
    reader = Reader()
    reader.log.take(cluster.answer(reader.log))
    assert (reader.log.is_whole, reader.log.status) == (True, None)
