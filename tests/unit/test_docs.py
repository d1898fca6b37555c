"""What the documents say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import reference
import test_matrix

from k8s_sky_provider.operators import SkyBaseOperator
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import ExitCode

ROOT = Path(__file__).resolve().parents[2]
OPERATORS = [operator for operator in reference.exported() if operator is not SkyBaseOperator]
CLASSES = [SkyBaseOperator, SkyTaskOperator, *OPERATORS]


def test_the_first_dag_of_the_readme_is_the_example_that_the_end_to_end_tests_run() -> None:
    first = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first
    assert first[1] == (ROOT / "example_dags" / "sky_hello.py").read_text()


@pytest.mark.parametrize("operator", CLASSES, ids=lambda operator: str(operator.__name__))
def test_the_docstring_has_every_parameter_and_says_which_are_templated(operator: type[SkyBaseOperator]) -> None:
    described = reference.descriptions(operator)
    assert list(described) == [parameter.name for parameter in reference.parameters(operator)]
    templated = {name for name, text in described.items() if "(templated)" in text}
    # The hook of an autostop has an attribute of another name.
    fields = {"hook" if field == "autostop_hook" else field for field in operator.template_fields}
    assert templated == set(described) & fields


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: str(operator.__name__))
def test_the_docstring_says_what_is_returned_and_what_is_wrapped(operator: type[SkyBaseOperator]) -> None:
    assert reference.returned(operator)
    assert reference.wrapped(operator)


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run 'make reference'"


def test_the_architecture_page_has_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert [int(code) for code in rows] == sorted(ExitCode)


def test_the_fault_table_has_rows_of_each_test_that_counts_and_nothing_but_zeros() -> None:
    rows = re.findall(
        r"^\| .* \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| `(\w+\.py)::(\w+)` \|$",
        (ROOT / "docs" / "reliability.md").read_text(),
        re.MULTILINE,
    )
    for times, lost, doubled, leaked, falsely_green, _, _ in rows:
        assert int(times) > 0
        assert (lost, doubled, leaked, falsely_green) == ("0", "0", "0", "0")
    tests = {
        (path.name, function)
        for path in (ROOT / "tests" / "e2e").glob("test_*.py")
        for function in re.findall(r"^def (test_\w+)\([^)]*\bfaults: FaultTable", path.read_text(), re.MULTILINE)
    }
    assert {(module, function) for *_, module, function in rows} == tests


def test_the_table_of_versions_has_every_cell_of_the_matrix() -> None:
    rows = re.findall(r"^\| (\w+-[\d.]\S*) \|", (ROOT / "docs" / "versions.md").read_text(), re.MULTILINE)
    assert rows == [cell.name for cell in test_matrix.all_cells()]


def test_the_versions_that_the_texts_name_are_those_that_can_be_installed() -> None:
    needed = (ROOT / "pyproject.toml").read_text()
    (airflow,) = re.findall(r'"apache-airflow>=([\d.]+)', needed)
    (provider,) = re.findall(r'"apache-airflow-providers-cncf-kubernetes>=([\d.]+)', needed)
    for page in ("README.md", "docs/versions.md"):
        text = " ".join((ROOT / page).read_text().split())
        assert f"Airflow {airflow.removesuffix('.0')} and 3" in text
        assert re.search(
            rf"`apache-airflow-providers-cncf-kubernetes` (from )?{re.escape(provider.removesuffix('.0'))}", text
        )


def test_the_table_of_operators_has_each() -> None:
    table = re.findall(r"^\| .* \|$", (ROOT / "docs" / "operators.md").read_text(), re.MULTILINE)
    assert {operator.__name__ for operator in OPERATORS} <= set(re.findall(r"`(Sky\w+Operator)`", "\n".join(table)))


def test_the_index_of_the_decisions_has_each_page() -> None:
    folder = ROOT / "docs" / "decisions"
    linked = re.findall(r"\]\(([a-z-]+\.md)\)", (folder / "README.md").read_text())
    assert sorted(linked) == sorted(page.name for page in folder.glob("[a-z]*.md"))


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_links_to_exists(page: Path) -> None:
    for link in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, link


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
