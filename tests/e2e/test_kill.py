"""A killed task is failed, and its cluster is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, pods_of_clusters, wait_until

if TYPE_CHECKING:
    from faults import FaultTable
    from local_airflow import Kubectl, LocalAirflow

SECONDS_TO_BEGIN = 300
SECONDS_TO_END = 180
CLUSTER = "e2e-killed"


def operator_pods(kubectl: Kubectl, dag_id: str) -> list[str]:
    return names_of_pods(kubectl, f"kubernetes_pod_operator=True,dag_id={dag_id}")


def job_has_begun(kubectl: Kubectl, dag_id: str) -> bool:
    return any("the job has begun" in kubectl("logs", pod, check=False) for pod in operator_pods(kubectl, dag_id))


def check_all_is_gone(
    airflow: LocalAirflow,
    kubectl: Kubectl,
    clusters: Kubectl,
    faults: FaultTable,
    dag_id: str,
    run_id: str,
    what: str,
    when: str,
) -> None:
    wait_until("the cluster's pods gone", lambda: not pods_of_clusters(clusters, CLUSTER), SECONDS_TO_END)
    wait_until("the operator's pod gone", lambda: not operator_pods(kubectl, dag_id), SECONDS_TO_END)
    assert airflow.wait_for_run(dag_id, run_id, timeout=60) == "failed"
    state = airflow.task(dag_id, run_id, "launch")["state"]
    faults.record(
        what,
        f"on_cancel=down, {when}",
        times=1,
        lost=0,
        doubled=0,
        leaked=len(pods_of_clusters(clusters, CLUSTER)) + len(operator_pods(kubectl, dag_id)),
        falsely_green=int(state != "failed"),
    )


@pytest.mark.parametrize(
    ("dag_id", "when"),
    [
        pytest.param("e2e_killed", "while its job runs, synchronous", id="job"),
        pytest.param("e2e_killed_deferred", "while its job runs, deferred", id="job, deferred"),
        pytest.param("e2e_killed_early", "while its cluster is provisioned", id="provisioning"),
    ],
)
def test_a_task_marked_failed_takes_its_cluster_down(
    airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, faults: FaultTable, dag_id: str, when: str
) -> None:
    run_id = airflow.trigger(dag_id)
    if dag_id == "e2e_killed_early":
        wait_until("a pod of the cluster", lambda: pods_of_clusters(clusters, CLUSTER), SECONDS_TO_BEGIN)
    else:
        wait_until("the job", lambda: job_has_begun(kubectl, dag_id), SECONDS_TO_BEGIN)
    airflow.set_task_state(dag_id, run_id, "launch", "failed")
    check_all_is_gone(airflow, kubectl, clusters, faults, dag_id, run_id, "the task is marked failed", when)


def test_a_pod_deleted_by_hand_fails_the_task_and_takes_the_cluster_down(
    airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, faults: FaultTable
) -> None:
    dag_id = "e2e_killed"
    run_id = airflow.trigger(dag_id)
    wait_until("the job", lambda: job_has_begun(kubectl, dag_id), SECONDS_TO_BEGIN)
    kubectl("delete", "pod", "-l", f"kubernetes_pod_operator=True,dag_id={dag_id}", "--wait=false")
    assert airflow.wait_for_run(dag_id, run_id, timeout=SECONDS_TO_END) == "failed"
    when = "while its job runs, synchronous, without retries"
    check_all_is_gone(
        airflow,
        kubectl,
        clusters,
        faults,
        dag_id,
        run_id,
        "the operator's pod is deleted, as when its node is drained",
        when,
    )
