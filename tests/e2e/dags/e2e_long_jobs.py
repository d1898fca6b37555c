"""Tasks that print numbered lines for as long as the test says: in their pod, or in a job on a cluster."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyBashOperator, SkyLaunchOperator

PRINT_LINES = """
{% if params.silent %}echo silent; sleep {{ params.silent }}{% endif %}
python3 -u -c '
import time
began = time.time()
for number in range({{ params.lines }}):
    print(f"number {number:08d} {chr(120) * 83}", flush=number % 100 == 0 or {{ params.per_second }} < 1000)
    time.sleep(max(0, began + number / {{ params.per_second }} - time.time()))
'
"""
PARAMS = {"lines": 20_000, "per_second": 1_000_000, "silent": 0, "heartbeat": 300}
ARGUMENTS: dict[str, Any] = {
    "task_id": "task",
    "env_vars": {"K8S_SKY_HEARTBEAT_SECONDS": "{{ params.heartbeat }}"},
    "poll_interval": 1,
    "retries": 0,
}

for name, deferrable in (("", False), ("_deferred", True)):
    with DAG(
        dag_id=f"e2e_long_task{name}",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        params=PARAMS,
    ):
        SkyBashOperator(bash_command=PRINT_LINES, deferrable=deferrable, **ARGUMENTS)

    with DAG(
        dag_id=f"e2e_long_job{name}",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        params=PARAMS,
    ):
        SkyLaunchOperator(
            sky_task_yaml={
                "resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"},
                "run": PRINT_LINES,
            },
            deferrable=deferrable,
            **ARGUMENTS,
        )
