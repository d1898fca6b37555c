"""The log of a job, read from its cluster at an offset: after a break of the connection each byte still comes once.

What runs on the cluster answers in frames: a line with the offset, the size and the job's status, then so many bytes
of the log. A frame without bytes tells that the connection lives.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS_BETWEEN_FRAMES = 10

_HEAD = re.compile(rb"\x1ek8s-sky-log (\d{1,18}) (\d{1,18}) (\w+) (\w+)\n")
_LONGEST_HEAD = 200
_LONGEST_BEGUN = 64 * 1024

# Runs in SkyPilot's own Python on the head node. The log begins where SkyPilot's own `sky logs` begins to show it.
_PROGRAM = """
import collections, os, sys, time
from sky.skylet import job_lib, log_lib

JOB, POSITION, TAIL = {job_id}, {position}, {tail}
FIRST_LINE = log_lib.LOG_FILE_START_STREAMING_AT.encode()

def begin(log):
    at = 0
    for line in log:
        if FIRST_LINE in line:
            break
        at += len(line)
    else:
        return None
    if not TAIL:
        return at
    starts = collections.deque(maxlen=TAIL)
    while line:
        starts.append(at)
        at += len(line)
        line = log.readline()
    return starts[0]

def tell(data, end="no"):
    head = "\\x1ek8s-sky-log %d %d %s %s\\n" % (position or 0, len(data), status.value if status else "none", end)
    sys.stdout.buffer.write(head.encode() + data)
    sys.stdout.buffer.flush()

directory = job_lib.get_log_dir_for_job(JOB)
path = os.path.join(os.path.expanduser(directory or ""), "run.log")
status = job_lib.update_job_status([JOB], silent=True)[0]
position = POSITION
told_at, told_status, is_over = 0.0, None, False
while True:
    data = b""
    try:
        with open(path, "rb") as log:
            if position is None:
                position = begin(log)
            if position is not None:
                log.seek(position)
                data = log.read(65536)
    except FileNotFoundError:
        pass
    if data or status != told_status or time.time() - told_at > {interval}:
        tell(data)
        told_at, told_status = time.time(), status
        position = None if position is None else position + len(data)
    if data:
        continue
    if is_over:
        tell(b"", "end")
        break
    if status is None or status.is_terminal():
        # What was printed last may not be in the file yet.
        is_over = True
        time.sleep(1.2)
        continue
    time.sleep(0.2)
    status = job_lib.get_status_no_lock(JOB)
"""


class JobLog:
    """Where the reader of a job's log is.

    :param show: gets the log, piece by piece
    :param on_status: gets the job's status as it changes
    :param tail: how many of the last lines to begin with, 0 for all
    """

    def __init__(
        self, job_id: int, show: Callable[[bytes], None], on_status: Callable[[str], None], *, tail: int = 0
    ) -> None:
        self.job_id = job_id
        self.tail = tail
        self.position: int | None = None
        self.status: str | None = None
        self.is_whole = False
        self._show = show
        self._on_status = on_status
        self._head = b""
        self._missing = 0
        self._begun = b""

    def command(self, python: str) -> str:
        """Return what the head node has to run to answer from here on.

        :param python: the command of SkyPilot's Python there
        """
        # A line that broke off comes again as a whole: something else may be printed in between.
        if self.position is not None:
            self.position -= len(self._begun)
        self._head, self._missing, self._begun = b"", 0, b""
        program = _PROGRAM.format(
            job_id=self.job_id, position=self.position, tail=self.tail, interval=SECONDS_BETWEEN_FRAMES
        )
        return f"{python} -u -c {shlex.quote(program)}"

    def take(self, data: bytes) -> None:
        """Take what the head node answered, in whatever pieces it comes."""
        while data:
            if self._missing:
                part, data = data[: self._missing], data[self._missing :]
                self._missing -= len(part)
                self.position = (self.position or 0) + len(part)
                self._show_lines(part)
                continue
            self._head += data
            found = _HEAD.search(self._head)
            if found is None:
                # A login shell may have printed something first.
                self._head = self._head[-_LONGEST_HEAD:]
                return
            data, self._head = self._head[found.end() :], b""
            self._begin_frame(found)

    def _show_lines(self, data: bytes) -> None:
        self._begun += data
        at = max(self._begun.rfind(b"\n"), self._begun.rfind(b"\r")) + 1
        if len(self._begun) > _LONGEST_BEGUN:
            at = len(self._begun)
        if at:
            self._show(self._begun[:at])
            self._begun = self._begun[at:]

    def _begin_frame(self, head: re.Match[bytes]) -> None:
        self._missing = int(head[2])
        if self._missing:
            self.position = int(head[1])
        self.is_whole = head[4] == b"end"
        if self.is_whole and self._begun:
            self._show(self._begun + b"\n")
            self._begun = b""
        status = head[3].decode()
        if status not in {self.status, "none"}:
            self._on_status(status)
        self.status = None if status == "none" else status
