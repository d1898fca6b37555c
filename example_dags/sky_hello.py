"""The first DAG of the README: one machine, one command, and nothing left afterwards."""

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyLaunchOperator

with DAG("sky_hello", schedule=None, start_date=pendulum.datetime(2026, 1, 1), default_args={"retries": 2}):
    SkyLaunchOperator(
        task_id="hello",
        sky_task_yaml={
            "resources": {"infra": "kubernetes", "cpus": "0.5+", "memory": "0.5+"},
            "run": "echo Hello from $(hostname)",
        },
    )
