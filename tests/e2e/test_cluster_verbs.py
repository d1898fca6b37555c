"""Every verb for clusters and their jobs, on one cluster that was launched without waiting for its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

DAG_ID = "e2e_cluster_verbs"

FAILED = {"stop", "wait_for_failure", "wait_for_cancelled"}
SUCCEEDED = {
    "launch",
    "wait_for_job",
    "last_line",
    "sync_down",
    "provision",
    "fails",
    "sleeps",
    "cancel",
    "queue",
    "unfinished",
    "autostop",
    "status",
    "start",
    "cost_report",
    "nothing",
    "down",
}


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    return run_id


@pytest.fixture(scope="module")
def cluster(airflow: LocalAirflow, run_id: str) -> str:
    return str(airflow.xcom(DAG_ID, run_id, "launch"))


@pytest.mark.parametrize("task_id", sorted(SUCCEEDED | FAILED))
def test_a_task_ends_as_its_verb_does(airflow: LocalAirflow, run_id: str, task_id: str) -> None:
    state = airflow.task(DAG_ID, run_id, task_id)["state"]
    assert state == ("success" if task_id in SUCCEEDED else "failed")


def test_a_launch_that_does_not_wait_leaves_its_job_to_the_one_that_does(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "launch", "result")["job_status"] is None
    assert airflow.xcom(DAG_ID, run_id, "wait_for_job", "result")["job_status"] == "SUCCEEDED"
    log = airflow.log(DAG_ID, run_id, "wait_for_job")
    assert [number for number in range(1, 6) if f"line {number} of 5" in log] == [1, 2, 3, 4, 5]


def test_a_tail_is_the_end_of_the_log(airflow: LocalAirflow, run_id: str) -> None:
    log = airflow.log(DAG_ID, run_id, "last_line")
    assert "line 5 of 5" in log
    assert "line 1 of 5" not in log


def test_files_are_copied_below_the_logs_of_the_volume(airflow: LocalAirflow, run_id: str, cluster: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "sync_down").startswith(f"/home/sky/sky_logs/{cluster}/1-")


def test_how_the_cluster_was_provisioned_is_shown(airflow: LocalAirflow, run_id: str, cluster: str) -> None:
    assert f"Cluster launched: {cluster}" in airflow.log(DAG_ID, run_id, "provision")


@pytest.mark.parametrize(
    ("task_id", "exit_code", "job_status", "job_exit_codes"),
    [("wait_for_failure", 65, "FAILED", [3]), ("wait_for_cancelled", 143, "CANCELLED", [])],
)
def test_a_followed_job_ends_its_task_as_it_ended(
    *, airflow: LocalAirflow, run_id: str, task_id: str, exit_code: int, job_status: str, job_exit_codes: list[int]
) -> None:
    result = airflow.xcom(DAG_ID, run_id, task_id, "result")
    assert (result["exit_code"], result["job_status"]) == (exit_code, job_status)
    if job_exit_codes:
        assert result["job_exit_codes"] == job_exit_codes


def test_the_queue_has_all_jobs_and_none_is_left(airflow: LocalAirflow, run_id: str) -> None:
    rows = airflow.xcom(DAG_ID, run_id, "queue")
    assert [(row["job_id"], row["status"]) for row in rows] == [(3, "CANCELLED"), (2, "FAILED"), (1, "SUCCEEDED")]
    assert airflow.xcom(DAG_ID, run_id, "unfinished") == []


def test_an_autostop_shows_in_the_status(airflow: LocalAirflow, run_id: str, cluster: str) -> None:
    (row,) = airflow.xcom(DAG_ID, run_id, "status")
    assert (row["name"], row["status"], row["autostop"], row["to_down"]) == (cluster, "UP", 45, True)
    assert row["ip"]
    assert row["endpoints"] == {}


def test_a_stop_that_kubernetes_cannot_do_fails_with_skypilots_reason(airflow: LocalAirflow, run_id: str) -> None:
    result = airflow.xcom(DAG_ID, run_id, "stop", "result")
    assert (result["exit_code"], result["error"]) == (64, "NotSupportedError")
    assert "Stopping is currently not supported" in result["reason"]


def test_a_start_of_a_cluster_that_is_up_leaves_it_alone(airflow: LocalAirflow, run_id: str, cluster: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "start") == [cluster]
    assert "is already up" in airflow.log(DAG_ID, run_id, "start")


def test_the_cost_report_has_the_cluster(airflow: LocalAirflow, run_id: str, cluster: str) -> None:
    (row,) = airflow.xcom(DAG_ID, run_id, "cost_report")
    assert (row["name"], row["total_cost"]) == (cluster, 0.0)
    assert row["duration"] > 0


def test_a_glob_takes_down_what_it_matches(airflow: LocalAirflow, run_id: str, cluster: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "nothing") == []
    assert airflow.xcom(DAG_ID, run_id, "down") == [cluster]
