"""Where pods are, where they may go next, and a node that loses its power."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from local_airflow import BUILD, ROOT, read_env_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_airflow import Kubectl


class Nodes:
    """The nodes of the local cluster; a test that needs two of them is skipped where there is one."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self.names = [node["metadata"]["name"] for node in kubectl.get("nodes")["items"]]
        if len(self.names) < 2:
            pytest.skip("needs two nodes: kind's cluster has one, and so has one with K8S_SKY_NODES=1")

    def only(self, name: str) -> None:
        """Let pods that are scheduled from now on go to this node alone."""
        self._kubectl("uncordon", name)
        self._kubectl("cordon", *self.others(name))

    def all(self) -> None:
        """Let pods go to every node."""
        self._kubectl("uncordon", *self.names)

    def drain(self, name: str) -> None:
        """Drain a node, as before its upgrade; it stays cordoned."""
        self._kubectl("uncordon", *self.others(name))
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=300s")
        self._kubectl("drain", name, *options)

    def others(self, name: str) -> list[str]:
        return [other for other in self.names if other != name]

    def is_ready(self, name: str) -> bool:
        conditions = self._kubectl.get("node", name)["status"]["conditions"]
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def node_of(kubectl: Kubectl, pod: str) -> str | None:
    """Return the node that a pod has been scheduled to."""
    node: str | None = kubectl.get("pod", pod)["spec"].get("nodeName")
    return node


@contextlib.contextmanager
def power_cut(node: str) -> Iterator[None]:
    """Cut a node off and kill all that runs on it; it boots again when the block has ended."""
    if read_env_file(BUILD / "cluster.env")["CLUSTER_KIND"] != "compiled":
        pytest.skip("only a node of the compiled cluster can lose its power")
    _cluster("node-down", node)
    try:
        yield
    finally:
        _cluster("node-up", node)


def _cluster(*arguments: str) -> None:
    subprocess.run([str(ROOT / "hack" / "cluster"), *arguments], check=True, capture_output=True)
