"""The operators against a SkyPilot API server, which the tests start; the connection ``sky_api`` names it."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, TriggerRule

from k8s_sky_provider.operators import (
    SkyCancelOperator,
    SkyDownOperator,
    SkyExecOperator,
    SkyJobLaunchOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyQueueOperator,
    SkySSHOperator,
    SkyStatusOperator,
)

CLUSTER = "e2e-api-server"
RESOURCES = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}


def task(run: str) -> dict[str, object]:
    """Return a task that fits into the test's cluster."""
    return {"resources": RESOURCES, "run": run}


def dag(dag_id: str, skypilot_conn_id: str = "sky_api") -> DAG:
    """Return a DAG whose tasks all use a connection."""
    return DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        default_args={"skypilot_conn_id": skypilot_conn_id},
    )


with dag("e2e_api_server"):
    launch = SkyLaunchOperator(
        task_id="launch",
        cluster_name=CLUSTER,
        sky_task_yaml={**task("for i in $(seq 3); do echo line $i; sleep 1; done"), "name": "hello"},
        auto_down=False,
    )
    exec_ = SkyExecOperator(
        task_id="exec", cluster_name=launch.output, sky_task_yaml=task("echo from exec"), deferrable=True
    )
    background = SkyExecOperator(
        task_id="background", cluster_name=CLUSTER, sky_task_yaml=task("echo begun; sleep 1000"), wait=False
    )
    cancel = SkyCancelOperator(task_id="cancel", cluster_name=CLUSTER, all=True)
    failing = SkyExecOperator(task_id="failing", cluster_name=CLUSTER, sky_task_yaml=task("echo oh; exit 7"))
    wrong = SkyExecOperator(
        task_id="wrong", cluster_name=CLUSTER, sky_task_yaml={"resources": {"infra": "nowhere"}, "run": "true"}
    )
    queue = SkyQueueOperator(task_id="queue", cluster_name=CLUSTER, trigger_rule=TriggerRule.ALL_DONE)
    status = SkyStatusOperator(task_id="status", cluster_names=[CLUSTER])
    logs = SkyLogsOperator(task_id="logs", cluster_name=CLUSTER, job_id=1, follow=False)
    ssh = SkySSHOperator(task_id="ssh", cluster_name=CLUSTER, command="echo on $(whoami)")
    down = SkyDownOperator(task_id="down", cluster_name=CLUSTER, trigger_rule=TriggerRule.ALL_DONE)
    launch >> exec_ >> background >> cancel >> [failing, wrong] >> queue >> [status, logs, ssh] >> down

with dag("e2e_api_server_killed"):
    SkyLaunchOperator(task_id="launch", cluster_name="e2e-api-killed", sky_task_yaml=task("sleep 1000"), auto_down=True)

with dag("e2e_api_server_job"):
    SkyJobLaunchOperator(task_id="job", sky_task_yaml=task("echo from a managed job"))

with dag("e2e_api_server_away", skypilot_conn_id="sky_api_away"):
    SkyStatusOperator(task_id="status")

with dag("e2e_api_server_other_version", skypilot_conn_id="sky_api_other_version"):
    SkyStatusOperator(task_id="status")

with dag("e2e_api_server_wrong_token", skypilot_conn_id="sky_api_wrong_token"):
    SkyStatusOperator(task_id="status")
