"""Links: computed from a result, pushed by the operator, read by Airflow."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from k8s_sky_provider import operators
from k8s_sky_provider.exceptions import SkyJobFailedError
from k8s_sky_provider.links.skypilot import (
    LINKS_KEY,
    SkyJobLogLink,
    SkyPilotDashboardLink,
    SkyServeEndpointLink,
    links_of,
)
from k8s_sky_provider.operators import SkyDownOperator, SkyLaunchOperator
from k8s_sky_provider.protocol import SkyResult
from k8s_sky_provider.provider_info import get_provider_info
from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes, reports
from unit.k8s_sky_provider.operators.running import TaskInstance, make_dag, run_task

DASHBOARD = "https://sky.example.com/dashboard"
LINKS = (SkyPilotDashboardLink, SkyJobLogLink, SkyServeEndpointLink)


@pytest.mark.parametrize(
    ("fields", "links"),
    [
        pytest.param(
            {"action": "launch", "cluster_name": "my.cluster", "job_id": 3},
            {"dashboard": f"{DASHBOARD}/clusters/my.cluster", "job": f"{DASHBOARD}/clusters/my.cluster/3"},
            id="job on a cluster",
        ),
        pytest.param(
            {"action": "down", "cluster_name": "c"},
            {"dashboard": f"{DASHBOARD}/clusters/c"},
            id="cluster without a job",
        ),
        pytest.param({"action": "status"}, {"dashboard": f"{DASHBOARD}/clusters"}, id="no cluster"),
        pytest.param(
            {"action": "jobs_launch", "job_id": 7},
            {"dashboard": f"{DASHBOARD}/jobs/7", "job": f"{DASHBOARD}/jobs/7"},
            id="managed job",
        ),
        pytest.param({"action": "jobs_queue"}, {"dashboard": f"{DASHBOARD}/jobs"}, id="managed jobs"),
        pytest.param({"action": "pool_apply"}, {"dashboard": f"{DASHBOARD}/jobs"}, id="pool"),
        pytest.param({"action": "volume_list"}, {"dashboard": f"{DASHBOARD}/volumes"}, id="volumes"),
        pytest.param({"action": "check"}, {"dashboard": f"{DASHBOARD}/infra"}, id="infra"),
        pytest.param({"action": "serve_status", "return_value": []}, {}, id="no page for services"),
        pytest.param({"action": "serve_up", "return_value": "javascript://x/%0aalert(1)"}, {}, id="no page at all"),
    ],
)
def test_what_a_result_links_to(fields: dict[str, Any], links: dict[str, str]) -> None:
    result = SkyResult(exit_code=0, **fields)
    assert links_of(result, DASHBOARD) == links
    assert links_of(result, None) == {}


@pytest.mark.parametrize("endpoint", ["10.0.0.1:30001", "http://10.0.0.1:30001"])
def test_a_service_links_to_its_endpoint(endpoint: str) -> None:
    result = SkyResult(action="serve_up", exit_code=0, return_value=endpoint)
    assert links_of(result, None) == {"endpoint": "http://10.0.0.1:30001"}
    assert links_of(SkyResult(action="serve_up", exit_code=64), DASHBOARD) == {}


JOBS = {"launch", "exec", "logs", "jobs_launch", "jobs_logs"}
SERVICES = {"serve_up", "serve_update"}


def test_the_operators_have_the_links_that_they_can_fill() -> None:
    for operator in (getattr(operators, name) for name in operators.__all__ if name.endswith("Operator")):
        links = {type(link) for link in operator.operator_extra_links}
        action = getattr(operator, "action", None)
        assert (SkyJobLogLink in links) == (action in JOBS), operator
        assert (SkyServeEndpointLink in links) == (action in SERVICES), operator


def test_airflow_finds_the_links_and_their_names_differ() -> None:
    paths = get_provider_info()["extra-links"]
    assert paths == [f"{link.__module__}.{link.__name__}" for link in LINKS]
    for path in paths:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)
    assert len({link().name for link in LINKS}) == len(LINKS)


def test_every_operator_links_to_the_dashboard() -> None:
    for name in operators.__all__:
        operator = getattr(operators, name)
        if hasattr(operator, "operator_extra_links"):
            assert SkyPilotDashboardLink in {type(link) for link in operator.operator_extra_links}, name


@pytest.mark.usefixtures("deployment")
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("exit_code", [0, 65])
def test_an_operator_pushes_what_its_links_show(
    deferrable: bool, exit_code: int, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SKYPILOT__DASHBOARD_URL", f"{DASHBOARD}/")
    result = SkyResult(action="launch", exit_code=exit_code, return_value="c", cluster_name="c", job_id=1)
    kubernetes.life = lambda pod: [reports(result)]
    ti = TaskInstance()

    def make() -> SkyLaunchOperator:
        return SkyLaunchOperator(
            task_id="t", dag=make_dag(), cluster_name="c", sky_task_yaml={"run": "x"}, deferrable=deferrable
        )

    with pytest.raises(SkyJobFailedError) if exit_code else contextlib.nullcontext():
        run_task(make, kubernetes, ti)
    monkeypatch.setattr(XCom, "get_value", lambda *, ti_key, key: ti.xcom.get(key))
    key: Any = None
    assert SkyPilotDashboardLink().get_link(make(), ti_key=key) == f"{DASHBOARD}/clusters/c"
    assert SkyJobLogLink().get_link(make(), ti_key=key) == f"{DASHBOARD}/clusters/c/1"
    assert SkyServeEndpointLink().get_link(make(), ti_key=key) == ""
    ti.xcom.clear()
    assert SkyPilotDashboardLink().get_link(make(), ti_key=key) == ""


@pytest.mark.usefixtures("deployment")
def test_links_that_cannot_be_made_do_not_fail_a_task_that_is_done(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_connection() -> None:
        monkeypatch.setattr(SkyDownOperator, "settings", property(lambda self: 1 / 0))

    kubernetes.while_running = break_connection
    # What was found out before the deferral is not known any more.
    ti = run_task(
        lambda: SkyDownOperator(task_id="t", dag=make_dag(), cluster_name="c", deferrable=True),
        kubernetes,
    )
    assert ti.xcom["return_value"] == "c"
    assert LINKS_KEY not in ti.xcom
