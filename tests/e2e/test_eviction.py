"""A pod that is evicted costs a try and nothing else; a kill stays one.

Several runs are evicted side by side, each at its own moment. Those of ``exec`` and ``logs`` share a cluster.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, pods_of_clusters, wait_until
from local_airflow import AIRFLOW_NAME
from test_faults import (
    SECONDS_OF_A_LONG_JOB,
    SECONDS_TO_BEGIN,
    SECONDS_TO_END,
    SECONDS_TO_STOP,
    WHEN,
    TaskRun,
    do_at,
    job_began,
    mark_failed,
    nothing,
    provisioned,
    provisioning,
    taking_down,
    wait_for_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faults import FaultTable
    from ledger import Ledger
    from local_airflow import Kubectl, LocalAirflow

pytestmark = pytest.mark.slow

SECONDS_OF_A_JOB = 60
"""More than retry_delay and what the next try takes to begin: the same job is still at work then."""
SECONDS_OF_A_JOB_WITHOUT_AIRFLOW = 150
"""More than Airflow takes to come back."""
SECONDS_OF_SETUP = 20
SECONDS_WITHOUT_AIRFLOWS_API = 45
SECONDS_OF_SILENCE = 5
"""Airflow's supervisor hangs when SIGTERM interrupts it while it logs a line (docs/reliability.md)."""
SECONDS_LATER = 4
"""An evicted pod waits longer than that for the word of a kill."""

# ---- what is evicted


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


WHAT: dict[Callable[[TaskRun], None], str] = {
    evict_pod: "the operator's pod is evicted",
    evict_worker: "Airflow's worker is evicted",
    evict_both: "the worker and the operator's pod are evicted",
}


# ---- the steps at which it is


def pod_began(run: TaskRun) -> bool:
    return run.has_printed("k8s_sky_provider ")


def setting_up(run: TaskRun) -> bool:
    return run.ledger.count(f"setup/{run.run_id}") > 0


PHASES = {
    **WHEN,
    pod_began: "before its cluster",
    setting_up: "in its setup",
}


@pytest.fixture
def start(airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, ledger: Ledger) -> Callable[..., TaskRun]:
    def start(dag_id: str, *, seconds: int = SECONDS_OF_A_JOB, **conf: object) -> TaskRun:
        return TaskRun(
            airflow=airflow,
            kubectl=kubectl,
            clusters=clusters,
            ledger=ledger,
            dag_id=f"e2e_evicted_{dag_id}",
            seconds=seconds,
            conf=conf,
        )

    return start


def run_dag(airflow: LocalAirflow, dag_id: str) -> None:
    assert airflow.wait_for_run(dag_id, airflow.trigger(dag_id)) == "success"


@pytest.fixture(scope="module", autouse=True)
def cluster(airflow: LocalAirflow) -> Iterator[None]:
    run_dag(airflow, "e2e_evicted_cluster")
    yield
    run_dag(airflow, "e2e_evicted_cluster_down")


@pytest.fixture
def controller_down(airflow: LocalAirflow) -> Iterator[Callable[[str], None]]:
    """Return what has the controller of managed jobs (``jobs``) or of services (``serve``) taken down afterwards."""
    kinds: list[str] = []
    yield kinds.append
    for kind in kinds:
        run_dag(airflow, f"e2e_evicted_{kind}_controller_down")


def clusters_of(run: TaskRun) -> list[str]:
    """Return the machines of the clusters that runs of the same DAG have launched."""
    return pods_of_clusters(run.clusters, f"{run.dag_id.replace('_', '-')}-task")


def record(faults: FaultTable, what: str, when: str, run: TaskRun, *, tries: int, began: int = 1) -> None:
    """Count what came of a run whose job was to begin so often and to end once."""
    assert run.tries == tries, f"{what}, {when}"
    processes = run.ledger.calls(f"process/{run.run_id}/")
    faults.record(
        what,
        f"{when}, {run.mode}, a try is left",
        times=1,
        lost=int(run.ended == 0) + int(run.run_state != "success"),
        doubled=run.began - began + max(run.ended - 1, 0) + len(processes) - began,
        leaked=run.processes_left() + len(run.operator_pods),
        falsely_green=int(run.run_state == "success" and run.ended == 0),
    )


def record_kill(faults: FaultTable, what: str, when: str, run: TaskRun, *, began: int = 1) -> None:
    """Count what came of a run whose job was to begin so often and to be ended."""
    # SkyPilot ends the processes of a job that is cancelled some seconds later.
    wait_until("the job's processes are gone", lambda: not run.processes_left(), SECONDS_TO_STOP)
    faults.record(
        what,
        f"{when}, {run.mode}",
        times=1,
        lost=0,
        doubled=run.began - began,
        leaked=run.processes_left() + len(run.operator_pods),
        falsely_green=int(run.state == "success" or run.ended > 0),
    )


# ---- an eviction


@pytest.mark.parametrize("step", [pod_began, provisioning, provisioned, setting_up, job_began, taking_down])
def test_an_evicted_launch_goes_on(
    start: Callable[..., TaskRun], faults: FaultTable, step: Callable[[TaskRun], bool]
) -> None:
    evicted = [(evict_pod, ""), (evict_pod, "_deferred"), (evict_worker, "")]
    if step is job_began:
        evicted.append((evict_both, ""))
    seconds = {"seconds_of_setup": SECONDS_OF_SETUP} if step is setting_up else {}
    seconds |= {"seconds": 5} if step is taking_down else {}
    runs = [(start(f"launch{suffix}", **seconds), act) for act, suffix in evicted]
    do_at(runs, step, SECONDS_TO_BEGIN)
    wait_for_all([run for run, _ in runs])
    for run, act in runs:
        record(faults, WHAT[act], f"launch: {PHASES[step]}", run, tries=2)
        wait_until("its cluster is down", functools.partial(lambda run: not clusters_of(run), run), SECONDS_TO_STOP)


def test_an_evicted_task_on_a_cluster_goes_on(start: Callable[..., TaskRun], faults: FaultTable) -> None:
    # The pods that follow a job's log come after the one that submits it.
    verbs = {"exec": ("while its job runs", SECONDS_OF_A_JOB), "logs": ("while a job is followed", 120)}
    evicted = [(evict_pod, ""), (evict_pod, "_deferred"), (evict_worker, ""), (evict_both, "")]
    for verb, (when, seconds) in verbs.items():
        runs = [(start(f"{verb}{suffix}", seconds=seconds), act) for act, suffix in evicted]
        do_at(runs, job_is_followed, SECONDS_TO_BEGIN)
        wait_for_all([run for run, _ in runs])
        for run, act in runs:
            record(faults, WHAT[act], f"{verb}: {when}", run, tries=2)


def job_is_followed(run: TaskRun) -> bool:
    return run.has_printed("the job has begun")


def test_an_evicted_managed_job_goes_on(
    start: Callable[..., TaskRun], faults: FaultTable, controller_down: Callable[[str], None]
) -> None:
    controller_down("jobs")
    runs = [(start("job_deferred"), evict_pod), (start("job"), evict_worker)]
    # The controller of a small machine launches one after the other.
    do_at(runs, job_began, 2 * SECONDS_TO_BEGIN)
    wait_for_all([run for run, _ in runs])
    for run, act in runs:
        record(faults, WHAT[act], "managed job: while it runs", run, tries=2)


def test_an_evicted_serve_up_goes_on(
    start: Callable[..., TaskRun], faults: FaultTable, controller_down: Callable[[str], None]
) -> None:
    controller_down("serve")
    run = start("serve")
    do_at([(run, evict_pod)], job_began, 2 * SECONDS_TO_BEGIN)
    wait_for_all([run], 2 * SECONDS_TO_END)
    assert run.tries == 2
    faults.record(
        WHAT[evict_pod],
        "serve up: while the service gets ready, synchronous, a try is left",
        times=1,
        lost=int(run.run_state != "success"),
        doubled=run.began - 1,
        leaked=len(run.operator_pods),
        falsely_green=0,
    )


def test_an_evicted_command_is_ended_and_run_again(start: Callable[..., TaskRun], faults: FaultTable) -> None:
    runs = [(start("ssh"), evict_pod), (start("ssh_deferred"), evict_pod)]
    do_at(runs, job_began, SECONDS_TO_BEGIN)
    wait_for_all([run for run, _ in runs])
    for run, act in runs:
        record(faults, WHAT[act], "ssh: while its command runs", run, tries=2, began=2)


def test_an_evicted_airflow_goes_on(start: Callable[..., TaskRun], faults: FaultTable, airflow: LocalAirflow) -> None:
    """Airflow's own pod has the scheduler, the API server and the triggerer."""
    dags = ["launch", "launch_deferred", "exec", "exec_deferred", "logs_deferred"]
    runs = [start(dag, seconds=SECONDS_OF_A_JOB_WITHOUT_AIRFLOW) for dag in dags]
    do_at([(run, nothing) for run in runs], job_is_followed, SECONDS_TO_BEGIN)
    evict(airflow.kubectl, names_of_pods(airflow.kubectl, "app.kubernetes.io/component=airflow"))
    airflow.kubectl("rollout", "status", f"deployment/{AIRFLOW_NAME}", "--timeout=300s")
    airflow.wait_until_ready()
    wait_for_all(runs, 2 * SECONDS_TO_END)
    for run in runs:
        verb = run.dag_id.removeprefix("e2e_evicted_").partition("_")[0]
        record(faults, "the whole Airflow pod is evicted", f"{verb}: while its job runs", run, tries=run.tries)


def test_two_evictions_in_a_row(start: Callable[..., TaskRun], faults: FaultTable) -> None:
    runs = [(start("exec", seconds=200), act) for act in (evict_pod, evict_worker)]
    do_at(runs, job_is_followed, SECONDS_TO_BEGIN)
    do_at(runs, on_its_second_try, SECONDS_TO_BEGIN)
    wait_for_all([run for run, _ in runs])
    for run, act in runs:
        record(faults, f"{WHAT[act]}, and again", "exec: while its job runs", run, tries=3)


def on_its_second_try(run: TaskRun) -> bool:
    """Tell whether the second try follows the pod that runs."""
    pods = run.kubectl.get("pods", "-l", f"kubernetes_pod_operator=True,run_id={run.run_id}")["items"]
    followed_by = {pod["metadata"]["annotations"]["k8s-sky/try"] for pod in pods}
    is_ending = any("deletionTimestamp" in pod["metadata"] for pod in pods)
    return followed_by == {"2"} and not is_ending and job_is_followed(run)


@contextlib.contextmanager
def airflows_api_is_away(airflow: LocalAirflow) -> Iterator[None]:
    """Leave Airflow's service without an API server, and break the connections that there are."""
    kubectl = airflow.kubectl
    selector = kubectl.get("service", AIRFLOW_NAME)["spec"]["selector"]
    patch = ("patch", "service", AIRFLOW_NAME, "--type=json", "-p")
    nobody = {**selector, "app.kubernetes.io/component": "nobody"}
    kubectl(*patch, json.dumps([{"op": "replace", "path": "/spec/selector", "value": nobody}]))
    try:
        kubectl("exec", f"deployment/{AIRFLOW_NAME}", "-c", "api-server", "--", "sh", "-c", "kill -9 -1", check=False)
        yield
    finally:
        kubectl(*patch, json.dumps([{"op": "replace", "path": "/spec/selector", "value": selector}]))
        airflow.wait_until_ready()


def test_an_eviction_while_airflows_api_is_away(
    start: Callable[..., TaskRun], faults: FaultTable, airflow: LocalAirflow
) -> None:
    runs = [(start("exec", seconds=SECONDS_OF_A_JOB_WITHOUT_AIRFLOW), act) for act in (evict_worker, evict_pod)]
    do_at([(run, nothing) for run, _ in runs], job_is_followed, SECONDS_TO_BEGIN)
    with airflows_api_is_away(airflow):
        for run, act in runs:
            act(run)
        time.sleep(SECONDS_WITHOUT_AIRFLOWS_API)
    wait_for_all([run for run, _ in runs])
    for run, act in runs:
        record(faults, f"{WHAT[act]} while Airflow's API is away", "exec: while its job runs", run, tries=2)


# ---- a kill


def evict_in_silence(runs: Sequence[tuple[TaskRun, Callable[[TaskRun], None]]]) -> None:
    do_at([(run, nothing) for run, _ in runs], job_is_followed, SECONDS_TO_BEGIN)
    time.sleep(SECONDS_OF_SILENCE)
    for run, act in runs:
        act(run)


PAIRS = [
    pytest.param([(evict_pod, ""), (evict_worker, "")], id="synchronous"),
    pytest.param([(evict_pod, "_deferred")], id="deferred"),
]
"""Two long jobs fit on the cluster that they share."""


@pytest.mark.parametrize("evicted", PAIRS)
def test_an_eviction_on_the_last_try_is_a_kill(
    start: Callable[..., TaskRun], faults: FaultTable, evicted: list[tuple[Callable[[TaskRun], None], str]]
) -> None:
    runs = [
        (start(f"{verb}_one_try{suffix}", seconds=SECONDS_OF_A_LONG_JOB), act)
        for verb in ("launch", "exec")
        for act, suffix in evicted
    ]
    evict_in_silence(runs)
    wait_for_all([run for run, _ in runs])
    for run, act in runs:
        wait_until("its cluster is down", functools.partial(lambda run: not clusters_of(run), run), SECONDS_TO_STOP)
        verb = run.dag_id.removeprefix("e2e_evicted_").partition("_")[0]
        record_kill(faults, WHAT[act], f"{verb}: while its job runs, no try is left", run)


@pytest.mark.parametrize("evicted", PAIRS)
def test_an_eviction_that_is_to_be_a_kill_ends_the_job(
    start: Callable[..., TaskRun], faults: FaultTable, evicted: list[tuple[Callable[[TaskRun], None], str]]
) -> None:
    """The next try begins the job anew."""
    runs = [(start(f"exec{suffix}", seconds=SECONDS_OF_A_LONG_JOB, on_eviction="kill"), act) for act, suffix in evicted]
    evict_in_silence(runs)
    for run, _ in runs:
        wait_until("the job begins anew", functools.partial(lambda run: run.began == 2, run), SECONDS_TO_BEGIN)
        assert run.processes_left() == 1
        mark_failed(run)
    wait_for_all([run for run, _ in runs], SECONDS_TO_STOP)
    for run, act in runs:
        record_kill(faults, WHAT[act], "exec: while its job runs, on_eviction=kill", run, began=2)


def test_tries_that_are_left_are_counted_anew_by_each_try(start: Callable[..., TaskRun], faults: FaultTable) -> None:
    """The pod of the first try is taken up by the second and last one."""
    run = start("exec_two_tries", seconds=SECONDS_OF_A_LONG_JOB)
    do_at([(run, evict_worker)], job_is_followed, SECONDS_TO_BEGIN)
    do_at([(run, evict_pod)], on_its_second_try, SECONDS_TO_BEGIN)
    wait_for_all([run], SECONDS_TO_STOP)
    record_kill(faults, "the worker is evicted, then the operator's pod", "exec: on the last try", run)
    assert (run.run_state, run.tries) == ("failed", 2)


def evict_pod_and_mark_failed(run: TaskRun) -> None:
    evict_pod(run)
    mark_failed(run)


def mark_failed_and_evict_worker(run: TaskRun) -> None:
    mark_failed(run)
    evict_worker(run)


def evict_worker_and_mark_failed(run: TaskRun) -> None:
    evict_worker(run)
    mark_failed(run)


def evict_pod_and_mark_failed_later(run: TaskRun) -> None:
    evict_pod(run)
    time.sleep(SECONDS_LATER)
    mark_failed(run)


WAYS: dict[Callable[[TaskRun], None], str] = {
    evict_pod_and_mark_failed: f"{WHAT[evict_pod]}, and its task is marked failed within the second",
    evict_worker_and_mark_failed: f"{WHAT[evict_worker]}, and its task is marked failed within the second",
    mark_failed_and_evict_worker: f"the task is marked failed, and {WHAT[evict_worker]} within the second",
    evict_pod_and_mark_failed_later: f"{WHAT[evict_pod]}, and its task is marked failed {SECONDS_LATER} s later",
}


@pytest.mark.parametrize(
    "acts",
    [
        [("exec", evict_pod_and_mark_failed), ("exec_deferred", evict_pod_and_mark_failed)],
        [("exec", evict_worker_and_mark_failed), ("exec", mark_failed_and_evict_worker)],
        [("exec", evict_pod_and_mark_failed_later)],
    ],
    ids=["pod", "worker", "later"],
)
def test_a_kill_during_an_eviction_is_a_kill(
    start: Callable[..., TaskRun], faults: FaultTable, acts: list[tuple[str, Callable[[TaskRun], None]]]
) -> None:
    runs = [(start(dag, seconds=SECONDS_OF_A_LONG_JOB), act) for dag, act in acts]
    evict_in_silence(runs)
    wait_for_all([run for run, _ in runs], SECONDS_TO_STOP)
    for run, act in runs:
        record_kill(faults, WAYS[act], "exec: while its job runs", run)


def test_a_kill_right_after_an_eviction_is_a_kill(start: Callable[..., TaskRun], faults: FaultTable) -> None:
    runs = [(start("exec", seconds=SECONDS_OF_A_LONG_JOB), act) for act in (evict_pod, evict_worker)]
    do_at(runs, job_is_followed, SECONDS_TO_BEGIN)
    do_at([(run, mark_failed) for run, _ in runs], on_its_second_try, SECONDS_TO_BEGIN)
    wait_for_all([run for run, _ in runs], SECONDS_TO_STOP)
    for run, act in runs:
        record_kill(faults, "the task is marked failed", f"exec: on the try after {WHAT[act]}", run)


def test_a_task_that_is_marked_failed_between_two_tries_is_reaped(
    start: Callable[..., TaskRun], airflow: LocalAirflow, faults: FaultTable
) -> None:
    run = start("long_delay", seconds=SECONDS_OF_A_LONG_JOB)
    do_at([(run, evict_worker)], job_is_followed, SECONDS_TO_BEGIN)
    wait_until("it waits for its next try", lambda: run.state == "up_for_retry", SECONDS_TO_END)
    mark_failed(run)
    run_dag(airflow, "e2e_evicted_reap")
    wait_until("no pod", lambda: not run.operator_pods, SECONDS_TO_STOP)
    record_kill(faults, "the task is marked failed", "exec: between two tries, then SkyReapOperator runs", run)
