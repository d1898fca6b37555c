"""Watches a deferred task's pod."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger

from k8s_sky_provider.pod_logs import OnceAsyncPodManager


class SkyPodTrigger(KubernetesPodTrigger):
    """KubernetesPodTrigger, that logs each line of the pod once."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return this class's path and KubernetesPodTrigger's arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    @cached_property
    def pod_manager(self) -> OnceAsyncPodManager:
        """Return what reads the log."""
        return OnceAsyncPodManager(async_hook=self.hook)
