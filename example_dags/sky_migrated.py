"""The example DAG of airflow-provider-skypilot after its move, for which its imports changed: see docs/migration.md.

Two Bash tasks put a repository and a task YAML on the volume. Then a cluster is launched and runs the task twice, a
command keeps the model, the model comes down to the volume, and the cluster goes. So that it runs on any Kubernetes,
without internet too, the machine is small and the repository is made by a task of its own.
"""

from __future__ import annotations

import datetime as dt

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyBashOperator as BashOperator
from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyExecOperator,
    SkyLaunchOperator,
    SkyRsyncDownOperator,
    SkySSHOperator,
)

with DAG(
    dag_id="sky_migrated",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    catchup=False,
    dagrun_timeout=dt.timedelta(minutes=60),
    tags=["skypilot"],
):
    # Stands for a repository somewhere else, so that the example needs no internet.
    make_repository = BashOperator(
        task_id="make_repository",
        bash_command="""
rm -rf repository examples && git init -q repository && cd repository
echo 'echo "a model of $(hostname)" > model.txt && cat model.txt' > main.sh
git add main.sh && git -c user.name=example -c user.email=example@example.com commit -q -m "Train"
""",
    )
    git_clone = BashOperator(
        task_id="git_clone",
        bash_command="""
export SKY_WORK_DIR=/opt/airflow/sky_home_dir/sky_workdir
git -C $SKY_WORK_DIR/examples pull \\
|| git clone $SKY_WORK_DIR/repository $SKY_WORK_DIR/examples
""",
    )
    make_yaml = BashOperator(
        task_id="make_yaml",
        bash_command="""
export SKY_WORK_DIR=/opt/airflow/sky_home_dir/sky_workdir
cat > $SKY_WORK_DIR/sky_task.yaml << EOF
workdir: ~/sky_workdir/examples
setup: |
  echo setting up
run: |
  bash main.sh
EOF
""",
    )
    launch = SkyLaunchOperator(
        task_id="sky_launch",
        sky_task_yaml="~/sky_workdir/sky_task.yaml",
        cloud="cheapest",
        minimum_cpus=0.2,
        minimum_memory=0.5,
        auto_down=False,
    )
    execute = SkyExecOperator(
        task_id="sky_exec", cluster_name=launch.output, sky_task_yaml="~/sky_workdir/sky_task.yaml"
    )
    keep = SkySSHOperator(
        task_id="sky_ssh",
        cluster_name=execute.output,
        command="cp ~/sky_workdir/model.txt ~/model_{{ dag_run.run_after | ds }}.txt",
    )
    rsync_down = SkyRsyncDownOperator(
        task_id="sky_rsync_down",
        cluster_name=execute.output,
        source="~/model_{{ dag_run.run_after | ds }}.txt",
        target="/opt/airflow/sky_home_dir/sky_workdir/",
    )
    down = SkyDownOperator(task_id="sky_down", cluster_name=launch.output)

    make_repository >> git_clone >> launch
    make_yaml >> launch
    keep >> rsync_down
    # The rest follows from "previous.output". A teardown: a run whose task failed has failed, and its cluster goes. Its
    # name comes from the launch, for a task that fails before the teardown leaves none.
    rsync_down >> down.as_teardown(setups=launch.as_setup())
