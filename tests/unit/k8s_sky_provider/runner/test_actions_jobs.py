"""What the actions on managed jobs do, whatever happens on the way. SkyPilot is a fake."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, SkyRequest, TaskOverrides
from k8s_sky_provider.runner import actions
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.actions import jobs as jobs_actions
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS: dict[str, dict[str, Any]] = {
    "jobs_launch": {
        "task": {"run": "echo"},
        "overrides": {"resources": {"cpus": "2+"}},
        "job_name": "train",
        "name_is_of_task_instance": True,
        "pool": None,
        "num_jobs": None,
        "wait": True,
    },
    "jobs_cancel": {"job_ids": None, "job_name": None, "pool": None, "wait": True},
    "jobs_queue": {
        "job_name": None,
        "pool": None,
        "skip_finished": False,
        "statuses": None,
        "all_users": False,
        "limit": None,
    },
    "jobs_logs": {"job_id": None, "job_name": None, "follow": True, "controller": False, "tail": None},
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
    home: Path, engine: FakeEngine, action: str, *, try_number: int = 1, wish: OnCancel | None = None, **arguments: Any
) -> Run:
    """Return an action that can be run."""
    owner = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task", try_number=try_number)
    return Run(
        request=SkyRequest(action=action, arguments={**ARGUMENTS[action], **arguments}, owner=owner, on_cancel=wish),
        engine=engine,
        home=home,
        store=FileStore(home),
    )


def do(home: Path, engine: FakeEngine, action: str, **arguments: Any) -> Outcome:
    return ACTIONS[action](start(home, engine, action, **arguments))


class TestLaunch:
    """A launch submits the job and ends as the job does."""

    def test_returns_the_jobs_id(self, home: Path) -> None:
        engine = FakeEngine()
        run = start(home, engine, "jobs_launch")
        outcome = ACTIONS["jobs_launch"](run)
        assert (outcome.exit_code, outcome.return_value, outcome.job_status, run.job_id) == (0, 1, "SUCCEEDED", 1)
        assert engine.loaded_jobs == [({"run": "echo"}, TaskOverrides(resources={"cpus": "2+"}), "train")]
        assert engine.calls == ["load_job", "launch_managed_job train", "follow_managed_job 1"]

    def test_without_waiting_leaves_the_job_to_itself(self, home: Path) -> None:
        engine = FakeEngine()
        assert do(home, engine, "jobs_launch", wait=False).return_value == 1
        assert engine.calls == ["load_job", "launch_managed_job train"]

    def test_of_several_jobs_waits_for_all_and_returns_a_list(self, home: Path) -> None:
        engine = FakeEngine()
        outcome = do(home, engine, "jobs_launch", pool="gpus", num_jobs=2)
        assert outcome.return_value == [1, 2]
        assert engine.calls[1:] == [
            "launch_managed_job train pool=gpus",
            "follow_managed_job 1",
            "follow_managed_job 2",
        ]

    @pytest.mark.parametrize(
        ("status", "exit_code"),
        [
            ("FAILED", ExitCode.JOB_FAILED),
            ("FAILED_SETUP", ExitCode.SETUP_FAILED),
            ("FAILED_PRECHECKS", ExitCode.REQUEST_WRONG),
            ("FAILED_NO_RESOURCE", ExitCode.RESOURCES_UNAVAILABLE),
            ("FAILED_CONTROLLER", ExitCode.TRY_AGAIN),
            ("CANCELLED", ExitCode.CANCELLED),
            ("A_NEW_STATUS", ExitCode.JOB_FAILED),
        ],
    )
    def test_of_a_job_that_fails_fails_alike(self, status: str, exit_code: ExitCode, home: Path) -> None:
        engine = FakeEngine()
        engine.managed_job_ends_as = [status]
        outcome = do(home, engine, "jobs_launch")
        assert (outcome.exit_code, outcome.job_status) == (exit_code, status)
        assert outcome.reason == f"Managed job 1 ended as {status}"

    def test_says_why_skypilot_gave_up(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1, name="train", failure_reason="no machines\n in any cloud")
        engine.managed_job_ends_as = ["FAILED_NO_RESOURCE"]
        outcome = do(home, engine, "jobs_logs", job_id=1)
        assert outcome.reason == "Managed job 1 ended as FAILED_NO_RESOURCE: no machines in any cloud"

    @pytest.mark.parametrize("statuses", [["SUCCEEDED", "FAILED", "CANCELLED"], ["CANCELLED", "FAILED", "SUCCEEDED"]])
    def test_of_a_pipeline_names_the_task_that_failed(self, statuses: list[str], home: Path) -> None:
        engine = FakeEngine()
        engine.managed_job_ends_as = statuses
        outcome = do(home, engine, "jobs_launch")
        assert outcome.reason == "Managed job 1 (task train) ended as FAILED"

    def test_of_a_group_does_not_mind_helpers_that_are_cancelled_at_the_end(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1, is_primary_in_job_group=True)
        engine.add_job(1, is_primary_in_job_group=False)
        engine.managed_job_ends_as = ["SUCCEEDED", "CANCELLED"]
        assert do(home, engine, "jobs_logs", job_id=1).exit_code == ExitCode.OK

    def test_tried_again_follows_the_job_it_has(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1, name="other")
        engine.add_job(4)
        assert do(home, engine, "jobs_launch", try_number=2).return_value == 4
        assert engine.calls == ["load_job", "managed_jobs", "follow_managed_job 4"]

    @pytest.mark.parametrize("own_name", [True, False])
    @pytest.mark.parametrize("lost_in", ["launch_managed_job", "follow_managed_job"])
    @pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED"])
    def test_tried_again_after_its_pod_was_lost_follows_its_job_even_if_that_has_ended(
        self, status: str, lost_in: str, own_name: bool, home: Path
    ) -> None:
        engine = FakeEngine()
        engine.add_job(1, submitted_at=time.time() - 3600)
        engine.told_to_stop_in = lost_in
        with pytest.raises(CancelledActionError):
            do(home, engine, "jobs_launch", name_is_of_task_instance=own_name)
        engine.told_to_stop_in = None
        engine.job_rows[-1]["status"] = status
        engine.calls.clear()
        outcome = do(home, engine, "jobs_launch", try_number=2, name_is_of_task_instance=own_name)
        assert (outcome.exit_code, outcome.return_value) == (ExitCode.OK, 2)
        assert engine.calls == ["load_job", "managed_jobs", "follow_managed_job 2"]

    @pytest.mark.parametrize("status", ["FAILED", "FAILED_CONTROLLER", "CANCELLED", "CANCELLING"])
    def test_tried_again_after_its_job_failed_starts_a_new_one(self, status: str, home: Path) -> None:
        engine = FakeEngine()
        engine.told_to_stop_in = "follow_managed_job"
        with pytest.raises(CancelledActionError):
            do(home, engine, "jobs_launch")
        engine.told_to_stop_in = None
        engine.job_rows[-1]["status"] = status
        assert do(home, engine, "jobs_launch", try_number=2).return_value == 2

    def test_started_again_in_the_same_try_takes_the_outcome_that_is_noted(self, home: Path) -> None:
        engine = FakeEngine()
        engine.managed_job_ends_as = ["FAILED"]
        assert do(home, engine, "jobs_launch").exit_code == ExitCode.JOB_FAILED
        engine.calls.clear()
        assert do(home, engine, "jobs_launch").exit_code == ExitCode.JOB_FAILED
        assert engine.calls == ["load_job"]
        assert do(home, engine, "jobs_launch", try_number=2).return_value == 2

    @pytest.mark.parametrize(
        ("status", "own_name", "try_number"),
        [("FAILED", True, 2), ("CANCELLING", True, 2), ("RUNNING", False, 2), ("RUNNING", True, 1)],
    )
    def test_starts_a_new_job_where_there_is_none_to_follow(
        self, status: str, own_name: bool, try_number: int, home: Path
    ) -> None:
        engine = FakeEngine()
        engine.add_job(4, status)
        outcome = do(home, engine, "jobs_launch", try_number=try_number, name_is_of_task_instance=own_name)
        assert outcome.return_value == 5

    def test_names_a_job_that_could_not_be_submitted(self, home: Path) -> None:
        engine = FakeEngine()
        engine.fail("launch_managed_job", exit_code=ExitCode.RESOURCES_UNAVAILABLE)
        with pytest.raises(ActionFailedError) as error:
            do(home, engine, "jobs_launch")
        assert error.value.exit_code == ExitCode.RESOURCES_UNAVAILABLE


class TestKilled:
    """A kill cancels the jobs that were submitted, and no others."""

    @pytest.mark.parametrize("method", ["launch_managed_job", "follow_managed_job"])
    @pytest.mark.parametrize("wish", [OnCancel.CANCEL, OnCancel.LEAVE])
    def test_launch(self, method: str, wish: OnCancel, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1, name="other")
        engine.told_to_stop_in = method
        run = start(home, engine, "jobs_launch", wish=wish)
        with pytest.raises(CancelledActionError):
            ACTIONS["jobs_launch"](run)
        said = actions.cancel(run)
        cancelled = [row["job_id"] for row in engine.job_rows if row["status"] == "CANCELLING"]
        assert (said, cancelled) == {
            OnCancel.CANCEL: ("managed job 2 was cancelled", [2]),
            OnCancel.LEAVE: ("nothing was undone", []),
        }[wish]

    def test_launch_of_a_name_that_others_may_have_cancels_no_job_it_did_not_get_the_id_of(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1)
        engine.told_to_stop_in = "launch_managed_job"
        run = start(home, engine, "jobs_launch", wish=OnCancel.CANCEL, name_is_of_task_instance=False)
        with pytest.raises(CancelledActionError):
            ACTIONS["jobs_launch"](run)
        assert actions.cancel(run) == "no managed job had been submitted"

    def test_logs_cancel_the_job_if_they_are_told_to(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(3)
        engine.told_to_stop_in = "follow_managed_job"
        run = start(home, engine, "jobs_logs", wish=OnCancel.CANCEL, job_id=3)
        with pytest.raises(CancelledActionError):
            ACTIONS["jobs_logs"](run)
        assert actions.cancel(run) == "managed job 3 was cancelled"


class TestCancel:
    """Jobs are cancelled by id, by name, by pool or all of them."""

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"job_ids": [2]}, [2]),
            ({"job_ids": [1, 2]}, [2]),
            ({"job_ids": [1]}, []),
            ({"job_name": "train"}, [3]),
            ({"pool": "gpus"}, [2, 3]),
            ({}, [2, 3, 4]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("wait", [True, False])
    def test_chooses(self, wait: bool, arguments: dict[str, Any], expected: list[int], home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1, "SUCCEEDED")
        engine.add_job(2, name="eval", pool="gpus")
        engine.add_job(3, name="train", pool="gpus")
        engine.add_job(4, name="training")
        assert do(home, engine, "jobs_cancel", wait=wait, **arguments).return_value == expected
        status = "CANCELLED" if wait else "CANCELLING"
        assert [row["job_id"] for row in engine.job_rows if row["status"] == status] == expected

    def test_of_a_job_that_never_was_is_an_error(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1)
        with pytest.raises(ActionFailedError, match="no managed job 7, 8;") as error:
            do(home, engine, "jobs_cancel", job_ids=[1, 7, 8])
        assert error.value.exit_code == ExitCode.REQUEST_WRONG
        assert engine.job_rows[0]["status"] == "RUNNING"

    def test_that_takes_for_ever_is_given_up(self, home: Path, waits: list[float]) -> None:
        engine = FakeEngine()
        engine.add_job(1)
        engine.looks_until_cancelled = 10**6
        with pytest.raises(ActionFailedError, match="managed job 1 is still being cancelled") as error:
            do(home, engine, "jobs_cancel")
        assert error.value.exit_code == ExitCode.TRY_AGAIN
        assert sum(waits) > jobs_actions.SECONDS_TO_CANCEL


class TestQueue:
    """Rows of jobs, narrowed."""

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, [1, 2, 3]),
            ({"skip_finished": True}, [2, 3]),
            ({"statuses": ["SUCCEEDED"]}, [1]),
            ({"job_name": "eval"}, [2]),
            ({"pool": "gpus"}, [3]),
            ({"limit": 2}, [1, 2]),
        ],
        ids=str,
    )
    def test_lists(self, arguments: dict[str, Any], expected: list[int], home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(1, "SUCCEEDED")
        engine.add_job(2, name="eval")
        engine.add_job(3, pool="gpus")
        assert [row["job_id"] for row in do(home, engine, "jobs_queue", **arguments).return_value] == expected

    def test_lists_other_users_jobs_when_asked(self, home: Path) -> None:
        engine = FakeEngine()
        do(home, engine, "jobs_queue", all_users=True)
        assert engine.calls == ["managed_jobs all_users"]


class TestLogs:
    """Logs wait for the job, unless they are only looked at."""

    def test_wait_for_the_newest_job_of_a_name(self, home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(5)
        engine.add_job(3)
        outcome = do(home, engine, "jobs_logs", job_name="train", tail=10)
        assert (outcome.return_value, outcome.job_status) == (5, "SUCCEEDED")
        assert engine.calls[-1] == "follow_managed_job 5 tail=10"

    @pytest.mark.parametrize(
        ("arguments", "call"),
        [
            ({"follow": False}, "print_managed_job_log 5"),
            ({"controller": True}, "print_managed_job_log 5 controller"),
            ({"controller": True, "tail": 7}, "print_managed_job_log 5 controller 7"),
        ],
    )
    def test_that_are_only_looked_at_do_not_mind_a_failed_job(
        self, arguments: dict[str, Any], call: str, home: Path
    ) -> None:
        engine = FakeEngine()
        engine.add_job(5, "FAILED")
        assert do(home, engine, "jobs_logs", job_id=5, **arguments).exit_code == ExitCode.OK
        assert engine.calls[-1] == call

    @pytest.mark.parametrize("arguments", [{"job_id": 7}, {"job_name": "seven"}], ids=str)
    def test_of_a_job_that_never_was_are_an_error(self, arguments: dict[str, Any], home: Path) -> None:
        engine = FakeEngine()
        engine.add_job(5)
        with pytest.raises(ActionFailedError, match=r"no managed job (7|'seven');") as error:
            do(home, engine, "jobs_logs", **arguments)
        assert error.value.exit_code == ExitCode.REQUEST_WRONG
