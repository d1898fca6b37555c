"""What `make test-matrix` counts, refuses, keeps and writes."""

from __future__ import annotations

import dataclasses
import fcntl
from typing import TYPE_CHECKING

import pytest
import test_matrix as matrix
from test_matrix import COLUMNS, DAGS, END_TO_END, UNIT, ClusterCell, Count, MatrixError, Ran, State, UnitCell, tree_of

if TYPE_CHECKING:
    from pathlib import Path

GREEN = Ran(
    versions={"Airflow": "2.11.2", "cncf-kubernetes": "10.20.0"},
    counts={UNIT: Count(passed=10, skipped=2), DAGS: Count(passed=9)},
    skipped={"no policies": 2},
)
RED = dataclasses.replace(GREEN, counts={UNIT: Count(passed=9, failed=1)})

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="unit.test_a" name="passes"/>
<testcase classname="unit.test_a" name="fails"><failure message="no">text</failure></testcase>
<testcase classname="unit.test_a" name="breaks"><error message="no">text</error></testcase>
<testcase classname="unit.test_a" name="waits"><skipped message="no policies"/></testcase>
<testcase classname="unit.k8s_sky_provider.test_example_dags" name="loads[one]"/>
<testcase classname="unit.k8s_sky_provider.test_example_dags" name="loads[two]"><failure message="no"/></testcase>
</testsuite></testsuites>"""


@dataclasses.dataclass
class FakeCell:
    """A cell that runs what it is given."""

    ran: Ran | MatrixError = GREEN
    name: str = "fake"
    inputs: tuple[str, ...] = ("k8s_sky_provider",)
    runs: int = 0

    def run(self) -> Ran:
        self.runs += 1
        if isinstance(self.ran, MatrixError):
            raise self.ran
        return self.ran


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "below" / "state.json")


@pytest.fixture(autouse=True)
def tree(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The tree of each cell, by its name."""
    trees: dict[str, str] = {}
    monkeypatch.setattr(matrix, "tree_of", lambda cell: trees.get(cell.name, "t"))
    return trees


def run(cell: FakeCell, state: State, tree: str = "t") -> bool:
    return matrix.run_cell(cell, state, tree=tree, commit="abc")


class TestReport:
    """The numbers are those of the report."""

    def test_it_is_counted(self, tmp_path: Path) -> None:
        report = tmp_path / "junit.xml"
        report.write_text(REPORT)
        assert matrix.read_report(report) == (
            Count(passed=2, failed=3, skipped=1),
            Count(passed=1, failed=1),
            {"no policies": 1},
        )

    def test_the_versions_are_those_of_the_lock(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock.txt"
        lock.write_text(
            "apache-airflow-core==3.0.5 \\\napache-airflow==3.0.6 \\\n    --hash=sha256:0\n    # via pip\n"
            "apache-airflow-providers-cncf-kubernetes==10.20.0 \\\n"
        )
        assert matrix.read_versions(lock) == {"Airflow": "3.0.6", "cncf-kubernetes": "10.20.0"}


class TestRefused:
    """A cell in which nothing ran to its end counts for nothing."""

    @pytest.mark.parametrize(
        ("counts", "reason"),
        [
            ({}, "nothing has run"),
            ({UNIT: Count()}, "unit tests: no test has run"),
            ({UNIT: Count(skipped=7)}, "unit tests: no test has run"),
            ({UNIT: Count(passed=7), DAGS: Count()}, "example DAGs load: no test has run"),
        ],
    )
    def test_what_only_imported(
        self, counts: dict[str, Count], reason: str, state: State, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(FakeCell(), state)
        assert not run(FakeCell(dataclasses.replace(GREEN, counts=counts)), state)
        assert f"fake: refused: {reason}" in capsys.readouterr().out
        assert state.entries() == {}

    def test_what_cannot_run(self, state: State) -> None:
        assert not run(FakeCell(MatrixError("no environment")), state)
        assert state.entries() == {}

    def test_a_command_that_fails_is_a_cell_that_cannot_run(self) -> None:
        with pytest.raises(MatrixError, match="non-zero exit status"):
            matrix._call(["false"])
        matrix._call(["false"], may_fail=True)


class TestState:
    """A cell runs again when it failed or what it tests is another."""

    def test_a_green_one_is_done(self, state: State) -> None:
        assert run(FakeCell(), state)
        assert state.is_done(FakeCell(), "t")

    @pytest.mark.parametrize(("ran", "tree"), [(GREEN, "another"), (RED, "t")])
    def test_others_are_not(self, ran: Ran, tree: str, state: State) -> None:
        run(FakeCell(ran), state)
        assert not state.is_done(FakeCell(), tree)

    def test_one_that_was_changed_while_it_ran_counts_for_nothing(
        self, state: State, tree: dict[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        tree["fake"] = "changed"
        assert not run(FakeCell(), state)
        assert state.entries() == {}
        assert "fake: refused: what it tests was changed while it ran" in capsys.readouterr().out

    def test_the_others_are_kept(self, state: State) -> None:
        run(FakeCell(name="one"), state)
        run(FakeCell(RED, name="two"), state)
        assert {name: matrix.as_ran(entry) for name, entry in state.entries().items()} == {"one": GREEN, "two": RED}

    def test_what_is_not_committed_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(matrix, "_git", lambda *arguments: " M a.py" if arguments[0] == "status" else "abc")
        with pytest.raises(MatrixError, match=r"commit this first.*\n M a\.py"):
            tree_of(FakeCell())

    def test_another_input_is_another_tree(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(matrix, "_git", lambda *arguments: "" if arguments[0] == "status" else "\n".join(arguments))
        assert tree_of(FakeCell()) == "rev-parse HEAD:k8s_sky_provider"


class TestMain:
    """All that is not done runs, in order; one that is named runs in any case."""

    @pytest.fixture
    def cells(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[FakeCell]:
        cells = [FakeCell(name="one"), FakeCell(name="two")]
        page = tmp_path / "versions.md"
        page.write_text(f"# Versions\n\n{matrix.BEGIN}\n{matrix.END}\n")
        monkeypatch.setattr(matrix, "all_cells", lambda: cells)
        monkeypatch.setattr(matrix, "BUILD", tmp_path / "build")
        monkeypatch.setattr(matrix, "STATE", tmp_path / "versions.json")
        monkeypatch.setattr(matrix, "PAGE", page)
        return cells

    def test_what_was_stopped_is_taken_up_again(self, cells: list[FakeCell]) -> None:
        assert matrix.main(["one"]) == 0
        assert "| two | | not run" in matrix.PAGE.read_text()
        assert matrix.main([]) == 0
        assert [cell.runs for cell in cells] == [1, 1]
        assert "not run" not in matrix.PAGE.read_text()

    def test_one_that_is_named_runs_again(self, cells: list[FakeCell]) -> None:
        matrix.main([])
        matrix.main(["two"])
        assert [cell.runs for cell in cells] == [1, 2]

    def test_a_red_one_holds_up_no_other_and_is_told(self, cells: list[FakeCell]) -> None:
        cells[0].ran = RED
        assert matrix.main([]) == 1
        assert cells[1].runs == 1
        assert "| 9 passed, 1 failed |" in matrix.PAGE.read_text()

    def test_two_do_not_run_at_once(self, cells: list[FakeCell], capsys: pytest.CaptureFixture[str]) -> None:
        matrix.BUILD.mkdir()
        with (matrix.BUILD / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert matrix.main([]) == 2
        assert "another `make test-matrix` runs" in capsys.readouterr().out
        assert [cell.runs for cell in cells] == [0, 0]

    def test_a_name_that_is_none_is_refused(self, cells: list[FakeCell], capsys: pytest.CaptureFixture[str]) -> None:
        assert matrix.main(["three"]) == 2
        assert "there is no cell three; there are one, two" in capsys.readouterr().out
        assert [cell.runs for cell in cells] == [0, 0]


class TestPage:
    """The table is all that changes, and has what ran, when and of which commit."""

    def test_the_table(self, state: State) -> None:
        run(FakeCell(), state)
        entries = state.entries()
        entries["fake"]["date"] = "2026-01-02"
        lines = matrix.table([FakeCell(), FakeCell(name="later")], entries).splitlines()
        assert lines[0] == f"| cell | versions | {' | '.join(COLUMNS)} | date | commit |"
        assert lines[2] == (
            "| fake | Airflow 2.11.2, cncf-kubernetes 10.20.0 | 10 passed, 2 skipped | 9 passed |  | 2026-01-02 | abc |"
        )
        assert lines[3] == "| later | | not run | not run | not run | | |"
        assert lines[-1] == "* no policies (fake: 2)"

    def test_a_cell_of_another_kind_has_its_column(self, state: State) -> None:
        run(FakeCell(Ran(versions={"SkyPilot": "0.13.0"}, counts={END_TO_END: Count(passed=3)})), state)
        assert "| fake | SkyPilot 0.13.0 |  |  | 3 passed |" in matrix.table([FakeCell()], state.entries())

    def test_what_is_around_it_stays(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text(f"before\n{matrix.BEGIN}\nold\n{matrix.END}\nafter\n")
        matrix.write_page(page, "new")
        assert page.read_text() == f"before\n{matrix.BEGIN}\n\nnew\n\n{matrix.END}\nafter\n"

    def test_a_page_without_marks_is_refused(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("text")
        with pytest.raises(MatrixError, match="the marks of the table are gone"):
            matrix.write_page(page, "new")
        assert page.read_text() == "text"


class TestCells:
    """Each pair that is locked is a cell."""

    def test_the_oldest_airflow_comes_first_and_each_has_its_lock(self) -> None:
        cells = [cell for cell in matrix.all_cells() if isinstance(cell, UnitCell)]
        versions = [matrix.read_versions(matrix.ROOT / cell.lock) for cell in cells]
        assert [one["Airflow"].rpartition(".")[0] for one in versions] == [
            version for version in ("2.11", "3.0", "3.1", "3.2", "3.3") for _ in range(2)
        ]
        assert [one["cncf-kubernetes"].rpartition(".")[0] for one in versions] == ["10.20", "10.25"] * 5

    def test_on_the_cluster_each_product_has_its_oldest_and_its_newest(self) -> None:
        cells = [cell for cell in matrix.all_cells() if isinstance(cell, ClusterCell)]
        assert [cell.name for cell in cells] == [
            *("airflow-2.11", "airflow-3.1", "airflow-3.3"),
            *("kubernetes-1.35", "kubernetes-1.37"),
            *("skypilot-0.12", "skypilot-0.13", "skypilot-0.14"),
        ]

    @pytest.mark.parametrize("cell", matrix.all_cells(), ids=lambda cell: cell.name)
    def test_what_it_tests_is_there(self, cell: matrix.Cell) -> None:
        assert [path for path in cell.inputs if not (matrix.ROOT / path).exists()] == []

    def test_the_other_products_are_at_their_newest(self) -> None:
        versions = ClusterCell("airflow", "2.11").versions()
        assert {name: version.rpartition(".")[0] for name, version in versions.items()} == {
            "Airflow": "2.11",
            "cncf-kubernetes": "10.25",
            "SkyPilot": "0.14",
            "Kubernetes": "1.37",
        }
