"""Runs in a process of its own: read a pod's log as a worker or a triggerer does, and tell what that cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.utils.pod_manager import AsyncPodManager, PodManager
from kubernetes import client
from kubernetes.client import models as k8s
from kubernetes_asyncio import client as async_client

from k8s_sky_provider.pod_logs import OnceAsyncPodManager, OncePodManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

url, whose, where = sys.argv[1:]
POD = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="pod", namespace="ns", uid="1"))


class Hook(AsyncKubernetesHook):
    """A hook of an API without credentials."""

    @contextlib.asynccontextmanager
    async def get_conn(self) -> AsyncIterator[Any]:
        """Yield a client of the API."""
        async with async_client.ApiClient(async_client.Configuration(host=url)) as connection:
            yield connection


async def as_triggerer() -> None:
    """Read the log as a triggerer does."""
    if whose == "theirs":
        await AsyncPodManager(async_hook=Hook()).fetch_container_logs_before_current_sec(POD, "base")
        return
    is_over = asyncio.Event()
    is_over.set()
    await OnceAsyncPodManager(async_hook=Hook()).follow(POD, "base", is_over)


before = resource.getrusage(resource.RUSAGE_SELF)
if where == "triggerer":
    asyncio.run(as_triggerer())
else:
    kind = OncePodManager if whose == "ours" else PodManager
    core = client.CoreV1Api(client.ApiClient(client.Configuration(host=url)))
    # Not followed: ours reads what it has followed once more at its end.
    kind(kube_client=core).fetch_container_logs(POD, "base", follow=False)
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": seconds, "megabytes": after.ru_maxrss / 1024}), file=sys.stderr)
