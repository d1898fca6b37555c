"""The request and the finished pod of every operator are what the files in ``golden`` say.

``make golden`` writes those files anew, and fails if that has changed one: look at ``git diff``, and say in the commit
why they change. What is random or of a version is fixed in :func:`unchanging`, and nowhere else; what the files hold is
the same for all versions of Airflow and of KubernetesPodOperator.
"""

from __future__ import annotations

import base64
import copy
import importlib
import inspect
import json
import os
import pkgutil
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.providers.cncf.kubernetes.operators import pod as kubernetes_pod_operator
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import ApiClient

from k8s_sky_provider import decorators, operators
from k8s_sky_provider.decorators.sky import ON_CLUSTER, SkyDecoratedOperator
from k8s_sky_provider.operators import SkyBaseOperator, local_files
from k8s_sky_provider.operators.pod_secret import BYTES_OF_A_SECRET
from unit.k8s_sky_provider.connections import set_connection
from unit.k8s_sky_provider.golden_cases import CASES, Case
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubernetes.client import models as k8s

FOLDER = Path(__file__).with_name("golden")
REWRITE = os.environ.get("GOLDEN") == "rewrite"
REQUEST = "<the request>"
SECRET = "wJalrXUtnFEMI"

SET_BY_THE_DECORATOR: dict[type[SkyBaseOperator], set[str]] = {SkyDecoratedOperator: {"wait", "dryrun"}}


class Airflow(TaskInstance):
    """A task instance that knows all other runs, and that they are over."""

    def get_dr_count(self, *, states: list[str], **_: Any) -> int:
        return int("success" in states)


class Text(yaml.SafeDumper):
    """Writes texts of several lines as such."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    def ignore_aliases(self, data: Any) -> bool:
        return True


Text.add_representer(str, Text.represent_str)


@pytest.fixture
def unchanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix what changes from run to run, or with the version of Airflow."""
    monkeypatch.setattr(secrets, "choice", lambda _: "x")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "x" * 2 * size)
    monkeypatch.setattr(kubernetes_pod_operator, "airflow_version", "AIRFLOW")
    # zlib's bytes; more than one Secret has.
    monkeypatch.setattr(local_files, "pack", lambda sources, limit: bytes(BYTES_OF_A_SECRET + 1))


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Define the connections that cases name."""
    settings = {"image": "team:1", "default_image_id": "docker:team", "default_resources": {"infra": "k8s"}}
    set_connection(monkeypatch, "team", "skypilot", extra=settings)
    set_connection(monkeypatch, "aws", "aws", login="AKIA", password=SECRET, extra={"region_name": "eu"})


class PodError(Exception):
    """The operator has made its pod."""

    def __init__(self, pod: k8s.V1Pod) -> None:
        super().__init__()
        self.pod = pod


def made_of(case: Case) -> dict[str, Any]:
    """Return the request and the pod that an operator makes when it runs."""
    # KubernetesPodOperator 10.20 adds to the lists that it is given.
    operator = case.make(case.operator, **copy.deepcopy(case.arguments))
    context = context_of(operator, Airflow(task_id=operator.task_id))
    operator.render_template_fields(context)
    with pytest.raises(PodError) as caught:
        operator.execute(context)
    pod = ApiClient().sanitize_for_serialization(caught.value.pod)
    container = pod["spec"]["containers"][0]
    (argument,) = container["args"]
    container["args"] = [REQUEST]
    return {"request": _readable(json.loads(argument)), "pod": pod}


def _readable(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request of a function with the files that it carries as texts; the one that never changes by name."""
    task = request["arguments"].get("task")
    if isinstance(task, dict) and ".k8s_sky/calls/" in task.get("run", ""):
        task["run"] = re.sub(r"(?<=<<'END'\n).*(?=\nEND)", _decoded, task["run"])
    return request


def _decoded(found: re.Match[str]) -> str:
    text = base64.b64decode(found[0]).decode()
    return f"<{ON_CLUSTER.name}>" if text == ON_CLUSTER.read_text() else text


@pytest.mark.usefixtures("deployment", "kubernetes", "unchanging", "connections")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_the_request_and_the_pod(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(operator: SkyBaseOperator, context: Any) -> None:
        raise PodError(operator.build_pod_request_obj(context))

    monkeypatch.setattr(KubernetesPodOperator, "execute", stop)
    for name, value in case.settings.items():
        variable = f"AIRFLOW__SKYPILOT__{name.upper()}"
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value)
    made = made_of(case)
    file = FOLDER / case.file
    before = yaml.safe_load(file.read_text()) if file.exists() else None
    if REWRITE and made != before:
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.dump(made, Dumper=Text, width=120, allow_unicode=True))
        pytest.fail(f"{case.file} is written anew")
    assert made == before


def test_there_is_no_other_file() -> None:
    left = {path.name for path in FOLDER.iterdir()} - {case.file for case in CASES}
    for name in left if REWRITE else ():
        (FOLDER / name).unlink()
    assert not left


def _all_operators() -> set[type[SkyBaseOperator]]:
    """Return all classes of the package that make a pod."""
    for package in (operators, decorators):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            # It runs on a cluster.
            if module.name != "k8s_sky_provider.decorators.on_cluster":
                importlib.import_module(module.name)
    return {cls for cls in _subclasses(SkyBaseOperator) if hasattr(cls, "action") and _is_ours(cls)}


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("k8s_sky_provider.")


def _subclasses(cls: type[SkyBaseOperator]) -> Iterator[type[SkyBaseOperator]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


ALL = sorted(_all_operators(), key=lambda operator: operator.__name__)


def test_every_operator_has_its_defaults_and_all_arguments() -> None:
    wanted = {(operator, name) for operator in ALL for name in ("defaults", "all")}
    assert {(case.operator, case.name) for case in CASES} >= wanted
    assert len({case.file for case in CASES}) == len(CASES)


@pytest.mark.parametrize("operator", ALL, ids=lambda operator: str(operator.__name__))
def test_every_argument_is_set(operator: type[SkyBaseOperator]) -> None:
    defaults = {
        name: parameter.default
        for cls in reversed(operator.__mro__)
        if _is_ours(cls) and "__init__" in vars(cls)
        for name, parameter in inspect.signature(vars(cls)["__init__"]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in {"python_callable", "render_task"}
    }
    given = [argument for case in CASES if case.operator is operator for argument in case.arguments.items()]
    is_set = {name for name, value in given if name in defaults and value != defaults[name]}
    assert defaults.keys() - is_set == SET_BY_THE_DECORATOR.get(operator, set())
