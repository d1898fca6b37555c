"""Tasks whose worker, pod or triggerer the tests evict. They call the ledger when their job begins and when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, conf

from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyExecOperator,
    SkyJobLaunchOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyReapOperator,
    SkyServeDownOperator,
    SkyServeUpOperator,
    SkySSHOperator,
)

CLUSTER = "e2e-evicted"
RESOURCES = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}
LEDGER = "curl -sf http://e2e-ledger"
RUN = (
    f"bash -c '{LEDGER}/began/{{{{ run_id }}}}; {LEDGER}/process/{{{{ run_id }}}}/$$; echo the job has begun;"
    ' sleep {{ dag_run.conf.get("seconds", 60) }};'
    f" {LEDGER}/process/{{{{ run_id }}}}/$$; {LEDGER}/ended/{{{{ run_id }}}}'"
)
SETUP = f'{LEDGER}/setup/{{{{ run_id }}}}; sleep {{{{ dag_run.conf.get("seconds_of_setup", 0) }}}}'
TASK = {"resources": RESOURCES, "setup": SETUP, "run": RUN}
SECONDS_TO_RETRY = 10
SECONDS_UNTIL_READY = 60
"""A service is evicted while it gets ready."""
SERVICE = {
    "resources": {**RESOURCES, "ports": 8080},
    "service": {"readiness_probe": "/", "replicas": 1},
    "run": f"{LEDGER}/began/{{{{ run_id }}}}; sleep {SECONDS_UNTIL_READY}; python3 -m http.server 8080",
}


def dag(dag_id: str, **default_args: Any) -> DAG:
    return DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        default_args={
            "retry_delay": timedelta(seconds=SECONDS_TO_RETRY),
            "retries": 2,
            "on_eviction": "{{ dag_run.conf.get('on_eviction', 'follow') }}",
            **default_args,
        },
    )


with dag("e2e_evicted_cluster"):
    SkyLaunchOperator(
        task_id="launch",
        cluster_name=CLUSTER,
        sky_task_yaml={"resources": RESOURCES, "run": "true"},
        auto_down=False,
    )

with dag("e2e_evicted_cluster_down"):
    SkyDownOperator(task_id="down", cluster_name=CLUSTER)

for suffix, deferrable in (("", False), ("_deferred", True)):
    with dag(f"e2e_evicted_launch{suffix}", deferrable=deferrable):
        SkyLaunchOperator(task_id="task", sky_task_yaml=TASK)
    with dag(f"e2e_evicted_launch_one_try{suffix}", deferrable=deferrable, retries=0):
        SkyLaunchOperator(task_id="task", sky_task_yaml=TASK)
    with dag(f"e2e_evicted_exec{suffix}", deferrable=deferrable):
        SkyExecOperator(task_id="task", cluster_name=CLUSTER, sky_task_yaml={"run": RUN})
    with dag(f"e2e_evicted_exec_two_tries{suffix}", deferrable=deferrable, retries=1):
        SkyExecOperator(task_id="task", cluster_name=CLUSTER, sky_task_yaml={"run": RUN})
    with dag(f"e2e_evicted_exec_one_try{suffix}", deferrable=deferrable, retries=0):
        SkyExecOperator(task_id="task", cluster_name=CLUSTER, sky_task_yaml={"run": RUN})
    with dag(f"e2e_evicted_job{suffix}", deferrable=deferrable):
        SkyJobLaunchOperator(task_id="task", sky_task_yaml=TASK)
    with dag(f"e2e_evicted_logs{suffix}", deferrable=deferrable):
        submit = SkyExecOperator(task_id="submit", cluster_name=CLUSTER, sky_task_yaml={"run": RUN}, wait=False)
        submit >> SkyLogsOperator(
            task_id="task",
            cluster_name=CLUSTER,
            job_id="{{ ti.xcom_pull(task_ids='submit', key='result')['job_id'] }}",
        )
    with dag(f"e2e_evicted_ssh{suffix}", deferrable=deferrable):
        SkySSHOperator(task_id="task", cluster_name=CLUSTER, command=RUN)

with dag("e2e_evicted_serve"):
    up = SkyServeUpOperator(task_id="task", service_name="evicted", sky_task_yaml=SERVICE)
    up >> SkyServeDownOperator(task_id="down", service_names="evicted", trigger_rule="all_done")

with dag("e2e_evicted_long_delay", retry_delay=timedelta(minutes=30)):
    SkyExecOperator(task_id="task", cluster_name=CLUSTER, sky_task_yaml={"run": RUN})

with dag("e2e_evicted_reap"):
    SkyReapOperator(task_id="reap", clusters=[])

DEPLOYMENT = conf.get("skypilot", "deployment", fallback="airflow")
for kind in ("jobs", "serve"):
    with dag(f"e2e_evicted_{kind}_controller_down"):
        SkyDownOperator(task_id="down", cluster_name=f"sky-{kind}-controller-{DEPLOYMENT}")
