"""A cluster for three tasks: launch it with a setup, run something more on it, look at it, take it down.

Each task runs in a pod of its own; they all see the same cluster through the shared volume.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyDownOperator, SkyExecOperator, SkyLaunchOperator, SkyStatusOperator

with DAG(
    dag_id="sky_quickstart",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    catchup=False,
    tags=["skypilot"],
):
    launch = SkyLaunchOperator(
        task_id="launch",
        sky_task_yaml={
            "resources": {"infra": "kubernetes", "cpus": "0.5+", "memory": "0.5+"},
            "setup": "echo 'made by setup' > ~/from_setup",
            "run": 'echo "Hello from $(hostname), which has $(cat ~/from_setup)"',
        },
        # The cluster stays for the next task; if that never comes, it takes itself down.
        auto_down=False,
        idle_minutes_to_autostop=15,
    )
    execute = SkyExecOperator(
        task_id="exec",
        cluster_name=launch.output,
        sky_task_yaml={"run": 'echo "The same machine: $(hostname) still has $(cat ~/from_setup)"'},
    )
    status = SkyStatusOperator(task_id="status", cluster_names=launch.output)
    down = SkyDownOperator(task_id="down", cluster_name=launch.output)

    # A teardown runs whatever happened before it, and a run whose tasks failed stays failed.
    execute >> status >> down.as_teardown(setups=launch.as_setup())
