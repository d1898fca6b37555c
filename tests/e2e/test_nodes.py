"""Pods on two nodes: machines that talk over the wire between them, and a node that loses its power."""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, pods_of_clusters, wait_until
from local_airflow import AIRFLOW_NAME, FINISHED
from local_pods import postgres, volume
from local_postgres import NAME as AIRFLOW_POSTGRES
from nodes import Nodes, node_of, power_cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults import FaultTable
    from ledger import Ledger
    from local_airflow import Kubectl, LocalAirflow

SECONDS_TO_BEGIN = 600
SECONDS_TO_EVICTION = 480
"""Kubernetes waits 50 s for a node that is silent, and 300 s more before it gives its pods up."""
SECONDS_TO_END = 1200
CONNECTION = "e2e_nodes"
AIRFLOW_PODS = "app.kubernetes.io/component=airflow"
DRAINED = {
    "runner": "the operator's pod",
    "worker": "Airflow's worker",
    "both": "the worker and the operator's pod",
    "triggerer": "all of Airflow",
}
LOST = {**DRAINED, "head": "the cluster"}


@pytest.fixture
def nodes(kubectl: Kubectl) -> Iterator[Nodes]:
    nodes = Nodes(kubectl)
    yield nodes
    nodes.all()


@pytest.mark.slow
def test_the_machines_of_a_cluster_reach_each_other_across_nodes(
    airflow: LocalAirflow, clusters: Kubectl, ledger: Ledger, nodes: Nodes
) -> None:
    run_id = f"r{secrets.token_hex(6)}"
    airflow.trigger("e2e_two_machines", run_id=run_id)
    places: set[str | None] = set()

    def both_have_a_node() -> bool:
        places.update(node_of(clusters, pod) for pod in pods_of_clusters(clusters))
        return len(places - {None}) == 2

    wait_until("two machines on two nodes", both_have_a_node, SECONDS_TO_BEGIN)
    assert airflow.wait_for_run("e2e_two_machines", run_id) == "success"
    assert places - {None} == set(nodes.names)
    assert ledger.count(f"talked/{run_id}") == 1
    assert "the second machine" in airflow.log("e2e_two_machines", run_id, "task")


class Run:
    """A run of a DAG whose only task is called ``task``, with its pods placed one by one."""

    def __init__(self, airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, ledger: Ledger, dag_id: str) -> None:
        self.airflow, self.kubectl, self.clusters, self.ledger = airflow, kubectl, clusters, ledger
        self.dag_id = dag_id
        self.run_id = f"r{secrets.token_hex(6)}"

    def begin(self, nodes: Nodes, *, worker: str, runner: str, head: str, seconds: int) -> None:
        """Start the run and wait for its job, with each pod on the node that is given for it."""
        before = set(pods_of_clusters(self.clusters))
        nodes.only(worker)
        self.airflow.trigger(self.dag_id, {"seconds": seconds}, run_id=self.run_id)
        places = [
            self._place(worker, lambda: [(self.kubectl, pod) for pod in self._pods("kubernetes_executor=True")]),
            self._place(runner, lambda: [(self.kubectl, pod) for pod in self.runners], nodes),
            self._place(
                head,
                lambda: [(self.clusters, pod) for pod in pods_of_clusters(self.clusters) if pod not in before],
                nodes,
            ),
        ]
        assert places == [worker, runner, head]
        nodes.all()
        wait_until(f"the job of {self.dag_id}", lambda: self.count("began"), SECONDS_TO_BEGIN)

    def _place(
        self, node: str, pods: Callable[[], list[tuple[Kubectl, str]]], nodes: Nodes | None = None
    ) -> str | None:
        if nodes is not None:
            nodes.only(node)
        wait_until(f"a pod on {node}", lambda: any(node_of(*pod) for pod in pods()), SECONDS_TO_BEGIN)
        ((kubectl, pod),) = pods()
        return node_of(kubectl, pod)

    def _pods(self, selector: str) -> list[str]:
        return names_of_pods(self.kubectl, f"{selector},dag_id={self.dag_id},run_id={self.run_id}")

    @property
    def runners(self) -> list[str]:
        return self._pods("kubernetes_pod_operator=True")

    def count(self, word: str) -> int:
        return self.ledger.count(f"{word}/{self.run_id}")

    @property
    def state(self) -> str:
        return self.airflow.run_state(self.dag_id, self.run_id)

    @property
    def has_lost_a_try(self) -> bool:
        return int(self.airflow.task(self.dag_id, self.run_id, "task")["try_number"]) > 1


@pytest.fixture
def safe_node(airflow: LocalAirflow, kubectl: Kubectl, ledger: Ledger, nodes: Nodes) -> Iterator[str]:
    """The node of Airflow, its database, the ledger and SkyPilot's database: whoever counts must not be lost."""
    safe = node_of(kubectl, f"{AIRFLOW_POSTGRES}-0")
    assert safe is not None
    move_airflow(airflow, nodes, safe)
    ledger.start()
    with postgres(kubectl) as secret, volume(kubectl, "e2e-nodes", "ReadWriteMany") as claim:
        extra = {"state_mode": "database", "database_secret": secret, "volume_claim": claim, "deployment": "e2e-nodes"}
        delete_connection(airflow)
        connection = {"connection_id": CONNECTION, "conn_type": "skypilot", "extra": json.dumps(extra)}
        airflow.request("POST", "/connections", connection)
        yield safe
        delete_connection(airflow)


def move_airflow(airflow: LocalAirflow, nodes: Nodes, node: str) -> None:
    nodes.only(node)
    airflow.kubectl("rollout", "restart", f"deployment/{AIRFLOW_NAME}")
    airflow.kubectl("rollout", "status", f"deployment/{AIRFLOW_NAME}", "--timeout=300s")
    airflow.wait_until_ready()


def delete_connection(airflow: LocalAirflow) -> None:
    with contextlib.suppress(RuntimeError):
        airflow.request("DELETE", f"/connections/{CONNECTION}")


@pytest.mark.slow
def test_a_node_that_loses_its_power(
    airflow: LocalAirflow,
    kubectl: Kubectl,
    clusters: Kubectl,
    ledger: Ledger,
    nodes: Nodes,
    faults: FaultTable,
    safe_node: str,
) -> None:
    """One node is lost under a runner, a worker, both of one task, and the cluster of another."""
    (lost_node,) = nodes.others(safe_node)
    under = ("runner", "worker", "both", "head")
    runs = {lost: Run(airflow, kubectl, clusters, ledger, f"e2e_node_lost_under_{lost}") for lost in under}
    runs["runner"].begin(nodes, worker=safe_node, runner=lost_node, head=safe_node, seconds=720)
    runs["worker"].begin(nodes, worker=lost_node, runner=safe_node, head=safe_node, seconds=600)
    runs["both"].begin(nodes, worker=lost_node, runner=lost_node, head=safe_node, seconds=480)
    runs["head"].begin(nodes, worker=safe_node, runner=safe_node, head=lost_node, seconds=60)
    assert not any(run.count("ended") for run in runs.values())
    with power_cut(lost_node):
        wait_until("Kubernetes to miss the node", lambda: not nodes.is_ready(lost_node), SECONDS_TO_EVICTION)
        wait_until(
            "Kubernetes to give the runners up",
            lambda: all(is_given_up(kubectl, pod) for lost in ("runner", "both") for pod in runs[lost].runners),
            SECONDS_TO_EVICTION,
        )
    wait_until("all runs over", lambda: all(run.state in FINISHED for run in runs.values()), SECONDS_TO_END)
    for lost, run in runs.items():
        record_power_cut(faults, run, lost)
    wait_until("no cluster is left", lambda: pods_of_clusters(clusters) == [], SECONDS_TO_BEGIN)


@pytest.mark.slow
def test_a_node_that_loses_its_power_under_airflow(
    airflow: LocalAirflow,
    kubectl: Kubectl,
    clusters: Kubectl,
    ledger: Ledger,
    nodes: Nodes,
    faults: FaultTable,
    safe_node: str,
) -> None:
    """The scheduler, the API server and the triggerer of a deferred task are lost; their database is not."""
    (lost_node,) = nodes.others(safe_node)
    move_airflow(airflow, nodes, lost_node)
    run = Run(airflow, kubectl, clusters, ledger, "e2e_node_lost_under_triggerer")
    run.begin(nodes, worker=safe_node, runner=safe_node, head=safe_node, seconds=600)
    with power_cut(lost_node):
        wait_until(
            "another pod of Airflow",
            lambda: any(node_of(kubectl, pod) == safe_node for pod in names_of_pods(kubectl, AIRFLOW_PODS)),
            SECONDS_TO_EVICTION,
        )
        airflow.wait_until_ready()
        wait_until("the run over", lambda: run.state in FINISHED, SECONDS_TO_END)
    record_power_cut(faults, run, "triggerer")
    wait_until("no cluster is left", lambda: pods_of_clusters(clusters) == [], SECONDS_TO_BEGIN)


def record_power_cut(faults: FaultTable, run: Run, lost: str) -> None:
    assert run.state == "success", lost
    assert run.has_lost_a_try != (lost == "triggerer"), lost
    begins, ends = run.count("began"), run.count("ended")
    # A job that is lost with its machine begins again.
    wanted = 2 if lost == "head" else 1
    assert begins >= wanted, lost
    faults.record(
        "a node loses its power",
        f"with {LOST[lost]} on it, while the job runs, {deferred(lost)}",
        times=1,
        lost=1 - min(ends, 1),
        doubled=begins - wanted + max(ends - 1, 0),
        leaked=len(run.runners),
        falsely_green=int(ends == 0),
    )


def deferred(under: str) -> str:
    return "deferred" if under == "triggerer" else "synchronous"


def is_given_up(kubectl: Kubectl, pod: str) -> bool:
    found = kubectl("get", "pod", pod, "--ignore-not-found", "-o", "json")
    return not found or "deletionTimestamp" in json.loads(found)["metadata"]


@pytest.mark.slow
def test_a_node_that_is_drained(
    airflow: LocalAirflow,
    kubectl: Kubectl,
    clusters: Kubectl,
    ledger: Ledger,
    nodes: Nodes,
    faults: FaultTable,
    safe_node: str,
) -> None:
    (drained,) = nodes.others(safe_node)
    runs = {what: Run(airflow, kubectl, clusters, ledger, f"e2e_node_drained_under_{what}") for what in DRAINED}
    runs["worker"].begin(nodes, worker=drained, runner=safe_node, head=safe_node, seconds=420)
    runs["runner"].begin(nodes, worker=safe_node, runner=drained, head=safe_node, seconds=320)
    runs["both"].begin(nodes, worker=drained, runner=drained, head=safe_node, seconds=200)
    assert not any(run.count("ended") for run in runs.values())
    nodes.drain(drained)
    move_airflow(airflow, nodes, drained)
    runs["triggerer"].begin(nodes, worker=safe_node, runner=safe_node, head=safe_node, seconds=140)
    nodes.drain(drained)
    airflow.wait_until_ready()
    wait_until("all runs over", lambda: all(run.state in FINISHED for run in runs.values()), SECONDS_TO_END)
    for what, run in runs.items():
        assert run.has_lost_a_try != (what == "triggerer"), what
        faults.record(
            "a node is drained",
            f"with {DRAINED[what]} on it, while the job runs, {deferred(what)}",
            times=1,
            lost=int(run.count("ended") == 0) + int(run.state != "success"),
            doubled=run.count("began") - 1,
            leaked=len(run.runners),
            falsely_green=int(run.count("ended") == 0),
        )
    wait_until("no cluster is left", lambda: pods_of_clusters(clusters) == [], SECONDS_TO_BEGIN)
