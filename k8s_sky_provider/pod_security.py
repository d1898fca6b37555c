"""What a sky pod may do: our security contexts, and over them, field by field, those of whoever wrote the task.

Ours pass Pod Security's level ``restricted``; docs/operators.md says how to change them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient, Configuration
from kubernetes.client import models as k8s

from k8s_sky_provider.exceptions import SkyRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RUNNER_USER_ID = 1000
"""The image's user ``sky``."""

POD: Mapping[str, Any] = {
    "runAsUser": RUNNER_USER_ID,
    "runAsGroup": RUNNER_USER_ID,
    "runAsNonRoot": True,
    "fsGroup": RUNNER_USER_ID,
    # Changing every file's mode at each start would make ssh refuse its keys.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


class Source(NamedTuple):
    """A place where security contexts are written: as dicts, as Kubernetes' models, or not at all.

    :param pod: the pod's context
    :param container: that of the base container
    :param pod_field: what an error calls the first
    :param container_field: what an error calls the second
    """

    pod: Any
    container: Any
    pod_field: str
    container_field: str

    @classmethod
    def in_manifest(cls, name: str, manifest: Mapping[str, Any]) -> Self:
        """Return those of a pod's manifest, whose first container is the base container.

        :param name: what an error calls the manifest
        """
        spec = manifest.get("spec") or {}
        container: Mapping[str, Any] = next(iter(spec.get("containers") or []), {})
        return cls(
            pod=spec.get("securityContext"),
            container=container.get("securityContext"),
            pod_field=f"{name}: spec.securityContext",
            container_field=f"{name}: spec.containers[0].securityContext",
        )

    @classmethod
    def in_arguments(cls, security_context: Any, container_security_context: Any) -> Self:
        """Return those of KubernetesPodOperator's arguments."""
        return cls(
            pod=security_context,
            container=container_security_context,
            pod_field="security_context",
            container_field="container_security_context",
        )

    def read(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the two as a manifest has them; a field that is None is one to be taken away.

        :raises SkyRequestError: if a field has an unknown name or a value of another type
        """
        return (
            _read(self.pod_field, self.pod, _pod_model),
            _read(self.container_field, self.container, _container_model),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecurityContexts:
    """The security contexts of a sky pod.

    :param pod: the pod's context
    :param container: that of the base container
    """

    pod: k8s.V1PodSecurityContext
    container: k8s.V1SecurityContext

    @classmethod
    def resolve(cls, *sources: Source) -> Self:
        """Lay the contexts of sources over ours, field by field, the later over the earlier.

        :raises SkyRequestError: if one cannot be read, or Kubernetes would never start what comes of them
        """
        pod, container = dict(POD), dict(CONTAINER)
        for source in sources:
            over_pod, over_container = source.read()
            pod, container = _merge(pod, over_pod), _merge(container, over_container)
        contexts = cls(pod=_pod_model(_said(pod)), container=_container_model(_said(container)))
        contexts._check_user()
        return contexts

    @property
    def has_read_only_root(self) -> bool:
        """Whether the base container can write to mounted volumes alone."""
        return bool(self.container.read_only_root_filesystem)

    def _check_user(self) -> None:
        if self._effective("run_as_user") == 0 and self._effective("run_as_non_root"):
            raise SkyRequestError(
                "security_context or container_security_context: runAsUser is 0, which is root, and runAsNonRoot is "
                "true: Kubernetes would never start the container. Set runAsNonRoot to False as well, or runAsUser to "
                "another user"
            )

    def _effective(self, name: str) -> Any:
        of_container = getattr(self.container, name)
        return getattr(self.pod, name) if of_container is None else of_container


def _read(field: str, written: Any, to_model: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    fields = _as_in_a_manifest(written) or {}
    if not isinstance(fields, dict):
        raise SkyRequestError(f"{field}: {written!r} must be a dict, as {{'runAsUser': 1000}}, or Kubernetes' model")
    try:
        model = to_model(_said(fields))
    except (TypeError, ValueError) as error:
        raise SkyRequestError(f"{field}: {error}") from error
    known = sorted(model.attribute_map.values())
    if unknown := sorted(set(fields) - set(known)):
        raise SkyRequestError(f"{field}: there is no {', '.join(unknown)}; known are {', '.join(known)}")
    if misread := _misread(_said(fields), _as_in_a_manifest(model)):
        name, value = misread
        raise SkyRequestError(f"{field}.{name}: {value!r} is no value that Kubernetes takes, or there is no such field")
    return fields


def _pod_model(fields: dict[str, Any]) -> k8s.V1PodSecurityContext:
    manifest = {"spec": {"securityContext": fields, "containers": []}}
    return PodGenerator.deserialize_model_dict(manifest).spec.security_context


def _container_model(fields: dict[str, Any]) -> k8s.V1SecurityContext:
    manifest = {"spec": {"containers": [{"name": "base", "securityContext": fields}]}}
    return PodGenerator.deserialize_model_dict(manifest).spec.containers[0].security_context


def _as_in_a_manifest(written: Any) -> Any:
    return ApiClient(configuration=Configuration()).sanitize_for_serialization(written)


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields without those that are None."""
    return {
        name: _said(value) if isinstance(value, dict) else value for name, value in fields.items() if value is not None
    }


def _merge(context: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return a context with the fields of another over it; capabilities are two fields, what is dropped and added."""
    merged = {**context, **over}
    ours, theirs = context.get("capabilities"), over.get("capabilities")
    if ours and theirs:
        merged["capabilities"] = {**ours, **theirs}
    return merged


def _misread(said: dict[str, Any], understood: dict[str, Any]) -> tuple[str, Any] | None:
    """Return the first field that is not in Kubernetes' model as it was said: there, the text 'false' is true."""
    for name, value in said.items():
        taken = understood.get(name)
        if isinstance(value, dict) and isinstance(taken, dict):
            if inner := _misread(value, taken):
                return f"{name}.{inner[0]}", inner[1]
        # Of a template that Jinja has rendered, numbers are text.
        elif value != taken and str(value).casefold() != str(taken).casefold():
            return name, value
    return None
