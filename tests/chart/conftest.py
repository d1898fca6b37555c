"""Renders the chart with the real helm and hands its objects to the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm"
RELEASE = "sky"
NAMESPACE = "k8s-sky"

CLUSTERS_NAMESPACE = "k8s-sky-clusters"
CLUSTERS_APART: dict[str, Any] = {"skyKubernetes": {"namespace": CLUSTERS_NAMESPACE}}
"""SkyPilot's clusters in a namespace of their own."""

AIRFLOW: dict[str, Any] = {"airflow": {"enabled": True, "image": {"repository": "registry.example.com/airflow"}}}
"""The fewest values that switch the chart's own Airflow on."""

Objects = dict[tuple[str, str], dict[str, Any]]
"""(kind, name) -> the object."""


class RenderError(Exception):
    """helm refused the values; the text is helm's own."""


def helm_path() -> str:
    """Return where helm is; without it these tests fail, because a skipped chart test proves nothing."""
    helm = REPOSITORY / ".build" / "bin" / "helm"
    if os.access(helm, os.X_OK):
        return str(helm)
    found = shutil.which("helm")
    if found is None:
        pytest.fail("helm is missing: run hack/tools, or install helm 3.8 or newer on the PATH", pytrace=False)
    return found


def run_helm(*arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """Run helm with values on its standard input and return its output."""
    command = [helm_path(), *arguments]
    if values is not None:
        command += ["--values", "-"]
    result = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False)
    if result.returncode != 0:
        raise RenderError(result.stderr + result.stdout)
    return result.stdout


def render_text(values: Mapping[str, Any] | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    """Return what ``helm template`` prints."""
    return run_helm("template", release, str(CHART), "--namespace", namespace, values=values or {})


def render_all(
    values: Mapping[str, Any] | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[dict[str, Any]]:
    """Return all objects of the chart."""
    documents = yaml.safe_load_all(render_text(values, release=release, namespace=namespace))
    return [document for document in documents if document]


def render(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    objects_of: str | None = None,
) -> Objects:
    """Return the objects of one namespace, by default the release's own, and those of no namespace."""
    wanted = objects_of or namespace
    return {
        (document["kind"], document["metadata"]["name"]): document
        for document in render_all(values, release=release, namespace=namespace)
        if document["metadata"].get("namespace", wanted) == wanted
    }


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values as helm does: maps deeply, anything else replaced."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            present = merged.get(key)
            merged[key] = merge(present, value) if isinstance(present, dict) and isinstance(value, Mapping) else value
    return merged


def airflow_values(**settings: Any) -> dict[str, Any]:
    """Return the values of an enabled Airflow with some settings changed."""
    return merge(AIRFLOW, {"airflow": settings})


def airflow_containers(objects: Objects) -> dict[str, dict[str, Any]]:
    """Return the containers of Airflow's pod by name, the init containers too."""
    pod = objects["Deployment", "sky-airflow"]["spec"]["template"]["spec"]
    return {container["name"]: container for container in pod["initContainers"] + pod["containers"]}


def worker_pod(objects: Objects) -> dict[str, Any]:
    """Return KubernetesExecutor's pod template."""
    template: dict[str, Any] = yaml.safe_load(objects["ConfigMap", "sky-airflow-worker"]["data"]["pod_template.yaml"])
    return template


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return a container's literal and referenced variables by name."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}
