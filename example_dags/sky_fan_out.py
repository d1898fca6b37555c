"""One cluster, many jobs: a mapped task runs one job for each shard, and a last one puts the results together.

SkyPilot queues the jobs on the cluster; how many of them Airflow hands over at once is ``max_active_tis_per_dagrun``.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyDownOperator, SkyExecOperator, SkyLaunchOperator

COUNT_PRIMES = """
mkdir -p ~/results
python3 - <<END > ~/results/$FIRST
first, last = $FIRST, $LAST
print(sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(max(first, 2), last)))
END
echo "$(cat ~/results/$FIRST) primes from $FIRST to $LAST"
"""

with DAG(
    dag_id="sky_fan_out",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    catchup=False,
    tags=["skypilot"],
):
    cluster = SkyLaunchOperator(
        task_id="cluster",
        sky_task_yaml={"resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}},
        auto_down=False,
        idle_minutes_to_autostop=15,
    )
    shards = SkyExecOperator.partial(
        task_id="shard",
        cluster_name=cluster.output,
        sky_task_yaml={"run": COUNT_PRIMES},
        max_active_tis_per_dagrun=2,
    ).expand(envs=[{"FIRST": str(first), "LAST": str(first + 1000)} for first in range(0, 4000, 1000)])
    total = SkyExecOperator(
        task_id="total",
        cluster_name=cluster.output,
        sky_task_yaml={"run": "awk '{sum += $1} END {print sum, \"primes in all\"}' ~/results/*"},
    )
    down = SkyDownOperator(task_id="down", cluster_name=cluster.output)

    # The teardown runs whatever became of the tasks between.
    shards >> total >> down.as_teardown(setups=cluster)
