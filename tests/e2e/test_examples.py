"""The example DAGs that no other module runs."""

from __future__ import annotations

import pytest
from local_airflow import LocalAirflow, without_noise

pytestmark = pytest.mark.slow


def test_the_training_pipeline(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger("sky_training_pipeline")
    assert airflow.wait_for_run("sky_training_pipeline", run_id) == "success"
    assert "800 points to train with" in without_noise(airflow.log("sky_training_pipeline", run_id, "preprocess"))
    assert "epoch 150 loss" in without_noise(airflow.log("sky_training_pipeline", run_id, "train"))
    assert "loss of the test data: 0.0" in without_noise(airflow.log("sky_training_pipeline", run_id, "evaluate"))


def test_the_fan_out(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger("sky_fan_out")
    assert airflow.wait_for_run("sky_fan_out", run_id) == "success"
    first = without_noise(airflow.log("sky_fan_out", run_id, "shard", map_index=0))
    assert "168 primes from 0 to 1000" in first
    assert "550 primes in all" in without_noise(airflow.log("sky_fan_out", run_id, "total"))


def test_the_python_functions(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger("sky_python_task")
    assert airflow.wait_for_run("sky_python_task", run_id) == "success"
    assert airflow.xcom("sky_python_task", run_id, "total") == pytest.approx(3.141592, abs=1e-5)
    assert airflow.xcom("sky_python_task", run_id, "where").startswith("sky-python-task-where-")
