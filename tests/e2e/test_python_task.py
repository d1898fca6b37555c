"""Python functions on a cluster of a block: values, exceptions, requirements, and an end whatever happened."""

from __future__ import annotations

import pytest
from local_airflow import LocalAirflow, without_noise

pytestmark = pytest.mark.slow

DAG_ID = "e2e_python_task"


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    return run_id


def test_a_value_goes_there_and_comes_back(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "round_trip")["state"] == "success"
    assert airflow.xcom(DAG_ID, run_id, "round_trip") == {
        "given": {"numbers": [1, 2.5, None], "text": "Zoë's $HOME"},
        "run_id": run_id,
    }
    assert "the function runs" in without_noise(airflow.log(DAG_ID, run_id, "round_trip"))


def test_a_deferred_function_has_its_requirements_and_another_tasks_value(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "greet")["state"] == "success"
    assert airflow.xcom(DAG_ID, run_id, "greet") == "hello Zoë's $HOME"


def test_an_exception_fails_the_task_with_its_traceback(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "fail")["state"] == "failed"
    result = airflow.xcom(DAG_ID, run_id, "fail", "result")
    assert result["reason"].startswith("ValueError: no data in part 3 (Job ")
    assert (result["exit_code"], result["job_status"], result["job_exit_codes"]) == (65, "FAILED", [1])
    log = airflow.log(DAG_ID, run_id, "fail")
    assert "SkyJobFailedFastError" in log
    assert 'raise ValueError(f"no data in part {part}")' in log


def test_the_cluster_goes_and_the_run_has_failed(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "down_shared")["state"] == "success"
    name = airflow.xcom(DAG_ID, run_id, "launch_shared")
    assert airflow.xcom(DAG_ID, run_id, "down_shared") == name
    assert airflow.run_state(DAG_ID, run_id) == "failed"
