"""A pipeline on one cluster: preprocess, train, evaluate. Each step is a task with its own log and its own retries.

The steps pass files to one another on the cluster's disk; the cluster goes when the last of them has ended.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG

from k8s_sky_provider.operators import SkyDownOperator, SkyExecOperator, SkyLaunchOperator

PREPROCESS = """
mkdir -p ~/pipeline
python3 - <<END
import json, pathlib, random
random.seed(7)
points = [(x, 3 * x + 2 + random.gauss(0, 0.1)) for x in (random.random() for _ in range(1000))]
pathlib.Path("pipeline/train.json").write_text(json.dumps(points[:800]))
pathlib.Path("pipeline/test.json").write_text(json.dumps(points[800:]))
print("800 points to train with, 200 to test with")
END
"""

TRAIN = """
python3 - <<END
import json, pathlib
points = json.loads(pathlib.Path("pipeline/train.json").read_text())
slope = intercept = 0.0
for epoch in range($EPOCHS):
    errors = [(x, slope * x + intercept - y) for x, y in points]
    slope -= 0.5 * sum(error * x for x, error in errors) / len(errors)
    intercept -= 0.5 * sum(error for _, error in errors) / len(errors)
    if epoch % 50 == 0:
        print("epoch", epoch, "loss", round(sum(error**2 for _, error in errors) / len(errors), 4), flush=True)
pathlib.Path("pipeline/model.json").write_text(json.dumps([slope, intercept]))
END
"""

EVALUATE = """
python3 - <<END
import json, pathlib, sys
slope, intercept = json.loads(pathlib.Path("pipeline/model.json").read_text())
points = json.loads(pathlib.Path("pipeline/test.json").read_text())
loss = sum((slope * x + intercept - y) ** 2 for x, y in points) / len(points)
print("loss of the test data:", round(loss, 4))
sys.exit(loss > 0.05)
END
"""

with DAG(
    dag_id="sky_training_pipeline",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    default_args={"retries": 2},
    catchup=False,
    params={"epochs": 200},
    tags=["skypilot"],
):
    cluster = SkyLaunchOperator(
        task_id="cluster",
        sky_task_yaml={"resources": {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}},
        auto_down=False,
        idle_minutes_to_autostop=15,
    )
    # A directory on the machine itself, wherever SkyPilot starts a job.
    preprocess = SkyExecOperator(
        task_id="preprocess", cluster_name=cluster.output, sky_task_yaml={"run": f"cd ~\n{PREPROCESS}"}
    )
    train = SkyExecOperator(
        task_id="train",
        cluster_name=preprocess.output,
        sky_task_yaml={"run": f"cd ~\n{TRAIN}"},
        envs={"EPOCHS": "{{ params.epochs }}"},
        retries=1,
    )
    evaluate = SkyExecOperator(
        # A model that is too bad stays so: no retry.
        task_id="evaluate",
        cluster_name=train.output,
        sky_task_yaml={"run": f"cd ~\n{EVALUATE}"},
        fail_fast=True,
    )
    down = SkyDownOperator(task_id="down", cluster_name=cluster.output)

    # The teardown runs whatever became of the tasks between.
    evaluate >> down.as_teardown(setups=cluster)
