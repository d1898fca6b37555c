"""No example DAG leaves anything behind when its first job fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import pods_of_clusters, wait_until

if TYPE_CHECKING:
    from local_airflow import Kubectl, LocalAirflow

# A node of two CPUs has room for the clusters of three.
SHORT = ("sky_hello", "sky_quickstart", "sky_training_pipeline")
LONGER = ("sky_fan_out", "sky_python_task", "sky_migrated")
BY_CONTROLLERS = ("sky_managed_job", "sky_serving")
SECONDS_FOR_PODS_TO_GO = 120


@pytest.mark.slow
@pytest.mark.parametrize("examples", [SHORT, LONGER, BY_CONTROLLERS], ids=["short", "longer", "by controllers"])
def test_examples_whose_first_jobs_fail_leave_nothing(
    airflow: LocalAirflow, clusters: Kubectl, examples: tuple[str, ...]
) -> None:
    runs = {f"e2e_failing_{example}": "" for example in examples}
    for dag_id in runs:
        runs[dag_id] = airflow.trigger(dag_id)
    assert {dag_id: airflow.wait_for_run(dag_id, run_id) for dag_id, run_id in runs.items()} == dict.fromkeys(
        runs, "failed"
    )
    wait_until(
        "the clusters' pods are gone",
        lambda: not pods_of_clusters(clusters),
        SECONDS_FOR_PODS_TO_GO,
    )
    run_id = airflow.trigger("e2e_all_clusters")
    assert airflow.wait_for_run("e2e_all_clusters", run_id) == "success"
    assert airflow.xcom("e2e_all_clusters", run_id, "status") == []
