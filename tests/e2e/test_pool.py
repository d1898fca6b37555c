"""A pool on the local cluster: its worker runs two jobs, then nothing is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from local_airflow import without_noise

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

DAG_ID = "e2e_pool"
TIMEOUT = 1800


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id, timeout=TIMEOUT)
    return run_id


def test_the_run_succeeds(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.run_state(DAG_ID, run_id) == "success"


def test_both_jobs_ran_on_the_worker(airflow: LocalAirflow, run_id: str) -> None:
    assert len(airflow.xcom(DAG_ID, run_id, "launch")) == 2
    for index in range(2):
        assert "the worker is ready" in without_noise(airflow.log(DAG_ID, run_id, "logs", map_index=index))


def test_the_pool_had_its_worker(airflow: LocalAirflow, run_id: str) -> None:
    (pool,) = airflow.xcom(DAG_ID, run_id, "status")
    assert pool["name"] == "e2e-pool"
    assert len(pool["workers"]) == 1


def test_the_pool_is_taken_down(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "down") == ["e2e-pool"]
