"""Counts the numbered lines in a task's log where Airflow keeps it: 100 MB are too much for its REST API."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from local_airflow import AIRFLOW_NAME

if TYPE_CHECKING:
    from local_airflow import Kubectl

# The triggerer has a file of its own beside that of the task's try; what a line says comes with its time.
_PROGRAM = r"""
import glob, json, os, re, sys
dag_id, run_id, task_id = sys.argv[1:]
directory = f"/opt/airflow/logs/dag_id={dag_id}/run_id={run_id}/task_id={task_id}"
paths = glob.glob(f"{directory}/attempt=*")
number = re.compile(r"\[base\] (?:\(\S+ \S+\) )?number (\d+) ")
counts, last, in_order, other = {}, -1, True, []
# The triggerer's come before the worker's: that reads what is left.
for path in sorted(paths, key=lambda path: ".trigger." not in path):
    for line in open(path, errors="replace"):
        found = number.findall(line)
        if not found:
            other.append(line[:400])
        for this in map(int, found):
            counts[this] = counts.get(this, 0) + 1
            in_order = in_order and this > last
            last = this
print(json.dumps({
    "files": len(paths),
    "different": len(counts),
    "doubled": sum(count - 1 for count in counts.values()),
    "highest": max(counts, default=-1),
    "in_order": in_order,
    "other": other[-300:],
}))
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberedLines:
    """What is in a task's log.

    :param files: how many files it has
    :param different: how many numbers there are
    :param doubled: how many lines came again
    :param highest: the highest number
    :param in_order: whether each line has a higher number than the one before
    :param other: the last lines without a number, as Airflow wrote them
    """

    files: int
    different: int
    doubled: int
    highest: int
    in_order: bool
    other: list[str]

    def lost(self, lines: int) -> int:
        """Return how many are missing of those that were printed."""
        return lines - self.different


def count_lines(kubectl: Kubectl, dag_id: str, run_id: str, task_id: str = "task") -> NumberedLines:
    """Count the numbered lines in the log of a task."""
    found = kubectl(
        "exec", f"deployment/{AIRFLOW_NAME}", "-c", "scheduler", "--", "python", "-c", _PROGRAM, dag_id, run_id, task_id
    )
    return NumberedLines(**json.loads(found.strip().splitlines()[-1]))
