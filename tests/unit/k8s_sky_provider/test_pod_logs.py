"""Each line of a pod's log is logged once, over breaks of the connection and from triggerer to worker."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from kubernetes.client import models as k8s
from urllib3.exceptions import ProtocolError

from k8s_sky_provider import pod_logs
from k8s_sky_provider.operators import SkyStatusOperator
from k8s_sky_provider.pod_logs import NewLines, OnceAsyncPodManager, OncePodManager, seconds_since
from k8s_sky_provider.triggers.pod import SkyPodTrigger
from unit.k8s_sky_provider.operators.running import make_dag

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = "2026-01-01T00:00:0"
LINES = [
    f"{SECOND}1.5Z one",
    f"{SECOND}1.500000001Z two",
    f"{SECOND}1.500000001Z three",
    f"{SECOND}2Z four",
    f"{SECOND}2.25Z four",
]
TEXTS = ["one", "two", "three", "four", "four"]


def new(new_lines: NewLines, lines: list[str]) -> list[str]:
    new_lines.start()
    return [text for is_new, text in map(new_lines.split, lines) if is_new]


@pytest.mark.parametrize("first", range(len(LINES) + 1))
def test_a_log_read_in_two_goes_is_whole_and_has_no_line_twice(first: int) -> None:
    new_lines = NewLines()
    assert new(new_lines, LINES[:first]) + new(new_lines, LINES) == TEXTS


def test_a_read_that_begins_later_does_not_skip() -> None:
    new_lines = NewLines()
    assert new(new_lines, LINES[:3]) + new(new_lines, LINES[3:]) == TEXTS


def test_equal_lines_of_one_moment_are_all_there() -> None:
    new_lines = NewLines()
    line = f"{SECOND}1.5Z same"
    assert new(new_lines, [line, line]) == ["same", "same"]
    assert new(new_lines, [line, line, line]) == ["same"]


def test_what_has_no_timestamp_passes() -> None:
    assert new(NewLines(f"{SECOND}9.000000000Z"), ["no timestamp"]) == ["no timestamp"]


def test_a_reader_elsewhere_goes_on_after_the_last_line() -> None:
    first = NewLines()
    new(first, LINES[:4])
    assert new(NewLines(first.last), LINES) == ["four"]


def test_more_is_asked_for_than_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "OVERLAP_SECONDS", 5)
    now = dt.datetime.now(tz=dt.UTC)
    moment = now - dt.timedelta(seconds=10)
    for stamp in (moment, moment.isoformat(), moment.strftime("%Y-%m-%dT%H:%M:%S.%f999Z")):
        assert 15 <= (seconds_since(stamp) or 0) <= 17
    assert seconds_since(now + dt.timedelta(hours=1)) == 1
    assert seconds_since(None) is None
    assert seconds_since("") is None


class FakeLog:
    """A container's log behind the API: the connection breaks where :attr:`breaks` says, then the container ends."""

    def __init__(self, *breaks: int) -> None:
        self.breaks = list(breaks)
        self.asked: list[dict[str, Any]] = []
        self.ended = False

    def read_namespaced_pod_log(self, **arguments: Any) -> FakeLog:
        self.asked.append(arguments)
        return self

    def stream(self, **_: Any) -> Iterator[bytes]:
        if self.breaks:
            yield ("".join(f"{line}\n" for line in LINES[: self.breaks.pop(0)])).encode()
            raise ProtocolError("the connection broke")
        self.ended = True
        yield ("".join(f"{line}\n" for line in LINES)).encode()

    def read_namespaced_pod(self, *_: Any, **__: Any) -> k8s.V1Pod:
        over = k8s.V1ContainerStateTerminated(exit_code=0, finished_at=dt.datetime.now(tz=dt.UTC))
        state = k8s.V1ContainerState(terminated=over) if self.ended else k8s.V1ContainerState(running={})
        status = k8s.V1ContainerStatus(name="base", image="i", image_id="i", ready=True, restart_count=0, state=state)
        return k8s.V1Pod(metadata=POD.metadata, status=k8s.V1PodStatus(container_statuses=[status]))


POD = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="pod", namespace="ns", uid="1"))


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.findall(r"\[base\] (\w+)", capsys.readouterr().out)


@pytest.mark.parametrize("breaks", [(), (2,), (4,), (1, 3, 5)], ids=str)
def test_a_worker_logs_each_line_once(
    breaks: tuple[int, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    log = FakeLog(*breaks)
    OncePodManager(kube_client=log).fetch_container_logs(POD, "base", follow=True)
    assert logged(capsys) == TEXTS


def test_lines_that_came_with_the_end_of_the_container_are_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    log = FakeLog(2)
    log.ended = True
    OncePodManager(kube_client=log).fetch_container_logs(POD, "base", follow=True)
    assert logged(capsys) == TEXTS


class FakeHook:
    """The triggerer's client: the log grows from read to read."""

    def __init__(self) -> None:
        self.lengths = [2, 2, 4, 5]

    async def read_logs(self, **_: Any) -> list[str]:
        return LINES[: self.lengths.pop(0)]


def test_triggerer_and_worker_together_log_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    manager = OnceAsyncPodManager(async_hook=FakeHook())
    last = None
    for _ in range(3):
        last = asyncio.run(manager.fetch_container_logs_before_current_sec(POD, "base", last))
    assert logged(capsys) == TEXTS[:4]
    operator = SkyStatusOperator(task_id="status", dag=make_dag())
    log = FakeLog()
    operator.pod_manager = OncePodManager(kube_client=log)
    operator._write_logs(POD, since_time=last)
    assert logged(capsys) == TEXTS[4:]


def test_the_trigger_is_kubernetes_pod_trigger_with_another_name() -> None:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    trigger = KubernetesPodTrigger("pod", "ns", moment, "base", logging_interval=10)
    path, arguments = SkyPodTrigger(**trigger.serialize()[1]).serialize()
    assert path == "k8s_sky_provider.triggers.pod.SkyPodTrigger"
    assert arguments == trigger.serialize()[1]
    assert isinstance(SkyPodTrigger(**arguments).pod_manager, OnceAsyncPodManager)
