"""Pods that are not alone: with another container, with the name of another run's pod, and none behind a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, wait_until

if TYPE_CHECKING:
    from local_airflow import Kubectl, LocalAirflow


@pytest.fixture(scope="module")
def beside_a_shipper(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger("e2e_other_container")
    assert airflow.wait_for_run("e2e_other_container", run_id, timeout=300) == "success"
    return run_id


@pytest.mark.parametrize("mode", ["synchronous", "deferred"])
def test_a_task_ends_with_its_base_container(airflow: LocalAirflow, beside_a_shipper: str, mode: str) -> None:
    assert airflow.xcom("e2e_other_container", beside_a_shipper, mode) == "done"


def test_what_the_other_container_wrote_is_in_the_log(airflow: LocalAirflow, beside_a_shipper: str) -> None:
    assert "[shipper] shipping" in airflow.log("e2e_other_container", beside_a_shipper, "synchronous")


def test_another_runs_pod_of_the_same_name_is_not_taken(airflow: LocalAirflow, kubectl: Kubectl) -> None:
    first = airflow.trigger("e2e_fixed_name")
    wait_until(
        "the first run has its pod",
        lambda: "e2e-fixed-name" in names_of_pods(kubectl, "dag_id=e2e_fixed_name,kubernetes_pod_operator=True"),
        180,
    )
    second = airflow.trigger("e2e_fixed_name")
    assert airflow.wait_for_run("e2e_fixed_name", second) == "failed"
    assert airflow.wait_for_run("e2e_fixed_name", first) == "success"
    assert airflow.xcom("e2e_fixed_name", first, "task") == first
    log = airflow.log("e2e_fixed_name", second, "task")
    assert "SkyTransientError" in log
    assert 'pods "e2e-fixed-name" already exists' in log.replace("\\", "")


def test_a_gate_keeps_the_cluster_from_being_launched(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger("e2e_gate")
    airflow.wait_for_run("e2e_gate", run_id)
    states = {name: airflow.task("e2e_gate", run_id, name)["state"] for name in ("launch_gpu", "train", "down_gpu")}
    assert states == dict.fromkeys(states, "skipped")
    assert airflow.xcom("e2e_gate", run_id, "down_gpu", "pod_name") is None
