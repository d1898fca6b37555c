"""What survives: tasks whose pod, worker, scheduler or triggerer is killed, and tasks that are told to stop.

Every job calls the ledger when it begins and when it ends, so what ran is counted outside of everything that is killed.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, pods_of_clusters, wait_until
from local_airflow import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from faults import FaultTable
    from ledger import Ledger
    from local_airflow import Kubectl, LocalAirflow

pytestmark = pytest.mark.slow

CLUSTER = "e2e-faults"
SECONDS_TO_BEGIN = 600
SECONDS_TO_END = 600
SECONDS_TO_STOP = 180
SECONDS_OF_A_LONG_JOB = 1000
SECONDS_OF_A_JOB_THAT_IS_LEFT = 150
"""More than the timeouts of the DAGs leave it."""


@dataclasses.dataclass(kw_only=True, eq=False)
class TaskRun:
    """One run of a DAG whose only task is called ``task``."""

    airflow: LocalAirflow
    kubectl: Kubectl
    clusters: Kubectl
    ledger: Ledger
    dag_id: str
    seconds: int
    conf: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        # Fit for a label, so that the pods of the run can be found by it.
        self.run_id = f"r{secrets.token_hex(6)}"
        self.airflow.trigger(self.dag_id, {"seconds": self.seconds, **self.conf}, run_id=self.run_id)

    @property
    def mode(self) -> str:
        return "deferred" if self.dag_id.endswith("_deferred") else "synchronous"

    @property
    def state(self) -> str | None:
        return str(self.airflow.task(self.dag_id, self.run_id, "task")["state"])

    @property
    def tries(self) -> int:
        return int(self.airflow.task(self.dag_id, self.run_id, "task")["try_number"])

    @property
    def operator_pods(self) -> list[str]:
        return names_of_pods(self.kubectl, f"kubernetes_pod_operator=True,dag_id={self.dag_id},run_id={self.run_id}")

    @property
    def worker_pods(self) -> list[str]:
        return names_of_pods(self.kubectl, f"kubernetes_executor=True,dag_id={self.dag_id},run_id={self.run_id}")

    def has_printed(self, text: str) -> bool:
        return any(text in self.kubectl("logs", pod, check=False) for pod in self.operator_pods)

    @property
    def began(self) -> int:
        return self.ledger.count(f"began/{self.run_id}")

    @property
    def ended(self) -> int:
        return self.ledger.count(f"ended/{self.run_id}")

    @property
    def run_state(self) -> str:
        return self.airflow.run_state(self.dag_id, self.run_id)

    @property
    def is_over(self) -> bool:
        return self.run_state in FINISHED

    def processes_left(self) -> int:
        """Count what still runs of the job, on whatever cluster there is."""
        count = ("pgrep", "-fc", f"ended/{self.run_id}")
        pods = pods_of_clusters(self.clusters)
        return sum(int(self.clusters("exec", pod, "--", *count, check=False) or 0) for pod in pods)


@pytest.fixture
def start(airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, ledger: Ledger) -> Callable[..., TaskRun]:
    def start(dag_id: str, *, seconds: int = 20) -> TaskRun:
        return TaskRun(
            airflow=airflow, kubectl=kubectl, clusters=clusters, ledger=ledger, dag_id=dag_id, seconds=seconds
        )

    return start


@pytest.fixture(scope="module")
def cluster(airflow: LocalAirflow) -> Iterator[str]:
    run_id = airflow.trigger("e2e_faults_cluster")
    assert airflow.wait_for_run("e2e_faults_cluster", run_id) == "success"
    yield CLUSTER
    run_id = airflow.trigger("e2e_faults_down")
    assert airflow.wait_for_run("e2e_faults_down", run_id) == "success"


# ---- the steps at which something is killed


def provisioning(run: TaskRun) -> bool:
    return run.has_printed("Launching on Kubernetes")


def provisioned(run: TaskRun) -> bool:
    return run.has_printed("Cluster launched")


def job_began(run: TaskRun) -> bool:
    return run.began > 0


def job_ended(run: TaskRun) -> bool:
    return run.ended > 0


def taking_down(run: TaskRun) -> bool:
    return run.has_printed("Taking cluster")


# ---- what is killed


def kill_all_processes(kubectl: Kubectl, pod: str, container: str) -> None:
    kubectl("exec", pod, "-c", container, "--", "sh", "-c", "kill -9 -1", check=False)


def kill_pod(run: TaskRun) -> None:
    for pod in run.operator_pods:
        kill_all_processes(run.kubectl, pod, "base")


def lose_pod(run: TaskRun) -> None:
    for pod in run.operator_pods:
        kill_all_processes(run.kubectl, pod, "base")
        run.kubectl("delete", "pod", pod, "--force", "--grace-period=0", "--ignore-not-found")


def delete_pod(run: TaskRun) -> None:
    for pod in run.operator_pods:
        run.kubectl("delete", "pod", pod, "--wait=false", "--ignore-not-found")


def kill_worker(run: TaskRun) -> None:
    for pod in run.worker_pods:
        kill_all_processes(run.kubectl, pod, "base")


def kill_scheduler(run: TaskRun) -> None:
    (pod,) = names_of_pods(run.kubectl, "app.kubernetes.io/component=airflow")
    kill_all_processes(run.kubectl, pod, "scheduler")


def kill_triggerer(run: TaskRun) -> None:
    (pod,) = names_of_pods(run.kubectl, "app.kubernetes.io/component=airflow")
    kill_all_processes(run.kubectl, pod, "triggerer")


def nothing(run: TaskRun) -> None:
    """Leave a run to what is done to another one at the same time."""


BREAKS_A_TRY = {kill_pod, lose_pod, delete_pod, kill_worker}

WHAT: dict[Callable[[TaskRun], None], str] = {
    kill_pod: "the operator's pod is killed (SIGKILL)",
    lose_pod: "the operator's pod is lost with its node",
    delete_pod: "the operator's pod is deleted, as when its node is drained",
    kill_worker: "Airflow's worker is killed",
    kill_scheduler: "Airflow's scheduler is killed",
    nothing: "Airflow's scheduler is killed",
    kill_triggerer: "Airflow's triggerer is killed",
}
WHEN: dict[Callable[[TaskRun], bool], str] = {
    provisioning: "while its cluster is provisioned",
    provisioned: "between provisioning and submission",
    job_began: "while its job runs",
    job_ended: "after its job, before the result is read",
    taking_down: "while auto_down takes its cluster down",
}


def do_at(
    acts: Sequence[tuple[TaskRun, Callable[[TaskRun], None]]], step: Callable[[TaskRun], bool], seconds: float
) -> None:
    """Do something to each run as soon as it has come to a step."""
    waiting = list(acts)
    deadline = time.monotonic() + seconds
    while waiting:
        for run, act in list(waiting):
            if step(run):
                act(run)
                waiting.remove((run, act))
        assert time.monotonic() < deadline, f"not within {seconds} s: {step.__name__} of {waiting[0][0].run_id}"
        time.sleep(0.3)


def record(faults: FaultTable, what: str, when: str, run: TaskRun, *, began: int = 1, ended: int = 1) -> None:
    """Count what came of a run whose job was to begin and to end so often, its task succeeding if it ended."""
    is_green = run.state == "success"
    faults.record(
        what,
        f"{when}, {run.mode}",
        times=1,
        lost=int(run.ended < ended or (ended > 0 and not is_green)),
        doubled=max(run.began - began, run.ended - ended, 0),
        leaked=run.processes_left() + len(run.operator_pods),
        falsely_green=int(is_green and run.ended < max(ended, 1)),
    )


def wait_for_all(runs: list[TaskRun], seconds: float = SECONDS_TO_END) -> None:
    wait_until("all runs over", lambda: all(run.is_over for run in runs), seconds)
    wait_until("their pods gone", lambda: not any(run.operator_pods for run in runs), SECONDS_TO_STOP)


# ---- once and only once


@pytest.mark.parametrize("step", [job_began, job_ended])
@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(
            [
                (kill_pod, "e2e_exec_cancel"),
                (kill_pod, "e2e_exec_cancel_deferred"),
                (lose_pod, "e2e_exec_cancel"),
                (lose_pod, "e2e_exec_cancel_deferred"),
                (delete_pod, "e2e_exec_leave"),
                (delete_pod, "e2e_exec_leave_deferred"),
                (kill_worker, "e2e_exec_leave"),
            ],
            id="pods",
        ),
        pytest.param([(kill_scheduler, "e2e_exec_cancel"), (nothing, "e2e_exec_cancel_deferred")], id="scheduler"),
        pytest.param([(kill_triggerer, "e2e_exec_cancel_deferred")], id="triggerer"),
    ],
)
def test_a_job_on_a_cluster_runs_once(
    cluster: str,
    start: Callable[..., TaskRun],
    faults: FaultTable,
    kills: list[tuple[Callable[[TaskRun], None], str]],
    step: Callable[[TaskRun], bool],
) -> None:
    runs = [(start(dag_id), kill) for kill, dag_id in kills]
    do_at(runs, step, SECONDS_TO_BEGIN)
    wait_for_all([run for run, _ in runs])
    for run, kill in runs:
        assert run.tries == (2 if kill in BREAKS_A_TRY else 1)
        record(faults, WHAT[kill], f"exec: {WHEN[step]}", run)


@pytest.mark.parametrize("step", [provisioning, provisioned, taking_down])
def test_a_cluster_is_launched_once(
    start: Callable[..., TaskRun], faults: FaultTable, step: Callable[[TaskRun], bool]
) -> None:
    runs = [(start("e2e_launch", seconds=5), kill) for kill in (kill_pod, lose_pod)]
    do_at(runs, step, SECONDS_TO_BEGIN)
    wait_for_all([run for run, _ in runs])
    for run, kill in runs:
        assert run.tries == 2
        record(faults, WHAT[kill], f"launch: {WHEN[step]}", run)


def test_a_pod_that_is_deleted_before_it_is_scheduled_is_made_again(
    cluster: str, start: Callable[..., TaskRun], faults: FaultTable, kubectl: Kubectl
) -> None:
    nodes = [node["metadata"]["name"] for node in kubectl.get("nodes")["items"]]
    run = start("e2e_exec_cancel")
    wait_until("the worker", lambda: "Running" in _phases(kubectl, run.worker_pods), SECONDS_TO_BEGIN)
    kubectl("cordon", *nodes)
    try:
        wait_until("the operator's pod", lambda: run.operator_pods, SECONDS_TO_BEGIN)
        assert _phases(kubectl, run.operator_pods) == ["Pending"]
        delete_pod(run)
    finally:
        kubectl("uncordon", *nodes)
    wait_for_all([run])
    assert run.tries == 2
    record(faults, WHAT[delete_pod], "exec: before it is scheduled", run)


def _phases(kubectl: Kubectl, pods: list[str]) -> list[str]:
    return [kubectl.get("pod", pod)["status"]["phase"] for pod in pods]


def test_a_cleared_task_begins_afresh(cluster: str, start: Callable[..., TaskRun], airflow: LocalAirflow) -> None:
    run = start("e2e_exec_cancel", seconds=1)
    wait_for_all([run])
    assert (run.began, run.state) == (1, "success")
    airflow.clear(run.dag_id, run.run_id)
    wait_until("the job again", lambda: run.began == 2, SECONDS_TO_BEGIN)
    wait_for_all([run])
    assert (run.ended, run.state) == (2, "success")


# ---- told to stop


def mark_failed(run: TaskRun) -> None:
    run.airflow.set_task_state(run.dag_id, run.run_id, "task", "failed")


def by_itself(run: TaskRun) -> None:
    """Wait for a timeout of the DAG's."""


@pytest.mark.parametrize(
    ("what", "prefix", "stop"),
    [
        pytest.param("the task is marked failed", "e2e_exec", mark_failed, id="mark_failed"),
        pytest.param("execution_timeout is over", "e2e_execution_timeout", by_itself, id="execution_timeout"),
        pytest.param("dagrun_timeout is over", "e2e_dagrun_timeout", by_itself, id="dagrun_timeout"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "_deferred"])
def test_a_task_that_is_stopped_is_not_green_and_its_job_is_cancelled_or_left(
    cluster: str,
    start: Callable[..., TaskRun],
    faults: FaultTable,
    what: str,
    prefix: str,
    stop: Callable[[TaskRun], None],
    suffix: str,
) -> None:
    cancelled = start(f"{prefix}_cancel{suffix}", seconds=SECONDS_OF_A_LONG_JOB)
    left = start(f"{prefix}_leave{suffix}", seconds=SECONDS_OF_A_JOB_THAT_IS_LEFT)
    do_at([(cancelled, stop), (left, stop)], job_began, SECONDS_TO_BEGIN)
    wait_for_all([cancelled, left], SECONDS_TO_STOP)
    assert {cancelled.state, left.state} <= {"failed", "skipped"}
    assert cancelled.run_state == left.run_state == "failed"
    wait_until("the job that was left", lambda: left.ended, SECONDS_TO_STOP)
    record(faults, what, "on_cancel=cancel, while its job runs", cancelled, ended=0)
    faults.record(
        what,
        f"on_cancel=leave, while its job runs, {left.mode}",
        times=1,
        lost=int(left.ended != 1),
        doubled=left.began - 1,
        leaked=len(left.operator_pods),
        falsely_green=int(left.state == "success"),
    )


@pytest.mark.parametrize("suffix", ["", "_deferred"])
def test_a_task_that_is_cleared_while_its_job_runs_cancels_it_and_begins_afresh(
    cluster: str, start: Callable[..., TaskRun], faults: FaultTable, airflow: LocalAirflow, suffix: str
) -> None:
    run = start(f"e2e_exec_cancel{suffix}", seconds=40)
    do_at([(run, lambda run: airflow.clear(run.dag_id, run.run_id))], job_began, SECONDS_TO_BEGIN)
    wait_until("the job again", lambda: run.began == 2, SECONDS_TO_BEGIN)
    wait_for_all([run])
    record(faults, "the task is cleared", "on_cancel=cancel, while its job runs", run, began=2)
