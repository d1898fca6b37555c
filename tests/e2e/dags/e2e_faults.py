"""Tasks that the tests kill, lose and time out. They call the ledger when their job begins and when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyDownOperator, SkyExecOperator, SkyLaunchOperator

CLUSTER = "e2e-faults"
RESOURCES = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}
JOB = {
    # One command with the run's id in it: what is left of it shows in the cluster's list of processes.
    "run": "bash -c 'curl -sf http://e2e-ledger/began/{{ run_id }}; echo the job has begun;"
    ' sleep {{ dag_run.conf.get("seconds", 20) }}; curl -sf http://e2e-ledger/ended/{{ run_id }}\'',
}
SECONDS_TO_TIMEOUT = 120


def dag(dag_id: str, **arguments: Any) -> DAG:
    return DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        default_args={"retry_delay": timedelta(seconds=1)},
        **arguments,
    )


with dag("e2e_faults_cluster"):
    SkyLaunchOperator(
        task_id="launch", cluster_name=CLUSTER, sky_task_yaml={"resources": RESOURCES, "run": "true"}, auto_down=False
    )

with dag("e2e_faults_down"):
    SkyDownOperator(task_id="down", cluster_name=CLUSTER)

for suffix, deferrable in (("", False), ("_deferred", True)):
    with dag(f"e2e_launch{suffix}"):
        SkyLaunchOperator(
            task_id="task", sky_task_yaml={"resources": RESOURCES, **JOB}, retries=2, deferrable=deferrable
        )
    for on_cancel in ("cancel", "leave"):
        exec_arguments: dict[str, Any] = {
            "task_id": "task",
            "cluster_name": CLUSTER,
            "sky_task_yaml": JOB,
            "deferrable": deferrable,
            "on_cancel": on_cancel,
        }
        with dag(f"e2e_exec_{on_cancel}{suffix}"):
            SkyExecOperator(**exec_arguments, retries=2)
        with dag(f"e2e_execution_timeout_{on_cancel}{suffix}"):
            SkyExecOperator(**exec_arguments, execution_timeout=timedelta(seconds=SECONDS_TO_TIMEOUT))
        with dag(f"e2e_dagrun_timeout_{on_cancel}{suffix}", dagrun_timeout=timedelta(seconds=SECONDS_TO_TIMEOUT)):
            SkyExecOperator(**exec_arguments)
