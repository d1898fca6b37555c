"""A managed job on the local cluster: submitted by one task, waited for by another, and its controller taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

DAG_ID = "sky_managed_job"
TIMEOUT = 1500


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id, timeout=TIMEOUT)
    return run_id


def test_the_run_succeeds(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.run_state(DAG_ID, run_id) == "success"


def test_the_waiting_task_shows_what_both_tasks_of_the_job_wrote(airflow: LocalAirflow, run_id: str) -> None:
    log = airflow.log(DAG_ID, run_id, "wait")
    assert "Preparing" in log
    assert "Training as job" in log
    assert airflow.xcom(DAG_ID, run_id, "wait") == airflow.xcom(DAG_ID, run_id, "launch")


def test_the_queue_has_both_tasks(airflow: LocalAirflow, run_id: str) -> None:
    rows = airflow.xcom(DAG_ID, run_id, "queue")
    assert [(row["task_name"], row["status"]) for row in rows] == [("prepare", "SUCCEEDED"), ("train", "SUCCEEDED")]


def test_there_was_nothing_left_to_cancel(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "cancel") == []
