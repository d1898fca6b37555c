"""Actions that change one cluster queue behind each other, and nobody waits for ever."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, SkyRequest
from k8s_sky_provider.runner import actions
from k8s_sky_provider.runner.actions import ACTIONS, Run, lock
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine
from unit.k8s_sky_provider.runner import test_actions_jobs as jobs
from unit.k8s_sky_provider.runner import test_actions_serve as serve
from unit.k8s_sky_provider.runner.test_actions import EXEC, LAUNCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8s_sky_provider.protocol import JsonValue

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")
CLUSTERS: dict[str, Any] = {"cluster_name": "demo"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "launch": {**LAUNCH, "auto_down": False},
    "exec": EXEC,
    "start": CLUSTERS | dict.fromkeys(("idle_minutes_to_autostop", "wait_for", "down", "retry_until_up", "force")),
    "stop": CLUSTERS | dict.fromkeys(("graceful", "graceful_timeout")),
    "autostop": CLUSTERS | {"idle_minutes": 5} | dict.fromkeys(("wait_for", "down", "hook", "hook_timeout")),
    "down": CLUSTERS | dict.fromkeys(("purge", "graceful", "graceful_timeout")),
    "reap": {"clusters": {"demo": {"dag_id": "dag", "run_id": "run"}}, "dryrun": False},
}


class SharedStore(FileStore):
    """A store that notes in the calls of the engine when a lock is taken and freed, and that others have locks of.

    Gates are open and not noted.

    :ivar busy: how often a try to take a lock fails
    """

    def __init__(self, home: Path, engine: FakeEngine) -> None:
        super().__init__(home)
        self.engine = engine
        self.busy = 0
        self.held: dict[str, bool] = {}

    def try_lock(self, name: str, *, shared: bool) -> bool:
        if name.startswith("gate of "):
            return True
        if self.busy:
            self.busy -= 1
            return False
        assert not self.held, f"{name} is taken while this has {self.held}"
        self.held[name] = shared
        self.engine.calls.append(f"{'share' if shared else 'lock'} {name}")
        return True

    def unlock(self, name: str) -> None:
        if name.startswith("gate of "):
            return
        del self.held[name]
        self.engine.calls.append(f"unlock {name}")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine("demo")


@pytest.fixture
def store(tmp_path: Path, engine: FakeEngine) -> SharedStore:
    store = SharedStore(tmp_path, engine)
    store.note("owners", "demo", dataclasses.asdict(OWNER))
    return store


def start(store: SharedStore, action: str, on_cancel: OnCancel | None = None, **arguments: JsonValue) -> Run:
    request = SkyRequest(action=action, arguments={**ARGUMENTS[action], **arguments}, owner=OWNER, on_cancel=on_cancel)
    return Run(request=request, engine=store.engine, home=Path("/home/sky"), store=store)


def changes(engine: FakeEngine) -> list[str]:
    """Return what was done, without what changes nothing."""
    return [call for call in engine.calls if not call.startswith(("load_task", "cluster_queue", "status"))]


@pytest.mark.parametrize("action", ["start", "stop", "autostop", "down", "reap"])
def test_who_changes_a_cluster_has_it_alone(action: str, store: SharedStore, engine: FakeEngine) -> None:
    ACTIONS[action](start(store, action))
    first, change, last = changes(engine)
    assert (first, last) == ("lock cluster demo", "unlock cluster demo")
    assert change.startswith("down demo" if action == "reap" else f"{action} demo")


@pytest.mark.parametrize(("action", "taken"), [("launch", "lock"), ("exec", "share")])
def test_nobody_has_it_while_a_job_runs(action: str, taken: str, store: SharedStore, engine: FakeEngine) -> None:
    ACTIONS[action](start(store, action))
    assert changes(engine) == [f"{taken} cluster demo", f"{action} demo", "unlock cluster demo", "follow_job demo 7"]


def test_what_is_there_already_is_looked_for_when_nobody_else_is_at_work(
    store: SharedStore, engine: FakeEngine
) -> None:
    ACTIONS["launch"](start(store, "launch", wait=False))
    engine.calls.clear()
    ACTIONS["launch"](start(store, "launch", wait=False))
    assert engine.calls.index("lock cluster demo") < engine.calls.index("cluster_queue demo")


def test_auto_down_queues_again(store: SharedStore, engine: FakeEngine) -> None:
    ACTIONS["launch"](start(store, "launch", auto_down=True))
    assert changes(engine)[-3:] == ["lock cluster demo", "down demo", "unlock cluster demo"]


def test_a_launch_that_fails_takes_down_what_it_made_before_another_can_use_it(
    store: SharedStore, engine: FakeEngine
) -> None:
    engine.fail("launch")
    with pytest.raises(ActionFailedError):
        ACTIONS["launch"](start(store, "launch"))
    assert changes(engine) == ["lock cluster demo", "launch demo", "down demo", "unlock cluster demo"]


def test_a_cluster_that_is_taken_over_meanwhile_is_not_reaped(
    store: SharedStore, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = dataclasses.replace(OWNER, run_id="newer")
    monkeypatch.setattr(time, "sleep", lambda _: store.note("owners", "demo", dataclasses.asdict(newer)))
    store.busy = 1
    assert ACTIONS["reap"](start(store, "reap")).return_value == []
    assert engine.clusters == {"demo"}


@pytest.mark.parametrize("action", ["down", "stop"])
def test_several_clusters_are_taken_one_after_the_other(action: str, store: SharedStore, engine: FakeEngine) -> None:
    engine.clusters = {"demo-1", "demo-2"}
    engine.fail(action)
    with pytest.raises(ActionFailedError):
        ACTIONS[action](start(store, action, cluster_name="demo*"))
    assert [call for call in changes(engine) if "lock" in call] == [
        "lock cluster demo-1",
        "unlock cluster demo-1",
        "lock cluster demo-2",
        "unlock cluster demo-2",
    ]


@pytest.mark.parametrize("exists", [False, True], ids=["to be made", "there"])
@pytest.mark.parametrize(
    ("action", "arguments", "controller"),
    [
        ("jobs_launch", jobs.ARGUMENTS["jobs_launch"], "sky-jobs-controller-airflow"),
        ("serve_up", serve.ARGUMENTS["serve_up"], "sky-serve-controller-airflow"),
        ("pool_apply", serve.ARGUMENTS["pool_apply"], "sky-jobs-controller-airflow"),
    ],
)
def test_a_controller_is_made_by_one_and_then_shared(
    action: str, arguments: dict[str, Any], controller: str, exists: bool, store: SharedStore, engine: FakeEngine
) -> None:
    if exists:
        engine.clusters.add(controller)
    request = SkyRequest(action=action, arguments=arguments | {"wait": False}, owner=OWNER)
    ACTIONS[action](Run(request=request, engine=engine, home=Path("/home/sky"), store=store))
    first, *_, last = [call for call in engine.calls if "lock" in call or "share" in call]
    assert (first, last) == (f"{'share' if exists else 'lock'} cluster {controller}", f"unlock cluster {controller}")


class TestWaiting:
    """Who waits says for whom, and gives up in the end."""

    def test_it_says_for_whom(self, store: SharedStore, waits: list[float], capsys: pytest.CaptureFixture[str]) -> None:
        ACTIONS["launch"](start(store, "launch"))
        store.busy = 301
        ACTIONS["down"](start(store, "down"))
        said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Waiting: ")]
        assert len(said) == 2
        assert said[0].startswith("Waiting: launch of task dag.task, run run, in pod ")
        assert said[0].endswith(", is at work on cluster demo")
        assert sum(waits) == 301

    @pytest.mark.parametrize("action", ["launch", "exec", "down"])
    def test_it_gives_up_and_may_be_tried_again(self, action: str, store: SharedStore, waits: list[float]) -> None:
        store.busy = 10**9
        with pytest.raises(
            ActionFailedError, match="another task is at work on cluster demo, for more than the 3600 s"
        ) as e:
            ACTIONS[action](start(store, action))
        assert e.value.exit_code is ExitCode.TRY_AGAIN
        assert sum(waits) == lock.SECONDS_TO_WAIT
        assert changes(store.engine) == []

    @pytest.mark.parametrize("action", ["launch", "down"])
    def test_one_that_is_told_to_stop_ends_at_once_and_undoes_nothing(
        self, action: str, store: SharedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(_: float) -> None:
            raise CancelledActionError

        monkeypatch.setattr(time, "sleep", stop)
        store.busy = 1
        run = start(store, action, OnCancel.DOWN)
        with pytest.raises(CancelledActionError):
            ACTIONS[action](run)
        assert actions.cancel(run) == "nothing was undone"
        assert changes(store.engine) == []


# A lock is one of a process: each of these is another one, which has the cluster until its input ends.
SHARING = """
import pathlib, sys
from k8s_sky_provider.runner.actions import lock
from k8s_sky_provider.runner.store import FileStore

print(lock._Gate(FileStore(pathlib.Path(sys.argv[1])), "demo", shared=True).try_lock(), flush=True)
sys.stdin.read()
"""


class TestTurns:
    """Who wants a cluster alone gets it although others share it, one after the other and without a pause."""

    @pytest.fixture
    def others(self) -> Iterator[list[subprocess.Popen[str]]]:
        pods: list[subprocess.Popen[str]] = []
        yield pods
        for pod in pods:
            pod.communicate()

    def share(self, home: Path, others: list[subprocess.Popen[str]]) -> bool:
        pod = subprocess.Popen(
            [sys.executable, "-c", SHARING, str(home)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        others.append(pod)
        assert pod.stdout is not None
        return pod.stdout.readline() == "True\n"

    def test_who_comes_later_waits(
        self, tmp_path: Path, others: list[subprocess.Popen[str]], engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        got: list[bool] = []

        def others_come_and_go(_: float) -> None:
            assert len(got) < 4, "those that share it take turns for ever"
            got.append(self.share(tmp_path, others))
            others.pop(0).communicate()

        store = FileStore(tmp_path)
        assert self.share(tmp_path, others)
        monkeypatch.setattr(time, "sleep", others_come_and_go)
        request = SkyRequest(action="down", arguments=ARGUMENTS["down"], owner=OWNER)
        with lock.changing(Run(request=request, engine=engine, home=tmp_path, store=store), "demo"):
            assert got == [False]
            assert not self.share(tmp_path, others)
        assert self.share(tmp_path, others)

    def test_who_gives_up_lets_others_in(
        self, tmp_path: Path, others: list[subprocess.Popen[str]], engine: FakeEngine, waits: list[float]
    ) -> None:
        assert self.share(tmp_path, others)
        request = SkyRequest(action="down", arguments=ARGUMENTS["down"], owner=OWNER)
        run = Run(request=request, engine=engine, home=tmp_path, store=FileStore(tmp_path))
        with pytest.raises(ActionFailedError, match="for more than the 3600 s"):
            ACTIONS["down"](run)
        assert self.share(tmp_path, others)


class TestToldToStop:
    """What on_cancel says comes before anybody else."""

    def test_a_launch_keeps_its_cluster_until_it_is_down(self, store: SharedStore, engine: FakeEngine) -> None:
        engine.told_to_stop_in = "launch"
        run = start(store, "launch", OnCancel.DOWN)
        with pytest.raises(CancelledActionError):
            ACTIONS["launch"](run)
        actions.cancel(run)
        assert changes(engine) == ["lock cluster demo", "launch demo", "down demo"]

    @pytest.mark.parametrize("on_cancel", [OnCancel.DOWN, OnCancel.STOP])
    @pytest.mark.parametrize("action", ["launch", "exec"])
    def test_while_the_job_runs_it_queues_but_not_for_long(
        self, action: str, on_cancel: OnCancel, store: SharedStore, engine: FakeEngine, waits: list[float]
    ) -> None:
        engine.told_to_stop_in = "follow_job"
        run = start(store, action, on_cancel)
        with pytest.raises(CancelledActionError):
            ACTIONS[action](run)
        store.busy = 10**9
        with pytest.raises(ActionFailedError, match="is at work on cluster demo"):
            actions.cancel(run)
        assert sum(waits) == lock.SECONDS_TO_WAIT_AT_THE_END
        store.busy = 0
        engine.calls.clear()
        actions.cancel(run)
        assert changes(engine) == ["lock cluster demo", f"{on_cancel} demo", "unlock cluster demo"]
