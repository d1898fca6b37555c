"""A killed task is failed, and its cluster is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, wait_until

if TYPE_CHECKING:
    from local_airflow import Kubectl, LocalAirflow

SECONDS_TO_BEGIN = 300
SECONDS_TO_END = 180


def job_has_begun(kubectl: Kubectl, dag_id: str) -> bool:
    pods = names_of_pods(kubectl, f"kubernetes_pod_operator=True,dag_id={dag_id}")
    return any("the job has begun" in kubectl("logs", pod, check=False) for pod in pods)


@pytest.mark.parametrize(
    "dag_id",
    [
        pytest.param("e2e_killed", id="while its job runs"),
        pytest.param("e2e_killed_deferred", id="while its job runs and the task is deferred"),
        pytest.param("e2e_killed_early", id="while its cluster is provisioned"),
    ],
)
def test_a_task_marked_failed_takes_its_cluster_down(airflow: LocalAirflow, kubectl: Kubectl, dag_id: str) -> None:
    run_id = airflow.trigger(dag_id)
    if dag_id == "e2e_killed_early":
        wait_until("a pod of the cluster", lambda: names_of_pods(kubectl, "parent=skypilot"), SECONDS_TO_BEGIN)
    else:
        wait_until("the job", lambda: job_has_begun(kubectl, dag_id), SECONDS_TO_BEGIN)
    airflow.set_task_state(dag_id, run_id, "launch", "failed")

    wait_until("the cluster's pods gone", lambda: not names_of_pods(kubectl, "parent=skypilot"), SECONDS_TO_END)
    wait_until(
        "the operator's pod gone",
        lambda: not names_of_pods(kubectl, f"kubernetes_pod_operator=True,dag_id={dag_id}"),
        SECONDS_TO_END,
    )
    assert airflow.task(dag_id, run_id, "launch")["state"] == "failed"
    assert airflow.wait_for_run(dag_id, run_id, timeout=60) == "failed"


def test_a_pod_deleted_by_hand_fails_the_task_and_takes_the_cluster_down(
    airflow: LocalAirflow, kubectl: Kubectl
) -> None:
    run_id = airflow.trigger("e2e_killed")
    wait_until("the job", lambda: job_has_begun(kubectl, "e2e_killed"), SECONDS_TO_BEGIN)
    kubectl("delete", "pod", "-l", "kubernetes_pod_operator=True,dag_id=e2e_killed", "--wait=false")
    assert airflow.wait_for_run("e2e_killed", run_id, timeout=SECONDS_TO_END) == "failed"
    wait_until("the cluster's pods gone", lambda: not names_of_pods(kubectl, "parent=skypilot"), SECONDS_TO_END)
