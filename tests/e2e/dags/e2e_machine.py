"""Commands and files on a cluster's machine, a volume, and what SkyPilot can use."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import (
    SkyBashOperator,
    SkyCheckOperator,
    SkyDownOperator,
    SkyExecOperator,
    SkyLaunchOperator,
    SkyRsyncDownOperator,
    SkyRsyncUpOperator,
    SkySSHOperator,
    SkyStorageListOperator,
    SkyVolumeApplyOperator,
    SkyVolumeDeleteOperator,
    SkyVolumeListOperator,
)

with DAG(
    dag_id="e2e_machine",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_tasks=4,
    default_args={"retry_delay": timedelta(seconds=1)},
):
    prepare = SkyBashOperator(
        task_id="prepare",
        bash_command="""
rm -rf e2e_machine
mkdir -p e2e_machine/data
echo {{ run_id }} > 'e2e_machine/data/it is.txt'
cat > e2e_machine/secrets.env <<'END'
COMMENTED=e2e-commented-value # prod
KEY="-----BEGIN KEY-----
e2e-second-line
-----END KEY-----"
BUILT=https://user:${COMMENTED}@example.com
END
""",
    )
    launch = SkyLaunchOperator(
        task_id="launch",
        sky_task_yaml={"resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}, "run": "true"},
        auto_down=False,
        idle_minutes_to_autostop=30,
    )
    up = SkyRsyncUpOperator(task_id="up", cluster_name=launch.output, source="e2e_machine/data", target="~")
    reads = SkySSHOperator(
        task_id="reads",
        cluster_name=up.output,
        command='cat data/*.txt; echo "$WHO" >&2',
        environment={"WHO": "it's me"},
        deferrable=True,
    )
    fails = SkySSHOperator(task_id="fails", cluster_name=up.output, command="echo oh no; exit 7", fail_fast=True)
    late = SkySSHOperator(
        task_id="late", cluster_name=up.output, command=["sleep", "1234"], cmd_timeout=5, fail_fast=True, nodes="all"
    )
    # What was started by the one before is not there any more.
    processes = SkySSHOperator(
        task_id="processes",
        cluster_name=up.output,
        command="pgrep -fx 'sleep 1234' || echo none",
        trigger_rule="all_done",
    )
    prints_much = SkySSHOperator(task_id="prints_much", cluster_name=up.output, command="seq 5000")
    # Only that SkyPilot has the values is to be seen, not the values.
    secrets = SkyExecOperator(
        task_id="secrets",
        cluster_name=up.output,
        secret_file="e2e_machine/secrets.env",  # noqa: S106  # a path
        sky_task_yaml={
            "run": 'echo "$COMMENTED"; echo "$KEY"; echo "$BUILT"; echo "has $(echo -n $COMMENTED | wc -c) characters"'
        },
    )
    down_again = SkyRsyncDownOperator(
        task_id="files_back", cluster_name=up.output, source="data/*.txt", target="e2e_machine/back"
    )
    look = SkyBashOperator(task_id="look", bash_command="cat 'e2e_machine/back/it is.txt'; rm -r e2e_machine")
    down = SkyDownOperator(task_id="down", cluster_name=launch.output)

    prepare >> up
    late >> processes
    down_again >> look
    secrets >> look
    [reads, fails, processes, prints_much, look] >> down.as_teardown(setups=launch.as_setup())

    apply = SkyVolumeApplyOperator(
        task_id="volume_apply", volume_name="e2e-volume", volume_type="k8s-pvc", infra="kubernetes", size="1Gi"
    )
    volumes = SkyVolumeListOperator(task_id="volume_list", names=apply.output, refresh=True)
    delete = SkyVolumeDeleteOperator(task_id="volume_delete", names="e2e-vol*", trigger_rule="all_done")
    SkyStorageListOperator(task_id="storage_list")
    SkyCheckOperator(task_id="check", infra=["kubernetes"], require="kubernetes")
    SkyCheckOperator(task_id="check_fails", require=["aws"], retries=1)
    apply >> volumes >> delete
