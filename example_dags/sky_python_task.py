"""Python functions on a cluster: two that share one, which goes when they are done, and one with its own."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from k8s_sky_provider.decorators import sky_cluster

SMALL = {"resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}}


@task.sky(sky_task_yaml=SMALL)
def where() -> str:
    """Run on a cluster of its own, launched for this function alone."""
    import socket

    return socket.gethostname()


def part_of_pi(part: int, parts: int) -> float:
    """Integrate over one part; on the cluster, the function has only what it imports itself."""
    from math import fsum

    points = 10_000
    xs = ((part + (point + 0.5) / points) / parts for point in range(points))
    value = fsum(4 / (1 + x * x) for x in xs) / points / parts
    print(f"part {part} of {parts}: {value}")
    return value


def total(values: Any) -> float:
    """Add up what the mapped tasks returned."""
    return float(sum(values))


with DAG(
    dag_id="sky_python_task",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    catchup=False,
    tags=["skypilot"],
):
    where()
    with sky_cluster("pi", sky_task_yaml=SMALL, idle_minutes_to_autostop=15) as cluster:
        values = task.sky(cluster_name=cluster)(part_of_pi).partial(parts=2).expand(part=[0, 1])
        task.sky(cluster_name=cluster)(total)(values)
