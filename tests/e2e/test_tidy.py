"""After all other tests: this file's name comes last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_airflow import LocalAirflow


def test_skypilot_knows_of_no_cluster_after_launches_failures_and_kills(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger("e2e_all_clusters")
    assert airflow.wait_for_run("e2e_all_clusters", run_id) == "success"
    assert airflow.xcom("e2e_all_clusters", run_id, "status") == []
