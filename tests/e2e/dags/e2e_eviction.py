"""Tasks whose worker, pod or triggerer the tests evict. They call the ledger when their job begins and when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyJobLaunchOperator, SkyLaunchOperator, SkyReapOperator

RESOURCES = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}

RUN = (
    "bash -c 'curl -sf http://e2e-ledger/began/{{ run_id }}; echo the job has begun;"
    ' sleep {{ dag_run.conf.get("seconds", 60) }};'
    " curl -sf http://e2e-ledger/ended/{{ run_id }}'"
)
TASK = {"resources": RESOURCES, "run": RUN}
SECONDS_TO_RETRY = 10


def dag(dag_id: str, **default_args: Any) -> DAG:
    return DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        default_args={"retry_delay": timedelta(seconds=SECONDS_TO_RETRY), "retries": 1, **default_args},
    )


for suffix, deferrable in (("", False), ("_deferred", True)):
    with dag(f"e2e_evicted_launch{suffix}", deferrable=deferrable):
        SkyLaunchOperator(task_id="task", sky_task_yaml=TASK)
    with dag(f"e2e_evicted_last_try{suffix}", deferrable=deferrable, retries=0):
        SkyLaunchOperator(task_id="task", sky_task_yaml=TASK)
    with dag(f"e2e_evicted_kill{suffix}", deferrable=deferrable, on_eviction="kill"):
        SkyLaunchOperator(task_id="task", sky_task_yaml=TASK)
    with dag(f"e2e_evicted_job{suffix}", deferrable=deferrable):
        SkyJobLaunchOperator(task_id="task", sky_task_yaml=TASK)

with dag("e2e_evicted_long_delay", retry_delay=timedelta(minutes=30)):
    SkyLaunchOperator(task_id="task", sky_task_yaml=TASK)

with dag("e2e_evicted_reap"):
    SkyReapOperator(task_id="reap", clusters=[])
