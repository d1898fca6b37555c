"""A managed job: SkyPilot's controller finds machines for it, and others when those are lost.

The first task only submits the job, the second waits for it. The controller is a cluster of its own, which stays for
the next job; here it is taken down with the jobs, so that nothing is left.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, TriggerRule, conf

from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyJobCancelOperator,
    SkyJobLaunchOperator,
    SkyJobLogsOperator,
    SkyJobQueueOperator,
)

with DAG(
    dag_id="sky_managed_job",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    catchup=False,
    tags=["skypilot"],
):
    launch = SkyJobLaunchOperator(
        task_id="launch",
        job_name="two-steps",
        # A list of tasks is a pipeline: each runs when the one before it has succeeded.
        sky_task_yaml=[
            {"name": "two-steps"},
            {"name": "prepare", "run": "echo Preparing"},
            {"name": "train", "run": "echo Training as job $SKYPILOT_TASK_ID"},
        ],
        infra="kubernetes",
        cpus="0.2+",
        memory="0.5+",
        wait=False,
    )
    wait = SkyJobLogsOperator(task_id="wait", job_id=launch.output)
    queue = SkyJobQueueOperator(task_id="queue", job_name="two-steps")
    cancel = SkyJobCancelOperator(task_id="cancel", job_name="two-steps")
    # Only when no other DAG has managed jobs: they would go on without anybody to look after them.
    controller_down = SkyDownOperator(
        task_id="controller_down",
        cluster_name=f"sky-jobs-controller-{conf.get('skypilot', 'deployment', fallback='airflow')}",
    )

    wait >> queue >> cancel.as_teardown(setups=launch) >> controller_down.as_teardown(setups=launch)
    # Airflow skips a teardown whose setup has failed, and the controller may be there all the same.
    controller_down.trigger_rule = TriggerRule.ALL_DONE
