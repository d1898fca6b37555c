"""A read-only action: our runner against ``sky status``, in the same image with the same volume."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from local_airflow import Kubectl

from benchmarks.ratio import Ratio

PEAK_OF = Path(__file__).with_name("peak_of.py").read_text()
ROUNDS = 3
SECONDS = 600


def measure() -> list[Ratio]:
    """Run both in turn, in new pods; wall time and peak memory of all processes in the pod, the best of each."""
    kubectl = Kubectl()
    defaults = kubectl.get("configmap", "-l", "app.kubernetes.io/instance=sky")["items"]
    for config_map in defaults:
        os.environ.update({k: v for k, v in config_map["data"].items() if k.startswith("AIRFLOW__SKYPILOT__")})
    pod = _pod()
    runner = pod["spec"]["containers"][0]["command"][2:] + pod["spec"]["containers"][0]["args"]
    ours, theirs = [], []
    for number in range(1, ROUNDS + 1):
        print(f"sky status and our status in a pod, {number} of {ROUNDS}", flush=True)
        ours.append(_run(kubectl, pod, "bench-ours", runner))
        theirs.append(_run(kubectl, pod, "bench-cli", ["sky", "status"]))
    return [
        Ratio(
            what="status in our pod / sky status, wall time",
            ours=min(one["seconds"] for one in ours),
            theirs=min(one["seconds"] for one in theirs),
            unit="s",
            limit=1 / 8,
        ),
        Ratio(
            what="status in our pod / sky status, peak memory (PSS)",
            ours=min(one["peak_mb"] for one in ours),
            theirs=min(one["peak_mb"] for one in theirs),
            unit="MB",
            limit=1 / 8,
        ),
    ]


def _pod() -> dict[str, Any]:
    """Return the very pod of a SkyStatusOperator."""
    from kubernetes.client import ApiClient

    from k8s_sky_provider.operators import SkyStatusOperator

    operator = SkyStatusOperator(task_id="bench", kubernetes_conn_id=None)
    pod: dict[str, Any] = ApiClient().sanitize_for_serialization(operator.build_pod_request_obj(dry_run=True))
    return pod


def _run(kubectl: Kubectl, pod: dict[str, Any], name: str, command: list[str]) -> dict[str, float]:
    container = {
        **pod["spec"]["containers"][0],
        "command": ["tini", "--", "python", "-c", PEAK_OF],
        "args": command,
        "env": [
            # The command line tool cannot do without its own server.
            {**variable, "value": "0"} if variable["name"] == "SKYPILOT_DISABLE_LOCAL_API_SERVER" else variable
            for variable in pod["spec"]["containers"][0]["env"]
        ],
    }
    manifest = {**pod, "metadata": {"name": name}, "spec": {**pod["spec"], "containers": [container]}}
    kubectl("delete", "pod", name, "--ignore-not-found", "--now")
    kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    deadline = time.monotonic() + SECONDS
    while (phase := kubectl.get("pod", name)["status"]["phase"]) not in {"Succeeded", "Failed"}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is {phase} after {SECONDS} s:\n{kubectl('logs', name)}")
        time.sleep(0.5)
    log = kubectl("logs", name)
    kubectl("delete", "pod", name, "--now")
    if phase == "Failed":
        raise RuntimeError(f"{name} failed:\n{log}")
    measured: dict[str, float] = json.loads(log.splitlines()[-1])
    return measured
