"""Tests the versions that users have, cell by cell, and writes what ran into docs/versions.md: ``make test-matrix``.

It can be stopped at any time: what is done is kept in docs/versions.json, and a cell runs again when it failed or when
what it tests has changed. Usage: hack/test_matrix.py [CELL...]; a cell that is named runs in any case.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build" / "matrix"
PAGE = ROOT / "docs" / "versions.md"
STATE = ROOT / "docs" / "versions.json"
KUBERNETES = ROOT / "hack" / "local-kubernetes" / "compiled" / "modules"
BEGIN, END = "<!-- matrix: begin, written by `make test-matrix` -->", "<!-- matrix: end -->"

UNIT, DAGS, END_TO_END = "unit tests", "example DAGs load", "end to end"
COLUMNS = (UNIT, DAGS, END_TO_END)

SECONDS_OF_A_CELL = 2400
"""When a step of a cell is taken for hanging: on an idle machine of two cores a cell takes less than a third of it."""


class MatrixError(Exception):
    """A cell cannot be run, or what it ran counts for nothing."""


@dataclasses.dataclass(frozen=True)
class Count:
    """How many tests of a column ran, and how they ended."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        named = {"failed": self.failed, "skipped": self.skipped}
        return ", ".join([f"{self.passed} passed", *(f"{number} {name}" for name, number in named.items() if number)])


@dataclasses.dataclass(frozen=True)
class Ran:
    """What a cell ran.

    :param versions: name of a product -> its version
    :param counts: column of the table -> how many of its tests ran
    :param skipped: reason -> how many tests were skipped for it
    """

    versions: dict[str, str]
    counts: dict[str, Count]
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def is_green(self) -> bool:
        """Whether nothing failed."""
        return not any(count.failed for count in self.counts.values())

    def check(self) -> None:
        """Refuse a cell that has only imported what it should run.

        :raises MatrixError: if a column has no test that ran to its end
        """
        for column, count in self.counts.items():
            if count.passed + count.failed == 0:
                raise MatrixError(f"{column}: no test has run")
        if not self.counts:
            raise MatrixError("nothing has run")


class Cell(Protocol):
    """One combination of versions."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def inputs(self) -> Sequence[str]:
        """The paths below the repository that make it run again when they change."""

    def run(self) -> Ran:
        """Run it to its end, whatever fails.

        :raises MatrixError: if it cannot be run
        """


@dataclasses.dataclass(frozen=True)
class UnitCell:
    """The unit tests, and the loading of the example DAGs, with what a file of requirements/matrix locks."""

    name: str

    @property
    def lock(self) -> str:
        """The locked environment."""
        return f"requirements/matrix/{self.name}.txt"

    @property
    def inputs(self) -> Sequence[str]:
        """The package, the tests, the examples and the lock."""
        return ("k8s_sky_provider", "tests/unit", "example_dags", "pyproject.toml", self.lock)

    def run(self) -> Ran:
        """Make the environment and run pytest in it."""
        environment = BUILD / self.name
        _call(["make", "--quiet", f"{environment.relative_to(ROOT)}/installed"])
        report = environment / "junit.xml"
        report.unlink(missing_ok=True)
        _call([f"{environment}/bin/pytest", "tests/unit", "-q", "-n", "2", f"--junitxml={report}"], may_fail=True)
        if not report.exists():
            raise MatrixError("pytest has written no report")
        ran, dags, skipped = read_report(report)
        # What is an example that loads is also a unit test.
        return Ran(versions=read_versions(ROOT / self.lock), counts={UNIT: ran, DAGS: dags}, skipped=skipped)


@dataclasses.dataclass(frozen=True)
class Suite:
    """End-to-end tests, and the DAGs that they need besides the examples."""

    dags: tuple[str, ...]
    tests: tuple[str, ...]


# The quickstart DAG; tasks that are marked failed, cleared or evicted while their job runs, synchronous and deferred.
OF_A_TASK = Suite(
    dags=("tests/e2e/dags/e2e_killed.py", "tests/e2e/dags/e2e_faults.py", "tests/e2e/dags/e2e_eviction.py"),
    tests=(
        "tests/e2e/test_main_job.py",
        "tests/e2e/test_kill.py::test_a_task_marked_failed_takes_its_cluster_down",
        "tests/e2e/test_faults.py::test_a_task_that_is_cleared_while_its_job_runs_cancels_it_and_begins_afresh",
        "tests/e2e/test_eviction.py::test_an_evicted_task_on_a_cluster_goes_on",
    ),
)
# Launch, exec, status and down; a managed job; the client of an API server of that SkyPilot.
OF_SKYPILOT = Suite(
    dags=("tests/e2e/dags",),
    tests=("tests/e2e/test_main_job.py", "tests/e2e/test_managed_jobs.py", "tests/e2e/test_api_server.py"),
)
SUITES = {"airflow": OF_A_TASK, "kubernetes": OF_A_TASK, "skypilot": OF_SKYPILOT}


@dataclasses.dataclass(frozen=True)
class ClusterCell:
    """End-to-end tests on the local cluster, with one product at a minor and the others at their newest.

    :param product: a key of SUITES
    :param minor: as there is a lock for it
    """

    product: str
    minor: str

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return f"{self.product}-{self.minor}"

    @property
    def minors(self) -> dict[str, str]:
        """The minor of each product."""
        return {product: locked_minors(product)[-1] for product in SUITES} | {self.product: self.minor}

    @property
    def inputs(self) -> Sequence[str]:
        """The package, the images, their locks, the cluster and the tests."""
        minors = self.minors
        return (
            "k8s_sky_provider",
            "example_dags",
            "images",
            "helm",
            "tests/e2e",
            "hack/build-images",
            "hack/deploy",
            "hack/local_airflow.py",
            "hack/local-kubernetes",
            f"requirements/airflow-{minors['airflow']}.txt",
            f"requirements/skypilot-{minors['skypilot']}.txt",
            f"requirements/skypilot-cluster-{minors['skypilot']}.txt",
        )

    def run(self) -> Ran:
        """Deploy it on a new cluster, and run pytest."""
        environment = {f"K8S_SKY_{self.product.upper()}": self.minor}
        suite = SUITES[self.product]
        report = BUILD / self.name / "junit.xml"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        _call(["make", "--quiet", ".venv/installed"])
        # A new cluster: nothing of a run that was stopped, and no state, which a newer version may have made.
        _call(["hack/cluster", "down"])
        _call(["hack/deploy", *suite.dags], environment=environment)
        _call([".venv/bin/pytest", *suite.tests, f"--junitxml={report}"], may_fail=True)
        if not report.exists():
            raise MatrixError("pytest has written no report")
        ran, _, skipped = read_report(report)
        return Ran(versions=self.versions(), counts={END_TO_END: ran}, skipped=skipped)

    def versions(self) -> dict[str, str]:
        """Return the version of each product."""
        minors = self.minors
        module = (KUBERNETES / f"kubernetes-{minors['kubernetes']}" / "go.mod").read_text()
        found = re.search(r"^\tk8s\.io/kubernetes v(\S+)", module, re.MULTILINE)
        return {
            **read_versions(ROOT / "requirements" / f"airflow-{minors['airflow']}.txt"),
            **read_versions(ROOT / "requirements" / f"skypilot-{minors['skypilot']}.txt"),
            **({"Kubernetes": found[1]} if found else {}),
        }


def locked_minors(product: str) -> list[str]:
    """Return the minors that there are locks for, oldest first."""
    directory = KUBERNETES if product == "kubernetes" else ROOT / "requirements"
    minors = {file.name.removesuffix(".txt").removeprefix(f"{product}-") for file in directory.glob(f"{product}-*")}
    return sorted((minor for minor in minors if re.fullmatch(r"\d+\.\d+", minor)), key=as_numbers)


def as_numbers(name: str) -> list[int]:
    """Return the numbers in a name, to sort by."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _call(command: Sequence[str], *, may_fail: bool = False, environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(
            command,
            cwd=ROOT,
            check=not may_fail,
            timeout=SECONDS_OF_A_CELL,
            env={**os.environ, **(environment or {})},
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise MatrixError(str(error)) from error


def read_report(report: Path) -> tuple[Count, Count, dict[str, int]]:
    """Return what a report of pytest says of all tests and of those that load an example, and why some were skipped."""
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  # pytest on this machine has written it
    examples = [case for case in cases if str(case.get("classname")).endswith(".test_example_dags")]
    reasons = Counter(str(skipped.get("message")) for case in cases for skipped in case.iter("skipped"))
    return _count(cases), _count(examples), dict(reasons)


def _count(cases: Sequence[ET.Element]) -> Count:
    # A test that passes and whose teardown fails has both an entry and an error.
    ends = Counter(
        "failed"
        if {"failure", "error"} & {child.tag for child in case}
        else "skipped"
        if case.find("skipped") is not None
        else "passed"
        for case in cases
    )
    return Count(**ends)


def read_versions(lock: Path) -> dict[str, str]:
    """Return the versions of the products of the table that are in a lock."""
    text = lock.read_text()
    names = {
        "Airflow": "apache-airflow",
        "cncf-kubernetes": "apache-airflow-providers-cncf-kubernetes",
        "SkyPilot": "skypilot",
    }
    return {
        name: found[1]
        for name, package in names.items()
        if (found := re.search(rf"^{package}(?:\[\w+\])?==(\S+)", text, re.MULTILINE))
    }


@dataclasses.dataclass
class State:
    """What has run, by the name of the cell, in a file that is written after each."""

    file: Path

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each cell that has run."""
        known: dict[str, dict[str, Any]] = json.loads(self.file.read_text()) if self.file.exists() else {}
        return known

    def put(self, cell: Cell, entry: dict[str, Any] | None) -> None:
        """Keep what a cell has run; None forgets it."""
        entries = {name: known for name, known in self.entries().items() if name != cell.name}
        if entry is not None:
            entries[cell.name] = entry
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(entries, indent=2))
        new.replace(self.file)

    def is_done(self, cell: Cell, tree: str) -> bool:
        """Tell whether a cell has run green on this tree."""
        entry = self.entries().get(cell.name)
        return entry is not None and entry["tree"] == tree and as_ran(entry).is_green


def as_ran(entry: dict[str, Any]) -> Ran:
    """Return what an entry of the state says that ran."""
    counts = {column: Count(**count) for column, count in entry["counts"].items()}
    return Ran(versions=entry["versions"], counts=counts, skipped=entry["skipped"])


def run_cell(cell: Cell, state: State, *, tree: str, commit: str) -> bool:
    """Run a cell and keep what it ran; return whether it is green."""
    print(f"{cell.name}: runs", flush=True)
    began = time.monotonic()
    try:
        ran = cell.run()
        ran.check()
        if tree_of(cell) != tree:
            raise MatrixError("what it tests was changed while it ran")
    except MatrixError as error:
        state.put(cell, None)
        print(f"{cell.name}: refused: {error}", flush=True)
        return False
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    state.put(cell, {**dataclasses.asdict(ran), "date": today, "commit": commit, "tree": tree})
    told = "; ".join(f"{column}: {count}" for column, count in ran.counts.items())
    print(f"{cell.name}: {told}; {time.monotonic() - began:.0f} s", flush=True)
    return ran.is_green


def table(cells: Iterable[Cell], entries: dict[str, dict[str, Any]]) -> str:
    """Return the table of all cells, and why tests were skipped."""
    lines = [f"| cell | versions | {' | '.join(COLUMNS)} | date | commit |", f"| {' | '.join(['---'] * 7)} |"]
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        entry = entries.get(cell.name)
        if entry is None:
            lines.append(f"| {cell.name} | | {' | '.join(['not run'] * len(COLUMNS))} | | |")
            continue
        ran = as_ran(entry)
        versions = ", ".join(f"{name} {version}" for name, version in ran.versions.items())
        counts = " | ".join(str(ran.counts.get(column, "")) for column in COLUMNS)
        lines.append(f"| {cell.name} | {versions} | {counts} | {entry['date']} | {entry['commit']} |")
        for reason, number in ran.skipped.items():
            reasons.setdefault(reason, []).append(f"{cell.name}: {number}")
    skipped = [f"* {reason} ({', '.join(where)})" for reason, where in sorted(reasons.items())]
    return "\n".join([*lines, *(["", "Skipped tests:", "", *skipped] if skipped else [])])


def write_page(page: Path, text: str) -> None:
    """Put the table between its marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise MatrixError(f"{page.name}: the marks of the table are gone: {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def tree_of(cell: Cell) -> str:
    """Return what git says of a cell's inputs; another one is another cell.

    :raises MatrixError: if they are not committed: the table names a commit
    """
    if changed := _git("status", "--porcelain", "--", *cell.inputs):
        raise MatrixError(f"commit this first, for the table names the commit that was tested:\n{changed}")
    return _git("rev-parse", *(f"HEAD:{path}" for path in cell.inputs)).replace("\n", " ")


def all_cells() -> list[Cell]:
    """Return the cells in the order in which they run: the oldest Airflow first."""
    locks = [file.stem for file in (ROOT / "requirements" / "matrix").glob("airflow-*.in")]
    return [
        *(UnitCell(name) for name in sorted(locks, key=as_numbers)),
        *(ClusterCell(product, minor) for product in SUITES for minor in locked_minors(product)),
    ]


def main(names: Sequence[str]) -> int:
    """Run the cells that are named, or all that are not done; return the exit code of the script."""
    BUILD.mkdir(parents=True, exist_ok=True)
    lock = (BUILD / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another `make test-matrix` runs in this clone: wait for its end")
        return 2
    with lock:
        return run_cells(names)


def run_cells(names: Sequence[str]) -> int:
    """Run the cells that are named, or all that are not done; return the exit code of the script."""
    cells = all_cells()
    if unknown := set(names) - {cell.name for cell in cells}:
        print(f"there is no cell {', '.join(sorted(unknown))}; there are {', '.join(cell.name for cell in cells)}")
        return 2
    state = State(STATE)
    are_green = True
    try:
        for cell in cells:
            tree = tree_of(cell)
            if names and cell.name not in names:
                continue
            if not names and state.is_done(cell, tree):
                print(f"{cell.name}: has run")
                continue
            are_green &= run_cell(cell, state, tree=tree, commit=_git("rev-parse", "--short", "HEAD"))
            write_page(PAGE, table(cells, state.entries()))
        write_page(PAGE, table(cells, state.entries()))
    except MatrixError as error:
        print(error)
        return 1
    return 0 if are_green else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
