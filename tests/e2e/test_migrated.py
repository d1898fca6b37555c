"""A DAG of airflow-provider-skypilot after its move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from local_airflow import without_noise

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

DAG_ID = "sky_migrated"


def test_all_of_its_tasks_succeed_and_the_model_comes_down(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    assert set(airflow.task_states(DAG_ID, run_id).values()) == {"success"}
    assert "a model of" in without_noise(airflow.log(DAG_ID, run_id, "sky_exec"))
    assert airflow.xcom(DAG_ID, run_id, "sky_ssh", "ssh_exit") == 0
    assert "sky_workdir/" in airflow.log(DAG_ID, run_id, "sky_rsync_down")
    names = {airflow.xcom(DAG_ID, run_id, task) for task in ("sky_launch", "sky_exec", "sky_rsync_down", "sky_down")}
    assert len(names) == 1
