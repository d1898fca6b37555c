"""A service on the local cluster: it answers, gets another version, and is taken down with its controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

DAG_ID = "sky_serving"
TIMEOUT = 1800


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id, timeout=TIMEOUT)
    return run_id


def test_the_run_succeeds(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.run_state(DAG_ID, run_id) == "success"


def test_the_service_answers_at_the_endpoint(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "ask") == "one"


def test_the_new_version_serves_alone_at_the_same_endpoint(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "update") == airflow.xcom(DAG_ID, run_id, "up")
    (row,) = airflow.xcom(DAG_ID, run_id, "status")
    assert (row["status"], row["active_versions"]) == ("READY", [2])


def test_the_service_is_taken_down(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "down") == ["greeter"]


def test_the_endpoint_is_a_link_of_the_task(airflow: LocalAirflow, run_id: str) -> None:
    links = airflow.request("GET", f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/up/links")["extra_links"]
    assert links["Service endpoint"] == f"http://{airflow.xcom(DAG_ID, run_id, 'up').removeprefix('http://')}"
