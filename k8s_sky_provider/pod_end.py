"""How a pod's end is wanted: whoever deletes a pod that is at work says so on the pod first.

To the pod a kill and an eviction are the same SIGTERM. A pod that gets it without the word is evicted: its runner
leaves the job and the cluster to the next try.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kubernetes.client.exceptions import ApiException
from kubernetes_asyncio import client as async_client
from urllib3.exceptions import HTTPError

from k8s_sky_provider.kubernetes_api import PatientAsyncHook
from k8s_sky_provider.pod_logs import OncePodManager
from k8s_sky_provider.protocol import KILL_ANNOTATION, TRIES_LEFT_ANNOTATION, TRY_ANNOTATION, kill_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubernetes.client import CoreV1Api
    from kubernetes.client import models as k8s

log = logging.getLogger(__name__)

SECONDS_TO_LEAVE_A_WORD = 1.5
"""Airflow kills a task 5 s after it has told it to stop: in that time its pod is to be told and deleted."""


def annotate(annotations: dict[str, str | None]) -> dict[str, Any]:
    """Return the patch that gives a pod annotations, and takes away those that are None."""
    return {"metadata": {"annotations": annotations}}


def wants_end(try_number: int, *, is_cleared: bool = False) -> dict[str, Any]:
    """Return the patch by which a try of the task says that it wants a pod's end."""
    return annotate({KILL_ANNOTATION: kill_word(try_number, is_cleared=is_cleared)})


def follower(try_number: int, tries_left: int) -> dict[str, str]:
    """Return what a pod says of the try that follows it."""
    return {TRY_ANNOTATION: str(try_number), TRIES_LEFT_ANNOTATION: str(tries_left)}


def follows(try_number: int, tries_left: int) -> dict[str, Any]:
    """Return the patch by which a try says that it follows a pod, whatever an earlier one has said of it."""
    return annotate({KILL_ANNOTATION: None, **follower(try_number, tries_left)})


def leave_word(client: CoreV1Api, pod: k8s.V1Pod, try_number: int, *, is_cleared: bool = False) -> None:
    """Say on a pod that its end is wanted; every delete of a pod that is at work comes after this."""
    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        client.patch_namespaced_pod(
            name, namespace, wants_end(try_number, is_cleared=is_cleared), _request_timeout=SECONDS_TO_LEAVE_A_WORD
        )
    except (ApiException, HTTPError) as error:
        _tell(name, error)


async def leave_word_later(hook: PatientAsyncHook, name: str, namespace: str, try_number: int) -> None:
    """Do what :func:`leave_word` does, in the triggerer."""
    try:
        async with hook.get_conn() as connection:
            await async_client.CoreV1Api(connection).patch_namespaced_pod(
                name, namespace, wants_end(try_number), _request_timeout=SECONDS_TO_LEAVE_A_WORD
            )
    except Exception as error:  # noqa: BLE001  # whatever it is, the pod is to go
        _tell(name, error)


def _tell(name: str, error: Exception) -> None:
    if getattr(error, "status", None) != 404:
        log.warning("Pod %s cannot be told that it is killed, and will take it for an eviction: %s", name, error)


def terminated_state(pod: k8s.V1Pod | None, container: str) -> k8s.V1ContainerStateTerminated | None:
    """Return how a container of a pod has ended; None if it has not, or nothing is known of it."""
    if pod is None or pod.status is None:
        return None
    for status in pod.status.container_statuses or []:
        if status.name == container and status.state is not None:
            return status.state.terminated
    return None


class EndingPodManager(OncePodManager):
    """A pod manager that deletes no pod at work without a word.

    :param try_number: tells the number of the try that deletes
    """

    def __init__(self, *args: Any, try_number: Callable[[], int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._try_number = try_number

    def delete_pod(self, pod: k8s.V1Pod) -> None:
        """Delete a pod."""
        if terminated_state(pod, self.base_container_name) is None:
            leave_word(self._client, pod, self._try_number())
        super().delete_pod(pod)


class EndingAsyncHook(PatientAsyncHook):
    """The triggerer's client, that deletes no pod without a word.

    :param try_number: tells the number of the try that deletes
    """

    def __init__(self, *args: Any, try_number: Callable[[], int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._try_number = try_number

    async def delete_pod(self, name: str, namespace: str, grace_period_seconds: int | None = None) -> None:
        """Delete a pod."""
        await leave_word_later(self, name, namespace, self._try_number())
        await super().delete_pod(name, namespace, grace_period_seconds)
