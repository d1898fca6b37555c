"""Runs in a process of its own: log a pod's lines as a worker or a triggerer does, until its container has ended.

It says that it is ready, and begins when it is told that there is a pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.utils.pod_manager import AsyncPodManager, PodManager
from kubernetes import client, config
from kubernetes_asyncio import client as async_client
from kubernetes_asyncio import config as async_config

from k8s_sky_provider.pod_logs import OnceAsyncPodManager, OncePodManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

whose, where, kubeconfig, name, namespace = sys.argv[1:]

SECONDS_BETWEEN_LOOKS = 2
"""KubernetesPodOperator's poll_interval."""

SECONDS_BETWEEN_READS = 10
"""The logging_interval of both: without one, KubernetesPodOperator's triggerer logs nothing before the end."""


class Hook(AsyncKubernetesHook):
    """A hook of the local cluster."""

    @contextlib.asynccontextmanager
    async def get_conn(self) -> AsyncIterator[Any]:
        """Yield a client of the API."""
        async with await async_config.new_client_from_config(config_file=kubeconfig) as connection:
            yield connection


def as_worker() -> None:
    """Log as a worker does."""
    kind = OncePodManager if whose == "ours" else PodManager
    manager = kind(kube_client=client.CoreV1Api())
    pod = client.CoreV1Api().read_namespaced_pod(name, namespace)
    manager.fetch_container_logs(pod, "base", follow=True)


async def as_triggerer() -> None:
    """Log as a trigger does."""
    hook = Hook()
    manager = OnceAsyncPodManager(async_hook=hook) if whose == "ours" else AsyncPodManager(async_hook=hook)
    pod = await hook.get_pod(name, namespace)
    is_over = asyncio.Event()
    if isinstance(manager, OnceAsyncPodManager):
        reader = asyncio.create_task(manager.follow(pod, "base", is_over))
    else:
        reader = asyncio.create_task(read_now_and_then(manager, pod, is_over))
    while True:
        async with hook.get_conn() as connection:
            phase = (await async_client.CoreV1Api(connection).read_namespaced_pod(name, namespace)).status.phase
        if phase in {"Succeeded", "Failed"}:
            break
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
    is_over.set()
    await reader


async def read_now_and_then(manager: AsyncPodManager, pod: Any, is_over: asyncio.Event) -> None:
    """Read the log each logging_interval, as KubernetesPodTrigger does; its worker reads the rest."""
    read_at = None
    while not is_over.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), SECONDS_BETWEEN_READS)
        read_at = await manager.fetch_container_logs_before_current_sec(pod, "base", read_at)


print("ready", flush=True)
sys.stdin.readline()
if where == "triggerer":
    asyncio.run(as_triggerer())
else:
    config.load_kube_config(config_file=kubeconfig)
    as_worker()
