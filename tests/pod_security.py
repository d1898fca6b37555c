"""The level ``restricted`` of Kubernetes' Pod Security Standards, version 1.36, for Linux pods.

After the checks of Pod Security admission itself, ``policy/`` of https://github.com/kubernetes/pod-security-admission,
which give each check its name, and https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Pod = dict[str, Any]

VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
SYSCTLS = frozenset(
    {
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"),
        *("net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports"),
        *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
        *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    }
)
SE_LINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
PROFILES = frozenset({"RuntimeDefault", "Localhost"})
APP_ARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def violations(pod: Pod) -> list[str]:
    """Return the checks that a pod, as a manifest, does not pass; none if ``restricted`` admits it."""
    return [name for name, passes in CHECKS.items() if not passes(pod)]


def writable_root(pod: Pod) -> list[str]:
    """Return the containers that can write to their root file system, which ``restricted`` leaves open."""
    return [
        container["name"]
        for container in _containers(pod)
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True
    ]


def _containers(pod: Pod) -> list[Pod]:
    spec = pod["spec"]
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def _own_contexts(pod: Pod) -> list[Pod]:
    return [container.get("securityContext", {}) for container in _containers(pod)]


def _contexts(pod: Pod) -> list[Pod]:
    return [pod["spec"].get("securityContext", {}), *_own_contexts(pod)]


def _inherited(pod: Pod, field: str) -> list[Any]:
    """Return a field of each container, or the pod's where it has none."""
    of_pod = pod["spec"].get("securityContext", {}).get(field)
    return [context.get(field, of_pod) for context in _own_contexts(pod)]


def _handlers(pod: Pod) -> Iterator[Pod]:
    for container in _containers(pod):
        for name in ("livenessProbe", "readinessProbe", "startupProbe"):
            yield container.get(name, {})
        yield from container.get("lifecycle", {}).values()


def _is_in_a_user_namespace(pod: Pod) -> bool:
    return pod["spec"].get("hostUsers") is False


def _app_armor(pod: Pod) -> bool:
    profiles = [context.get("appArmorProfile", {"type": "RuntimeDefault"}) for context in _contexts(pod)]
    annotations = pod.get("metadata", {}).get("annotations", {}).items()
    values = [value for name, value in annotations if name.startswith(APP_ARMOR_ANNOTATION)]
    return all(profile.get("type") in PROFILES for profile in profiles) and all(
        value in {"", "runtime/default"} or value.startswith("localhost/") for value in values
    )


def _capabilities(pod: Pod) -> bool:
    capabilities = [context.get("capabilities", {}) for context in _own_contexts(pod)]
    return all(
        "ALL" in each.get("drop", []) and set(each.get("add", [])) <= {"NET_BIND_SERVICE"} for each in capabilities
    )


def _run_as_non_root(pod: Pod) -> bool:
    explicit = [context["runAsNonRoot"] for context in _contexts(pod) if "runAsNonRoot" in context]
    return _is_in_a_user_namespace(pod) or (all(explicit) and all(_inherited(pod, "runAsNonRoot")))


def _run_as_user(pod: Pod) -> bool:
    return _is_in_a_user_namespace(pod) or all(context.get("runAsUser") != 0 for context in _contexts(pod))


def _seccomp(pod: Pod) -> bool:
    explicit = [context["seccompProfile"] for context in _contexts(pod) if "seccompProfile" in context]
    profiles = [*explicit, *_inherited(pod, "seccompProfile")]
    return all((profile or {}).get("type") in PROFILES for profile in profiles)


def _se_linux(pod: Pod) -> bool:
    options = [context.get("seLinuxOptions", {}) for context in _contexts(pod)]
    return all(
        each.get("type", "") in SE_LINUX_TYPES and not each.get("user") and not each.get("role") for each in options
    )


CHECKS: dict[str, Callable[[Pod], bool]] = {
    "allowPrivilegeEscalation": lambda pod: all(
        context.get("allowPrivilegeEscalation") is False for context in _own_contexts(pod)
    ),
    "appArmorProfile": _app_armor,
    "capabilities_restricted": _capabilities,
    "hostNamespaces": lambda pod: not any(pod["spec"].get(field) for field in ("hostNetwork", "hostPID", "hostIPC")),
    "hostPorts": lambda pod: (
        not any(port.get("hostPort") for container in _containers(pod) for port in container.get("ports", []))
    ),
    "hostProbesAndHostLifecycle": lambda pod: (
        not any(handler.get(kind, {}).get("host") for handler in _handlers(pod) for kind in ("httpGet", "tcpSocket"))
    ),
    "privileged": lambda pod: not any(context.get("privileged") for context in _own_contexts(pod)),
    "procMount_restricted": lambda pod: all(
        context.get("procMount", "Default") == "Default" for context in _own_contexts(pod)
    ),
    # A volume that has no more than a name is an emptyDir.
    "restrictedVolumes": lambda pod: all(
        set(volume) & VOLUMES or set(volume) == {"name"} for volume in pod["spec"].get("volumes", [])
    ),
    "runAsNonRoot": _run_as_non_root,
    "runAsUser": _run_as_user,
    "seLinuxOptions": _se_linux,
    "seccompProfile_restricted": _seccomp,
    "sysctls": lambda pod: (
        {sysctl["name"] for sysctl in pod["spec"].get("securityContext", {}).get("sysctls", [])} <= SYSCTLS
    ),
    "windowsHostProcess": lambda pod: (
        not any(context.get("windowsOptions", {}).get("hostProcess") for context in _contexts(pod))
    ),
}
