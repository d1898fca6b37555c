"""What each action does to clusters and jobs, whatever happens on the way. SkyPilot is a fake."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, SkyRequest, TaskOverrides
from k8s_sky_provider.runner import actions, state
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.actions.once import job_suffix
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import JOB_ID, FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from k8s_sky_provider.runner.sky import Engine

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="launch")
STRANGER = Owner(deployment="airflow", dag_id="other", run_id="run", task_id="launch")
MARK = job_suffix(OWNER).removesuffix("-1")
LAUNCH_OPTIONS: dict[str, Any] = {
    "retry_until_up": True,
    "no_setup": True,
    "fast": True,
    "resize": True,
    "clone_disk_from": "other",
}
LAUNCH: dict[str, Any] = {
    "task": {"run": "echo"},
    "cluster_name": "demo",
    "overrides": {
        "resources": {"cpus": "2+"},
        "default_resources": {"image_id": "docker:nodes"},
        "num_nodes": 2,
        "envs": {"A": "1"},
    },
    "auto_down": True,
    "down_after": [],
    "wait": True,
    "dryrun": False,
    **LAUNCH_OPTIONS,
}
EXEC: dict[str, Any] = {"task": "~/task.yaml", "cluster_name": "demo", "overrides": {}, "wait": True}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the actions would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def start(home: Path, engine: Engine, action: str, arguments: dict[str, Any], on_cancel: OnCancel | None = None) -> Run:
    """Return an action that can be run."""
    request = SkyRequest(action=action, arguments=arguments, owner=OWNER, on_cancel=on_cancel)
    return Run(request=request, engine=engine, home=home, store=FileStore(home))


def launch(home: Path, engine: FakeEngine, **arguments: Any) -> Outcome:
    return ACTIONS["launch"](start(home, engine, "launch", {**LAUNCH, **arguments}))


class TestLaunch:
    """A launch brings a cluster up, runs the task and leaves behind what it was asked to leave."""

    def test_it_returns_the_clusters_name(self, home: Path) -> None:
        outcome = launch(home, FakeEngine())
        assert (outcome.exit_code, outcome.return_value, outcome.job_status) == (ExitCode.OK, "demo", "SUCCEEDED")

    def test_it_hands_everything_to_skypilot(self, home: Path) -> None:
        engine = FakeEngine()
        launch(home, engine)
        assert engine.tasks == [(LAUNCH["task"], TaskOverrides(**LAUNCH["overrides"], job_suffix=f"{MARK}-1"))]

    def test_its_options_are_those_of_the_request(self, home: Path) -> None:
        engine = FakeEngine()
        launch(home, engine)
        assert engine.launches == [LAUNCH_OPTIONS]

    def test_one_that_does_not_wait_leaves_job_and_cluster_to_themselves(self, home: Path) -> None:
        engine = FakeEngine()
        run = start(home, engine, "launch", {**LAUNCH, "wait": False})
        assert ACTIONS["launch"](run).return_value == "demo"
        assert engine.calls == ["load_task", "launch demo"]
        assert run.job_id == JOB_ID

    def test_a_dry_one_starts_nothing(self, home: Path) -> None:
        engine = FakeEngine()
        assert launch(home, engine, dryrun=True).return_value == "demo"
        assert engine.calls == ["load_task", "dry launch demo"]
        assert state.owner_of(FileStore(home), "demo") is None

    @pytest.mark.parametrize(
        ("maker", "stays"),
        [
            pytest.param(None, False, id="made by us"),
            pytest.param(dataclasses.replace(OWNER, task_id="first"), False, id="by a task of this run"),
            pytest.param(dataclasses.replace(OWNER, run_id="other"), True, id="by another run"),
            pytest.param(STRANGER, True, id="by another DAG"),
            pytest.param("by hand", True, id="by hand"),
        ],
    )
    @pytest.mark.parametrize("job_ends_as", ["SUCCEEDED", "FAILED", "FAILED_SETUP", "CANCELLED"])
    def test_auto_down_takes_a_cluster_of_the_dag_run_down_whatever_came_of_the_job(
        self, maker: Owner | str | None, stays: bool, job_ends_as: str, home: Path
    ) -> None:
        engine = FakeEngine(*(["demo"] if maker else []))
        if isinstance(maker, Owner):
            state.record_owner(FileStore(home), "demo", maker)
        engine.job_ends_as = job_ends_as
        launch(home, engine)
        assert engine.clusters == ({"demo"} if stays else set())

    @pytest.mark.parametrize(
        ("maker", "keeps"),
        [
            pytest.param(None, False, id="made by us"),
            pytest.param(OWNER, False, id="by an earlier try"),
            pytest.param(dataclasses.replace(OWNER, task_id="first"), False, id="by a task of this run"),
            pytest.param(dataclasses.replace(OWNER, run_id="other"), True, id="by another run"),
            pytest.param(STRANGER, True, id="by another DAG"),
            pytest.param("by hand", True, id="by hand"),
        ],
    )
    @pytest.mark.parametrize("arguments", [{"wait": False}, {"wait": False, "auto_down": False}, {"wait": True}])
    def test_a_cluster_that_others_have_made_keeps_its_autostop(
        self,
        maker: Owner | str | None,
        keeps: bool,
        arguments: dict[str, Any],
        home: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        engine = FakeEngine(*(["demo"] if maker else []))
        if isinstance(maker, Owner):
            state.record_owner(FileStore(home), "demo", maker)
        launch(home, engine, **arguments)
        before_the_launch = engine.calls[: engine.calls.index("launch demo")]
        assert ("keep_autostop" in before_the_launch) is keeps
        assert capsys.readouterr().out.count("Cluster demo stays, with the autostop that it has: neither") == keeps

    @pytest.mark.parametrize(
        ("status", "cells", "keeps"),
        [
            pytest.param("UP", {}, True, id="up, without one"),
            pytest.param("STOPPED", {}, True, id="stopped"),
            pytest.param("INIT", {"autostop": 30}, True, id="in trouble"),
            pytest.param("INIT", {}, False, id="half made"),
            pytest.param("AUTOSTOPPING", {"autostop": 30}, True, id="stopping itself"),
            pytest.param("AUTOSTOPPING", {"autostop": 30, "to_down": True}, False, id="taking itself down"),
        ],
    )
    def test_a_cluster_that_has_no_autostop_to_keep_gets_one(
        self, status: str, cells: dict[str, Any], keeps: bool, home: Path
    ) -> None:
        engine = FakeEngine("demo")
        engine.cluster_status, engine.cluster_cells = status, cells
        launch(home, engine, wait=False)
        assert ("keep_autostop" in engine.calls) is keeps

    def test_a_cluster_that_took_itself_down_is_made_anew(self, home: Path) -> None:
        state.record_owner(FileStore(home), "demo", STRANGER)
        engine = FakeEngine("demo")
        engine.taken_down = {"demo"}
        launch(home, engine)
        assert "keep_autostop" not in engine.calls
        assert state.owner_of(FileStore(home), "demo") == OWNER
        assert engine.clusters == set()

    def test_auto_down_takes_the_cluster_down_when_the_job_was_lost_from_sight(self, home: Path) -> None:
        engine = FakeEngine()
        engine.fail("follow_job")
        with pytest.raises(ActionFailedError, match="follow_job failed"):
            launch(home, engine)
        assert engine.clusters == set()

    @pytest.mark.parametrize("job_ends_as", ["SUCCEEDED", "FAILED"])
    def test_without_auto_down_the_cluster_stays(self, job_ends_as: str, home: Path) -> None:
        engine = FakeEngine()
        engine.job_ends_as = job_ends_as
        launch(home, engine, auto_down=False)
        assert engine.clusters == {"demo"}

    @pytest.mark.parametrize(
        ("job_ends_as", "exit_code"),
        [("FAILED", ExitCode.JOB_FAILED), ("FAILED_SETUP", ExitCode.SETUP_FAILED), ("CANCELLED", ExitCode.CANCELLED)],
    )
    def test_a_job_that_fails_for_good_takes_down_what_its_launch_made(
        self, job_ends_as: str, exit_code: ExitCode, home: Path
    ) -> None:
        engine = FakeEngine()
        engine.job_ends_as = job_ends_as
        outcome = launch(home, engine, auto_down=False, down_after=[exit_code])
        assert (outcome.exit_code, engine.clusters) == (exit_code, set())

    def test_a_job_that_is_tried_again_keeps_its_cluster(self, home: Path) -> None:
        engine = FakeEngine()
        engine.job_ends_as = "FAILED"
        launch(home, engine, auto_down=False, down_after=[ExitCode.SETUP_FAILED])
        assert engine.clusters == {"demo"}

    def test_a_job_that_fails_for_good_leaves_a_cluster_that_existed(self, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.job_ends_as = "FAILED"
        launch(home, engine, auto_down=False, down_after=[*ExitCode])
        assert engine.clusters == {"demo"}

    def test_a_job_that_succeeds_keeps_its_cluster(self, home: Path) -> None:
        engine = FakeEngine()
        launch(home, engine, auto_down=False, down_after=[code for code in ExitCode if code])
        assert engine.clusters == {"demo"}

    @pytest.mark.parametrize("arguments", [{"auto_down": True}, {"auto_down": False, "down_after": [*ExitCode]}])
    @pytest.mark.parametrize("method", ["follow_job", "launch"])
    def test_an_error_that_nobody_foresaw_leaves_no_cluster(
        self, arguments: dict[str, Any], method: str, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = FakeEngine()

        def break_down(*args: Any, **options: Any) -> None:
            engine.clusters.add("demo")
            raise RecursionError("too deep")

        monkeypatch.setattr(engine, method, break_down)
        with pytest.raises(RecursionError, match="too deep"):
            launch(home, engine, **arguments)
        assert engine.clusters == set()

    def test_a_task_without_commands_has_no_job_to_wait_for(self, home: Path) -> None:
        engine = FakeEngine()
        engine.has_commands = False
        outcome = launch(home, engine, auto_down=False)
        assert (outcome.return_value, outcome.job_status) == ("demo", None)
        assert engine.calls == ["load_task", "launch demo"]

    @pytest.mark.parametrize("auto_down", [False, True])
    def test_one_that_fails_takes_down_what_it_made(self, auto_down: bool, home: Path) -> None:
        engine = FakeEngine()
        engine.fail("launch", exit_code=ExitCode.RESOURCES_UNAVAILABLE)
        with pytest.raises(ActionFailedError, match="launch failed") as caught:
            launch(home, engine, auto_down=auto_down)
        assert caught.value.exit_code is ExitCode.RESOURCES_UNAVAILABLE
        assert engine.clusters == set()

    @pytest.mark.parametrize("owner", [None, STRANGER], ids=["nobody's", "another task's"])
    def test_one_that_fails_leaves_a_cluster_that_existed(self, owner: Owner | None, home: Path) -> None:
        if owner:
            state.record_owner(FileStore(home), "demo", owner)
        engine = FakeEngine("demo")
        engine.fail("launch")
        with pytest.raises(ActionFailedError):
            launch(home, engine)
        assert engine.clusters == {"demo"}

    def test_one_that_fails_again_takes_down_what_its_first_try_made(self, home: Path) -> None:
        engine = FakeEngine()
        launch(home, engine, auto_down=False, wait=False)
        engine.fail("launch")
        with pytest.raises(ActionFailedError):
            launch(home, engine)
        assert engine.clusters == set()

    def test_who_made_a_cluster_is_recorded_before_it_exists(self, home: Path) -> None:
        engine = FakeEngine()
        engine.told_to_stop_in = "launch"
        with pytest.raises(CancelledActionError):
            launch(home, engine)
        assert state.owner_of(FileStore(home), "demo") == OWNER

    def test_a_cluster_that_existed_keeps_its_owner(self, home: Path) -> None:
        state.record_owner(FileStore(home), "demo", STRANGER)
        launch(home, FakeEngine("demo"))
        assert state.owner_of(FileStore(home), "demo") == STRANGER

    def test_a_wrong_task_touches_no_cluster(self, home: Path) -> None:
        engine = FakeEngine()
        engine.fail("load_task", exit_code=ExitCode.REQUEST_WRONG)
        with pytest.raises(ActionFailedError):
            launch(home, engine)
        assert engine.calls == ["load_task"]

    def test_a_teardown_that_fails_is_tried_again(self, home: Path, waits: list[float]) -> None:
        engine = FakeEngine()
        engine.fail("down", times=2)
        assert launch(home, engine).exit_code is ExitCode.OK
        assert engine.clusters == set()
        assert len(waits) == 2

    @pytest.mark.parametrize(
        ("exit_code", "times"), [(ExitCode.TRY_AGAIN, 7), (ExitCode.CREDENTIALS_REFUSED, 3)], ids=str
    )
    def test_a_teardown_that_fails_for_good_warns_of_the_cost(
        self, home: Path, waits: list[float], exit_code: ExitCode, times: int
    ) -> None:
        engine = FakeEngine()
        engine.fail("down", times=times, exit_code=exit_code)
        with pytest.raises(
            ActionFailedError, match="cluster demo could not be taken down and may still cost money: down failed"
        ) as caught:
            launch(home, engine)
        assert caught.value.exit_code is ExitCode.TRY_AGAIN
        assert len(waits) == times - 1

    def test_a_teardown_outlives_an_api_that_is_away_for_two_minutes(self, home: Path, waits: list[float]) -> None:
        engine = FakeEngine()
        engine.fail("down", times=6)
        assert launch(home, engine).exit_code is ExitCode.OK
        assert sum(waits) > 120

    def test_a_launch_that_fails_and_leaves_a_cluster_says_both(self, home: Path) -> None:
        engine = FakeEngine()
        engine.fail("launch", exit_code=ExitCode.RESOURCES_UNAVAILABLE)
        engine.fail("down", times=7)
        with pytest.raises(
            ActionFailedError, match=r"^launch failed; and cluster demo could not be taken down"
        ) as left:
            launch(home, engine)
        assert left.value.exit_code is ExitCode.TRY_AGAIN


class TestJob:
    """How a job ended is how its task ends."""

    @pytest.mark.parametrize(
        ("job_ends_as", "exit_codes", "expected", "reason"),
        [
            ("SUCCEEDED", [0], ExitCode.OK, ""),
            (
                "FAILED",
                [0, 3],
                ExitCode.JOB_FAILED,
                "Job 7 on cluster demo ended as FAILED, exit codes by node: [0, 3]",
            ),
            ("FAILED", [], ExitCode.JOB_FAILED, "Job 7 on cluster demo ended as FAILED"),
            ("FAILED", [3, 137], ExitCode.JOB_FAILED, "exit codes by node: [3, 137]"),
            (
                "FAILED",
                [0, 137],
                ExitCode.JOB_FAILED,
                "exit codes by node: [0, 137]; 137 is a process that was killed, mostly for want of memory",
            ),
            ("FAILED_SETUP", [1], ExitCode.SETUP_FAILED, "ended as FAILED_SETUP, exit codes by node: [1]"),
            ("FAILED_DRIVER", [], ExitCode.JOB_FAILED, "ended as FAILED_DRIVER"),
            ("CANCELLED", [], ExitCode.CANCELLED, "ended as CANCELLED"),
        ],
    )
    @pytest.mark.parametrize("action", ["launch", "exec"])
    def test_its_status_is_an_exit_code(
        self,
        *,
        action: str,
        job_ends_as: str,
        exit_codes: list[int],
        expected: ExitCode,
        reason: str,
        home: Path,
    ) -> None:
        engine = FakeEngine("demo")
        engine.job_ends_as, engine.exit_codes = job_ends_as, exit_codes
        run = start(home, engine, action, LAUNCH if action == "launch" else EXEC)
        outcome = ACTIONS[action](run)
        assert outcome.exit_code is expected
        assert outcome.job_status == job_ends_as
        assert outcome.reason.endswith(reason)
        assert outcome.job_exit_codes == ([] if expected is ExitCode.OK else exit_codes)
        assert (run.cluster_name, run.job_id) == ("demo", JOB_ID)

    def test_exec_never_touches_the_cluster_itself(self, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.job_ends_as = "FAILED"
        ACTIONS["exec"](start(home, engine, "exec", EXEC))
        assert engine.calls == ["load_task", "exec demo", "follow_job demo 7"]
        assert engine.clusters == {"demo"}

    def test_exec_that_does_not_wait_leaves_the_job_to_itself(self, home: Path) -> None:
        engine = FakeEngine("demo")
        run = start(home, engine, "exec", {**EXEC, "wait": False})
        assert ACTIONS["exec"](run).return_value == "demo"
        assert engine.calls == ["load_task", "exec demo"]
        assert run.job_id == JOB_ID

    def test_exec_returns_the_clusters_name(self, home: Path) -> None:
        assert ACTIONS["exec"](start(home, FakeEngine("demo"), "exec", EXEC)).return_value == "demo"


class TestCancel:
    """A run that is told to stop undoes what its on_cancel says, and never leaves half a cluster."""

    @pytest.mark.parametrize("existed", [False, True], ids=["made by us", "existed"])
    @pytest.mark.parametrize("phase", ["launch", "follow_job"], ids=["provisioning", "job running"])
    @pytest.mark.parametrize("on_cancel", [*OnCancel, None])
    def test_a_launch(self, *, on_cancel: OnCancel | None, phase: str, existed: bool, home: Path) -> None:
        engine = FakeEngine(*(["demo"] if existed else []))
        run = start(home, engine, "launch", LAUNCH, on_cancel)
        engine.told_to_stop_in = phase
        with pytest.raises(CancelledActionError):
            ACTIONS["launch"](run)
        engine.calls.clear()
        said = actions.cancel(run)
        provisioning = phase == "launch"
        if on_cancel in {None, OnCancel.LEAVE}:
            expected: list[str] = []
        elif (on_cancel is OnCancel.DOWN and not existed) or (provisioning and not existed):
            expected = ["down demo"]
        elif on_cancel is OnCancel.STOP:
            expected = ["stop demo"]
        elif provisioning:
            expected = ["cluster_queue demo"]
        else:
            expected = ["cancel_jobs demo [7]"]
        assert engine.calls == expected
        assert ("demo" in engine.clusters) is (expected != ["down demo"])
        assert ("demo" in said) is (expected not in ([], ["cluster_queue demo"]))

    @pytest.mark.parametrize(
        ("on_cancel", "expected", "said"),
        [
            (OnCancel.CANCEL, ["cancel_jobs demo [7]"], "job 7 on cluster demo was cancelled"),
            (OnCancel.DOWN, ["down demo"], "cluster demo was taken down"),
            (OnCancel.STOP, ["stop demo"], "cluster demo was stopped"),
            (OnCancel.LEAVE, [], "nothing was undone"),
            (None, [], "nothing was undone"),
        ],
    )
    def test_an_exec(self, on_cancel: OnCancel | None, expected: list[str], said: str, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "follow_job"
        run = start(home, engine, "exec", EXEC, on_cancel)
        with pytest.raises(CancelledActionError):
            ACTIONS["exec"](run)
        engine.calls.clear()
        assert actions.cancel(run) == said
        assert engine.calls == expected

    def test_an_exec_that_has_submitted_nothing_cancels_nothing(self, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "exec"
        run = start(home, engine, "exec", EXEC, OnCancel.CANCEL)
        with pytest.raises(CancelledActionError):
            ACTIONS["exec"](run)
        assert actions.cancel(run) == "no job had been submitted"

    def test_a_run_that_has_done_nothing_undoes_nothing(self, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "load_task"
        run = start(home, engine, "launch", LAUNCH, OnCancel.DOWN)
        with pytest.raises(CancelledActionError):
            ACTIONS["launch"](run)
        assert actions.cancel(run) == "nothing was undone"
        assert engine.clusters == {"demo"}

    def test_a_teardown_that_fails_is_tried_again(self, home: Path) -> None:
        engine = FakeEngine()
        engine.told_to_stop_in = "follow_job"
        engine.fail("down", times=2)
        run = start(home, engine, "launch", LAUNCH, OnCancel.DOWN)
        with pytest.raises(CancelledActionError):
            ACTIONS["launch"](run)
        assert actions.cancel(run) == "cluster demo was taken down"
        assert engine.clusters == set()
