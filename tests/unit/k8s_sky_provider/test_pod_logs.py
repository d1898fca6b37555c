"""Each line of a pod's log is logged once, over breaks of the connection and from triggerer to worker."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import logging
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import test_utils, web
from airflow.providers.cncf.kubernetes.callbacks import KubernetesPodOperatorCallback
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client import models as k8s
from kubernetes_asyncio import client as async_client
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from k8s_sky_provider import pod_logs
from k8s_sky_provider.operators import SkyStatusOperator
from k8s_sky_provider.pod_logs import (
    LONGEST_LINE,
    POSITION_ANNOTATION,
    LineSplitter,
    NewLines,
    OnceAsyncPodManager,
    OncePodManager,
    read_up_to,
    seconds_since,
)
from k8s_sky_provider.triggers.pod import SkyPodTrigger
from unit.k8s_sky_provider.operators.running import make_dag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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
        self.cut_off = b""

    def read_namespaced_pod_log(self, **arguments: Any) -> FakeLog:
        self.asked.append(arguments)
        return self

    def stream(self, **_: Any) -> Iterator[bytes]:
        if self.cut_off:
            yield self.cut_off
            self.cut_off = b""
            return
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
    status = OncePodManager(kube_client=log).fetch_container_logs(POD, "base", follow=True)
    assert logged(capsys) == TEXTS
    assert (status.running, status.last_log_time) == (False, dt.datetime(2026, 1, 1, 0, 0, 2, 250_000, tzinfo=dt.UTC))
    assert [asked["follow"] for asked in log.asked] == [*[True] * (len(breaks) + 1), False]


def test_a_log_that_is_not_followed_may_be_of_a_container_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLog, "stream", lambda _, **__: iter(()))
    log = FakeLog()
    status = OncePodManager(kube_client=log).fetch_container_logs(POD, "base")
    assert (status.running, status.last_log_time, len(log.asked)) == (True, None, 1)


def test_a_log_that_is_silent_is_read_on_at_once_and_without_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class SilentLog(FakeLog):
        def stream(self, **_: Any) -> Iterator[bytes]:
            try:
                yield from super().stream()
            except ProtocolError:
                raise ReadTimeoutError(HTTPConnectionPool("api"), "/log", "Read timed out.") from None

    monkeypatch.setattr("time.sleep", pytest.fail)
    OncePodManager(kube_client=SilentLog(2, 4)).fetch_container_logs(POD, "base", follow=True)
    printed = capsys.readouterr().out
    assert "timed out" not in printed
    assert re.findall(r"\[base\] (\w+)", printed) == TEXTS


def test_lines_that_came_with_the_end_of_the_container_are_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    log = FakeLog(2)
    log.ended = True
    OncePodManager(kube_client=log).fetch_container_logs(POD, "base", follow=True)
    assert logged(capsys) == TEXTS


class FakeApi:
    """The Kubernetes API as the triggerer sees it, over HTTP: one pod, whose log comes in :attr:`answers`.

    Each answer is how many of the lines come, and what then happens to the connection: ``ends``, ``breaks``,
    ``is silent`` or ``is refused``. After the last one the container has ended, with all its lines.
    """

    def __init__(self, *answers: tuple[int, str], lines: int = len(LINES)) -> None:
        self.answers = list(answers)
        self.lines = lines
        self.asked: list[dict[str, str]] = []
        self.annotations: dict[str, str] = {}
        self.is_over = asyncio.Event()

    async def log(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        count, then = self.answers.pop(0) if self.answers else (self.lines, "ends")
        if not self.answers:
            self.is_over.set()
        if then == "is refused":
            return web.Response(status=503)
        response = web.StreamResponse()
        await response.prepare(request)
        text = "".join(f"{line}\n" for line in LINES[:count])
        # What is cut off comes again.
        await response.write(f"{text}{SECOND}9Z cut o".encode() if then == "breaks" else text.encode())
        if then == "breaks":
            assert request.transport is not None
            request.transport.close()
        if then == "is silent":
            await asyncio.sleep(30)
        return response

    async def patch(self, request: web.Request) -> web.Response:
        self.annotations |= (await request.json())["metadata"]["annotations"]
        return web.json_response({})

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Any]:
        """Yield a hook that has this as its API."""
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/ns/pods/pod/log", self.log)
        app.router.add_patch("/api/v1/namespaces/ns/pods/pod", self.patch)
        async with test_utils.TestServer(app) as server:

            class Hook:
                @contextlib.asynccontextmanager
                async def get_conn(self) -> AsyncIterator[async_client.ApiClient]:
                    configuration = async_client.Configuration(host=str(server.make_url("")))
                    async with async_client.ApiClient(configuration) as connection:
                        yield connection

            yield Hook()


async def follow(api: FakeApi, since: str | None = None) -> str | None:
    """Follow the log as the triggerer does; return how far it came."""
    async with api.serve() as hook:
        manager = OnceAsyncPodManager(async_hook=hook)
        manager.resume(since)
        await asyncio.wait_for(manager.follow(POD, "base", api.is_over), 20)
        return await manager.fetch_container_logs_before_current_sec(POD, "base")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "SECONDS_OF_SILENCE", 0.2)
    monkeypatch.setattr(pod_logs, "SECONDS_BETWEEN_READS", 0.01)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "answers",
    [
        [(5, "ends")],
        [(2, "breaks"), (5, "ends")],
        [(3, "is silent"), (4, "ends"), (5, "ends")],
        [(2, "ends"), (0, "is refused"), (0, "is refused"), (4, "breaks"), (5, "ends")],
    ],
    ids=["at once", "over a break", "over silence", "over an outage"],
)
def test_a_triggerer_logs_each_line_once(answers: list[tuple[int, str]], capsys: pytest.CaptureFixture[str]) -> None:
    api = FakeApi(*answers)
    asyncio.run(follow(api))
    assert logged(capsys) == TEXTS
    assert api.asked[0]["follow"] == "True"
    assert "sinceSeconds" not in api.asked[0]


@pytest.mark.parametrize("then", ["ends", "is refused"])
def test_a_triggerer_does_not_ask_for_nothing_new_without_a_pause(monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    monkeypatch.setattr(pod_logs, "SECONDS_BETWEEN_READS", 0.3)
    api = FakeApi((1, "ends"), *[(1, then)] * 3, lines=1)
    # Its end would cut a pause short.
    is_over = asyncio.Event()
    asked_at: list[float] = []
    answer = api.log

    async def log(request: web.Request) -> web.StreamResponse:
        asked_at.append(time.monotonic())
        if len(asked_at) == 4:
            is_over.set()
        return await answer(request)

    async def follow_until_over() -> None:
        api.log = log  # type: ignore[method-assign]  # the rest of the API stays
        async with api.serve() as hook:
            await asyncio.wait_for(OnceAsyncPodManager(async_hook=hook).follow(POD, "base", is_over), 60)

    asyncio.run(follow_until_over())
    assert asked_at[3] - asked_at[1] > 0.5


@pytest.mark.usefixtures("soon")
def test_another_triggerer_and_the_worker_go_on_where_the_first_was(capsys: pytest.CaptureFixture[str]) -> None:
    first = FakeApi((1, "ends"), lines=1)
    assert asyncio.run(follow(first)) == first.annotations[POSITION_ANNOTATION]
    assert logged(capsys) == TEXTS[:1]

    second = FakeApi((4, "ends"), lines=4)
    last = asyncio.run(follow(second, first.annotations[POSITION_ANNOTATION]))
    assert logged(capsys) == TEXTS[1:4]

    operator = SkyStatusOperator(task_id="status", dag=make_dag())
    operator.pod_manager = OncePodManager(kube_client=FakeLog())
    operator._write_logs(POD, since_time=last)
    assert logged(capsys) == TEXTS[4:]

    # A triggerer that starts when the pod has ended knows of no line.
    operator.pod_manager = OncePodManager(kube_client=FakeLog())
    noted = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="pod", namespace="ns", uid="1", annotations=second.annotations))
    operator._write_logs(noted, since_time=None)
    assert logged(capsys) == TEXTS[4:]


@pytest.fixture
def triggerer() -> Iterator[socket.socket]:
    """Give the root logger a socket, as the triggerer gives its triggers; yield the triggerer's end."""
    of_triggers, of_triggerer = socket.socketpair()
    with of_triggers, of_triggerer, of_triggers.makefile("w") as stream:
        handler = logging.StreamHandler(stream)
        logging.getLogger().addHandler(handler)
        handler.stream.write("a line\n" * 1000)
        handler.flush()
        of_triggerer.settimeout(10)
        yield of_triggerer
        logging.getLogger().removeHandler(handler)


@pytest.mark.usefixtures("soon")
def test_a_trigger_does_not_end_before_the_triggerer_has_read_its_lines(triggerer: socket.socket) -> None:
    async def end_and_read() -> bool:
        api = FakeApi((5, "ends"))
        async with api.serve() as hook:
            follower = asyncio.create_task(OnceAsyncPodManager(async_hook=hook).follow(POD, "base", api.is_over))
            await asyncio.wait({follower}, timeout=1)
            had_ended = follower.done()
            while not (await asyncio.wait({follower}, timeout=0.1))[0]:
                triggerer.recv(1_000_000)
            return had_ended

    assert asyncio.run(asyncio.wait_for(end_and_read(), 30)) is False


@pytest.mark.usefixtures("soon")
def test_a_line_that_the_triggerer_has_not_read_is_not_noted_as_logged(
    triggerer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_logs, "SECONDS_TO_NOTE", 0.2)

    async def note() -> tuple[dict[str, str], dict[str, str]]:
        api = FakeApi()
        async with api.serve() as hook:
            manager = OnceAsyncPodManager(async_hook=hook)
            manager.resume(LINES[0].split()[0])
            await manager.fetch_container_logs_before_current_sec(POD, "base")
            unread = dict(api.annotations)
            triggerer.recv(1_000_000)
            await manager.fetch_container_logs_before_current_sec(POD, "base")
            return unread, api.annotations

    assert asyncio.run(note()) == ({}, {POSITION_ANNOTATION: LINES[0].split()[0]})


def test_a_worker_asks_for_the_log_from_the_last_line_on() -> None:
    log = FakeLog()
    manager = OncePodManager(kube_client=log)
    now = dt.datetime.now(tz=dt.UTC)
    manager.resume(POD, "base", (now - dt.timedelta(hours=1)).isoformat())
    manager.fetch_container_logs(POD, "base", since_time=now)
    assert log.asked[0]["since_seconds"] >= 3600, "what has no line before it would pass for a gap"


def test_a_gap_where_the_log_has_begun_anew_is_found() -> None:
    new_lines = NewLines()
    new(new_lines, LINES[:1])
    new(new_lines, LINES[1:3])
    assert new_lines.gap is None, "one line follows the other"
    new(new_lines, [f"{SECOND}8Z much later"])
    assert new_lines.gap == (f"{SECOND}1.500000001Z", f"{SECOND}8.000000000Z")


def test_a_line_that_was_cut_off_while_the_container_runs_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    log = FakeLog()
    log.cut_off = f"{LINES[0]}\n{LINES[1][:-2]}".encode()
    OncePodManager(kube_client=log).fetch_container_logs(POD, "base", follow=True)
    assert logged(capsys) == TEXTS


class LiveLog(FakeLog):
    """A log that grows while it is read, over either client; a connection ends when it has been silent for too long."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def write(self, *texts: str) -> None:
        self.lines += [f"{dt.datetime.now(tz=dt.UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')} {text}\n" for text in texts]

    def stream(self, **_: Any) -> Iterator[bytes]:
        """Answer the worker."""
        at, changed_at = 0, time.monotonic()
        while True:
            # In this order: what was written before the end is read.
            ended = self.ended
            if lines := self.lines[at:]:
                at, changed_at = at + len(lines), time.monotonic()
                yield "".join(lines).encode()
            elif ended:
                return
            elif time.monotonic() - changed_at > pod_logs.SECONDS_OF_SILENCE:
                raise ReadTimeoutError(HTTPConnectionPool("api"), "/log", "Read timed out.")
            else:
                time.sleep(0.01)

    def follow_in_worker(self) -> None:
        OncePodManager(kube_client=self).fetch_container_logs(POD, "base", follow=True)

    def follow_in_triggerer(self) -> None:
        async def follow() -> None:
            api = FakeApi()
            api.log = self.answer_triggerer  # type: ignore[method-assign]  # the rest of the API stays
            async with api.serve() as hook:
                over = asyncio.create_task(self.wait_for_end(api.is_over))
                await OnceAsyncPodManager(async_hook=hook).follow(POD, "base", api.is_over)
                await over

        asyncio.run(follow())

    async def wait_for_end(self, is_over: asyncio.Event) -> None:
        while not self.ended:  # noqa: ASYNC110  # another thread ends it
            await asyncio.sleep(0.01)
        is_over.set()

    async def answer_triggerer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        at = 0
        while True:
            ended = self.ended
            if lines := self.lines[at:]:
                at += len(lines)
                await response.write("".join(lines).encode())
            elif ended:
                return response
            else:
                await asyncio.sleep(0.01)


SECONDS_UNTIL_LOGGED = 20.0
"""When a line counts as kept back until the next one; how soon it comes is measured by `make bench`."""


@pytest.mark.parametrize("where", ["worker", "triggerer"])
@pytest.mark.parametrize(
    ("printed", "seconds_of_silence"),
    [(("one",), 10.0), ((*["many"] * 200, "last", ""), 10.0), (("one",), 0.3)],
    ids=["one line", "an empty line after many", "over connections that were silent"],
)
def test_a_line_is_logged_while_nothing_follows_it(
    where: str,
    printed: tuple[str, ...],
    seconds_of_silence: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pod_logs, "SECONDS_OF_SILENCE", seconds_of_silence)
    log = LiveLog()
    following = threading.Thread(target=getattr(log, f"follow_in_{where}"))
    following.start()
    texts: list[str] = []

    def wait_for(expected: list[str]) -> None:
        deadline = time.monotonic() + SECONDS_UNTIL_LOGGED
        while texts != expected and time.monotonic() < deadline:
            time.sleep(0.02)
            texts.extend(logged(capsys))
        assert texts == expected, "not in time, or not once"

    try:
        log.write("begin")
        wait_for(["begin"])
        for _ in range(3):
            log.write(*printed)
            wait_for(texts + [text for text in printed if text])
            time.sleep(0.75)
    finally:
        log.ended = True
        following.join(20)
    assert logged(capsys) == [], "logged once more"


def test_a_worker_says_once_that_the_log_cannot_be_read_and_reads_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    OncePodManager(kube_client=FakeLog(1, 2, 3, 4)).fetch_container_logs(POD, "base", follow=True)
    assert waits == [pod_logs.SECONDS_BETWEEN_READS] * 4
    printed = capsys.readouterr().out
    assert printed.count("The log of pod pod cannot be read, trying again: the connection broke") == 1
    assert "Traceback" not in printed
    assert re.findall(r"\[base\] (\w+)", printed) == TEXTS


def test_progress_callbacks_get_each_line_with_its_time() -> None:
    got: list[tuple[str, dt.datetime | None]] = []

    class Callback(KubernetesPodOperatorCallback):
        @staticmethod
        def progress_callback(*, line: str, timestamp: dt.datetime | None, **_: Any) -> None:
            got.append((line, timestamp))

    OncePodManager(kube_client=FakeLog(), callbacks=[Callback]).fetch_container_logs(POD, "base", follow=True)
    assert [line for line, _ in got] == TEXTS
    assert got[0][1] == dt.datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=dt.UTC)


MANY = [f"{SECOND}1.{number:09d}Z {'ERROR: ' if number == 500 else ''}line {number}" for number in range(1000)]


@pytest.mark.parametrize("where", ["worker", "triggerer"])
def test_lines_that_come_fast_have_few_records_and_are_as_ever(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unit.k8s_sky_provider.test_pod_logs.LINES", MANY)
    if where == "worker":
        OncePodManager(kube_client=FakeLog()).fetch_container_logs(POD, "base", follow=True)
    else:
        asyncio.run(follow(FakeApi(lines=len(MANY))))
    printed = [line for line in capsys.readouterr().out.splitlines() if "line " in line]
    assert [re.sub(r".*\[base\] | +\[k8s_sky.*", "", line) for line in printed] == [line[31:] for line in MANY]
    assert len([line for line in printed if line.startswith("20")]) < 20, "those are records"


def test_the_trigger_is_kubernetes_pod_trigger_with_another_name() -> None:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    trigger = KubernetesPodTrigger("pod", "ns", moment, "base", logging_interval=10)
    path, arguments = SkyPodTrigger(**trigger.serialize()[1]).serialize()
    assert path == "k8s_sky_provider.triggers.pod.SkyPodTrigger"
    assert arguments == trigger.serialize()[1]
    assert isinstance(SkyPodTrigger(**arguments).pod_manager, OnceAsyncPodManager)


class TestAnotherImage:
    """What neither the runner nor Airflow has written does no harm to the triggerer."""

    def test_a_line_without_an_end_is_cut_and_not_kept(self) -> None:
        splitter = LineSplitter()
        lines = [line for _ in range(100) for line in splitter.feed(b"x" * 10_000)]
        assert lines == [b"x" * LONGEST_LINE]
        assert splitter.begun == b""
        assert splitter.feed(b"rest\nnext\nbegun") == [b"next"]
        assert splitter.begun == b"begun"

    @given(text=st.binary(max_size=60), sizes=st.lists(st.integers(1, 7), min_size=1))
    def test_lines_are_the_same_in_whatever_pieces_they_come(self, text: bytes, sizes: list[int]) -> None:
        splitter, lines, rest = LineSplitter(), [], text
        for size in itertools.cycle(sizes):
            lines += splitter.feed(rest[:size])
            rest = rest[size:]
            if not rest:
                break
        assert [*lines, splitter.begun] == text.split(b"\n")

    @pytest.mark.parametrize(
        "noted", ["zzz", "9999-01-01T00:00:00Z", "2026-13-45T00:00:00Z", "2026-01-01T00:00:00Z and more", ""]
    )
    def test_a_position_that_is_none_hides_nothing(self, noted: str) -> None:
        pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(annotations={POSITION_ANNOTATION: noted}))
        assert read_up_to(pod, None) is None
        assert read_up_to(pod, "2026-01-01T00:00:00.000000000Z") == "2026-01-01T00:00:00.000000000Z"

    def test_a_position_that_is_one_counts(self) -> None:
        stamp = "2026-01-02T00:00:00.000000000Z"
        pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(annotations={POSITION_ANNOTATION: stamp}))
        assert read_up_to(pod, "2026-01-01T00:00:00.000000000Z") == stamp

    def test_a_line_without_an_end_is_cut_and_not_kept_by_a_worker(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Endless(FakeLog):
            def stream(self, **_: Any) -> Iterator[bytes]:
                self.ended = True
                yield b"2026-01-01T00:00:00.000000000Z "
                yield from [b"x" * 10_000] * 100
                yield b"\n2026-01-01T00:00:01.000000000Z next"

        OncePodManager(kube_client=Endless()).fetch_container_logs(POD, "base", follow=True)
        lines = [line for line in logged(capsys) if set(line) <= set("x") or line == "next"]
        assert [len(line) for line in lines] == [LONGEST_LINE - len("2026-01-01T00:00:00.000000000Z "), 4]
