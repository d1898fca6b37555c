"""The pods that a task instance has already: one that is at work is taken up, one that ends is waited for.

No two runners of a task are at work at the same time. A pod is the task's own by its label and its ServiceAccount, not
by its image or arguments: a deployment may change between two tries.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client.exceptions import ApiException

from k8s_sky_provider.pod_end import leave_word, terminated_state
from k8s_sky_provider.protocol import OWNER_KEYS, TRY_ANNOTATION, ProtocolError, SkyRequest, read_json

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api
    from kubernetes.client import models as k8s

    from k8s_sky_provider.protocol import Owner

OWNER_LABEL = "k8s-sky/owner"
"""Label of a pod: the task instance that it is of, in all its tries."""

GENERATION_LABEL = "k8s-sky/generation"
"""Label of a pod: another one after the task was cleared."""

OWNER_ANNOTATION = "k8s-sky/owner"
"""Annotation of a pod: the same in words, as JSON with the :data:`~k8s_sky_provider.protocol.OWNER_KEYS`."""

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_WORDS = 60.0

SECONDS_OVERDUE = 30.0
"""How long after its last moment a pod may still be there: its node may be slow to say that it has ended."""

SECONDS_OVERDUE_UNSEEN = 300.0
"""The same where Airflow may not look at nodes: it cannot tell whether the node is ready."""

log = logging.getLogger(__name__)


def labels_of(owner: Owner) -> dict[str, str]:
    """Return the labels by which a task instance finds its pods."""
    return {OWNER_LABEL: _digest(owner.task_instance), GENERATION_LABEL: _digest(owner.generation)}


def in_words(owner: Owner) -> dict[str, str]:
    """Return the annotation that says of which task instance a pod is."""
    return {OWNER_ANNOTATION: json.dumps({key: getattr(owner, key) for key in OWNER_KEYS})}


def owner_of(pod: k8s.V1Pod) -> dict[str, Any] | None:
    """Return the task instance that a pod says it is of; None if it says none: others may write annotations, too."""
    try:
        owner = read_json((pod.metadata.annotations or {}).get(OWNER_ANNOTATION, ""))
    except ValueError:
        return None
    kinds = {key: int if key == "map_index" else str for key in OWNER_KEYS}
    is_sound = isinstance(owner, dict) and {key: type(value) for key, value in owner.items()} == kinds
    return owner if is_sound else None


def has_ended(pod: k8s.V1Pod, container: str) -> bool:
    """Tell whether the work of a pod is over, whatever its other containers do."""
    return pod.status.phase in {"Succeeded", "Failed"} or terminated_state(pod, container) is not None


def differs_in(pod: k8s.V1Pod, wanted: k8s.V1Pod) -> list[str]:
    """Return in what a pod that was found is another one than the task would make: whoever may create pods labels them.

    Only what runs, and as whom, is looked at, and Kubernetes adds to a pod.
    """
    pairs = {
        "containers": _programs(pod) == _programs(wanted),
        "request": _requests(pod) == _requests(wanted),
        "service_account_name": (pod.spec.service_account_name or "default")
        == (wanted.spec.service_account_name or "default"),
        "automount_service_account_token": pod.spec.automount_service_account_token
        == wanted.spec.automount_service_account_token,
    }
    return [name for name, is_same in pairs.items() if not is_same]


def _programs(pod: k8s.V1Pod) -> list[tuple[str, str, list[str]]]:
    containers = [*(pod.spec.init_containers or []), *pod.spec.containers, *(pod.spec.ephemeral_containers or [])]
    return [(container.name, container.image, container.command or []) for container in containers]


def _requests(pod: k8s.V1Pod) -> list[list[str] | SkyRequest]:
    """Return the arguments of a pod's containers; of a request without what differs between tries.

    Its runner finds out itself that the files of the DAG are others by now.
    """
    found: list[list[str] | SkyRequest] = []
    for container in pod.spec.containers:
        arguments = list(container.args or [])
        try:
            request = SkyRequest.from_argument(*arguments)
        except (ProtocolError, TypeError):
            found.append(arguments)
        else:
            owner = dataclasses.replace(request.owner, try_number=0)
            found.append(dataclasses.replace(request, owner=owner, local_files=None))
    return found


def kill(client: CoreV1Api, pod: k8s.V1Pod) -> None:
    """End a pod by its ``on_cancel``, in the time that it was made with."""
    noted = (pod.metadata.annotations or {}).get(TRY_ANNOTATION, "")
    leave_word(client, pod, int(noted) if re.fullmatch(r"[0-9]{1,9}", noted) else 1)
    _delete(client, pod, None)


def _delete(client: CoreV1Api, pod: k8s.V1Pod, grace_period: int | None) -> None:
    options = {} if grace_period is None else {"grace_period_seconds": grace_period}
    try:
        client.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, **options)
    except ApiException as error:
        if error.status != 404:
            raise


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


class EarlierPods:
    """The pods of one task instance.

    :param wanted: the pod that the task would make
    :param container: the container whose end is the end of the work
    """

    def __init__(self, client: CoreV1Api, wanted: k8s.V1Pod, container: str) -> None:
        self._client = client
        self._wanted = wanted
        self._container = container

    def at_work(self) -> list[k8s.V1Pod]:
        """Return the pods whose runner has not ended."""
        return [pod for pod in self._pods() if not has_ended(pod, self._container)]

    def ended(self) -> list[k8s.V1Pod]:
        """Return the pods that have ended and that nobody has looked at."""
        checked = KubernetesPodOperator.POD_CHECKED_KEY
        return [
            pod
            for pod in self._pods()
            if has_ended(pod, self._container)
            and self._is_of_this_generation(pod)
            and not pod.metadata.deletion_timestamp
            and pod.metadata.labels.get(checked) != "True"
        ]

    def take_up(self, *, reattach: bool) -> k8s.V1Pod | None:
        """Return the pod that is at work, None if there is none; wait until those that end have ended.

        :param reattach: whether one at work is to be taken up; if not it is evicted, and a new one goes on with its job
        """
        last_word = -SECONDS_BETWEEN_WORDS
        while pods := self.at_work():
            ending = [pod for pod in pods if pod.metadata.deletion_timestamp]
            for pod in pods:
                if pod in ending:
                    self._remove_if_lost(pod)
                elif not self._is_of_this_generation(pod):
                    log.info("The task was cleared; ending pod %s of before", pod.metadata.name)
                    kill(self._client, pod)
                elif not reattach:
                    _delete(self._client, pod, None)
            if not ending and reattach and all(map(self._is_of_this_generation, pods)):
                return pods[0]
            if time.monotonic() - last_word >= SECONDS_BETWEEN_WORDS:
                log.info("Waiting until pod %s has ended", ", ".join(pod.metadata.name for pod in pods))
                last_word = time.monotonic()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return None

    def _pods(self) -> list[k8s.V1Pod]:
        labels, account = self._wanted.metadata.labels or {}, self._wanted.spec.service_account_name
        if OWNER_LABEL not in labels:
            return []
        pods = self._client.list_namespaced_pod(
            namespace=self._wanted.metadata.namespace, label_selector=f"{OWNER_LABEL}={labels[OWNER_LABEL]}"
        ).items
        # Kubernetes writes "default" where a pod names none.
        return [pod for pod in pods if (pod.spec.service_account_name or "default") == (account or "default")]

    def _is_of_this_generation(self, pod: k8s.V1Pod) -> bool:
        return bool(pod.metadata.labels.get(GENERATION_LABEL) == self._wanted.metadata.labels[GENERATION_LABEL])

    def _remove_if_lost(self, pod: k8s.V1Pod) -> None:
        """Remove a pod that nobody ends any more: its time is over, and its node is not ready."""
        overdue = (dt.datetime.now(tz=dt.UTC) - pod.metadata.deletion_timestamp).total_seconds()
        if overdue > SECONDS_OVERDUE and self._is_node_lost(pod, overdue):
            log.warning(
                "Pod %s should have ended %d s ago, and its node is lost: removing it", pod.metadata.name, overdue
            )
            _delete(self._client, pod, 0)

    def _is_node_lost(self, pod: k8s.V1Pod, overdue: float) -> bool:
        if not pod.spec.node_name:
            return True
        try:
            node = self._client.read_node(pod.spec.node_name)
        except ApiException as error:
            return error.status == 404 or overdue > SECONDS_OVERDUE_UNSEEN
        return not any(one.type == "Ready" and one.status == "True" for one in node.status.conditions or [])
