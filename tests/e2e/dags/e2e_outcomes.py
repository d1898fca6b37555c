"""Each way to fail, provoked for real: what the design lists and tests/e2e/test_outcomes.py expects."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG
from kubernetes.client import models as k8s

from k8s_sky_provider.operators import SkyLaunchOperator, SkyStatusOperator
from k8s_sky_provider.retry_policies import SkyRetryPolicy

IMAGE = os.environ.get("AIRFLOW__SKYPILOT__DEFAULT_IMAGE_ID", "").rpartition("/")[0]
SMALL = {"infra": "kubernetes", "cpus": "0.2+", "memory": "0.5+"}
NO_QUOTA = {"kubernetes": {"pod_config": {"spec": {"priorityClassName": "e2e-no-quota"}}}}
NO_DNS = {
    "dnspolicy": "None",
    # An address that nobody has (RFC 5737).
    "dns_config": k8s.V1PodDNSConfig(nameservers=["192.0.2.1"]),
}
RUNNER = ["tini", "--", "sh", "-c"]
# /dev/shm of a container has 64 MB of its own.
SMALL_HOME = "export HOME=/dev/shm/home; mkdir -p $HOME; fill() { head -c 100M /dev/zero > /dev/shm/fill; }; "
RUN = 'exec python -m k8s_sky_provider.runner "$@"'
NOTED = "until ls $HOME/.sky/k8s_sky/owners/* > /dev/null 2>&1; do sleep 0.2; done; "
"""Waits until the launch is about to begin."""

# The way to the Kubernetes API, which is shut for a minute while the file is there. No child of the runner, which ends
# its children.
GATE = """
import os, socket, threading
SHUT = "/tmp/shut"
def pump(source, target):
    try:
        while (data := source.recv(65536)) and not os.path.exists(SHUT):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
gate = socket.create_server(("127.0.0.1", 16443))
while True:
    client, _ = gate.accept()
    if os.path.exists(SHUT):
        client.close()
        continue
    server = socket.create_connection((os.environ["API_HOST"], int(os.environ["API_PORT"])))
    for ends in ((client, server), (server, client)):
        threading.Thread(target=pump, args=ends, daemon=True).start()
"""
OUTAGE = (
    "export API_HOST=$KUBERNETES_SERVICE_HOST API_PORT=$KUBERNETES_SERVICE_PORT; "
    '( python -c "$GATE" & ); sleep 1; export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT=16443; '
    "touch /tmp/began; "
    "noted() { find $HOME/.sky/k8s_sky/owners -name 'e2e-outcomes-slow-api-away-*' -newer /tmp/began; }; "
    '( [ $TRY != 1 ] || { until [ -n "$(noted)" ]; do sleep 0.2; done; sleep 12; touch /tmp/shut; sleep 60; '
    "rm /tmp/shut; } & ); "
)
"""In the first try the API is away for a minute while the cluster is provisioned."""


def launch(task_id: str, task: dict[str, Any], **arguments: Any) -> None:
    resources = {**SMALL, **task.get("resources", {})}
    SkyLaunchOperator(task_id=task_id, sky_task_yaml={"run": "true", **task, "resources": resources}, **arguments)


def limits(**resources: str) -> k8s.V1ResourceRequirements:
    return k8s.V1ResourceRequirements(limits={name.replace("_", "-"): size for name, size in resources.items()})


DEFAULTS = {
    "retries": 1,
    # Never in time, if it were for it: the policy says when.
    "retry_delay": timedelta(hours=1),
    "retry_policy": SkyRetryPolicy(soon=timedelta(seconds=1), resources=timedelta(seconds=1)),
}

with DAG(
    dag_id="e2e_outcomes",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_tasks=4,
    default_args=DEFAULTS,
):
    launch("no_resources", {"resources": {"cpus": 64}})
    launch("no_credentials", {"resources": {"infra": "aws"}})
    launch("no_rights", {}, service_account_name="e2e-viewer")
    SkyStatusOperator(task_id="quota", priority_class_name="e2e-no-quota")
    SkyStatusOperator(
        task_id="out_of_memory",
        # At once, where a limit that is only just too low takes minutes.
        cmds=["tini", "--", "python", "-c", "len(b'1' * 500_000_000)"],
        container_resources=limits(memory="128Mi"),
    )
    SkyStatusOperator(task_id="volume_full", cmds=[*RUNNER, f"{SMALL_HOME}fill; {RUN}", "--"])

with DAG(
    dag_id="e2e_outcomes_slow",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_tasks=2,
    default_args=DEFAULTS,
):
    launch("quota_of_cluster", {"config": NO_QUOTA})
    launch("image_of_cluster", {"resources": {"image_id": f"{IMAGE}/no-such-image:1"}})
    launch("dns_gone", {"workdir": {"url": "https://git.example.com/team/train.git", "ref": "main"}}, **NO_DNS)
    launch("api_gone", {}, env_vars={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"})
    SkyStatusOperator(
        task_id="evicted",
        cmds=["tini", "--", "sh", "-c", "head -c 60M /dev/zero > /tmp/fill; sleep 300", "--"],
        container_resources=limits(ephemeral_storage="20Mi"),
    )
    launch("volume_full_later", {}, cmds=[*RUNNER, f"{SMALL_HOME}( {NOTED}fill ) & {RUN}", "--"])
    launch(
        "api_away",
        {"run": "echo it ran"},
        retries=3,
        env_vars={"GATE": GATE, "TRY": "{{ ti.try_number }}"},
        cmds=[*RUNNER, OUTAGE + RUN, "--"],
    )
    launch("setup_failed", {"setup": "echo no package of that name >&2; exit 7"}, retries=0)
    launch(
        "one_node_failed",
        {"num_nodes": 2, "run": "[ $SKYPILOT_NODE_RANK = 0 ] && sleep 60; echo bad data in part 7 >&2; exit 3"},
        retries=0,
    )
    launch(
        "job_out_of_memory",
        {
            "run": "echo loading; python3 -c 'len(b\"1\" * 4_000_000_000)'",
            "config": {
                "kubernetes": {"pod_config": {"spec": {"containers": [{"resources": {"limits": {"memory": "2Gi"}}}]}}}
            },
        },
        retries=0,
    )
