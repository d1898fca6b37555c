"""A NetworkPolicy is enforced, on every node and across nodes: what the chart's users write has an effect here too."""

from __future__ import annotations

import functools
import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import wait_until
from ledger import NAME as LEDGER
from local_airflow import BUILD, CLUSTERS_NAMESPACE, RESTRICTED_CONTAINER, RESTRICTED_POD, read_env_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger import Ledger
    from local_airflow import Kubectl

CALLER = "e2e-caller"
POLICY = "e2e-only-friends"
SECONDS_TO_TAKE_EFFECT = 60
CALL = f"import urllib.request as u; u.urlopen('http://{LEDGER}.{CLUSTERS_NAMESPACE}/hello', timeout=3)"


@pytest.fixture(scope="module")
def callers(kubectl: Kubectl, ledger: Ledger) -> Iterator[list[str]]:
    """A pod on each node."""
    names = []
    for number, node in enumerate(kubectl.get("nodes")["items"]):
        names.append(f"{CALLER}-{number}")
        container = {
            "name": "caller",
            "image": read_env_file(BUILD / "images.env")["SKYPILOT_IMAGE"],
            "command": ["sleep", "3600"],
            "securityContext": RESTRICTED_CONTAINER,
        }
        spec = {
            "containers": [container],
            "nodeSelector": {"kubernetes.io/hostname": node["metadata"]["name"]},
            "securityContext": {**RESTRICTED_POD, "runAsUser": 1000},
            "terminationGracePeriodSeconds": 0,
        }
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": names[-1]}, "spec": spec})
    kubectl("wait", "--for=condition=Ready", "pod", *names, "--timeout=120s")
    yield names
    kubectl("delete", "pod", *names, "--now")


@pytest.fixture
def policy(kubectl: Kubectl, clusters: Kubectl) -> Iterator[None]:
    """Let only pods with the label ``friend`` call the ledger."""
    friends = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace}},
        "podSelector": {"matchLabels": {"friend": "true"}},
    }
    clusters.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": POLICY},
            "spec": {
                "podSelector": {"matchLabels": {"app": LEDGER}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [friends]}],
            },
        }
    )
    yield
    clusters("delete", "networkpolicy", POLICY)


def reaches(kubectl: Kubectl, pod: str) -> bool:
    command = kubectl.command("exec", pod, "--", "python", "-c", CALL)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def is_kept_out(kubectl: Kubectl, pod: str) -> bool:
    return not reaches(kubectl, pod)


def test_pods_of_all_nodes_reach_a_service_without_a_policy(kubectl: Kubectl, callers: list[str]) -> None:
    assert [pod for pod in callers if not reaches(kubectl, pod)] == []


@pytest.mark.usefixtures("policy")
def test_a_policy_keeps_strangers_out_and_lets_friends_in(kubectl: Kubectl, callers: list[str]) -> None:
    for pod in callers:
        wait_until(f"{pod} kept out", functools.partial(is_kept_out, kubectl, pod), SECONDS_TO_TAKE_EFFECT)
    for pod in callers:
        kubectl("label", "pod", pod, "friend=true")
        wait_until(f"{pod} let in", functools.partial(reaches, kubectl, pod), SECONDS_TO_TAKE_EFFECT)
