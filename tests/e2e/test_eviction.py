"""A pod that is evicted costs a try and nothing else; a kill stays one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, pods_of_clusters, wait_until
from test_faults import SECONDS_TO_BEGIN, SECONDS_TO_END, TaskRun, job_began, provisioned, provisioning, taking_down

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults import FaultTable
    from ledger import Ledger
    from local_airflow import Kubectl, LocalAirflow

pytestmark = pytest.mark.slow

SECONDS_OF_A_JOB = 60
"""More than retry_delay and what the next try takes to begin: the same job is still at work then."""


def evict(kubectl: Kubectl, pods: list[str]) -> None:
    """Evict pods by the Eviction API, as a drain does."""
    for pod in pods:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
        kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def evict_pod(run: TaskRun) -> None:
    evict(run.kubectl, run.operator_pods)


def evict_worker(run: TaskRun) -> None:
    evict(run.kubectl, run.worker_pods)


def evict_both(run: TaskRun) -> None:
    evict(run.kubectl, [*run.worker_pods, *run.operator_pods])


def evict_airflow(run: TaskRun) -> None:
    evict(run.kubectl, names_of_pods(run.kubectl, "app.kubernetes.io/component=airflow"))


@pytest.fixture
def start(airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, ledger: Ledger) -> Callable[..., TaskRun]:
    def start(dag_id: str, *, seconds: int = SECONDS_OF_A_JOB) -> TaskRun:
        return TaskRun(
            airflow=airflow, kubectl=kubectl, clusters=clusters, ledger=ledger, dag_id=dag_id, seconds=seconds
        )

    return start


@pytest.mark.parametrize("deferred", ["", "_deferred"], ids=["synchronous", "deferred"])
@pytest.mark.parametrize(
    ("dag", "step", "evicted", "what", "when"),
    [
        ("launch", provisioning, evict_pod, "the operator's pod", "launch: while its cluster is provisioned"),
        ("launch", provisioned, evict_pod, "the operator's pod", "launch: between provisioning and submission"),
        ("launch", job_began, evict_pod, "the operator's pod", "launch: while its job runs"),
        ("launch", taking_down, evict_pod, "the operator's pod", "launch: while auto_down takes its cluster down"),
        ("launch", job_began, evict_worker, "Airflow's worker", "launch: while its job runs"),
        ("launch", job_began, evict_both, "the worker and the operator's pod", "launch: while its job runs"),
        ("launch", job_began, evict_airflow, "the whole Airflow pod", "launch: while its job runs"),
        ("job", job_began, evict_pod, "the operator's pod", "managed job: while it runs"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_eviction_costs_a_try_and_nothing_else(
    start: Callable[..., TaskRun],
    faults: FaultTable,
    dag: str,
    step: Callable[[TaskRun], bool],
    evicted: Callable[[TaskRun], None],
    what: str,
    when: str,
    deferred: str,
) -> None:
    if deferred and evicted in {evict_worker, evict_both}:
        pytest.skip("a deferred task has no worker")
    run = start(f"e2e_evicted_{dag}{deferred}")
    wait_until(when, lambda: step(run), SECONDS_TO_BEGIN)
    evicted(run)
    wait_until("the run is over", lambda: run.is_over, SECONDS_TO_END)
    wait_until("the operator's pods are gone", lambda: not run.operator_pods, SECONDS_TO_END)
    faults.record(
        f"{what} is evicted",
        f"{when}, {run.mode}, a try is left",
        times=1,
        lost=int(run.ended == 0) + int(run.run_state != "success"),
        doubled=run.began - 1,
        leaked=run.processes_left(),
        falsely_green=int(run.run_state == "success" and run.ended == 0),
    )


@pytest.mark.parametrize("dag", ["last_try", "kill"])
@pytest.mark.parametrize("evicted", [evict_pod, evict_worker])
def test_an_eviction_that_nobody_follows_is_a_kill(
    start: Callable[..., TaskRun], faults: FaultTable, dag: str, evicted: Callable[[TaskRun], None]
) -> None:
    run = start(f"e2e_evicted_{dag}", seconds=1000)
    wait_until("the job", lambda: job_began(run), SECONDS_TO_BEGIN)
    evicted(run)
    wait_until("the cluster's pods are gone", lambda: not pods_of_clusters(run.clusters), SECONDS_TO_END)
    if not run.is_over:
        run.airflow.set_task_state(run.dag_id, run.run_id, "task", "failed")
    wait_until("the operator's pods are gone", lambda: not run.operator_pods, SECONDS_TO_END)
    faults.record(
        "the operator's pod is evicted" if evicted is evict_pod else "Airflow's worker is evicted",
        f"launch: while its job runs, {'on_eviction=kill' if dag == 'kill' else 'no try is left'}",
        times=1,
        lost=0,
        doubled=0,
        leaked=run.processes_left(),
        falsely_green=int(run.run_state == "success"),
    )


def test_a_kill_right_after_an_eviction(start: Callable[..., TaskRun], faults: FaultTable) -> None:
    run = start("e2e_evicted_launch", seconds=1000)
    wait_until("the job", lambda: job_began(run), SECONDS_TO_BEGIN)
    evict_worker(run)
    wait_until("the next try", lambda: run.tries == 2 and run.worker_pods, SECONDS_TO_BEGIN)
    run.airflow.set_task_state(run.dag_id, run.run_id, "task", "failed")
    wait_until("the cluster's pods are gone", lambda: not pods_of_clusters(run.clusters), SECONDS_TO_END)
    faults.record(
        "the task is marked failed",
        "launch: right after its worker was evicted",
        times=1,
        lost=0,
        doubled=run.began - 1,
        leaked=run.processes_left(),
        falsely_green=int(run.run_state == "success"),
    )


def test_a_task_that_is_marked_failed_between_two_tries_is_reaped(
    start: Callable[..., TaskRun], airflow: LocalAirflow, faults: FaultTable
) -> None:
    run = start("e2e_evicted_long_delay", seconds=1000)
    wait_until("the job", lambda: job_began(run), SECONDS_TO_BEGIN)
    evict_worker(run)
    wait_until("it waits for its next try", lambda: run.state == "up_for_retry", SECONDS_TO_END)
    airflow.set_task_state(run.dag_id, run.run_id, "task", "failed")
    reap = airflow.trigger("e2e_evicted_reap")
    assert airflow.wait_for_run("e2e_evicted_reap", reap) == "success"
    wait_until("the cluster's pods are gone", lambda: not pods_of_clusters(run.clusters), SECONDS_TO_END)
    faults.record(
        "the task is marked failed",
        "between two tries, then SkyReapOperator runs",
        times=1,
        lost=0,
        doubled=run.began - 1,
        leaked=run.processes_left() + len(run.operator_pods),
        falsely_green=int(run.run_state == "success"),
    )
