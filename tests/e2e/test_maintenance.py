"""What a run has left behind is shown, then taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from local_airflow import without_noise

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

pytestmark = pytest.mark.slow


def test_the_cluster_of_a_run_that_is_over_is_shown_and_taken_down(airflow: LocalAirflow) -> None:
    left = airflow.trigger("e2e_left_behind")
    assert airflow.wait_for_run("e2e_left_behind", left) == "success"
    name = airflow.xcom("e2e_left_behind", left, "launch")
    run_id = airflow.trigger("sky_maintenance")
    assert airflow.wait_for_run("sky_maintenance", run_id) == "success"
    (row,) = airflow.xcom("sky_maintenance", run_id, "clusters")
    assert (row["name"], row["dag_id"], row["run_id"]) == (name, "e2e_left_behind", left)
    shown = without_noise(airflow.log("sky_maintenance", run_id, "show"))
    assert f"Cluster {name}: its run {left} of DAG e2e_left_behind is over" in shown
    assert "Terminating" not in shown
    assert airflow.xcom("sky_maintenance", run_id, "show") == [name]
    assert airflow.xcom("sky_maintenance", run_id, "reap") == [name]
    second = airflow.trigger("sky_maintenance")
    airflow.wait_for_run("sky_maintenance", second)
    assert airflow.xcom("sky_maintenance", second, "reap") == []
