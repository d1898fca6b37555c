"""Jobs on one cluster: what they print, how they end, deferred and not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from local_airflow import Kubectl, LocalAirflow, without_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

DAG_ID = "e2e_one_cluster"


TOKEN = "e2e-token-of-20-char"


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow, kubectl: Kubectl) -> Iterator[str]:
    kubectl("delete", "secret", "e2e-token", "--ignore-not-found")
    kubectl("create", "secret", "generic", "e2e-token", f"--from-literal=E2E_TOKEN={TOKEN}")
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    yield run_id
    kubectl("delete", "secret", "e2e-token")


def test_a_deferred_launch_of_a_yaml_beside_the_dag_succeeds(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "launch")["state"] == "success"
    assert f"greetings in {run_id}" in without_noise(airflow.log(DAG_ID, run_id, "launch"))


def test_a_job_that_exits_3_fails_the_task_with_that_code(airflow: LocalAirflow, run_id: str) -> None:
    task = airflow.task(DAG_ID, run_id, "exits_3")
    assert task["state"] == "failed"
    assert "ended as FAILED, exit codes by node: [3]" in airflow.log(DAG_ID, run_id, "exits_3", task["try_number"])
    result = airflow.xcom(DAG_ID, run_id, "exits_3", "result")
    assert (result["exit_code"], result["job_status"], result["job_exit_codes"]) == (65, "FAILED", [3])


def test_a_failed_job_is_retried_unless_told_to_fail_fast(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "exits_3")["try_number"] == 2
    assert airflow.task(DAG_ID, run_id, "exits_3_fast")["try_number"] == 1


def test_a_deferred_job_that_exits_3_fails_the_task_as_a_synchronous_one_does(
    airflow: LocalAirflow, run_id: str
) -> None:
    assert airflow.task(DAG_ID, run_id, "exits_3_fast")["state"] == "failed"
    assert "SkyJobFailedFastError" in airflow.log(DAG_ID, run_id, "exits_3_fast")
    assert airflow.xcom(DAG_ID, run_id, "exits_3_fast", "result")["job_exit_codes"] == [3]


def test_a_deferred_job_succeeds_and_its_log_is_whole(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "deferred")["state"] == "success"
    log = airflow.log(DAG_ID, run_id, "deferred")
    assert [number for number in range(1, 6) if f"line {number} of 5" in log] == [1, 2, 3, 4, 5]
    assert airflow.xcom(DAG_ID, run_id, "deferred") == airflow.xcom(DAG_ID, run_id, "launch")


def test_a_secret_reaches_the_job_by_reference_and_is_shown_nowhere(airflow: LocalAirflow, run_id: str) -> None:
    log = airflow.log(DAG_ID, run_id, "secret")
    assert "the token is ***" in log
    assert f"it has {len(TOKEN)} letters" in log
    shown = [log, airflow.task(DAG_ID, run_id, "secret"), airflow.xcom(DAG_ID, run_id, "secret", "result")]
    assert TOKEN not in json.dumps(shown)


def test_a_refreshed_status_names_the_cluster(airflow: LocalAirflow, run_id: str) -> None:
    assert [row["status"] for row in airflow.xcom(DAG_ID, run_id, "status_of_many")] == ["UP"]


def test_taking_down_a_cluster_that_is_gone_is_no_error(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "down_again")["state"] == "success"
    assert "is gone already" in airflow.log(DAG_ID, run_id, "down_again")


def test_a_run_whose_jobs_failed_has_failed_although_its_teardown_succeeded(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "down")["state"] == "success"
    assert airflow.run_state(DAG_ID, run_id) == "failed"


def pods_seen(kubectl: Kubectl, part_of_name: str) -> set[str]:
    """Return the pods that Kubernetes' events of the last hour tell of."""
    objects = [event["involvedObject"] for event in kubectl.get("events")["items"]]
    return {one["name"] for one in objects if one["kind"] == "Pod" and part_of_name in one["name"]}


def test_the_cluster_was_in_the_namespace_of_clusters(kubectl: Kubectl, clusters: Kubectl, run_id: str) -> None:
    heads = {name for name in pods_seen(clusters, "e2e-one-cluster") if name.endswith("-head")}
    assert heads, run_id
    assert pods_seen(kubectl, "e2e-one-cluster") & heads == set()
