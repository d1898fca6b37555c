"""One cluster that is launched without waiting, and every verb for clusters and their jobs on it."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, TriggerRule

from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyCancelOperator,
    SkyCostReportOperator,
    SkyDownOperator,
    SkyExecOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyQueueOperator,
    SkyStartOperator,
    SkyStatusOperator,
    SkyStopOperator,
)


def job_of(task_id: str) -> str:
    """Return the template of the id of the job that a task has submitted."""
    return f"{{{{ ti.xcom_pull(task_ids='{task_id}', key='result')['job_id'] }}}}"


with DAG(
    dag_id="e2e_cluster_verbs",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_tasks=2,
):
    launch = SkyLaunchOperator(
        task_id="launch",
        sky_task_yaml={
            "name": "count",
            "resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"},
            "run": "for i in 1 2 3 4 5; do echo line $i of 5; sleep 3; done",
        },
        auto_down=False,
        idle_minutes_to_autostop=30,
        wait=False,
    )
    wait_for_job = SkyLogsOperator(
        task_id="wait_for_job", cluster_name=launch.output, job_id=job_of("launch"), deferrable=True
    )
    last_line = SkyLogsOperator(task_id="last_line", cluster_name=wait_for_job.output, follow=False, tail=2)
    sync_down = SkyLogsOperator(task_id="sync_down", cluster_name=wait_for_job.output, job_id=1, sync_down=True)
    provision = SkyLogsOperator(task_id="provision", cluster_name=launch.output, provision=True, tail=5)

    fails = SkyExecOperator(
        task_id="fails", cluster_name=last_line.output, sky_task_yaml={"run": "echo failing; exit 3"}, wait=False
    )
    wait_for_failure = SkyLogsOperator(task_id="wait_for_failure", cluster_name=fails.output)
    sleeps = SkyExecOperator(
        task_id="sleeps",
        cluster_name=launch.output,
        sky_task_yaml={"run": "sleep 600"},
        wait=False,
        trigger_rule=TriggerRule.ALL_DONE,
    )
    cancel = SkyCancelOperator(task_id="cancel", cluster_name=sleeps.output, job_ids=[job_of("sleeps")])
    wait_for_cancelled = SkyLogsOperator(
        task_id="wait_for_cancelled", cluster_name=cancel.output, job_id=job_of("sleeps")
    )
    queue = SkyQueueOperator(task_id="queue", cluster_name=launch.output, trigger_rule=TriggerRule.ALL_DONE)
    unfinished = SkyQueueOperator(
        task_id="unfinished",
        cluster_name=[launch.output],
        skip_finished=True,
        trigger_rule=TriggerRule.ALL_DONE,
    )

    autostop = SkyAutostopOperator(task_id="autostop", cluster_name=launch.output, idle_minutes=45, down=True)
    status = SkyStatusOperator(task_id="status", cluster_names=autostop.output, ip=True, endpoints=True)
    stop = SkyStopOperator(task_id="stop", cluster_name=launch.output)
    start = SkyStartOperator(task_id="start", cluster_name=[launch.output])
    cost_report = SkyCostReportOperator(task_id="cost_report", cluster_names=launch.output)
    nothing = SkyDownOperator(task_id="nothing", cluster_name="no-cluster-has-this-name-*")
    down = SkyDownOperator(task_id="down", cluster_name="{{ ti.xcom_pull(task_ids='launch')[:-1] }}*").as_teardown()

    [last_line, sync_down] >> wait_for_failure
    wait_for_failure >> sleeps
    wait_for_cancelled >> [queue, unfinished]
    [queue, unfinished, provision, status, stop, start, cost_report] >> down
    launch >> nothing >> down
