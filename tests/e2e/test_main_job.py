"""The main job: the demo's DAG, from its first pod to its last."""

from __future__ import annotations

import re

import pytest
from local_airflow import LocalAirflow, without_noise

DAG_ID = "sky_quickstart"


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    return run_id


def test_the_demo_dag_succeeds(airflow: LocalAirflow, run_id: str) -> None:
    states = airflow.task_states(DAG_ID, run_id)
    assert states == {"launch": "success", "exec": "success", "status": "success", "down": "success"}
    assert airflow.run_state(DAG_ID, run_id) == "success"


def test_launch_returns_the_name_of_its_cluster_and_the_rest_chain_on_it(airflow: LocalAirflow, run_id: str) -> None:
    name = airflow.xcom(DAG_ID, run_id, "launch")
    assert re.fullmatch(r"sky-quickstart-launch-[0-9a-f]{8}", name)
    assert airflow.xcom(DAG_ID, run_id, "exec") == name
    assert airflow.xcom(DAG_ID, run_id, "down") == name


def test_the_job_prints_into_the_task_log_what_setup_left_on_the_machine(airflow: LocalAirflow, run_id: str) -> None:
    launched = re.search(r"Hello from (\S+), which has made by setup", airflow.log(DAG_ID, run_id, "launch"))
    executed = re.search(r"The same machine: (\S+) still has made by setup", airflow.log(DAG_ID, run_id, "exec"))
    assert launched
    assert executed
    assert launched[1] == executed[1]


def test_another_pod_sees_the_cluster_up(airflow: LocalAirflow, run_id: str) -> None:
    rows = airflow.xcom(DAG_ID, run_id, "status")
    assert [(row["name"], row["status"], row["nodes"]) for row in rows] == [
        (airflow.xcom(DAG_ID, run_id, "launch"), "UP", 1)
    ]


def test_the_whole_result_is_in_xcom(airflow: LocalAirflow, run_id: str) -> None:
    result = airflow.xcom(DAG_ID, run_id, "exec", "result")
    assert (result["action"], result["exit_code"], result["job_status"]) == ("exec", 0, "SUCCEEDED")
    assert result["job_id"] == 2


@pytest.mark.parametrize("task_id", ["launch", "exec", "status", "down"])
def test_the_log_has_plain_lines_only(airflow: LocalAirflow, run_id: str, task_id: str) -> None:
    printed = without_noise(airflow.log(DAG_ID, run_id, task_id))
    assert printed
    assert "\x1b" not in printed
    assert "sky-payload" not in printed
    assert "\r" not in printed
    assert "MethodNotAllowed" not in printed


def test_the_first_dag_of_the_readme_runs(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger("sky_hello")
    assert airflow.wait_for_run("sky_hello", run_id) == "success"
    assert "Hello from " in without_noise(airflow.log("sky_hello", run_id, "hello"))
