"""Puts the Sky operators' classes where KubernetesPodOperator's own tests look for KubernetesPodOperator's.

``SKY_SUBSTITUTE=operator`` replaces the operator, by one that adds nothing of its own to a pod, and whose mocked pods
have the result that a runner would have left.
``SKY_SUBSTITUTE=parts`` replaces the trigger, the readers of logs and the hook of the triggerer, as they are.
"""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from airflow.providers.cncf.kubernetes.hooks import kubernetes as upstream_hooks
from airflow.providers.cncf.kubernetes.operators import pod as upstream_operators
from airflow.providers.cncf.kubernetes.triggers import pod as upstream_triggers
from airflow.providers.cncf.kubernetes.utils import pod_manager as upstream_pod_manager
from kubernetes.client import models as k8s

from k8s_sky_provider import pod_end, pod_logs
from k8s_sky_provider.operators import base
from k8s_sky_provider.operators.earlier_pods import in_words, labels_of
from k8s_sky_provider.pod_spec import Completion
from k8s_sky_provider.protocol import SkyResult
from k8s_sky_provider.triggers.pod import SkyPodTrigger

ACTION = "check"
"""An action without arguments."""


class SkyOperator(base.SkyBaseOperator):
    """A Sky operator that tests make as they make a KubernetesPodOperator."""

    action = ACTION

    def __init__(self, *, arguments: list[str] | None = None, **kwargs: Any) -> None:
        # The tests count what is read of connections.
        super().__init__(**{"skypilot_conn_id": None, **kwargs})
        self.arguments = arguments or []

    def build_arguments(self, context: Any) -> dict[str, Any]:
        return {}

    def request_owner(self, context: Any) -> Any:
        return super().request_owner(context if _is_named(context) else None)

    def build_pod_request_obj(self, context: Any = None, **kwargs: Any) -> k8s.V1Pod:
        if context is not None and "ti" not in context:
            context = None
        pod = super().build_pod_request_obj(context, **kwargs)
        owner = self.request_owner(context)
        for ours, found in (
            (labels_of(owner), pod.metadata.labels),
            ({**pod_end.follower(1, 0), **in_words(owner)}, pod.metadata.annotations),
        ):
            for key in ours:
                found.pop(key, None)
        return pod

    def _finish(self) -> Any:
        # Where a test replaces what takes the result, there is none.
        replaced = ("post_complete_action", "cleanup", "trigger_reentry")
        if self._result is None and any(isinstance(getattr(self, name), mock.Mock) for name in replaced):
            self._result = SkyResult(action=ACTION, exit_code=0)
        return super()._finish()


class TriggererHook(pod_end.EndingAsyncHook):
    """The triggerer's client, that tests make as they make a KubernetesPodOperator's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, try_number=lambda: 1, **kwargs)


def _is_named(context: Any) -> bool:
    """Tell whether a context names its task instance: some have none, or a mock."""
    return bool(context) and "run_id" in context and not isinstance(context.get("ti"), (mock.Mock, type(None)))


def read_up_to(pod: Any, known: Any) -> Any:
    """Return how far a log has been read; a mock of a pod does not know."""
    return known if isinstance(pod, mock.Mock) or isinstance(known, mock.Mock) else pod_logs.read_up_to(pod, known)


def terminated_state(pod: Any, container: str) -> k8s.V1ContainerStateTerminated | None:
    """Return how a container has ended, with a runner's result where the test's pod has none."""
    found = pod_end.terminated_state(pod, container)
    phase = getattr(getattr(pod, "status", None), "phase", None)
    if isinstance(found, k8s.V1ContainerStateTerminated) and found.message:
        return found
    if found is None and phase != "Succeeded":
        return None
    code = getattr(found, "exit_code", None)
    code = code if isinstance(code, int) else int(phase != "Succeeded")
    message = getattr(found, "message", None)
    result = SkyResult(action=ACTION, exit_code=code, reason=message if isinstance(message, str) else "")
    return k8s.V1ContainerStateTerminated(exit_code=code, message=result.to_message())


def attach_nothing(completion: Completion, pod: k8s.V1Pod) -> k8s.V1Pod:
    """Return the pod as KubernetesPodOperator has made it."""
    del completion
    return pod


REPLACED: dict[str, list[tuple[Any, str, Any]]] = {
    "operator": [
        (Completion, "attach_to_pod", attach_nothing),
        (base, "terminated_state", terminated_state),
        (base, "read_up_to", read_up_to),
        (upstream_operators, "KubernetesPodOperator", SkyOperator),
    ],
    "parts": [
        (upstream_triggers, "KubernetesPodTrigger", SkyPodTrigger),
        (upstream_pod_manager, "PodManager", pod_logs.OncePodManager),
        (upstream_pod_manager, "AsyncPodManager", pod_logs.OnceAsyncPodManager),
        (upstream_hooks, "AsyncKubernetesHook", TriggererHook),
    ],
}
"""By what is to be replaced: where, under which name, by what."""

os.environ |= {"AIRFLOW__SKYPILOT__IMAGE": "sky:1", "AIRFLOW__SKYPILOT__VOLUME_CLAIM": "sky-state"}
for place, name, ours in REPLACED[os.environ["SKY_SUBSTITUTE"]]:
    setattr(place, name, ours)
