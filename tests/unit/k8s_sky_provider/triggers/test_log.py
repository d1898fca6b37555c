"""A trigger follows the log of the pod that it watches, and the next reader goes on where it was."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import models as k8s

from k8s_sky_provider import pod_logs
from k8s_sky_provider.pod_logs import POSITION_ANNOTATION
from k8s_sky_provider.triggers import pod as triggers
from k8s_sky_provider.triggers.pod import SkyPodTrigger
from unit.k8s_sky_provider.fake_kubernetes import ended, running
from unit.k8s_sky_provider.operators.running import START
from unit.k8s_sky_provider.test_pod_logs import LINES, POD, SECOND, TEXTS, FakeApi, logged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIRST, LAST = f"{SECOND}1.500000000Z", f"{SECOND}2.250000000Z"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "SECONDS_OF_SILENCE", 0.2)
    monkeypatch.setattr(pod_logs, "SECONDS_BETWEEN_READS", 0.01)


@contextlib.asynccontextmanager
async def watching(api: FakeApi, **arguments: Any) -> AsyncIterator[asyncio.Task[dict[str, Any]]]:
    """Yield the trigger's watch over the pod: it returns the event when all of :attr:`FakeApi.answers` are given."""
    async with api.serve() as hook:

        async def get_pod(**_: str) -> k8s.V1Pod:
            metadata = k8s.V1ObjectMeta(**{**POD.metadata.to_dict(), "annotations": dict(api.annotations)})
            return k8s.V1Pod(metadata=metadata, status=ended(0) if api.is_over.is_set() else running())

        hook.get_pod = get_pod
        trigger = SkyPodTrigger(
            "pod", "ns", START, "base", **{"logging_interval": 10, "poll_interval": 0.05, **arguments}
        )
        trigger.hook = hook

        async def watch() -> dict[str, Any]:
            return dict((await trigger._wait_for_container_completion()).payload)

        task = asyncio.create_task(watch())
        yield task
        task.cancel()


def event_of(api: FakeApi, **arguments: Any) -> dict[str, Any]:
    async def wait() -> dict[str, Any]:
        async with watching(api, **arguments) as watch:
            return await asyncio.wait_for(watch, 60)

    return asyncio.run(wait())


def test_the_worker_is_told_how_far_it_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    event = event_of(FakeApi((2, "ends"), (4, "breaks")))
    assert (event["status"], event["last_log_time"]) == ("success", LAST)
    assert logged(capsys) == TEXTS


def test_a_log_without_a_line_has_no_position() -> None:
    assert event_of(FakeApi((0, "ends"), lines=0))["last_log_time"] is None


@pytest.mark.parametrize(
    ("noted", "of_the_deferral"),
    [({POSITION_ANNOTATION: FIRST}, None), ({}, FIRST), ({POSITION_ANNOTATION: FIRST}, f"{SECOND}0.000000000Z")],
    ids=["noted on the pod", "said by the worker", "noted later than the worker said"],
)
def test_it_goes_on_where_another_one_was(
    noted: dict[str, str], of_the_deferral: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi((5, "ends"))
    api.annotations |= noted
    event_of(api, last_log_time=of_the_deferral)
    assert logged(capsys) == TEXTS[1:]


@pytest.mark.parametrize("arguments", [{"get_logs": False}, {"logging_interval": None}], ids=str)
def test_a_log_that_is_not_asked_for_is_not_read(arguments: dict[str, Any]) -> None:
    api = FakeApi()
    api.is_over.set()
    assert event_of(api, **arguments)["status"] == "success"
    assert api.asked == []


def test_a_log_that_does_not_end_holds_no_task_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "SECONDS_TO_READ_THE_END", 1)
    monkeypatch.setattr(pod_logs, "SECONDS_OF_SILENCE", 60)
    assert event_of(FakeApi((1, "ends"), (2, "is silent")))["last_log_time"] == LINES[1].split()[0]


def test_one_that_is_stopped_notes_how_far_it_was_and_reads_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeApi((1, "ends"), *[(1, "ends")] * 1000)

    async def stop() -> int:
        async with watching(api) as watch:
            while len(api.asked) < 2:  # noqa: ASYNC110  # the API tells nobody
                await asyncio.sleep(0.01)
            watch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watch
            asked = len(api.asked)
            await asyncio.sleep(0.2)
            return len(api.asked) - asked

    assert asyncio.run(stop()) == 0
    assert logged(capsys) == TEXTS[:1]
    assert api.annotations == {POSITION_ANNOTATION: FIRST}
