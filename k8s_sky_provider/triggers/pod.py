"""Watches a deferred task's pod."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import PodLaunchFailedException
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException

from k8s_sky_provider.pod_end import EndingAsyncHook
from k8s_sky_provider.pod_logs import SECONDS_TO_NOTE, OnceAsyncPodManager, read_up_to

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from airflow.providers.cncf.kubernetes.triggers.pod import ContainerState
    from airflow.triggers.base import TriggerEvent

SECONDS_TO_READ_THE_END = 900
"""How long the log may be read on after the container has ended."""

_undisturbed: set[asyncio.Task[None]] = set()
"""What goes on when its trigger is gone: the event loop itself keeps no task alive."""


class SkyPodTrigger(KubernetesPodTrigger):
    """KubernetesPodTrigger, that follows the log, logs each line once, waits for an API and says when it kills."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return this class's path and KubernetesPodTrigger's arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    async def on_kill(self) -> None:
        """Delete the pod of a task that somebody has ended."""
        await _do_undisturbed(super().on_kill())

    async def cleanup(self) -> None:
        """Do the same before Airflow 3.3, which has no ``on_kill`` of triggers."""
        await _do_undisturbed(super().cleanup())

    @cached_property
    def hook(self) -> EndingAsyncHook:
        """Return the client of the Kubernetes API."""
        return EndingAsyncHook(
            # Known only once the triggerer runs this.
            try_number=lambda: getattr(self.task_instance, "try_number", 0),
            conn_id=self.kubernetes_conn_id,
            in_cluster=self.in_cluster,
            config_dict=self.config_dict,
            cluster_context=self.cluster_context,
            connection_extras=self.connection_extras,
        )

    @cached_property
    def pod_manager(self) -> OnceAsyncPodManager:
        """Return what reads the log."""
        return OnceAsyncPodManager(async_hook=self.hook)

    async def _wait_for_pod_start(self) -> ContainerState:
        """Wait for the pod's start; one that cannot start has an event without a traceback, as one that is too late."""
        try:
            return await super()._wait_for_pod_start()
        except PodLaunchFailedException as error:
            raise PodLaunchTimeoutException(str(error)) from error

    async def _wait_for_container_completion(self) -> TriggerEvent:
        """Wait for the container's end with its log, and tell the worker how far that was read."""
        if not (self.get_logs and self.logging_interval):
            return await super()._wait_for_container_completion()
        pod = await self._get_pod()
        # Another triggerer may have got further than the deferral knows.
        self.pod_manager.resume(read_up_to(pod, self.last_log_time))
        is_over = asyncio.Event()
        reader = asyncio.create_task(self.pod_manager.follow(pod, self.base_container_name, is_over))
        try:
            event = await super()._wait_for_container_completion()
            is_over.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader, SECONDS_TO_READ_THE_END)
        except asyncio.CancelledError:
            reader.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._note_position(pod), SECONDS_TO_NOTE)
            raise
        finally:
            reader.cancel()
        event.payload["last_log_time"] = self.pod_manager.new_lines.last or None
        return event

    async def _note_position(self, pod: Any) -> None:
        await self.pod_manager.fetch_container_logs_before_current_sec(pod, self.base_container_name)


async def _do_undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Do it although the triggerer cancels a trigger again each second until that has ended."""
    task = asyncio.create_task(work)
    _undisturbed.add(task)
    task.add_done_callback(_undisturbed.discard)
    await asyncio.shield(task)
