"""Tasks for several nodes: one with a machine on each, and those that lose theirs.

The latter keep their state in a PostgreSQL, which the connection ``e2e_nodes`` names.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyLaunchOperator

RESOURCES = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}
MACHINE_ON_EACH_NODE = {
    "kubernetes": {
        "pod_config": {
            "spec": {
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"parent": "skypilot"}},
                    }
                ]
            }
        }
    }
}
TALK_TO_EACH_OTHER = """
if [ "$SKYPILOT_NODE_RANK" = 1 ]; then
  mkdir -p /tmp/page && cd /tmp/page && echo "the second machine" >index.html
  timeout 60 python3 -m http.server 8123 || true
else
  curl -sf --retry 30 --retry-connrefused --retry-delay 1 "http://$(echo "$SKYPILOT_NODE_IPS" | tail -n 1):8123/"
  curl -sf "http://e2e-ledger/talked/{{ run_id }}"
fi
"""
JOB = (
    "curl -sf http://e2e-ledger/began/{{ run_id }}; echo the job has begun;"
    ' sleep {{ dag_run.conf.get("seconds", 20) }}; curl -sf http://e2e-ledger/ended/{{ run_id }}'
)


def dag(dag_id: str) -> DAG:
    return DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        default_args={"retry_delay": timedelta(seconds=1)},
    )


with dag("e2e_two_machines"):
    SkyLaunchOperator(
        task_id="task",
        sky_task_yaml={
            "num_nodes": 2,
            "resources": RESOURCES,
            "config": MACHINE_ON_EACH_NODE,
            "run": TALK_TO_EACH_OTHER,
        },
    )

for way, under in (
    ("lost", ("runner", "worker", "both", "triggerer", "head")),
    ("drained", ("runner", "worker", "both", "triggerer")),
):
    for what in under:
        with dag(f"e2e_node_{way}_under_{what}"):
            SkyLaunchOperator(
                task_id="task",
                skypilot_conn_id="e2e_nodes",
                sky_task_yaml={"resources": RESOURCES, "run": JOB},
                retries=3,
                deferrable=what == "triggerer",
            )
