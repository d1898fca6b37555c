"""The operators' own pods on the local cluster, many at once and without an Airflow in between."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from typing import TYPE_CHECKING, Any

from kubernetes.client import ApiClient
from local_airflow import BUILD, Kubectl
from local_postgres import SECONDS_TO_START, make_secret, pod_spec, service

from k8s_sky_provider.protocol import Owner, SkyRequest, SkyResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8s_sky_provider.operators import SkyBaseOperator

# Airflow reads it when it is first imported.
os.environ.setdefault("AIRFLOW_HOME", str(BUILD / "airflow"))

POSTGRES = "e2e-postgres"
PASSWORD = "a/pass@word"  # noqa: S105  # of a database that lives as long as a test
URI = f"postgresql://postgres:a%2Fpass%40word@{POSTGRES}:5432/postgres"

LABEL = "local-pods"

REQUESTS = {"requests": {"cpu": "30m", "memory": "64Mi"}}
"""Little enough for 32 pods to start at once on 2 CPUs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndedPod:
    """A pod that has ended.

    :param exit_code: of its container, None if that never ended
    :param result: what the runner said, None if it said nothing
    :param log: all that it printed
    :param node: where it ran, None if it was not scheduled
    :param seconds: from when the pods were made to its end
    """

    exit_code: int | None
    result: SkyResult | None
    log: str
    node: str | None
    seconds: float

    @property
    def end(self) -> str:
        """How it ended, with the reason, which its log does not have, and the end of that log."""
        reason = self.result.reason if self.result else "no result"
        return f"ended with {self.exit_code} after {self.seconds:.0f} s: {reason}\n{self.log[-2000:]}"


@contextlib.contextmanager
def settings(kubectl: Kubectl, **options: str | None) -> Iterator[None]:
    """Give this process the deployment's ``[skypilot]`` options, and others over them; None takes one away."""
    before = dict(os.environ)
    for config_map in kubectl.get("configmap", "-l", "app.kubernetes.io/instance=sky")["items"]:
        os.environ.update({k: v for k, v in config_map["data"].items() if k.startswith("AIRFLOW__SKYPILOT__")})
    for name, value in options.items():
        variable = f"AIRFLOW__SKYPILOT__{name.upper()}"
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def pod_of(operator: SkyBaseOperator, name: str) -> dict[str, Any]:
    """Return the very pod of an operator, under another name and as that of a task of this name."""
    pod: dict[str, Any] = ApiClient().sanitize_for_serialization(operator.build_pod_request_obj(dry_run=True))
    container = pod["spec"]["containers"][0]
    request = SkyRequest.from_argument(container["args"][0])
    owner = Owner(deployment=request.owner.deployment, dag_id="e2e", run_id="e2e", task_id=name)
    container["args"] = [dataclasses.replace(request, owner=owner).to_argument()]
    container["resources"] = REQUESTS
    return {**pod, "metadata": {"name": name, "labels": {LABEL: "true"}}}


def create(kubectl: Kubectl, pods: list[dict[str, Any]]) -> float:
    """Make pods all at once; return when that was."""
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    return time.monotonic()


def wait_for(kubectl: Kubectl, names: list[str], started: float, seconds: float) -> dict[str, EndedPod]:
    """Wait until pods have ended, or until that takes too long; delete them and return how they ended, by name."""
    ended: dict[str, EndedPod] = {}
    while len(ended) < len(names):
        late = time.monotonic() - started > seconds
        for pod in kubectl.get("pods", "-l", f"{LABEL}=true")["items"]:
            name = pod["metadata"]["name"]
            is_over = late or pod["status"]["phase"] in {"Succeeded", "Failed"}
            if name in names and name not in ended and is_over:
                ended[name] = _ended(pod, kubectl("logs", name, check=False), time.monotonic() - started)
        if late:
            break
        time.sleep(1)
    kubectl("delete", "pod", *names, "--now", "--wait=false")
    return {name: ended[name] for name in names if name in ended}


def run_together(kubectl: Kubectl, pods: list[dict[str, Any]], seconds: float) -> dict[str, EndedPod]:
    """Make pods all at once and wait until they have ended."""
    started = create(kubectl, pods)
    return wait_for(kubectl, [pod["metadata"]["name"] for pod in pods], started, seconds)


def _ended(pod: Mapping[str, Any], log: str, seconds: float) -> EndedPod:
    statuses = pod["status"].get("containerStatuses") or [{}]
    terminated = statuses[0].get("state", {}).get("terminated") or {}
    message = terminated.get("message")
    return EndedPod(
        exit_code=terminated.get("exitCode"),
        result=SkyResult.from_json(message) if message and message.startswith("{") else None,
        log=log,
        node=pod["spec"].get("nodeName"),
        seconds=seconds,
    )


@contextlib.contextmanager
def volume(kubectl: Kubectl, name: str, access_mode: str = "ReadWriteOnce") -> Iterator[str]:
    """Make a PersistentVolumeClaim, for as long as it is used."""
    spec = {"accessModes": [access_mode], "resources": {"requests": {"storage": "2Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
    kubectl.apply(claim)
    try:
        yield name
    finally:
        kubectl("delete", "pvc", name, "--wait=false")


@contextlib.contextmanager
def postgres(kubectl: Kubectl) -> Iterator[str]:
    """Run a PostgreSQL, for as long as it is used; the value is what ``database_secret`` takes."""
    metadata = {"name": POSTGRES, "labels": {"app": POSTGRES}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(POSTGRES, emptyDir={})}
    try:
        make_secret(kubectl, POSTGRES, password=PASSWORD, uri=URI)
        kubectl.apply(service(POSTGRES), pod)
        kubectl("wait", "--for=condition=Ready", f"pod/{POSTGRES}", f"--timeout={SECONDS_TO_START}s")
        yield f"{POSTGRES}/uri"
    finally:
        kubectl("delete", f"pod/{POSTGRES}", f"service/{POSTGRES}", f"secret/{POSTGRES}", "--ignore-not-found")
