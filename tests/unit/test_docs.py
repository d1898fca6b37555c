"""What the documents say is what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import k8s_sky_provider.operators
from k8s_sky_provider.operators import SkyBaseOperator
from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.provider_info import get_provider_info

ROOT = Path(__file__).resolve().parents[2]
OPERATORS = [getattr(k8s_sky_provider.operators, name) for name in k8s_sky_provider.operators.__all__]


def own_parameters(operator: type[SkyBaseOperator]) -> list[str]:
    parameters = inspect.signature(operator.__init__).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def rows(heading: str) -> list[str]:
    """Return the first column of the table below a heading of the reference."""
    text = (ROOT / "docs" / "operators.md").read_text().split(f"\n## {heading}\n", 1)[1]
    return re.findall(r"^\| (`[^|]*) \|", re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE)


def test_the_first_dag_of_the_readme_is_the_example_that_the_end_to_end_tests_run() -> None:
    first = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first
    assert first[1] == (ROOT / "example_dags" / "sky_hello.py").read_text()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: str(operator.__name__))
def test_the_reference_has_every_parameter_of_an_operator_and_no_other(operator: type[SkyBaseOperator]) -> None:
    heading = "Parameters of all of them" if operator is SkyBaseOperator else operator.__name__
    documented_rows = rows(heading)
    documented = [name for row in documented_rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(own_parameters(operator))
    templated = [name for row in documented_rows if "(templated)" in row for name in re.findall(r"`(\w+)`", row)]
    assert set(templated) == set(documented) & set(operator.template_fields)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: str(operator.__name__))
def test_the_docstring_has_every_parameter_and_says_which_are_templated(operator: type[SkyBaseOperator]) -> None:
    described = dict(re.findall(r":param (\w+): (.*?)(?=\n    :|\Z)", operator.__doc__ or "", re.DOTALL))
    assert sorted(described) == sorted(own_parameters(operator))
    templated = {name for name, text in described.items() if "(templated)" in text}
    assert templated == set(described) & set(operator.template_fields)


def test_the_reference_has_every_setting() -> None:
    documented = [name for row in rows("Settings") for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(get_provider_info()["config"]["skypilot"]["options"])


def test_the_architecture_page_has_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert [int(code) for code in rows] == sorted(ExitCode)
