"""All clusters that SkyPilot knows of."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyStatusOperator

with DAG(dag_id="e2e_all_clusters", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    SkyStatusOperator(task_id="status")
