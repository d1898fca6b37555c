"""A pool of one worker, two jobs on it, and nothing left of it."""

from __future__ import annotations

import pendulum
from airflow.configuration import conf
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyJobLaunchOperator,
    SkyJobLogsOperator,
    SkyPoolApplyOperator,
    SkyPoolDownOperator,
    SkyPoolStatusOperator,
)

RESOURCES = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}

with DAG(
    dag_id="e2e_pool",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_tasks=2,
):
    apply = SkyPoolApplyOperator(
        task_id="apply",
        pool_name="e2e-pool",
        sky_task_yaml={"pool": {"workers": 1}, "resources": RESOURCES, "setup": "echo ready > ~/ready.txt"},
    )
    launch = SkyJobLaunchOperator(
        task_id="launch",
        pool_name=apply.output,
        num_jobs=2,
        sky_task_yaml={"resources": RESOURCES, "run": "echo the worker is $(cat ~/ready.txt)"},
        wait=False,
    )
    logs = SkyJobLogsOperator.partial(task_id="logs").expand(job_id=launch.output)
    status = SkyPoolStatusOperator(task_id="status", pool_names=apply.output)
    down = SkyPoolDownOperator(task_id="down", pool_names="e2e-*")
    controller_down = SkyDownOperator(
        task_id="controller_down",
        cluster_name=f"sky-jobs-controller-{conf.get('skypilot', 'deployment', fallback='airflow')}",
    )

    [logs, status] >> down.as_teardown(setups=apply) >> controller_down.as_teardown(setups=apply)
