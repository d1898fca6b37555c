"""What was broken, and what came of it: counted by the tests, written into docs/reliability.md."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = "<!-- made by make fault-table -->"
END = "<!-- end of what make fault-table makes -->"
_HEAD = ("what", "when", "times", "lost", "doubled", "leaked", "falsely green", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table.

    :param what: what was broken or killed
    :param when: at which step, and in which mode
    :param times: how often
    :param lost: how many jobs, lines or rows nobody got to see the end of
    :param doubled: how many came more than once
    :param leaked: how many clusters, jobs or pods stayed
    :param falsely_green: how many tasks succeeded without their work done
    :param test: the test that counted
    """

    what: str
    when: str
    times: int
    lost: int
    doubled: int
    leaked: int
    falsely_green: int
    test: str

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(str(value) for value in dataclasses.astuple(self))


class FaultTable:
    """The rows that a test has counted.

    :param test: its name
    """

    def __init__(self, test: str) -> None:
        self.faults: list[Fault] = []
        self.test = test

    def record(
        self, what: str, when: str, *, times: int, lost: int, doubled: int, leaked: int, falsely_green: int
    ) -> None:
        """Add a row; fail if anything in it is not 0."""
        fault = Fault(
            what=what,
            when=when,
            times=times,
            lost=lost,
            doubled=doubled,
            leaked=leaked,
            falsely_green=falsely_green,
            test=self.test,
        )
        self.faults.append(fault)
        assert times > 0, fault
        assert (lost, doubled, leaked, falsely_green) == (0, 0, 0, 0), fault

    def write(self, document: Path) -> None:
        """Put the rows into a document; those of tests that did not run stay."""
        text = document.read_text()
        before, _, rest = text.partition(BEGIN)
        old, _, after = rest.partition(END)
        rows = {row[:2]: row for row in _rows_of(old)}
        rows |= {fault.cells[:2]: fault.cells for fault in self.faults}
        table = [_HEAD, tuple("---" for _ in _HEAD), *sorted(rows.values(), key=lambda row: (row[-1], row))]
        lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
        document.write_text(f"{before}{BEGIN}\n{lines}\n{END}{after}")


def _rows_of(table: str) -> list[tuple[str, ...]]:
    lines = [line.strip("| ") for line in table.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.split(" | ")) for line in lines[2:]]
