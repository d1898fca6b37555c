"""Pods that are not alone: with another container, with the name of another run's pod, and none behind a gate."""

from __future__ import annotations

import os

import pendulum
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, task
from kubernetes.client import models as k8s

from k8s_sky_provider.decorators import sky_cluster
from k8s_sky_provider.operators import SkyBashOperator, SkyExecOperator

START = pendulum.datetime(2026, 1, 1, tz="UTC")
SHIPPER = k8s.V1Container(
    name="shipper",
    image=os.environ.get("AIRFLOW__SKYPILOT__IMAGE"),
    command=["sh", "-c", "echo shipping; exec tini -- sleep 3600"],
    # Of a container that is added, nobody but its author says what it may do.
    security_context=k8s.V1SecurityContext(
        allow_privilege_escalation=False, capabilities=k8s.V1Capabilities(drop=["ALL"])
    ),
)

with DAG(dag_id="e2e_other_container", schedule=None, start_date=START, catchup=False):
    for mode in ("synchronous", "deferred"):
        SkyBashOperator(
            task_id=mode,
            bash_command="echo done",
            deferrable=mode == "deferred",
            container_logs=["shipper", "base"],
            full_pod_spec=k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base"), SHIPPER])),
        )

with DAG(dag_id="e2e_fixed_name", schedule=None, start_date=START, catchup=False):
    SkyBashOperator(
        task_id="task", name="e2e-fixed-name", random_name_suffix=False, bash_command="sleep 60; echo {{ run_id }}"
    )

with DAG(dag_id="e2e_gate", schedule=None, start_date=START, catchup=False):

    @task
    def new_data() -> None:
        """Find none."""
        raise AirflowSkipException

    gate = new_data()
    with sky_cluster("gpu", sky_task_yaml={"resources": {"infra": "kubernetes"}}) as cluster:
        gate >> SkyExecOperator(task_id="train", cluster_name=cluster, sky_task_yaml={"run": "true"})
