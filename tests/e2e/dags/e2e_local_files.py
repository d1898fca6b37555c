"""Code and data beside the DAG, by launch, exec and a managed job."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, TriggerRule, conf

from k8s_sky_provider.operators import SkyDownOperator, SkyExecOperator, SkyJobLaunchOperator, SkyLaunchOperator

with DAG(
    dag_id="e2e_local_files",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
):
    launch = SkyLaunchOperator(
        task_id="launch",
        sky_task_yaml="e2e_local_files/task.yaml",
        file_mounts={
            "/tmp/e2e/numbers.txt": "./e2e_local_files/data/numbers.txt",  # noqa: S108  # on the cluster
            "/tmp/e2e/data": "e2e_local_files/data",  # noqa: S108  # on the cluster
        },
        envs={"VERB": "launch"},
        auto_down=False,
        idle_minutes_to_autostop=30,
    )
    exec_ = SkyExecOperator(
        task_id="exec",
        cluster_name=launch.output,
        sky_task_yaml={"run": "python3 -B -m adder /tmp/e2e/numbers.txt && cat /tmp/e2e/data/numbers.txt"},
        workdir="{{ 'e2e_local_files' }}",
        envs={"VERB": "exec"},
        deferrable=True,
    )
    managed = SkyJobLaunchOperator(
        task_id="managed", sky_task_yaml="e2e_local_files/task.yaml", envs={"VERB": "a managed job"}
    )
    down = SkyDownOperator(task_id="down", cluster_name=launch.output)
    # No other DAG has managed jobs meanwhile.
    controller_down = SkyDownOperator(
        task_id="controller_down",
        cluster_name=f"sky-jobs-controller-{conf.get('skypilot', 'deployment', fallback='airflow')}",
    )

    launch >> exec_ >> down.as_teardown(setups=launch.as_setup()) >> managed
    managed >> controller_down.as_teardown(setups=managed)
    # Airflow skips a teardown whose setup has failed, and the controller may be there all the same.
    controller_down.trigger_rule = TriggerRule.ALL_DONE
