"""What cannot be done by way of a SkyPilot API server is refused when the task starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyDeploymentError, SkyPilotError, SkyRequestError
from k8s_sky_provider.operators import SkyLaunchOperator, SkyReapOperator, SkyStatusOperator
from unit.k8s_sky_provider.connections import set_connection
from unit.k8s_sky_provider.operators.running import make_dag

if TYPE_CHECKING:
    from k8s_sky_provider.operators import SkyBaseOperator

TASK = {"run": "echo hello"}
CASES: list[tuple[type[SkyBaseOperator], dict[str, Any], type[SkyPilotError], str]] = [
    (SkyLaunchOperator, {"sky_task_yaml": TASK, "clone_disk_from": "other"}, SkyRequestError, "clone_disk_from: "),
    (SkyStatusOperator, {"owners": True}, SkyDeploymentError, "owners: .* unless volume_claim names one"),
    (SkyReapOperator, {"clusters": []}, SkyDeploymentError, "clusters: .* unless volume_claim names one"),
]
cases = pytest.mark.parametrize(
    ("operator", "arguments", "error", "message"), CASES, ids=[case[0].__name__ for case in CASES]
)


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"state_mode": "api_server", "image": "image"}
    set_connection(monkeypatch, "skypilot_default", "skypilot", host="http://sky:46580", extra=extra)


def build(operator: type[SkyBaseOperator], arguments: dict[str, Any]) -> dict[str, Any]:
    return operator(task_id="task", dag=make_dag(), **arguments).build_arguments(None)


@cases
def test_it_is_refused(
    operator: type[SkyBaseOperator], arguments: dict[str, Any], error: type[SkyPilotError], message: str
) -> None:
    with pytest.raises(error, match=message):
        build(operator, arguments)


@cases
def test_in_another_mode_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
    operator: type[SkyBaseOperator],
    arguments: dict[str, Any],
    error: type[SkyPilotError],
    message: str,
) -> None:
    del error, message
    extra = {"volume_claim": "claim", "image": "image"}
    set_connection(monkeypatch, "skypilot_default", "skypilot", host="http://sky:46580", extra=extra)
    build(operator, arguments)


@pytest.mark.parametrize(
    ("operator", "arguments", "error", "message"), CASES[1:], ids=[case[0].__name__ for case in CASES[1:]]
)
def test_with_a_volume_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
    operator: type[SkyBaseOperator],
    arguments: dict[str, Any],
    error: type[SkyPilotError],
    message: str,
) -> None:
    del error, message
    monkeypatch.setenv("AIRFLOW__SKYPILOT__VOLUME_CLAIM", "sky-state")
    build(operator, arguments)
