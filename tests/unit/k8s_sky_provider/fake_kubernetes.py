"""A Kubernetes API in memory: the one thing that the operators' tests fake.

:class:`FakeKubernetes` has the methods of ``kubernetes.client.CoreV1Api`` that KubernetesPodOperator
and our base operator call. The fixture ``kubernetes`` (conftest.py) puts it where KubernetesHook has
its client; KubernetesPodOperator's own code, its pod manager and its hook are the real ones.

* Creating a pod fixes the stages of its life, a list of pod statuses, by calling :attr:`FakeKubernetes.life`
  with the pod. Each time the pod is read it is one stage further; it stays in the last one.
* Reading its log returns :attr:`FakeKubernetes.log`, after :attr:`FakeKubernetes.while_running` was called:
  that is where a test kills the task or lets time run out.
* Deleting a pod removes it, unless :attr:`FakeKubernetes.end_on_delete` says how it ends first, as a pod
  with a grace period does.
* A pod that mounts a Secret that is no optional one stays pending until that is there.
* Deleting a pod deletes the Secrets that it owns. What is created with ``dry_run`` is checked and forgotten.
* A node is ready, is not, or may not be looked at: :attr:`FakeKubernetes.nodes`.
* A PersistentVolumeClaim exists when its name is in :attr:`FakeKubernetes.claims`.
* Errors are the API's own: an ApiException with a Status object as its body (:func:`api_error`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from k8s_sky_provider.protocol import KILL_ANNOTATION, ExitCode, SkyRequest, SkyResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTAINER = "base"


def api_error(status: int, message: str, reason: str = "") -> ApiException:
    """Return the error that the API answers with."""
    error = ApiException(status=status, reason=reason)
    error.body = json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": status})
    return error


def pending() -> k8s.V1PodStatus:
    """Return the status of a pod that no node has taken yet."""
    return k8s.V1PodStatus(phase="Pending")


def waiting(reason: str, message: str) -> k8s.V1PodStatus:
    """Return the status of a pod whose container cannot start, for example for want of its image."""
    return k8s.V1PodStatus(
        phase="Pending",
        container_statuses=[_container(waiting=k8s.V1ContainerStateWaiting(reason=reason, message=message))],
    )


def running() -> k8s.V1PodStatus:
    """Return the status of a pod at work."""
    return k8s.V1PodStatus(
        phase="Running", container_statuses=[_container(running=k8s.V1ContainerStateRunning(started_at=_now()))]
    )


def ended(exit_code: int, message: str | None = None, reason: str | None = None) -> k8s.V1PodStatus:
    """Return the status of a pod whose container has ended, with its termination message."""
    state = k8s.V1ContainerStateTerminated(
        exit_code=exit_code,
        message=message,
        reason=reason or ("Completed" if exit_code == 0 else "Error"),
        finished_at=_now(),
    )
    return k8s.V1PodStatus(
        phase="Succeeded" if exit_code == 0 else "Failed", container_statuses=[_container(terminated=state)]
    )


def evicted(message: str, exit_code: int | None = None) -> k8s.V1PodStatus:
    """Return the status of a pod that its node threw out, before or after its container had started."""
    status = k8s.V1PodStatus(phase="Failed") if exit_code is None else ended(exit_code)
    status.reason, status.message = "Evicted", message
    return status


def reports(result: SkyResult) -> k8s.V1PodStatus:
    """Return the status of a pod whose runner ended with a result."""
    return ended(result.exit_code, result.to_message())


def succeeds(pod: k8s.V1Pod) -> list[k8s.V1PodStatus]:
    """Return the life of a pod whose runner does what it is asked to and returns the cluster's name."""
    request = request_of(pod)
    name = request.arguments.get("cluster_name")
    return [
        running(),
        reports(SkyResult(action=request.action, exit_code=ExitCode.OK, return_value=name, cluster_name=name)),
    ]


def request_of(pod: k8s.V1Pod) -> SkyRequest:
    """Return the request in a pod's arguments, read as the runner reads it."""
    (argument,) = pod.spec.containers[0].args
    return SkyRequest.from_argument(argument)


@dataclasses.dataclass
class Deletion:
    """A pod that somebody asked to delete, and what it was told before."""

    name: str
    grace_period_seconds: int | None
    word: str | None


class FakeKubernetes:
    """See the top of this file."""

    def __init__(self) -> None:
        self.api_client = ApiClient()
        self.life: Callable[[k8s.V1Pod], list[k8s.V1PodStatus]] = succeeds
        self.log: list[str] = ["hello from the cluster"]
        self.while_running: Callable[[], None] = lambda: None
        self.end_on_delete: k8s.V1PodStatus | None = None
        self.claims = {"sky-state"}
        self.nodes: dict[str, bool | ApiException] = {}
        self.may_read_claims = True
        self.create_error: ApiException | None = None
        self.secret_error: ApiException | None = None
        self.secrets: dict[str, k8s.V1Secret] = {}
        self.events: list[tuple[str, str]] = []
        self.normal_events: list[tuple[str, str]] = []
        self.created: list[k8s.V1Pod] = []
        self.deleted: list[Deletion] = []
        self._stages: dict[str, list[k8s.V1PodStatus]] = {}
        self._pods: dict[str, k8s.V1Pod] = {}

    @property
    def pod(self) -> k8s.V1Pod:
        """The only pod that was ever created, as it was asked for."""
        (pod,) = self.created
        return pod

    @property
    def request(self) -> SkyRequest:
        """The request of that pod."""
        return request_of(self.pod)

    @property
    def left_over(self) -> list[str]:
        """Names of the pods that still exist."""
        return list(self._pods)

    def finish(self) -> k8s.V1PodStatus:
        """Let the pod reach its last stage, and return that: what the triggerer waits for."""
        (name,) = self._stages
        del self._stages[name][:-1]
        return self._stages[name][0]

    def remove(self) -> None:
        """Delete the pods behind everybody's back."""
        self._pods.clear()

    def create_namespaced_pod(self, body: dict[str, Any], namespace: str, dry_run: str | None = None) -> k8s.V1Pod:
        if self.create_error:
            raise self.create_error
        pod = PodGenerator.deserialize_model_dict(body)
        if pod.metadata.namespace != namespace:
            raise api_error(400, "the namespace of the object does not match the namespace of the request")
        name = pod.metadata.name
        if name in self._pods:
            raise api_error(409, f'pods "{name}" already exists', "Conflict")
        _refuse_duplicates("spec.volumes name", [volume.name for volume in pod.spec.volumes or []])
        for container in pod.spec.containers:
            _refuse_duplicates("mountPath", [mount.mount_path for mount in container.volume_mounts or []])
        if dry_run:
            return pod
        pod.metadata.uid = f"uid-{len(self.created)}"
        self.created.append(pod)
        self._pods[name] = pod
        self._stages[name] = self.life(pod)
        return self._show(name)

    def read_node(self, name: str) -> k8s.V1Node:
        is_ready = self.nodes.get(name, api_error(404, f'nodes "{name}" not found', "Not Found"))
        if isinstance(is_ready, ApiException):
            raise is_ready
        condition = k8s.V1NodeCondition(type="Ready", status="True" if is_ready else "Unknown")
        return k8s.V1Node(status=k8s.V1NodeStatus(conditions=[condition]))

    def create_namespaced_secret(self, namespace: str, body: k8s.V1Secret, dry_run: str | None = None) -> k8s.V1Secret:
        if self.secret_error:
            raise self.secret_error
        name = body.metadata.name
        if body.metadata.namespace != namespace:
            raise api_error(400, "the namespace of the object does not match the namespace of the request")
        if name in self.secrets:
            raise api_error(409, f'secrets "{name}" already exists', "Conflict")
        if not dry_run:
            self.secrets[name] = body
        return body

    def read_namespaced_pod(self, name: str, namespace: str) -> k8s.V1Pod:
        self._find(name, namespace)
        shown = self._show(name)
        if len(self._stages[name]) > 1 and not self._missing_secrets(name):
            del self._stages[name][0]
        return shown

    def list_namespaced_pod(self, namespace: str, label_selector: str = "", field_selector: str = "") -> k8s.V1PodList:
        return k8s.V1PodList(
            items=[
                self._show(name)
                for name, pod in self._pods.items()
                if pod.metadata.namespace == namespace
                and _selects(label_selector, pod.metadata.labels or {})
                and _selects(field_selector, {"metadata.name": name})
            ]
        )

    def patch_namespaced_pod(
        self, name: str, namespace: str, body: dict[str, Any], _request_timeout: float | None = None
    ) -> k8s.V1Pod:
        pod = self._find(name, namespace)
        for field, changes in body["metadata"].items():
            changed = {**(getattr(pod.metadata, field) or {}), **changes}
            setattr(pod.metadata, field, {key: value for key, value in changed.items() if value is not None})
        return self._show(name)

    def delete_namespaced_pod(
        self, name: str, namespace: str, body: object = None, grace_period_seconds: int | None = None
    ) -> None:
        annotations = self._find(name, namespace).metadata.annotations or {}
        self.deleted.append(Deletion(name, grace_period_seconds, annotations.get(KILL_ANNOTATION)))
        if self.end_on_delete:
            self._stages[name] = [self.end_on_delete]
        else:
            uid = self._pods.pop(name).metadata.uid
            self.secrets = {
                key: secret
                for key, secret in self.secrets.items()
                if uid not in {owner.uid for owner in secret.metadata.owner_references or []}
            }

    def read_namespaced_pod_log(self, name: str, namespace: str, **options: Any) -> FakeLog:
        self._find(name, namespace)
        self.while_running()
        return FakeLog(self.log, timestamps=options.get("timestamps", False))

    def list_namespaced_event(self, namespace: str, **options: Any) -> k8s.CoreV1EventList:
        reference = k8s.V1ObjectReference(namespace=namespace)
        return k8s.CoreV1EventList(
            metadata=k8s.V1ListMeta(resource_version="1"),
            items=[
                k8s.CoreV1Event(
                    metadata=k8s.V1ObjectMeta(uid=str(index), resource_version="1"),
                    involved_object=reference,
                    reason=reason,
                    message=message,
                    type=kind,
                )
                for index, (kind, reason, message) in enumerate(
                    [
                        *(("Normal", *event) for event in self.normal_events),
                        *(("Warning", *event) for event in self.events),
                    ]
                )
            ],
        )

    def read_namespaced_persistent_volume_claim(self, name: str, namespace: str) -> k8s.V1PersistentVolumeClaim:
        if not self.may_read_claims:
            raise api_error(403, f'persistentvolumeclaims "{name}" is forbidden', "Forbidden")
        if name not in self.claims:
            raise api_error(404, f'persistentvolumeclaims "{name}" not found', "Not Found")
        return k8s.V1PersistentVolumeClaim(metadata=k8s.V1ObjectMeta(name=name, namespace=namespace))

    def _find(self, name: str, namespace: str) -> k8s.V1Pod:
        pod = self._pods.get(name)
        if pod is None or pod.metadata.namespace != namespace:
            raise api_error(404, f'pods "{name}" not found', "Not Found")
        return pod

    def _missing_secrets(self, name: str) -> list[str]:
        volumes = self._pods[name].spec.volumes or []
        wanted = [volume.secret.secret_name for volume in volumes if volume.secret and not volume.secret.optional]
        projected = [source.secret for volume in volumes if volume.projected for source in volume.projected.sources]
        wanted += [secret.name for secret in projected if secret and not secret.optional]
        return [secret for secret in wanted if secret not in self.secrets]

    def _show(self, name: str) -> k8s.V1Pod:
        pod = self._pods[name]
        status = pending() if self._missing_secrets(name) else self._stages[name][0]
        return k8s.V1Pod(api_version="v1", kind="Pod", metadata=pod.metadata, spec=pod.spec, status=status)


class FakeLog:
    """The HTTP response with a container's log: each line has the same timestamp whenever it is read."""

    def __init__(self, lines: list[str], *, timestamps: bool) -> None:
        stamps = [f"2026-01-01T00:00:00.{number:06d}Z " if timestamps else "" for number in range(len(lines))]
        self._lines = [f"{stamp}{line}\n".encode() for stamp, line in zip(stamps, lines, strict=True)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines)

    def stream(self, **options: Any) -> Iterator[bytes]:
        return iter(self._lines)


def _container(**state: Any) -> k8s.V1ContainerStatus:
    return k8s.V1ContainerStatus(
        name=CONTAINER,
        image="",
        image_id="",
        ready="running" in state,
        restart_count=0,
        state=k8s.V1ContainerState(**state),
    )


def _refuse_duplicates(what: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise api_error(422, f"{what}: Invalid value: {value!r}: must be unique")


def _selects(selector: str, labels: dict[str, str]) -> bool:
    for term in filter(None, selector.split(",")):
        name, operator, value = term.partition("=")
        if term.startswith("!"):
            fits = term[1:] not in labels
        elif operator and name.endswith("!"):
            fits = labels.get(name[:-1]) != value
        else:
            fits = labels.get(name) == value
        if not fits:
            return False
    return True


def _now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)
