"""What Pod Security refuses in the namespace of Airflow and the operators' pods, and in that of SkyPilot's clusters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from local_airflow import CLUSTERS_NAMESPACE, NAMESPACE, RESTRICTED_CONTAINER, RESTRICTED_POD, Kubectl

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIVILEGED: dict[str, Any] = {"containers": [{"name": "bad", "image": "none", "securityContext": {"privileged": True}}]}
GOOD_CONTAINER = {"name": "good", "image": "none", "securityContext": RESTRICTED_CONTAINER}
GOOD: dict[str, Any] = {"containers": [GOOD_CONTAINER], "securityContext": {**RESTRICTED_POD, "runAsUser": 1000}}
ROOT: dict[str, Any] = {**GOOD, "securityContext": {**RESTRICTED_POD, "runAsUser": 0}}
OF_THE_HOST: dict[str, Any] = {**GOOD, "hostNetwork": True}
WITH_ITS_FILES: dict[str, Any] = {**GOOD, "volumes": [{"name": "host", "hostPath": {"path": "/"}}]}
LIKE_SKYPILOTS: dict[str, Any] = {"containers": [{"name": "ray-node", "image": "none"}]}


def create(namespace: str, spec: Mapping[str, Any]) -> None:
    """Have Kubernetes admit a pod, and make none."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-security"}, "spec": spec}
    Kubectl(namespace)("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


@pytest.mark.parametrize(
    ("namespace", "spec", "level", "rule"),
    [
        pytest.param(NAMESPACE, PRIVILEGED, "restricted", "privileged", id="privileged"),
        pytest.param(NAMESPACE, ROOT, "restricted", "runAsUser=0", id="root"),
        pytest.param(NAMESPACE, LIKE_SKYPILOTS, "restricted", "allowPrivilegeEscalation != false", id="skypilot's"),
        pytest.param(CLUSTERS_NAMESPACE, PRIVILEGED, "baseline", "privileged", id="privileged cluster"),
        pytest.param(CLUSTERS_NAMESPACE, OF_THE_HOST, "baseline", "host namespaces", id="host's network"),
        pytest.param(CLUSTERS_NAMESPACE, WITH_ITS_FILES, "baseline", "hostPath volumes", id="host's files"),
    ],
)
def test_a_bad_pod_is_refused(namespace: str, spec: Mapping[str, Any], level: str, rule: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        create(namespace, spec)
    _, said, why = str(refused.value).partition(f'violates PodSecurity "{level}:latest"')
    assert said, refused.value
    assert rule in why


@pytest.mark.parametrize(
    ("namespace", "spec"),
    [
        pytest.param(NAMESPACE, GOOD, id="release"),
        pytest.param(CLUSTERS_NAMESPACE, GOOD, id="clusters"),
        pytest.param(CLUSTERS_NAMESPACE, LIKE_SKYPILOTS, id="skypilot's"),
    ],
)
def test_a_good_pod_is_let_in(namespace: str, spec: Mapping[str, Any]) -> None:
    create(namespace, spec)
