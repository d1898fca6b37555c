"""What runs have left behind: shown first, then taken down. Every half an hour, for those who set the schedule."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyReapOperator, SkyStatusOperator

with DAG(
    dag_id="sky_maintenance",
    schedule=None,  # "*/30 * * * *"
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["skypilot"],
):
    clusters = SkyStatusOperator(task_id="clusters", owners=True)
    show = SkyReapOperator(task_id="show", clusters=clusters.output, dryrun=True)
    reap = SkyReapOperator(task_id="reap", clusters=clusters.output)

    show >> reap
