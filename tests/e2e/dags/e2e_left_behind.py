"""A run that leaves its cluster behind."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyLaunchOperator

with DAG(dag_id="e2e_left_behind", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    SkyLaunchOperator(
        task_id="launch",
        sky_task_yaml={"resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}},
        auto_down=False,
    )
