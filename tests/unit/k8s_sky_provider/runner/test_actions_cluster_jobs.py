"""What the actions on the jobs of a cluster do, whatever happens on the way. SkyPilot is a fake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, SkyRequest
from k8s_sky_provider.runner import actions
from k8s_sky_provider.runner.actions import ACTIONS, Run
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "queue": {"skip_finished": False, "all_users": False, "limit": None},
    "cancel": {"job_ids": None, "all_users": False},
    "logs": {
        "job_id": None,
        "follow": True,
        "tail": 0,
        "provision": False,
        "worker": None,
        "sync_down": False,
    },
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def start(home: Path, engine: FakeEngine, action: str, on_cancel: OnCancel | None = None, **arguments: Any) -> Run:
    """Return an action that can be run."""
    whole = {"cluster_name": "demo", **ARGUMENTS[action], **arguments}
    return Run(
        request=SkyRequest(action=action, arguments=whole, owner=OWNER, on_cancel=on_cancel),
        engine=engine,
        home=home,
        store=FileStore(home),
    )


class TestQueue:
    """The jobs of one cluster or of several."""

    @pytest.mark.parametrize("option", [None, "skip_finished", "all_users"])
    def test_of_one_cluster(self, option: str | None, home: Path) -> None:
        options: dict[str, Any] = {option: True} if option else {}
        engine = FakeEngine("demo")
        outcome = ACTIONS["queue"](start(home, engine, "queue", **options))
        assert outcome.return_value == [{"job_id": 2, "status": "RUNNING"}, {"job_id": 1, "status": "SUCCEEDED"}]
        assert engine.calls == [f"cluster_queue demo {option}" if option else "cluster_queue demo"]

    @pytest.mark.parametrize("names", ["d*", ["demo", "dog"]], ids=str)
    def test_of_several_says_which_cluster_a_job_is_on(self, names: str | list[str], home: Path) -> None:
        outcome = ACTIONS["queue"](start(home, FakeEngine("demo", "dog", "x"), "queue", cluster_name=names))
        assert [(row["cluster_name"], row["job_id"]) for row in outcome.return_value] == [
            ("demo", 2),
            ("demo", 1),
            ("dog", 2),
            ("dog", 1),
        ]

    def test_a_limit_leaves_the_newest(self, home: Path) -> None:
        outcome = ACTIONS["queue"](start(home, FakeEngine("demo"), "queue", limit=1))
        assert [row["job_id"] for row in outcome.return_value] == [2]

    def test_one_that_does_not_fit_into_a_result_is_an_error(self, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.jobs = dict.fromkeys(range(1, 5001), "SUCCEEDED")
        outcome = ACTIONS["queue"](start(home, engine, "queue"))
        assert outcome.exit_code is ExitCode.REQUEST_WRONG
        assert "the list has 5000 rows" in outcome.reason
        assert "narrow it by skip_finished or limit" in outcome.reason


class TestCancelJobs:
    """Jobs are cancelled by their ids, or all of them."""

    @pytest.mark.parametrize(
        ("arguments", "call"),
        [
            ({"job_ids": [2, 1]}, "cancel_jobs demo [2, 1]"),
            ({}, "cancel_jobs demo all"),
            ({"all_users": True}, "cancel_jobs demo all all_users"),
        ],
        ids=str,
    )
    def test_it_cancels_what_was_named(self, arguments: dict[str, Any], call: str, home: Path) -> None:
        engine = FakeEngine("demo")
        assert ACTIONS["cancel"](start(home, engine, "cancel", **arguments)).return_value == "demo"
        assert engine.calls[-1] == call

    def test_a_job_that_never_was_is_an_error_and_nothing_is_cancelled(self, home: Path) -> None:
        engine = FakeEngine("demo")
        with pytest.raises(ActionFailedError, match="cluster demo has no job 8, 9; SkyQueueOperator lists") as caught:
            ACTIONS["cancel"](start(home, engine, "cancel", job_ids=[8, 2, 9]))
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG
        assert engine.calls == ["job_statuses demo"]


class TestLogs:
    """A log is shown; while it is followed, the job's end is the task's."""

    @pytest.mark.parametrize(
        ("job_ends_as", "exit_codes", "expected"),
        [
            ("SUCCEEDED", [0, 0], ExitCode.OK),
            ("FAILED", [0, 3], ExitCode.JOB_FAILED),
            ("FAILED_SETUP", [1], ExitCode.SETUP_FAILED),
            ("CANCELLED", [], ExitCode.CANCELLED),
        ],
    )
    @pytest.mark.parametrize(("job_id", "followed"), [(None, 2), (1, 1)])
    def test_a_followed_job_ends_the_task_as_it_ended(
        self,
        *,
        job_id: int | None,
        followed: int,
        job_ends_as: str,
        exit_codes: list[int],
        expected: ExitCode,
        home: Path,
    ) -> None:
        engine = FakeEngine("demo")
        engine.job_ends_as, engine.exit_codes = job_ends_as, exit_codes
        run = start(home, engine, "logs", job_id=job_id, tail=5)
        outcome = ACTIONS["logs"](run)
        assert (outcome.exit_code, outcome.job_status) == (expected, job_ends_as)
        assert outcome.job_exit_codes == ([] if expected is ExitCode.OK else exit_codes)
        assert outcome.return_value == ("demo" if expected is ExitCode.OK else None)
        assert (run.cluster_name, run.job_id) == ("demo", followed)
        assert engine.calls[-1] == f"follow_job demo {followed} tail=5"

    def test_one_that_is_not_followed_is_no_judgement(self, home: Path) -> None:
        engine = FakeEngine("demo")
        engine.jobs = {3: "FAILED"}
        outcome = ACTIONS["logs"](start(home, engine, "logs", follow=False, tail=9))
        assert (outcome.exit_code, outcome.return_value, outcome.job_status) == (ExitCode.OK, "demo", "FAILED")
        assert engine.calls == ["job_statuses demo", "print_job_log demo 3 tail=9"]

    def test_files_are_copied_to_the_volume(self, home: Path) -> None:
        outcome = ACTIONS["logs"](start(home, FakeEngine("demo"), "logs", job_id=1, sync_down=True))
        assert (outcome.return_value, outcome.job_status) == ("/home/sky/sky_logs/demo/1", "SUCCEEDED")

    @pytest.mark.parametrize(
        ("job_id", "jobs", "reason"),
        [
            (9, {1: "SUCCEEDED"}, "cluster demo has no job 9; SkyQueueOperator"),
            (None, {}, "cluster demo has no job; SkyQueueOperator"),
        ],
    )
    def test_a_job_that_never_was_is_an_error(
        self, job_id: int | None, jobs: dict[int, str], reason: str, home: Path
    ) -> None:
        engine = FakeEngine("demo")
        engine.jobs = jobs
        with pytest.raises(ActionFailedError, match=reason) as caught:
            ACTIONS["logs"](start(home, engine, "logs", job_id=job_id))
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize(
        ("tail", "shown"),
        [(0, ["line 1", "line 2", "line 3"]), (2, ["line 2", "line 3"]), (9, ["line 1", "line 2", "line 3"])],
    )
    def test_how_it_was_provisioned(
        self, tail: int, shown: list[str], home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        engine = FakeEngine()
        outcome = ACTIONS["logs"](start(home, engine, "logs", provision=True, worker=1, tail=tail))
        assert outcome.return_value == "demo"
        assert capsys.readouterr().out.splitlines() == shown
        assert engine.calls == ["provision_log demo 1"]

    def test_a_cluster_without_a_provision_log_is_an_error(self, home: Path) -> None:
        with pytest.raises(ActionFailedError, match="SkyPilot has no provision log of a cluster 'dmeo'") as caught:
            ACTIONS["logs"](start(home, FakeEngine(), "logs", cluster_name="dmeo", provision=True))
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize(
        ("on_cancel", "expected", "said"),
        [
            (OnCancel.CANCEL, ["cancel_jobs demo [2]"], "job 2 on cluster demo was cancelled"),
            (OnCancel.DOWN, ["down demo"], "cluster demo was taken down"),
            (OnCancel.STOP, ["stop demo"], "cluster demo was stopped"),
            (OnCancel.LEAVE, [], "nothing was undone"),
        ],
    )
    def test_told_to_stop_it_leaves_the_job_unless_asked(
        self, on_cancel: OnCancel, expected: list[str], said: str, home: Path
    ) -> None:
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "follow_job"
        run = start(home, engine, "logs", on_cancel)
        with pytest.raises(CancelledActionError):
            ACTIONS["logs"](run)
        engine.calls.clear()
        assert actions.cancel(run) == said
        assert engine.calls == expected
