"""Each way to fail, provoked for real: the typed exception, SkyPilot's own reason in its first line, the retries."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import pods_of_clusters
from said_once import assert_said_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults import FaultTable
    from local_airflow import Kubectl, LocalAirflow

DAG_ID = "e2e_outcomes"
SLOW_DAG_ID = "e2e_outcomes_slow"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task of the DAG ends.

    :param error: the exception of its last try
    :param exit_code: the runner's; None if it did not come to say one
    :param first_line: what the first line of the reason has
    :param tail: what the log below it has
    :param tries: how often the retry policy, or the exception's class, lets it be tried
    :param fault: what was broken and when, for the fault table
    """

    task_id: str
    error: str
    exit_code: int | None
    first_line: tuple[str, ...]
    tail: str = ""
    tries: int = 1
    fault: tuple[str, str] | None = None


OUTCOMES = (
    Outcome(
        task_id="no_resources",
        error="SkyResourcesUnavailableError",
        exit_code=69,
        first_line=("Cluster e2e-outcomes-no-resources-", "does not contain any instances satisfying the request"),
        tail="No resource satisfying Kubernetes(cpus=64",
        tries=2,
    ),
    Outcome(
        task_id="no_credentials",
        error="SkyCredentialsError",
        exit_code=77,
        first_line=("requires aws which is not enabled", "SkyCheckOperator"),
    ),
    Outcome(
        task_id="no_rights",
        error="SkyCredentialsError",
        exit_code=77,
        first_line=("is forbidden: User", "e2e-viewer", "cannot create resource"),
        tail="Launching on Kubernetes",
    ),
    Outcome(
        task_id="quota",
        error="SkyTransientError",
        exit_code=None,
        first_line=("exceeded quota: e2e-no-quota",),
        tries=2,
    ),
    Outcome(
        task_id="out_of_memory",
        error="SkyPodFailedError",
        exit_code=None,
        first_line=("The pod ran out of memory; raise container_resources",),
        tries=2,
        fault=("the operator's pod runs out of memory", "before its runner can say so"),
    ),
    Outcome(
        task_id="volume_full",
        error="SkyDeploymentError",
        exit_code=78,
        first_line=("No space left on device", "The volume must have free space"),
        fault=("the volume is full", "at the start"),
    ),
)
SLOW_OUTCOMES = (
    Outcome(
        task_id="quota_of_cluster",
        error="SkyResourcesUnavailableError",
        exit_code=69,
        first_line=("Cluster e2e-outcomes-slow-quota", "is forbidden: exceeded quota: e2e-no-quota"),
        tail="Failed to provision resources",
        tries=2,
    ),
    Outcome(
        task_id="image_of_cluster",
        error="SkyRequestError",
        exit_code=64,
        first_line=("ErrImagePull", "no-such-image:1: not found", "image_id"),
        tail="Failed to provision resources",
    ),
    Outcome(
        task_id="dns_gone",
        error="SkyTransientError",
        exit_code=75,
        first_line=("git.example.com: Temporary failure in name resolution", "Failed to access repository"),
        tries=2,
        fault=("DNS is gone", "a task's repository is looked for"),
    ),
    Outcome(
        task_id="api_gone",
        error="SkyTransientError",
        exit_code=75,
        first_line=("Timed out when trying to get node info from Kubernetes cluster",),
        tail="All Kubernetes contexts are unreachable",
        tries=2,
        fault=("the Kubernetes API is away from the pod", "at the start of a launch"),
    ),
    Outcome(
        task_id="evicted",
        error="SkyPodFailedError",
        exit_code=None,
        first_line=("Evicted", "ephemeral"),
        tries=2,
        fault=("the operator's pod is evicted", "for its use of the node's disk"),
    ),
    Outcome(
        task_id="volume_full_later",
        error="SkyDeploymentError",
        exit_code=78,
        first_line=("The volume with SkyPilot's state is full, make room there",),
        fault=("the volume is full", "when a cluster is to be made"),
    ),
    Outcome(
        task_id="setup_failed",
        error="SkySetupFailedError",
        exit_code=66,
        first_line=("Job 1 on cluster e2e-outcomes-slow-setup-failed-", "ended as FAILED_SETUP", "[7]"),
        tail="no package of that name",
    ),
    Outcome(
        task_id="one_node_failed",
        error="SkyJobFailedError",
        exit_code=65,
        first_line=("ended as FAILED, exit codes by node: [", "3", "137"),
        tail="bad data in part 7",
    ),
    Outcome(
        task_id="job_out_of_memory",
        error="SkyJobFailedError",
        exit_code=65,
        first_line=("exit codes by node: [137]", "killed, mostly for want of memory"),
        tail="loading",
        fault=("a job runs out of memory", "on its cluster"),
    ),
)


@pytest.fixture(scope="module")
def limited(kubectl: Kubectl, clusters: Kubectl) -> Iterator[None]:
    """Have a priority class that no pod may have, and a ServiceAccount that may look and nothing else."""
    account = {"kind": "ServiceAccount", "name": "e2e-viewer", "namespace": kubectl.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "e2e-viewer"}
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["e2e-no-quota"]}
    quota: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "e2e-no-quota"},
        "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}},
    }
    objects: list[dict[str, Any]] = [
        quota,
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "e2e-no-quota"},
            "value": 0,
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "e2e-viewer"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "e2e-viewer"},
            "rules": [
                {
                    "apiGroups": ["", "node.k8s.io", "storage.k8s.io"],
                    "resources": ["*"],
                    "verbs": ["get", "list", "watch"],
                }
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "e2e-viewer"},
            "roleRef": role,
            "subjects": [account],
        },
    ]
    kubectl.apply(*objects)
    clusters.apply(quota)
    yield
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("delete", "-f", "-", "--ignore-not-found", stdin=manifest)
    clusters("delete", "resourcequota", "e2e-no-quota", "--ignore-not-found")


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow, limited: None) -> str:
    return run(airflow, DAG_ID)


@pytest.fixture(scope="module")
def slow_run_id(airflow: LocalAirflow, limited: None) -> str:
    return run(airflow, SLOW_DAG_ID)


def run(airflow: LocalAirflow, dag_id: str) -> str:
    run_id = airflow.trigger(dag_id)
    airflow.wait_for_run(dag_id, run_id, timeout=2400)
    return run_id


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.task_id)
def test_a_failure_says_what_it_is(
    airflow: LocalAirflow, clusters: Kubectl, faults: FaultTable, run_id: str, outcome: Outcome
) -> None:
    check(airflow, clusters, faults, DAG_ID, run_id, outcome)


@pytest.mark.slow
@pytest.mark.parametrize("outcome", SLOW_OUTCOMES, ids=lambda outcome: outcome.task_id)
def test_a_failure_that_takes_longer_says_what_it_is(
    airflow: LocalAirflow, clusters: Kubectl, faults: FaultTable, slow_run_id: str, outcome: Outcome
) -> None:
    check(airflow, clusters, faults, SLOW_DAG_ID, slow_run_id, outcome)


@pytest.mark.slow
def test_a_launch_outlives_an_api_that_is_away_for_a_minute(
    airflow: LocalAirflow, clusters: Kubectl, faults: FaultTable, slow_run_id: str
) -> None:
    task = airflow.task(SLOW_DAG_ID, slow_run_id, "api_away")
    tries = range(1, task["try_number"] + 1)
    ran = sum(
        line.endswith(") it ran")
        for number in tries
        for line in airflow.log(SLOW_DAG_ID, slow_run_id, "api_away", number).splitlines()
    )
    faults.record(
        "the Kubernetes API is away from the pod for a minute",
        "while a cluster is provisioned",
        times=1,
        lost=int(ran == 0),
        doubled=max(0, ran - 1),
        leaked=len(pods_of_task(clusters, "api_away")),
        falsely_green=int(task["state"] == "success" and ran == 0),
    )
    assert task["state"] == "success"


def check(
    airflow: LocalAirflow, clusters: Kubectl, faults: FaultTable, dag_id: str, run_id: str, outcome: Outcome
) -> None:
    task = airflow.task(dag_id, run_id, outcome.task_id)
    result = airflow.xcom(dag_id, run_id, outcome.task_id, "result")
    if outcome.fault:
        what, when = outcome.fault
        faults.record(
            what,
            when,
            times=task["try_number"],
            lost=int(task["state"] not in {"failed", "success"}),
            doubled=max(0, task["try_number"] - outcome.tries),
            leaked=len(pods_of_task(clusters, outcome.task_id)),
            falsely_green=int(task["state"] == "success"),
        )
    assert (task["state"], task["try_number"]) == ("failed", outcome.tries)
    assert (result and result["exit_code"]) == outcome.exit_code
    raised = f"{outcome.error}: "
    log = airflow.log(dag_id, run_id, outcome.task_id, outcome.tries)
    first_line, _, below = log[log.index(raised) :].partition("\n")
    assert [text for text in outcome.first_line if text not in first_line] == []
    assert outcome.tail in below
    assert_said_once(log, outcome.error)
    assert pods_of_task(clusters, outcome.task_id) == []


def pods_of_task(clusters: Kubectl, task_id: str) -> list[str]:
    """Return the pods of a task's cluster."""
    return pods_of_clusters(clusters, f"-{task_id.replace('_', '-')[:12]}")
