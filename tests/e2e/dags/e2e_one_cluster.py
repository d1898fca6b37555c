"""One cluster and several jobs on it, that succeed, fail and are deferred."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyDownOperator, SkyExecOperator, SkyLaunchOperator, SkyStatusOperator

with DAG(
    dag_id="e2e_one_cluster",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retry_delay": timedelta(seconds=1)},
):
    launch = SkyLaunchOperator(
        task_id="launch",
        sky_task_yaml="e2e_launch.yaml",
        envs={"GREETING": "greetings in {{ run_id }}"},
        auto_down=False,
        idle_minutes_to_autostop=30,
        deferrable=True,
    )
    exits_3 = SkyExecOperator(
        task_id="exits_3", cluster_name=launch.output, sky_task_yaml={"run": "echo failing soon; exit 3"}, retries=1
    )
    exits_3_fast = SkyExecOperator(
        task_id="exits_3_fast",
        cluster_name=launch.output,
        sky_task_yaml={"run": "exit 3"},
        fail_fast=True,
        retries=1,
        deferrable=True,
    )
    deferred = SkyExecOperator(
        task_id="deferred",
        cluster_name=launch.output,
        sky_task_yaml={"run": "for i in 1 2 3 4 5; do echo line $i of 5; sleep 3; done"},
        deferrable=True,
    )
    secret = SkyExecOperator(
        task_id="secret",
        cluster_name=launch.output,
        sky_task_yaml={
            "secrets": ["E2E_TOKEN"],
            "run": 'echo "the token is $E2E_TOKEN"; echo "it has $(printf %s "$E2E_TOKEN" | wc -c) letters"',
        },
        credentials=[{"secret": "e2e-token", "env": True}],
    )
    many = SkyStatusOperator(task_id="status_of_many", cluster_names=[launch.output], refresh=True)
    down = SkyDownOperator(task_id="down", cluster_name=launch.output, deferrable=True)
    down_again = SkyDownOperator(task_id="down_again", cluster_name=launch.output)

    down.as_teardown(setups=launch.as_setup())
    [exits_3, exits_3_fast, deferred, secret, many] >> down >> down_again.as_teardown()
