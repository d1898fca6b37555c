"""Which rules of the Pod Security Standard "restricted" a pod breaks, as Kubernetes' own admission would say.

The rules are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/ for pods of Linux, but for
fields that none of our pods has (Windows, SELinux, AppArmor, procMount, sysctls, hosts of probes): those are refused
whatever they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
ALLOWED_SECCOMP = {"RuntimeDefault", "Localhost"}
HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
UNUSED_FIELDS = ("windowsOptions", "seLinuxOptions", "appArmorProfile", "procMount", "sysctls")


def restricted_violations(pod: Mapping[str, Any]) -> list[str]:
    """Return what a pod's spec breaks, each as ``container: rule``."""
    return [*_of_the_pod(pod), *(broken for container in _containers(pod) for broken in _of(container, pod))]


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in pod.get(kind) or []]


def _of_the_pod(pod: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"pod: {name}" for name in HOST_NAMESPACES if pod.get(name))
    yield from (f"pod: {name}" for name in UNUSED_FIELDS if name in (pod.get("securityContext") or {}))
    for volume in pod.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= ALLOWED_VOLUMES:
            yield f"pod: volume {volume['name']} is {', '.join(kinds)}"


def _of(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    name = container["name"]
    own = container.get("securityContext") or {}
    effective = {**(pod.get("securityContext") or {}), **own}
    yield from (f"{name}: {field}" for field in UNUSED_FIELDS if field in own)
    if own.get("privileged"):
        yield f"{name}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    if effective.get("runAsNonRoot") is not True:
        yield f"{name}: runAsNonRoot"
    if effective.get("runAsUser") == 0:
        yield f"{name}: runAsUser"
    if (effective.get("seccompProfile") or {}).get("type") not in ALLOWED_SECCOMP:
        yield f"{name}: seccompProfile"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", []) or not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield f"{name}: hostPort"


def writable_root(pod: Mapping[str, Any]) -> list[str]:
    """Return the containers that can write to their root file system, which "restricted" leaves open."""
    return [
        container["name"]
        for container in _containers(pod)
        if (container.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True
    ]
