"""The two halves and the narrow door between them."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import reference
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

import k8s_sky_provider
from k8s_sky_provider import operators
from k8s_sky_provider.operators import SkyBaseOperator
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.runner.actions import ACTIONS

PACKAGE = Path(k8s_sky_provider.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
RUNNER = [path for path in MODULES if path.is_relative_to(PACKAGE / "runner")]
ENGINE = [path for path in RUNNER if path.is_relative_to(PACKAGE / "runner" / "sky")]
OPERATORS = [getattr(operators, name) for name in operators.__all__ if getattr(operators, name) is not SkyBaseOperator]


def imports_of(path: Path) -> set[str]:
    """Return the names of all modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages_of(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


def module_name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def loaded_after(statement: str) -> set[str]:
    """Return the modules that a fresh Python has loaded after a statement."""
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("path", RUNNER, ids=module_name)
def test_the_runner_imports_no_airflow_and_nothing_of_the_operators(path: Path) -> None:
    assert not packages_of(path) & {"airflow", "kubernetes"}
    ours = {name for name in imports_of(path) if name.startswith("k8s_sky_provider.")}
    assert all(name.startswith(("k8s_sky_provider.protocol.", "k8s_sky_provider.runner.")) for name in ours)


@pytest.mark.parametrize("path", [path for path in MODULES if path not in RUNNER], ids=module_name)
def test_airflows_half_imports_nothing_of_the_runner(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.startswith("k8s_sky_provider.runner")}


@pytest.mark.parametrize("path", [path for path in MODULES if path not in ENGINE], ids=module_name)
def test_only_the_engine_imports_skypilot(path: Path) -> None:
    assert "sky" not in packages_of(path)


def test_both_halves_need_no_more_than_the_standard_library_to_talk() -> None:
    assert packages_of(PACKAGE / "protocol.py") - {"_typeshed"} <= set(sys.stdlib_module_names)


def test_the_runner_without_its_engine_needs_no_more_than_the_standard_library() -> None:
    loaded = {name.partition(".")[0] for name in loaded_after("import k8s_sky_provider.runner.__main__")}
    assert not loaded & {"airflow", "kubernetes", "sky", "yaml"}


def test_operators_are_loaded_when_they_are_used() -> None:
    assert not {name for name in loaded_after("import k8s_sky_provider.operators") if name.startswith("airflow")}


def test_the_provider_info_loads_nothing_else() -> None:
    loaded = loaded_after("import k8s_sky_provider.provider_info")
    assert {name for name in loaded if name.startswith("k8s_sky_provider")} == {
        "k8s_sky_provider",
        "k8s_sky_provider.provider_info",
    }


def test_every_operator_is_exported() -> None:
    assert sorted(operators.__all__) == sorted(operators._MODULES)
    for name in operators.__all__:
        assert getattr(operators, name).__name__ == name


def test_what_is_no_operator_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'SkyFly'"):
        importlib.import_module(operators.__name__).SkyFly()


def test_every_operator_has_an_action_of_the_runner_and_every_action_an_operator() -> None:
    assert {operator.action for operator in OPERATORS} == set(ACTIONS)


@pytest.mark.parametrize("operator", [SkyTaskOperator, *OPERATORS], ids=lambda operator: str(operator.__name__))
def test_no_parameter_takes_the_name_of_one_of_kubernetes_pod_operator(operator: type[SkyBaseOperator]) -> None:
    own = {parameter.name for parameter in reference.parameters(operator)}
    inherited = {
        name
        for parent in KubernetesPodOperator.__mro__[:-1]
        if "__init__" in vars(parent)
        for name in inspect.signature(vars(parent)["__init__"]).parameters
    }
    assert not own & inherited
