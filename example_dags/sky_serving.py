"""A service: bring it up, ask it something, give it another version, take it down.

The serve controller is a cluster of its own, which keeps the replicas up and spreads the requests.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, TriggerRule, conf, task

from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyServeDownOperator,
    SkyServeLogsOperator,
    SkyServeStatusOperator,
    SkyServeUpdateOperator,
    SkyServeUpOperator,
)


def service(version: str) -> dict[str, object]:
    """Return the task of a web server that says its version."""
    return {
        "resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+", "ports": 8080},
        "service": {"readiness_probe": "/", "replicas": 1},
        "run": f"mkdir -p ~/page && cd ~/page && echo {version} > index.html && python3 -m http.server 8080",
    }


with DAG(
    dag_id="sky_serving",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    catchup=False,
    tags=["skypilot"],
):
    up = SkyServeUpOperator(task_id="up", service_name="greeter", sky_task_yaml=service("one"))

    @task
    def ask(endpoint: str) -> str:
        """Return what the service answers."""
        import urllib.request

        with urllib.request.urlopen(endpoint, timeout=30) as answer:  # noqa: S310  # the service's own endpoint
            return str(answer.read().decode().strip())

    answer = ask(up.output)  # type: ignore[arg-type]  # Airflow gives the value
    update = SkyServeUpdateOperator(task_id="update", service_name="greeter", sky_task_yaml=service("two"))
    status = SkyServeStatusOperator(task_id="status", service_names="greeter")
    logs = SkyServeLogsOperator(task_id="logs", service_name="greeter", target="load_balancer", tail=20)
    down = SkyServeDownOperator(task_id="down", service_names="greeter")
    # Only when no other DAG has services: they would go on without anybody to look after them.
    controller_down = SkyDownOperator(
        task_id="controller_down",
        cluster_name=f"sky-serve-controller-{conf.get('skypilot', 'deployment', fallback='airflow')}",
    )

    answer >> update >> status >> logs >> down.as_teardown(setups=up)
    down >> controller_down.as_teardown(setups=up)
    # Airflow skips a teardown whose setup has failed, and the controller may be there all the same.
    controller_down.trigger_rule = TriggerRule.ALL_DONE
