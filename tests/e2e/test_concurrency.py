"""Many pods at once on one state, on a volume and in a PostgreSQL: nothing hangs, is lost, or is done twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import wait_until
from local_pods import LABEL, EndedPod, create, pod_of, postgres, run_together, settings, volume, wait_for

from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyDownOperator,
    SkyExecOperator,
    SkyLaunchOperator,
    SkyQueueOperator,
    SkyStatusOperator,
)
from k8s_sky_provider.protocol import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faults import FaultTable
    from ledger import Ledger
    from local_airflow import Kubectl

    from k8s_sky_provider.operators import SkyBaseOperator

DEPLOYMENT = "e2e-concurrency"
FIRST, SECOND = f"{DEPLOYMENT}-1", f"{DEPLOYMENT}-2"
SECONDS = 1800
"""Long enough for 2 busy processors: each exec takes the cluster several starts of Python."""
IN_DATABASE = {"state_mode": "database", "volume_claim": None}
SMALL = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}


@pytest.fixture(autouse=True)
def clusters_gone(kubectl: Kubectl, clusters: Kubectl) -> Iterator[None]:
    """Take away what a test that fails leaves behind: the state that knows of it goes, too."""
    yield
    for name in (FIRST, SECOND):
        clusters("delete", "pods,services", "-l", f"skypilot-cluster={name}-{DEPLOYMENT}", "--ignore-not-found")
    kubectl("delete", "pods", "-l", f"{LABEL}=true", "--ignore-not-found", "--now")


@pytest.fixture
def on_volume(kubectl: Kubectl) -> Iterator[dict[str, Any]]:
    """A new volume; what operators that use it are given."""
    with volume(kubectl, DEPLOYMENT) as claim, settings(kubectl):
        yield {"volume_claim": claim, "deployment": DEPLOYMENT}


@pytest.fixture
def in_database(kubectl: Kubectl) -> Iterator[dict[str, Any]]:
    """A new PostgreSQL, and no volume at all; what operators that use it are given."""
    with postgres(kubectl) as secret, settings(kubectl, **IN_DATABASE, database_secret=secret):
        yield {"deployment": DEPLOYMENT}


@pytest.fixture
def state(request: pytest.FixtureRequest) -> dict[str, Any]:
    given: dict[str, Any] = request.getfixturevalue(request.param)
    return given


both_modes = pytest.mark.parametrize("state", ["on_volume", "in_database"], indirect=True, ids=["volume", "database"])


class Pods:
    """Makes pods of operators with names that count up, on nodes by turns if these are given."""

    def __init__(self, arguments: dict[str, Any], nodes: Sequence[str] = ()) -> None:
        self.arguments = arguments
        self.nodes = nodes
        self.made: list[dict[str, Any]] = []
        self.number = 0

    def add(self, operator: Callable[..., SkyBaseOperator], times: int = 1, **arguments: Any) -> None:
        for _ in range(times):
            self.number += 1
            name = f"{DEPLOYMENT}-pod-{self.number}"
            made = operator(task_id=name, kubernetes_conn_id=None, **self.arguments, **arguments)
            pod = pod_of(made, name)
            if self.nodes:
                node = self.nodes[self.number % len(self.nodes)]
                pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
            self.made.append(pod)

    def take(self) -> list[dict[str, Any]]:
        """Return the pods that were added since the last time."""
        pods, self.made = self.made, []
        return pods


def values(ended: dict[str, EndedPod], action: str) -> list[Any]:
    return [pod.result.return_value for pod in ended.values() if pod.result and pod.result.action == action]


def count_failures(ended: dict[str, EndedPod]) -> int:
    """Return how many pods did not end well, and show how."""
    bad = {name: pod for name, pod in ended.items() if pod.exit_code != 0 or "database is locked" in pod.log}
    for name, pod in bad.items():
        print(f"{name} {pod.end}")
    return len(bad)


def task(ledger_key: str) -> dict[str, Any]:
    return {"run": f"curl -sf http://e2e-ledger/{ledger_key}"}


def test_eight_pods_meet_on_a_new_volume(on_volume: dict[str, Any], kubectl: Kubectl, faults: FaultTable) -> None:
    pods = Pods(on_volume)
    pods.add(SkyStatusOperator, times=6)
    pods.add(SkyDownOperator, times=2, cluster_name="*")
    ended = run_together(kubectl, pods.take(), SECONDS)
    faults.record(
        "8 pods on a volume that is new",
        "6 status, 2 down",
        times=1,
        lost=count_failures(ended),
        doubled=0,
        leaked=0,
        falsely_green=sum(value != [] for value in values(ended, "status")),
    )


@pytest.mark.slow
@both_modes
def test_32_pods_at_once(
    state: dict[str, Any], request: pytest.FixtureRequest, kubectl: Kubectl, ledger: Ledger, faults: FaultTable
) -> None:
    mode = request.node.callspec.id
    # A volume has one node; a database has them all.
    nodes = [node["metadata"]["name"] for node in kubectl.get("nodes")["items"]] if mode == "database" else []
    pods = Pods(state, nodes)
    key = f"concurrency-{mode}-{time.time():.0f}"

    # Nothing is there yet: tables, keys and catalogs are made by whoever comes first.
    pods.add(
        SkyLaunchOperator,
        cluster_name=FIRST,
        sky_task_yaml=task(f"{key}/launch/1") | {"resources": SMALL},
        auto_down=False,
    )
    pods.add(
        SkyLaunchOperator,
        cluster_name=SECOND,
        sky_task_yaml=task(f"{key}/launch/2") | {"resources": SMALL},
        auto_down=False,
        wait=False,
    )
    pods.add(SkyStatusOperator, times=28)
    first = pods.take()
    started = create(kubectl, first)
    # Who takes a cluster down that is being launched queues behind the launch.
    launching = first[1]["metadata"]["name"]
    wait_until("the launch", lambda: "Launching on Kubernetes" in kubectl("logs", launching, check=False), SECONDS)
    pods.add(SkyDownOperator, cluster_name=SECOND)
    pods.add(SkyDownOperator, cluster_name=SECOND)
    downs = pods.take()
    create(kubectl, downs)
    ended = wait_for(kubectl, [pod["metadata"]["name"] for pod in first + downs], started, SECONDS)
    lost = count_failures(ended)
    rows = [row for value in values(ended, "status") for row in value]
    wrong = [row for row in rows if row["name"] not in {FIRST, SECOND} or row["status"] not in {"INIT", "UP"}]
    waited = [name for name, pod in ended.items() if f"is at work on cluster {SECOND}" in pod.log]
    assert waited, "nobody waited for the launch"

    pods.add(SkyExecOperator, times=16, cluster_name=FIRST, sky_task_yaml=task(f"{key}/exec"))
    pods.add(SkyStatusOperator, times=12)
    pods.add(SkyQueueOperator, times=3, cluster_name=FIRST)
    pods.add(SkyAutostopOperator, cluster_name=FIRST, idle_minutes=30, down=True)
    ended = run_together(kubectl, pods.take(), SECONDS)
    places = {pod.node for pod in ended.values()}
    assert len(places) == max(len(nodes), 1)
    lost += count_failures(ended)
    wrong += [
        row for value in values(ended, "status") for row in value if (row["name"], row["status"]) != (FIRST, "UP")
    ]
    wrong += [value for value in values(ended, "status") if len(value) != 1]
    ran = ledger.count(f"{key}/exec")

    pods.add(SkyQueueOperator, cluster_name=FIRST)
    ended = run_together(kubectl, pods.take(), SECONDS)
    lost += count_failures(ended)
    (queue,) = values(ended, "queue")
    assert len(queue) == 1 + 16
    assert {job["status"] for job in queue} == {"SUCCEEDED"}
    assert len({job["job_id"] for job in queue}) == len(queue)

    pods.add(SkyDownOperator, cluster_name=FIRST)
    lost += count_failures(run_together(kubectl, pods.take(), SECONDS))
    pods.add(SkyStatusOperator)
    (left,) = values(run_together(kubectl, pods.take(), SECONDS), "status")
    assert wrong == []
    faults.record(
        "32 pods at once on one state",
        f"launches, execs on one cluster, status, downs; {mode} mode, nodes: {len(places)}",
        times=2,
        lost=lost + max(16 - ran, 0),
        doubled=max(ran - 16, 0) + ledger.count(f"{key}/launch/1") - 1,
        leaked=len(left),
        falsely_green=max(16 - ran, 0),
    )


@pytest.mark.slow
def test_notes_and_locks_in_a_real_database(in_database: dict[str, Any], kubectl: Kubectl) -> None:
    pods = Pods(in_database)
    pods.add(SkyStatusOperator)
    (pod,) = pods.take()
    program = Path(__file__).with_name("database_store.py").read_text()
    pod["spec"]["containers"][0] |= {"command": ["python"], "args": ["-c", program.replace("$", "$$")]}
    (ended,) = run_together(kubectl, [pod], SECONDS).values()
    assert ended.log.splitlines()[-1] == "all is well", ended.log
    assert "this task may not have been alone at work on demo" in ended.log


WRONG_URIS = {
    "nobody listens": ("postgresql://sky:secret-word@127.0.0.1:1/sky", ExitCode.TRY_AGAIN, "out of reach"),
    "no such host": ("postgresql://sky:secret-word@no-such-host/sky", ExitCode.TRY_AGAIN, "out of reach"),
    "wrong password": (
        "postgresql://postgres:secret-word@e2e-postgres/postgres",
        ExitCode.CREDENTIALS_REFUSED,
        "refuses its user",
    ),
    "no such database": (
        "postgresql://postgres:a%2Fpass%40word@e2e-postgres/nothing",
        ExitCode.DEPLOYMENT_WRONG,
        "cannot be used",
    ),
    "another driver": ("mysql://sky:secret-word@db/sky", ExitCode.DEPLOYMENT_WRONG, "cannot be read"),
    "not a URI": ("sky:secret-word", ExitCode.DEPLOYMENT_WRONG, "cannot be read"),
}


@pytest.mark.slow
def test_a_database_that_cannot_be_used_says_why_and_nothing_of_its_uri(
    in_database: dict[str, Any], kubectl: Kubectl, faults: FaultTable
) -> None:
    pods = Pods(in_database)
    for number, (uri, _, _) in enumerate(WRONG_URIS.values()):
        kubectl("create", "secret", "generic", f"{DEPLOYMENT}-{number}", f"--from-literal=uri={uri}")
    try:
        for number in range(len(WRONG_URIS)):
            with settings(
                kubectl, state_mode="database", volume_claim=None, database_secret=f"{DEPLOYMENT}-{number}/uri"
            ):
                pods.add(SkyStatusOperator)
        ended = run_together(kubectl, pods.take(), SECONDS)
    finally:
        for number in range(len(WRONG_URIS)):
            kubectl("delete", "secret", f"{DEPLOYMENT}-{number}")
    wrong = 0
    for (what, (uri, exit_code, words)), pod in zip(WRONG_URIS.items(), ended.values(), strict=True):
        assert pod.result is not None, f"{what}: {pod.log}"
        assert (pod.exit_code, words in pod.result.reason) == (exit_code, True), f"{what}: {pod.result.reason}"
        for text in (uri, "secret-word", "pass@word", "a%2Fpass"):
            assert text not in pod.log, what
            assert text not in pod.result.reason, what
        wrong += pod.exit_code == 0
    faults.record(
        "a database that is away or refuses",
        "before an action, database mode",
        times=len(WRONG_URIS),
        lost=0,
        doubled=0,
        leaked=0,
        falsely_green=wrong,
    )
