"""The pod of an action: KubernetesPodOperator's own, with what a sky pod has besides.

What the operator's arguments or templates have already under the same volume name, mount path or variable name stays as
it is.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import models as k8s

from k8s_sky_provider.pod_security import SecurityContexts, Source
from k8s_sky_provider.protocol import DEFERRED_LOG_PACE, LOG_PACE, POD_DIRECTORIES
from k8s_sky_provider.workspace import DEPLOYMENT_LABEL

if TYPE_CHECKING:
    from k8s_sky_provider.workspace import Workspace

TERMINATION_GRACE_PERIOD = 300
"""Seconds that a pod has for ``on_cancel``, unless an argument or a template says otherwise."""

RUNNER_COMMAND = ["tini", "--", "python", "-m", "k8s_sky_provider.runner"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Templates:
    """The manifests that an operator's pod begins with, as they are written: a model keeps no nulls.

    :param name: the operator's argument with the pod template, for errors
    :param template: the pod template
    :param full: the full pod spec, which beats the template
    """

    name: str
    template: Mapping[str, Any]
    full: Mapping[str, Any]

    @classmethod
    def read(cls, *, file: str | None, template: Mapping[str, Any] | None, full: k8s.V1Pod | None) -> Self:
        """Read the arguments of KubernetesPodOperator; it says itself that a file does not exist."""
        if file:
            template = yaml.safe_load(Path(file).read_text()) if Path(file).exists() else None
        return cls(
            name="pod_template_file" if file else "pod_template_dict",
            template=template or {},
            full=PodGenerator.serialize_pod(full) if full else {},
        )

    @property
    def namespace(self) -> str | None:
        """The pod's namespace."""
        return self._first("metadata", "namespace")

    @property
    def image(self) -> str | None:
        """Image of the base container."""
        return self._first("container", "image")

    @property
    def image_pull_policy(self) -> str | None:
        """Pull policy of that image."""
        return self._first("container", "imagePullPolicy")

    @property
    def security(self) -> tuple[Source, Source]:
        """The security contexts, the later over the earlier."""
        return Source.in_manifest(self.name, self.template), Source.in_manifest("full_pod_spec", self.full)

    def _first(self, section: str, field: str) -> str | None:
        for manifest in (self.full, self.template):
            value: str | None = _section(manifest, section).get(field)
            if value:
                return value
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Completion:
    """What a sky pod has besides what KubernetesPodOperator makes of its arguments.

    :param workspace: where the pod runs and what it mounts
    :param contexts: its security contexts
    :param command: the command of the base container
    :param argument: the one argument of that command
    :param is_deferred: whether a triggerer follows its log
    """

    workspace: Workspace
    contexts: SecurityContexts
    command: Sequence[str]
    argument: str
    is_deferred: bool

    def attach_to_pod(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        """Complete a pod where KubernetesPodOperator attaches Secrets, the last step before Airflow's hooks see it."""
        return complete(pod, self)


def complete(pod: k8s.V1Pod, ours: Completion) -> k8s.V1Pod:
    """Return a pod with all that a sky pod has; its first container is the base container."""
    pod = copy.deepcopy(pod)
    workspace, spec = ours.workspace, pod.spec
    container = spec.containers[0]
    pod.metadata.labels = {**(pod.metadata.labels or {}), DEPLOYMENT_LABEL: workspace.deployment}
    spec.service_account_name = spec.service_account_name or workspace.service_account_name
    spec.image_pull_secrets = spec.image_pull_secrets or [
        k8s.V1LocalObjectReference(name=name) for name in workspace.image_pull_secrets
    ]
    if spec.termination_grace_period_seconds is None:
        spec.termination_grace_period_seconds = TERMINATION_GRACE_PERIOD
    spec.security_context, container.security_context = ours.contexts.pod, ours.contexts.container
    container.image = container.image or workspace.image
    container.image_pull_policy = container.image_pull_policy or workspace.image_pull_policy
    container.command, container.args = list(ours.command), [ours.argument]
    container.resources = container.resources or workspace.container_resources
    local = _add_volumes(spec, container, ours)
    pace = {LOG_PACE: str(DEFERRED_LOG_PACE)} if ours.is_deferred else {}
    env = [*workspace.env, *(k8s.V1EnvVar(name=name, value=value) for name, value in {**local, **pace}.items())]
    container.env = [*(container.env or []), *_missing(env, container.env, "name")]
    # Of two sources with the same key Kubernetes takes the later one.
    given = container.env_from or []
    container.env_from = [*(source for source in workspace.env_from if source not in given), *given]
    return pod


def _add_volumes(spec: k8s.V1PodSpec, container: k8s.V1Container, ours: Completion) -> dict[str, str]:
    """Add volumes and mounts; return the environment that says where the mounts are that are gone with the pod."""
    workspace, with_scratch = ours.workspace, ours.contexts.has_read_only_root
    scratch_volumes = workspace.scratch_volumes if with_scratch else []
    scratch_mounts = workspace.scratch_mounts if with_scratch else []
    volumes, mounts = [*workspace.volumes, *scratch_volumes], [*workspace.volume_mounts, *scratch_mounts]
    spec.volumes = [*(spec.volumes or []), *_missing(volumes, spec.volumes, "name")]
    container.volume_mounts = [
        *(container.volume_mounts or []),
        *_missing(mounts, container.volume_mounts, "mount_path"),
    ]
    local = {volume.name for volume in scratch_volumes if volume in spec.volumes}
    paths = [mount.mount_path for mount in scratch_mounts if mount in container.volume_mounts and mount.name in local]
    return {POD_DIRECTORIES: ":".join(paths)} if paths else {}


def _missing(added: Sequence[Any], present: Sequence[Any] | None, key: str) -> list[Any]:
    """Return what is not there yet under the same key."""
    taken = {_key_of(item, key) for item in present or []}
    return [item for item in added if getattr(item, key) not in taken]


def _key_of(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, Mapping) else getattr(item, key)


def _section(manifest: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """Return the metadata of a pod's manifest, or its first container, which is the base container."""
    if section == "metadata":
        return manifest.get("metadata") or {}
    return next(iter((manifest.get("spec") or {}).get("containers") or []), None) or {}
