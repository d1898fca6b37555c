"""The PostgreSQL under the local Airflow: what is made of it, and what a second time changes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import local_postgres
import pytest
from local_airflow import CLUSTERS_NAMESPACE, NAMESPACE, ROOT
from local_postgres import NAME, pod_spec, start_for_airflow
from pod_security import violations, writable_root

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeKubectl:
    """Kubernetes as kubectl shows it: Secrets are created once, all else is applied."""

    def __init__(self) -> None:
        self.secrets: dict[str, Mapping[str, str]] = {}
        self.applied: list[Mapping[str, Any]] = []
        self.waited_for: list[str] = []

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        match arguments:
            case ["get", "secret", name, *_]:
                return f"secret/{name}" if name in self.secrets else ""
            case ["create", *_]:
                secret = json.loads(stdin or "")
                assert secret["metadata"]["name"] not in self.secrets
                self.secrets[secret["metadata"]["name"]] = secret["stringData"]
            case ["rollout", "status", what, *_]:
                self.waited_for.append(what)
        return ""

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.applied.extend(objects)


@pytest.fixture(autouse=True)
def image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_postgres, "read_env_file", lambda path: {"POSTGRES_IMAGE": f"registry/{path.name}"})


@pytest.fixture
def kubectl() -> FakeKubectl:
    return FakeKubectl()


@pytest.mark.parametrize("data", [{}, {"emptyDir": {}}])
def test_its_pod_passes_pod_security_restricted(data: dict[str, Any]) -> None:
    pod = {"spec": pod_spec("secret", **data)}
    assert violations(pod) == []
    assert writable_root(pod) == []


def test_the_password_is_a_reference(kubectl: FakeKubectl) -> None:
    start_for_airflow(kubectl)  # type: ignore[arg-type]  # a fake one
    (values,) = kubectl.secrets.values()
    assert set(values) == {"password", "connection"}
    assert values["connection"] == f"postgresql+psycopg2://postgres:{values['password']}@{NAME}:5432/postgres"
    assert values["password"] not in json.dumps(kubectl.applied)


def test_a_second_start_changes_nothing(kubectl: FakeKubectl) -> None:
    start_for_airflow(kubectl)  # type: ignore[arg-type]  # a fake one
    first, secret = list(kubectl.applied), dict(kubectl.secrets)
    start_for_airflow(kubectl)  # type: ignore[arg-type]  # a fake one
    assert kubectl.applied == first + first
    assert kubectl.secrets == secret
    assert kubectl.waited_for == [f"statefulset/{NAME}"] * 2


def test_the_service_leads_to_the_pod(kubectl: FakeKubectl) -> None:
    start_for_airflow(kubectl)  # type: ignore[arg-type]  # a fake one
    service, stateful_set = kubectl.applied
    assert service["spec"]["selector"] == stateful_set["spec"]["template"]["metadata"]["labels"]
    (claim,) = stateful_set["spec"]["volumeClaimTemplates"]
    mounts = stateful_set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert [mount["name"] for mount in mounts] == [claim["metadata"]["name"]]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (r"^NAMESPACE=(.*)$", NAMESPACE),
        (r"^CLUSTERS_NAMESPACE=(.*)$", CLUSTERS_NAMESPACE),
        (r"^  database: \{existingSecret: (.*)\}$", NAME),
    ],
)
def test_deploy_uses_the_same_names(line: str, value: str) -> None:
    assert re.findall(line, (ROOT / "hack" / "deploy").read_text(), re.MULTILINE) == [value]
