"""What the actions on clusters as a whole do, whatever happens on the way. SkyPilot is a fake."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, Owner, SkyRequest
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "start": {
        "idle_minutes_to_autostop": None,
        "wait_for": None,
        "down": False,
        "retry_until_up": False,
        "force": False,
    },
    "stop": {"graceful": False, "graceful_timeout": None},
    "autostop": {"idle_minutes": 5, "wait_for": None, "down": True, "hook": None, "hook_timeout": None},
    "down": {"purge": False, "graceful": False, "graceful_timeout": None},
    "status": {
        "cluster_names": None,
        "refresh": False,
        "ip": False,
        "endpoints": False,
        "all_users": False,
        "owners": False,
    },
    "cost_report": {"cluster_names": None, "days": 30, "all": False},
}
ACTING = ["start", "stop", "autostop", "down"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def act(home: Path, engine: FakeEngine, action: str, **arguments: Any) -> Outcome:
    request = SkyRequest(action=action, arguments={**ARGUMENTS[action], **arguments}, owner=OWNER)
    return ACTIONS[action](Run(request=request, engine=engine, home=home, store=FileStore(home)))


def acted_on(engine: FakeEngine, action: str) -> list[str]:
    """Return the clusters that a method of the engine was called for, in order."""
    calls = [call.split() for call in engine.calls]
    return [call[1] for call in calls if call[0] == action]


@pytest.mark.parametrize(
    ("action", "arguments", "call"),
    [
        ("start", {}, "start demo"),
        (
            "start",
            {
                "idle_minutes_to_autostop": 7,
                "wait_for": "jobs",
                "down": True,
                "retry_until_up": True,
                "force": True,
            },
            "start demo idle_minutes_to_autostop=7 wait_for=jobs down retry_until_up force",
        ),
        ("stop", {}, "stop demo"),
        ("stop", {"graceful": True, "graceful_timeout": 60}, "stop demo graceful graceful_timeout=60"),
        ("autostop", {}, "autostop demo idle_minutes=5 down"),
        (
            "autostop",
            {"idle_minutes": -1, "down": False, "wait_for": "none", "hook": "sync", "hook_timeout": 9},
            "autostop demo idle_minutes=-1 wait_for=none hook=sync hook_timeout=9",
        ),
        ("down", {}, "down demo"),
        (
            "down",
            {"purge": True, "graceful": True, "graceful_timeout": 60},
            "down demo purge graceful graceful_timeout=60",
        ),
    ],
    ids=str,
)
def test_one_cluster_is_acted_on_as_asked_and_its_name_returned(
    action: str, arguments: dict[str, Any], call: str, home: Path
) -> None:
    engine = FakeEngine("demo", "other")
    assert act(home, engine, action, cluster_name="demo", **arguments).return_value == "demo"
    assert engine.calls == [call]


@pytest.mark.parametrize("action", ACTING)
class TestSeveralClusters:
    """A list and a glob mean clusters, each once; what fails for one is tried for all others."""

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (["b", "a"], ["b", "a"]),
            (["a", "a"], ["a"]),
            ([], []),
            ("train-*", ["train-1", "train-2"]),
            ("train-?", ["train-1", "train-2"]),
            ("train-[1]", ["train-1"]),
            (["train-2", "train-*", "a"], ["train-2", "train-1", "a"]),
            ("nothing-*", []),
            ("*", ["a", "b", "train-1", "train-2"]),
            ("sky-*", []),
            (["sky-jobs-controller-x"], ["sky-jobs-controller-x"]),
        ],
        ids=str,
    )
    def test_the_list_of_what_was_acted_on_is_returned(
        self, action: str, names: str | list[str], expected: list[str], home: Path
    ) -> None:
        engine = FakeEngine("a", "b", "train-1", "train-2", "sky-jobs-controller-x", "sky-serve-controller-x")
        assert act(home, engine, action, cluster_name=names).return_value == expected
        assert acted_on(engine, action) == expected

    def test_all_are_tried_and_one_error_names_those_that_failed(self, action: str, home: Path) -> None:
        engine = FakeEngine("a", "b", "c")
        engine.fail(action, times=2, exit_code=ExitCode.REQUEST_WRONG)
        with pytest.raises(ActionFailedError) as caught:
            act(home, engine, action, cluster_name="*")
        assert acted_on(engine, action) == ["a", "b", "c"]
        assert caught.value.reason == f"2 of 3 clusters failed: a: {action} failed; b: {action} failed"
        assert (caught.value.exit_code, caught.value.error) == (ExitCode.REQUEST_WRONG, "FakeError")

    def test_it_is_worth_a_retry_if_one_of_the_failures_is(self, action: str, home: Path) -> None:
        engine = FakeEngine("a", "b")
        engine.fail(action, exit_code=ExitCode.REQUEST_WRONG)
        engine.failures[action].append(ActionFailedError(ExitCode.TRY_AGAIN, "busy"))
        with pytest.raises(ActionFailedError) as caught:
            act(home, engine, action, cluster_name=["a", "b"])
        assert caught.value.exit_code is ExitCode.TRY_AGAIN

    def test_a_single_failure_of_one_cluster_stays_as_it_is(self, action: str, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.fail(action, exit_code=ExitCode.CREDENTIALS_REFUSED)
        with pytest.raises(ActionFailedError) as caught:
            act(home, engine, action, cluster_name="demo")
        assert (caught.value.exit_code, caught.value.reason) == (ExitCode.CREDENTIALS_REFUSED, f"{action} failed")


class TestDown:
    """Down is done when the cluster is gone, however often it is asked for."""

    @pytest.mark.parametrize(("names", "value"), [("demo", "demo"), (["demo"], ["demo"])])
    def test_a_second_one_is_fine(self, names: str | list[str], value: str | list[str], home: Path) -> None:
        engine = FakeEngine("demo", "other")
        for _ in range(2):
            assert act(home, engine, "down", cluster_name=names).return_value == value
        assert engine.calls == ["down demo"]
        assert engine.clusters == {"other"}

    @pytest.mark.parametrize("names", ["dmeo", ["demo", "dmeo"]], ids=str)
    def test_a_name_that_skypilot_never_had_is_an_error(self, names: str | list[str], home: Path) -> None:
        engine = FakeEngine("demo")
        with pytest.raises(ActionFailedError, match="SkyPilot never had a cluster 'dmeo' in this state") as caught:
            act(home, engine, "down", cluster_name=names)
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG
        assert engine.clusters == (set() if "demo" in names else {"demo"})


class TestLists:
    """A list is whole, or it is an error."""

    @pytest.mark.parametrize(
        ("names", "expected"), [(None, {"a", "b1", "b2"}), (["b*", "c"], {"b1", "b2"}), (["a"], {"a"}), ([], set())]
    )
    @pytest.mark.parametrize("option", [None, "refresh", "ip", "endpoints", "all_users"])
    def test_status(self, names: list[str] | None, expected: set[str], option: str | None, home: Path) -> None:
        engine = FakeEngine("a", "b1", "b2")
        outcome = act(home, engine, "status", cluster_names=names, **({option: True} if option else {}))
        assert {row["name"] for row in outcome.return_value} == expected
        assert engine.calls == [f"status {option}" if option else "status"]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, [f"c{n}" for n in range(5)]),
            ({"all": True}, [f"c{n}" for n in range(9)]),
            ({"cluster_names": ["c[78]", "c1"]}, ["c1", "c7", "c8"]),
            ({"cluster_names": []}, []),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("days", [30, None])
    def test_cost_report(self, arguments: dict[str, Any], expected: list[str], days: int | None, home: Path) -> None:
        engine = FakeEngine("c0", gone=tuple(f"c{n}" for n in range(1, 9)))
        outcome = act(home, engine, "cost_report", days=days, **arguments)
        assert [row["name"] for row in outcome.return_value] == expected
        assert engine.calls == [f"cost_report {days}"]

    @pytest.mark.parametrize(
        ("action", "arguments", "way_out"),
        [("status", {}, "cluster_names"), ("cost_report", {"all": True}, "cluster_names or days")],
    )
    def test_one_that_does_not_fit_into_a_result_is_an_error_and_never_a_part(
        self, action: str, arguments: dict[str, Any], way_out: str, home: Path
    ) -> None:
        engine = FakeEngine(*(hashlib.sha256(bytes([number])).hexdigest() for number in range(200)))
        outcome = act(home, engine, action, **arguments)
        assert outcome.exit_code is ExitCode.REQUEST_WRONG
        assert (
            f"the list has 200 rows, which do not fit into a result of 4096 bytes: narrow it by {way_out}"
            in outcome.reason
        )
        assert len(outcome.return_value) == 200


CONTROLLER = {"jobs": "sky-jobs-controller-1234", "services": "sky-serve-controller-1234"}
DOWN = {"graceful": False, "graceful_timeout": None}


@pytest.mark.parametrize(
    ("controller", "prepare", "message"),
    [
        ("jobs", lambda engine: engine.add_job(7), "managed jobs 7; end them first (SkyJobCancelOperator)"),
        (
            "jobs",
            lambda engine: engine.pool_apply("x", "crew", workers=1, mode="rolling"),
            "pools crew; end them first",
        ),
        ("services", lambda engine: engine.service_up("x", "chat"), "services chat; end them first"),
    ],
    ids=["job", "pool", "service"],
)
def test_a_controller_at_work_is_only_taken_down_by_force(
    controller: str, prepare: Callable[[FakeEngine], object], message: str, home: Path
) -> None:
    name = CONTROLLER[controller]
    engine = FakeEngine(name)
    prepare(engine)
    with pytest.raises(ActionFailedError, match=re.escape(f"controller {name} still has {message}")) as caught:
        act(home, engine, "down", cluster_name=name, purge=False, **DOWN)
    assert caught.value.exit_code is ExitCode.REQUEST_WRONG
    assert name in engine.clusters
    act(home, engine, "down", cluster_name=name, purge=True, **DOWN)
    assert name not in engine.clusters


@pytest.mark.parametrize(("controller", "status"), [("jobs", "UP"), ("services", "UP"), ("jobs", "STOPPED")])
def test_an_idle_controller_is_taken_down(controller: str, status: str, home: Path) -> None:
    engine = FakeEngine(CONTROLLER[controller])
    engine.cluster_status = status
    if status == "UP":
        engine.add_job(6, "SUCCEEDED")
    else:
        # It cannot be asked, and nothing runs under it.
        engine.add_job(7)
    act(home, engine, "down", cluster_name=CONTROLLER[controller], purge=False, **DOWN)
    assert engine.clusters == set()
