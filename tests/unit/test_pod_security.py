"""The checker that other tests ask about pods finds each thing that Pod Security does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pod_security import CHECKS, violations

GOOD: dict[str, Any] = {
    "metadata": {"annotations": {}},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "none"}, {"name": "tmp", "emptyDir": {}}, {"name": "keys", "secret": {"secretName": "k"}}],
        "initContainers": [
            {
                "name": "first",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                },
            }
        ],
        "containers": [
            {
                "name": "base",
                "ports": [{"containerPort": 80}],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}
BAD: list[tuple[str, str, Any]] = [
    ("allowPrivilegeEscalation", "container.allowPrivilegeEscalation", True),
    ("allowPrivilegeEscalation", "init.allowPrivilegeEscalation", None),
    ("appArmorProfile", "pod.appArmorProfile", {"type": "Unconfined"}),
    ("appArmorProfile", "annotations.container.apparmor.security.beta.kubernetes.io/base", "unconfined"),
    ("capabilities_restricted", "container.capabilities", {"drop": ["NET_RAW"]}),
    ("capabilities_restricted", "init.capabilities", {"drop": ["ALL"], "add": ["CHOWN"]}),
    ("hostNamespaces", "spec.hostNetwork", True),
    ("hostNamespaces", "spec.hostPID", True),
    ("hostNamespaces", "spec.hostIPC", True),
    ("hostPorts", "base.ports", [{"containerPort": 80, "hostPort": 80}]),
    ("hostProbesAndHostLifecycle", "base.livenessProbe", {"httpGet": {"host": "10.0.0.1"}}),
    ("hostProbesAndHostLifecycle", "base.lifecycle", {"preStop": {"tcpSocket": {"host": "10.0.0.1"}}}),
    ("privileged", "container.privileged", True),
    ("procMount_restricted", "container.procMount", "Unmasked"),
    ("restrictedVolumes", "spec.volumes", [{"name": "node", "hostPath": {"path": "/"}}]),
    ("restrictedVolumes", "spec.volumes", [{"name": "share", "nfs": {}}]),
    ("runAsNonRoot", "pod.runAsNonRoot", None),
    ("runAsNonRoot", "container.runAsNonRoot", False),
    ("runAsUser", "pod.runAsUser", 0),
    ("runAsUser", "container.runAsUser", 0),
    ("seLinuxOptions", "pod.seLinuxOptions", {"type": "spc_t"}),
    ("seLinuxOptions", "container.seLinuxOptions", {"role": "r"}),
    ("seccompProfile_restricted", "pod.seccompProfile", None),
    ("seccompProfile_restricted", "container.seccompProfile", {"type": "Unconfined"}),
    ("sysctls", "pod.sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
    ("windowsHostProcess", "pod.windowsOptions", {"hostProcess": True}),
]


def with_field(path: str, value: Any) -> dict[str, Any]:
    """Return the good pod with another value in one field; None takes it away."""
    pod = copy.deepcopy(GOOD)
    spec = pod["spec"]
    where, _, field = path.partition(".")
    places = {
        "annotations": pod["metadata"]["annotations"],
        "spec": spec,
        "pod": spec["securityContext"],
        "base": spec["containers"][0],
        "container": spec["containers"][0]["securityContext"],
        "init": spec["initContainers"][0]["securityContext"],
    }
    if value is None:
        del places[where][field]
    else:
        places[where][field] = value
    return pod


def test_a_restricted_pod_passes() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(("check", "path", "value"), BAD)
def test_another_does_not(check: str, path: str, value: Any) -> None:
    assert violations(with_field(path, value)) == [check]


def test_each_check_has_been_seen_to_fail() -> None:
    assert {check for check, _, _ in BAD} == set(CHECKS)


@pytest.mark.parametrize("path", ["pod.runAsUser", "pod.runAsNonRoot"])
def test_root_may_run_in_a_user_namespace(path: str) -> None:
    pod = with_field(path, 0)
    pod["spec"]["hostUsers"] = False
    assert violations(pod) == []
