"""No example DAG leaves anything behind when its first job fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import wait_until

if TYPE_CHECKING:
    from local_airflow import Kubectl, LocalAirflow

EXAMPLES = [
    *("sky_hello", "sky_quickstart", "sky_training_pipeline", "sky_fan_out", "sky_python_task", "sky_migrated"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("sky_managed_job", "sky_serving")),
]
SECONDS_FOR_PODS_TO_GO = 120


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_whose_first_job_fails_leaves_nothing(airflow: LocalAirflow, kubectl: Kubectl, example: str) -> None:
    dag_id = f"e2e_failing_{example}"
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    # A run fails with the last of its tasks; the machines of clusters go a little later.
    wait_until(
        "the clusters' pods are gone",
        lambda: not kubectl.get("pods", "-l", "parent=skypilot")["items"],
        SECONDS_FOR_PODS_TO_GO,
    )
    status = airflow.trigger("e2e_all_clusters")
    assert airflow.wait_for_run("e2e_all_clusters", status) == "success"
    assert airflow.xcom("e2e_all_clusters", status, "status") == []
