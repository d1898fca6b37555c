"""Launches that the tests kill."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyLaunchOperator

SLEEPER = {
    "resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"},
    "run": "echo the job has begun; sleep 1000",
}

for dag_id, deferrable in (("e2e_killed", False), ("e2e_killed_deferred", True), ("e2e_killed_early", False)):
    with DAG(dag_id=dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
        SkyLaunchOperator(task_id="launch", sky_task_yaml=SLEEPER, deferrable=deferrable)
