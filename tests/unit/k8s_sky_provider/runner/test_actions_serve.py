"""What the actions on services and pools do, whatever happens on the way. SkyPilot is a fake."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, SkyRequest
from k8s_sky_provider.runner import actions
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine
from unit.k8s_sky_provider.fake_engine.serve import ENDPOINT

if TYPE_CHECKING:
    from pathlib import Path

TASK: dict[str, Any] = {"task": {"run": "serve"}, "overrides": {}}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "serve_up": {**TASK, "service_name": "chat", "wait": True, "timeout": 60},
    "serve_update": {**TASK, "service_name": "chat", "mode": "blue_green", "wait": True, "timeout": 60},
    "serve_status": {"names": None},
    "serve_down": {"names": None, "purge": False},
    "serve_logs": {"service_name": "chat", "target": "controller", "replica": None, "follow": False, "tail": None},
    "pool_apply": {**TASK, "pool_name": "gpus", "workers": None, "mode": "rolling", "wait": True, "timeout": 60},
    "pool_status": {"names": None},
    "pool_down": {"names": None, "purge": False},
}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the actions would have slept; time goes on by them."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    return slept


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def start(
    home: Path, engine: FakeEngine, action: str, *, task_id: str = "up", wish: OnCancel | None = None, **arguments: Any
) -> Run:
    """Return an action that can be run."""
    owner = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id=task_id)
    return Run(
        request=SkyRequest(action=action, arguments={**ARGUMENTS[action], **arguments}, owner=owner, on_cancel=wish),
        engine=engine,
        home=home,
        store=FileStore(home),
    )


def do(home: Path, engine: FakeEngine, action: str, **arguments: Any) -> Outcome:
    return ACTIONS[action](start(home, engine, action, **arguments))


def done(engine: FakeEngine) -> list[str]:
    """Return what was done to services, without the looks at them."""
    return [call for call in engine.calls if not call.startswith(("services pool", "load_task")) and call != "services"]


class TestUp:
    """A service is brought up, and is ready when the task ends."""

    def test_returns_the_endpoint_when_it_is_ready(self, home: Path, waits: list[float]) -> None:
        engine = FakeEngine()
        assert do(home, engine, "serve_up").return_value == ENDPOINT
        assert (done(engine), len(waits)) == (["service_up chat"], 2)

    def test_does_not_wait_if_told_so(self, home: Path, waits: list[float]) -> None:
        assert do(home, FakeEngine(), "serve_up", wait=False).return_value == ENDPOINT
        assert not waits

    @pytest.mark.parametrize("status", ["FAILED", "CONTROLLER_FAILED", "NO_REPLICA"])
    def test_takes_down_what_does_not_get_ready(self, status: str, home: Path) -> None:
        engine = FakeEngine()
        engine.service_goes = ["REPLICA_INIT", status]
        with pytest.raises(ActionFailedError, match=f"chat: {status}, replicas 1: ") as error:
            do(home, engine, "serve_up")
        assert error.value.exit_code == ExitCode.JOB_FAILED
        assert not engine.service_rows

    @pytest.mark.parametrize(
        ("replicas", "fails"),
        [
            (["PENDING", "FAILED"], True),
            (["PENDING", "FAILED_PROVISION", "PENDING", "PENDING", "PENDING", "FAILED_INITIAL_DELAY"], True),
            (["PENDING", "FAILED", "FAILED", "PROVISIONING"], False),
        ],
        ids=["at once", "after others", "replaced"],
    )
    def test_does_not_wait_for_replicas_that_have_all_failed(
        self, replicas: list[str], fails: bool, home: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = FakeEngine()
        engine.service_goes = ["NO_REPLICA"] * (1000 if fails else len(replicas)) + ["READY"]
        statuses, services = list(replicas), engine.services

        def with_replicas(names: list[str] | None, *, pool: bool) -> list[dict[str, Any]]:
            rows = services(names, pool=pool)
            for row in rows:
                row["replicas"] = [{"id": 1, "status": statuses.pop(0) if statuses[1:] else statuses[0]}]
            return rows

        monkeypatch.setattr(engine, "services", with_replicas)
        if not fails:
            assert do(home, engine, "serve_up", timeout=1800).return_value == ENDPOINT
            return
        with pytest.raises(ActionFailedError, match="all have failed, and no other comes") as error:
            do(home, engine, "serve_up", timeout=1800)
        assert error.value.exit_code == ExitCode.JOB_FAILED
        assert sum(waits) < 200
        assert not engine.service_rows

    def test_takes_down_what_skypilot_half_made(self, home: Path) -> None:
        engine = FakeEngine()
        engine.fail("service_up")
        with pytest.raises(ActionFailedError, match="service_up failed"):
            do(home, engine, "serve_up")
        assert done(engine) == ["service_up chat", "services_down chat"]

    def test_of_a_name_that_somebody_else_has_is_an_error(self, home: Path) -> None:
        engine = FakeEngine()
        do(home, engine, "serve_up", task_id="other")
        with pytest.raises(ActionFailedError, match="there is a service 'chat' already") as error:
            do(home, engine, "serve_up")
        assert error.value.exit_code == ExitCode.REQUEST_WRONG
        assert engine.service_rows

    def test_of_a_task_that_is_tried_again_takes_the_service_it_has(self, home: Path) -> None:
        engine = FakeEngine()
        do(home, engine, "serve_up", wait=False)
        assert do(home, engine, "serve_up").return_value == ENDPOINT
        assert done(engine) == ["service_up chat"]

    @pytest.mark.parametrize("wish", [OnCancel.DOWN, OnCancel.LEAVE])
    def test_killed(self, wish: OnCancel, home: Path) -> None:
        engine = FakeEngine()
        engine.told_to_stop_in = "service_up"
        run = start(home, engine, "serve_up", wish=wish)
        with pytest.raises(CancelledActionError):
            ACTIONS["serve_up"](run)
        assert (actions.cancel(run), bool(engine.service_rows)) == {
            OnCancel.DOWN: ("service chat was taken down", False),
            OnCancel.LEAVE: ("nothing was undone", True),
        }[wish]


class TestUpdate:
    """An update is done when only the new version serves."""

    def test_waits_for_the_new_version(self, home: Path, waits: list[float]) -> None:
        engine = FakeEngine()
        engine.add_service("chat")
        engine.service_goes = ["READY", "READY", "READY"]
        assert do(home, engine, "serve_update").return_value == ENDPOINT
        assert (done(engine), len(waits)) == (["service_update chat blue_green"], 3)

    def test_of_a_service_that_is_not_there_is_an_error(self, home: Path) -> None:
        with pytest.raises(ActionFailedError, match="service_name: there is no service 'chat'"):
            do(home, FakeEngine(), "serve_update")

    def test_leaves_the_old_version_when_the_new_one_does_not_come(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_service("chat")
        engine.service_goes = ["READY"] * 100
        with pytest.raises(ActionFailedError, match="not ready after 60 s"):
            do(home, engine, "serve_update")
        assert done(engine) == ["service_update chat blue_green"]


class TestPool:
    """A pool is made or changed by the same action."""

    def test_is_made(self, home: Path) -> None:
        engine = FakeEngine()
        assert do(home, engine, "pool_apply").return_value == "gpus"
        assert (engine.calls[0], done(engine)) == ("load_task", ["pool_apply gpus rolling"])

    def test_gets_another_number_of_workers_without_a_task(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_service("gpus", pool=True)
        assert do(home, engine, "pool_apply", task=None, workers=3).return_value == "gpus"
        assert done(engine) == ["pool_apply gpus rolling workers=3"]
        assert engine.tasks == []

    @pytest.mark.parametrize("way", ["does not get ready", "cannot be made"])
    def test_that_this_task_makes_goes_when_it_fails(self, way: str, home: Path) -> None:
        engine = FakeEngine()
        engine.service_goes = ["FAILED"]
        if way == "cannot be made":
            engine.fail("pool_apply")
        with pytest.raises(ActionFailedError):
            do(home, engine, "pool_apply")
        assert not engine.service_rows

    def test_that_an_earlier_try_made_goes_when_it_fails(self, home: Path) -> None:
        engine = FakeEngine()
        do(home, engine, "pool_apply", wait=False)
        engine.service_goes = ["FAILED"]
        with pytest.raises(ActionFailedError):
            do(home, engine, "pool_apply")
        assert not engine.service_rows

    def test_that_another_task_made_stays_when_a_change_fails(self, home: Path) -> None:
        engine = FakeEngine()
        do(home, engine, "pool_apply", wait=False, task_id="other")
        for _ in range(2):
            engine.service_goes = ["FAILED"]
            with pytest.raises(ActionFailedError):
                do(home, engine, "pool_apply")
            assert [name for name, _ in engine.service_rows] == ["gpus"]

    def test_needs_a_task_to_be_made(self, home: Path) -> None:
        with pytest.raises(ActionFailedError, match="there is no pool 'gpus', and a new one needs sky_task_yaml"):
            do(home, FakeEngine(), "pool_apply", task=None, workers=3)


@pytest.mark.parametrize("pool", [False, True], ids=["serve", "pool"])
class TestStatusAndDown:
    """Services and pools are listed and taken down alike, and do not see each other."""

    def engine(self, pool: bool) -> FakeEngine:
        engine = FakeEngine()
        for name in ("a-1", "a-2", "b"):
            engine.add_service(name, pool=pool)
        engine.add_service("a-3", pool=not pool)
        return engine

    @pytest.mark.parametrize(("names", "expected"), [(None, ["a-1", "a-2", "b"]), (["b"], ["b"]), (["c"], [])])
    def test_status(self, names: list[str] | None, expected: list[str], pool: bool, home: Path) -> None:
        action = "pool_status" if pool else "serve_status"
        rows = do(home, self.engine(pool), action, names=names).return_value
        assert [row["name"] for row in rows] == expected

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (None, ["a-1", "a-2", "b"]),
            (["b"], ["b"]),
            (["a-*"], ["a-1", "a-2"]),
            (["b", "a-?", "b"], ["b", "a-1", "a-2"]),
            (["c*"], []),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("purge", [False, True])
    def test_down(self, purge: bool, names: list[str] | None, expected: list[str], pool: bool, home: Path) -> None:
        engine = self.engine(pool)
        outcome = do(home, engine, "pool_down" if pool else "serve_down", names=names, purge=purge)
        assert outcome.return_value == expected
        assert {name for name, kind in engine.service_rows if kind is pool} == {"a-1", "a-2", "b"} - set(expected)
        words = ["services_down", *expected, *(["pool"] if pool else []), *(["purge"] if purge else [])]
        assert done(engine) == ([" ".join(words)] if expected else [])

    def test_down_of_a_name_that_never_was_is_an_error(self, pool: bool, home: Path) -> None:
        engine = self.engine(pool)
        with pytest.raises(ActionFailedError, match=r"there never was a (pool|service) 'a-3'") as error:
            do(home, engine, "pool_down" if pool else "serve_down", names=["a-1", "a-3"])
        assert error.value.exit_code == ExitCode.REQUEST_WRONG
        assert done(engine) == []

    def test_down_of_what_is_gone_already_is_fine(self, pool: bool, home: Path) -> None:
        engine = FakeEngine()
        do(home, engine, *(["pool_apply"] if pool else ["serve_up"]))
        for _ in range(2):
            name = "gpus" if pool else "chat"
            outcome = do(home, engine, "pool_down" if pool else "serve_down", names=[name])
        assert outcome.return_value == []

    @pytest.mark.parametrize("ends_as", ["FAILED_CLEANUP", "SHUTTING_DOWN"])
    def test_down_that_does_not_work_may_still_cost_money(self, ends_as: str, pool: bool, home: Path) -> None:
        engine = self.engine(pool)
        engine.service_ends_as = ends_as
        if ends_as == "SHUTTING_DOWN":
            engine.service_stays = True
        with pytest.raises(ActionFailedError, match=rf"may still cost money: b \({ends_as}\)") as error:
            do(home, engine, "pool_down" if pool else "serve_down", names=["b"])
        assert error.value.exit_code == ExitCode.TRY_AGAIN


class TestLogs:
    """The logs of what a service is made of."""

    @pytest.mark.parametrize(
        ("arguments", "call"),
        [
            ({}, "print_service_log chat controller None"),
            ({"target": "load_balancer", "tail": 5}, "print_service_log chat load_balancer None 5"),
            ({"target": "replica", "replica": 1, "follow": True}, "print_service_log chat replica 1 follow"),
        ],
    )
    def test_are_shown(self, arguments: dict[str, Any], call: str, home: Path) -> None:
        engine = FakeEngine()
        engine.add_service("chat")
        assert do(home, engine, "serve_logs", **arguments).return_value == "chat"
        assert done(engine) == [call]

    def test_of_a_replica_that_is_not_there_are_an_error(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_service("chat")
        with pytest.raises(ActionFailedError, match=r"service chat has no replica 4; it has \[1\]"):
            do(home, engine, "serve_logs", target="replica", replica=4)
