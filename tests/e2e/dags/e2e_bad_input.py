"""What users get wrong: every task here fails, each with an error that names the thing and the way out."""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyExecOperator,
    SkyJobLaunchOperator,
    SkyLaunchOperator,
    SkyStatusOperator,
)

# The airflow image has the package, but no SkyPilot; the cluster image has neither the package nor tini.
OTHER_PROTOCOL = (
    "import k8s_sky_provider.protocol as protocol; protocol.PROTOCOL_VERSION = 99; "
    "from k8s_sky_provider.runner.__main__ import main; main()"
)
CLUSTER_IMAGE = os.environ.get("AIRFLOW__SKYPILOT__DEFAULT_IMAGE_ID", "").removeprefix("docker:")

with DAG(
    dag_id="e2e_bad_input",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # A task waits for its pod: on a node of two CPUs more of them would leave their pods no room.
    max_active_tasks=4,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
):
    # Known at task start: no pod. (Jinja keeps them from failing when the DAG is parsed.)
    SkyLaunchOperator(task_id="unknown_key", sky_task_yaml="e2e_unknown_key.yaml")
    SkyLaunchOperator(task_id="wrong_type", sky_task_yaml="e2e_wrong_type.yaml")
    SkyLaunchOperator(task_id="missing_file", sky_task_yaml="no_such_task.yaml")
    SkyExecOperator(task_id="bad_name", cluster_name="{{ '1-starts-with-a-digit' }}", sky_task_yaml={"run": "true"})
    SkyJobLaunchOperator(task_id="missing_workdir", sky_task_yaml="e2e_workdir.yaml")
    SkyDownOperator(task_id="no_flag", cluster_name="no-such-cluster", purge="{{ 'perhaps' }}")
    SkyStatusOperator(task_id="missing_volume", volume_claim="no-such-claim")
    SkyStatusOperator(task_id="missing_service_account", service_account_name="no-such-account")
    # Known in the pod.
    SkyLaunchOperator(task_id="missing_on_volume", sky_task_yaml="~/sky_workdir/no_such_task.yaml")
    SkyLaunchOperator(
        task_id="bad_resources",
        sky_task_yaml={"resources": {"infra": "kubernetes", "cpus": "many"}, "run": "true"},
    )
    SkyExecOperator(task_id="missing_cluster", cluster_name="no-such-cluster", sky_task_yaml={"run": "true"})
    SkyStatusOperator(task_id="missing_secret", credentials=[{"secret": "no-such-secret", "path": ".aws"}])
    SkyStatusOperator(task_id="missing_config_map", config_map="no-such-config")
    # Known from the pod.
    SkyStatusOperator(task_id="image_without_runner", image=CLUSTER_IMAGE)
    SkyStatusOperator(task_id="image_without_runner_deferred", image=CLUSTER_IMAGE, deferrable=True)
    SkyStatusOperator(task_id="other_protocol", cmds=["tini", "--", "python", "-c", OTHER_PROTOCOL])
    SkyStatusOperator(task_id="missing_image", image="localhost:5000/k8s-sky/no-such-image:1", retries=0)
    SkyStatusOperator(
        task_id="missing_image_deferred", image="localhost:5000/k8s-sky/no-such-image:1", retries=0, deferrable=True
    )
