"""A deferred task that is killed takes its pod with it; a triggerer that is stopped does not."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from kubernetes_asyncio.client.exceptions import ApiException

from k8s_sky_provider.pod_end import EndingAsyncHook
from k8s_sky_provider.triggers.pod import SkyPodTrigger
from unit.k8s_sky_provider.airflow_version import AIRFLOW


@pytest.fixture
def trigger(monkeypatch: pytest.MonkeyPatch) -> SkyPodTrigger:
    trigger = SkyPodTrigger("pod", "sky", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "base", termination_grace_period=77)
    monkeypatch.setattr(trigger.hook, "delete_pod", AsyncMock())
    return trigger


def stop(trigger: SkyPodTrigger, monkeypatch: pytest.MonkeyPatch, state: str, *, is_killed: bool) -> AsyncMock:
    """Stop a trigger as this Airflow's triggerer does; return what deletes its pod."""
    # Before 3.3 nobody tells the trigger why it is stopped: it asks for the task's state.
    monkeypatch.setattr(trigger, "get_task_state", AsyncMock(return_value=state))
    if is_killed and AIRFLOW >= (3, 3):
        asyncio.run(trigger.on_kill())
    asyncio.run(trigger.cleanup())
    return cast("AsyncMock", trigger.hook.delete_pod)


@pytest.mark.parametrize("state", ["failed", "success", "up_for_retry"])
def test_a_killed_task_deletes_its_pod(trigger: SkyPodTrigger, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    delete = stop(trigger, monkeypatch, state, is_killed=True)
    delete.assert_awaited_once_with(name="pod", namespace="sky", grace_period_seconds=77)


def test_a_triggerer_that_is_stopped_leaves_it(trigger: SkyPodTrigger, monkeypatch: pytest.MonkeyPatch) -> None:
    delete = stop(trigger, monkeypatch, "deferred", is_killed=False)
    delete.assert_not_awaited()


def test_a_pod_is_deleted_although_the_triggerer_cancels_again(
    trigger: SkyPodTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []

    async def delete(*, name: str, **_: object) -> None:
        await asyncio.sleep(0.05)
        deleted.append(name)

    async def be_cancelled() -> None:
        killed = asyncio.create_task(trigger.on_kill() if AIRFLOW >= (3, 3) else trigger.cleanup())
        await asyncio.sleep(0.01)
        killed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killed
        await asyncio.sleep(0.1)

    monkeypatch.setattr(trigger, "get_task_state", AsyncMock(return_value="failed"))
    monkeypatch.setattr(trigger.hook, "delete_pod", delete)
    asyncio.run(be_cancelled())
    assert deleted == ["pod"]


@pytest.mark.parametrize(
    ("error", "is_told_of"),
    [(None, False), (TimeoutError(), True), (ApiException(status=403), True), (ApiException(status=404), False)],
    ids=["told", "no answer", "no right", "gone"],
)
def test_a_pod_is_told_that_it_is_killed_before_it_is_deleted(
    error: Exception | None, is_told_of: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[tuple[Any, ...]] = []

    class Pods:
        def __init__(self, _: object) -> None: ...

        async def patch_namespaced_pod(self, name: str, namespace: str, body: object, **_: object) -> None:
            calls.append(("patch", name, namespace, body))
            if error:
                raise error

        async def delete_namespaced_pod(self, *, name: str, namespace: str, **_: object) -> None:
            calls.append(("delete", name, namespace))

    hook = EndingAsyncHook(conn_id=None, in_cluster=True, try_number=lambda: 2)
    monkeypatch.setattr(hook, "get_conn", contextlib.nullcontext)
    monkeypatch.setattr("kubernetes_asyncio.client.CoreV1Api", Pods)
    asyncio.run(hook.delete_pod("pod", "sky", 77))
    assert calls == [
        ("patch", "pod", "sky", {"metadata": {"annotations": {"k8s-sky/kill": "2"}}}),
        ("delete", "pod", "sky"),
    ]
    assert ("will take it for an eviction" in caplog.text) is is_told_of


def test_the_word_is_of_the_try_that_the_triggerer_runs(
    trigger: SkyPodTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger, "task_instance", SimpleNamespace(task_id="task", try_number=4))
    assert trigger.hook._try_number() == 4
