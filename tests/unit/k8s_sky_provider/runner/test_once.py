"""Nothing runs twice: a runner that starts again takes up the job of its task instance."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, SkyRequest
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run, cancel
from k8s_sky_provider.runner.actions.once import earlier_outcome, job_suffix, may_have_submitted, note_outcome
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.state import record_owner
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import JOB_ID, FakeEngine
from unit.k8s_sky_provider.runner.test_actions import EXEC, LAUNCH

if TYPE_CHECKING:
    from pathlib import Path

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task", generation="2026/0")
RETRY = dataclasses.replace(OWNER, try_number=2)
CLEARED = dataclasses.replace(OWNER, try_number=2, generation="2026/1")
ARGUMENTS: dict[str, dict[str, Any]] = {"launch": {**LAUNCH, "auto_down": False}, "exec": EXEC}
actions = pytest.mark.parametrize("action", ["launch", "exec"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home where an earlier runner of the task has come to submit its job."""
    may_have_submitted(start(tmp_path, FakeEngine(), "launch"))
    return tmp_path


def start(home: Path, engine: FakeEngine, action: str, owner: Owner = OWNER, **arguments: Any) -> Run:
    request = SkyRequest(
        action=action, arguments={**ARGUMENTS[action], **arguments}, owner=owner, on_cancel=OnCancel.CANCEL
    )
    return Run(request=request, engine=engine, home=home, store=FileStore(home))


def engine_with(status: str, owner: Owner = OWNER) -> FakeEngine:
    """Return an engine with a cluster, on which a task instance has a job below those of others."""
    engine = FakeEngine("demo")
    engine.jobs = {3: status, 4: "RUNNING", 5: "RUNNING"}
    engine.job_names = {3: f"train-{job_suffix(owner)}", 4: "train", 5: f"train-{job_suffix(owner)}0-x"}
    return engine


@actions
def test_the_first_runner_asks_no_queue_and_the_second_does(tmp_path: Path, action: str) -> None:
    record_owner(FileStore(tmp_path), "demo", OWNER)
    engine = FakeEngine("demo")
    ACTIONS[action](start(tmp_path, engine, action, wait=False))
    assert engine.calls == ["load_task", f"{action} demo"]
    ACTIONS[action](start(tmp_path, engine, action, wait=False))
    assert engine.calls[2:] == ["load_task", "cluster_queue demo", f"{action} demo"]


@actions
@pytest.mark.parametrize("owner", [RETRY, CLEARED], ids=["retry", "cleared"])
def test_a_later_try_asks_whatever_is_noted(tmp_path: Path, action: str, owner: Owner) -> None:
    engine = FakeEngine("demo")
    ACTIONS[action](start(tmp_path, engine, action, owner, wait=False))
    assert "cluster_queue demo" in engine.calls


@actions
def test_each_runner_asks_where_notes_go_with_the_pod(tmp_path: Path, action: str) -> None:
    engine = FakeEngine("demo")
    run = start(tmp_path, engine, action, wait=False)
    run.store = FileStore(tmp_path, outlives_the_pod=False)
    ACTIONS[action](run)
    assert "cluster_queue demo" in engine.calls


@actions
@pytest.mark.parametrize("status", ["INIT", "PENDING", "SETTING_UP", "RUNNING", "SUCCEEDED"])
@pytest.mark.parametrize("owner", [OWNER, RETRY], ids=["same try", "retry"])
def test_a_job_that_runs_or_succeeded_is_followed(
    home: Path, action: str, status: str, owner: Owner, capsys: pytest.CaptureFixture[str]
) -> None:
    record_owner(FileStore(home), "demo", OWNER)
    engine = engine_with(status)
    run = start(home, engine, action, owner)
    assert ACTIONS[action](run).job_status == "SUCCEEDED"
    assert run.job_id == 3
    assert engine.calls == ["load_task", "cluster_queue demo", "follow_job demo 3"]
    assert "Job 3 on cluster demo is this task's own; taking it up" in capsys.readouterr().out


@actions
def test_a_kill_cancels_a_job_whose_id_was_never_heard_of(home: Path, action: str) -> None:
    engine = FakeEngine("demo")
    engine.told_to_stop_in = action
    run = start(home, engine, action)
    with pytest.raises(CancelledActionError):
        ACTIONS[action](run)
    engine.jobs = {3: "RUNNING", 4: "RUNNING"}
    engine.job_names = {3: f"train-{job_suffix(OWNER)}", 4: "train"}
    assert cancel(run) == "job 3 on cluster demo was cancelled"
    assert engine.calls[-1] == "cancel_jobs demo [3]"


def test_a_launch_that_outlived_its_pod_is_awaited_and_its_job_followed(home: Path) -> None:
    engine = engine_with("RUNNING")
    engine.clusters.clear()
    engine.under_way = {"demo"}
    run = start(home, engine, "launch", RETRY)
    assert ACTIONS["launch"](run).job_status == "SUCCEEDED"
    assert run.job_id == 3
    assert engine.calls == ["load_task", "cluster_queue demo", "follow_job demo 3"]


@actions
@pytest.mark.parametrize("status", ["FAILED", "FAILED_SETUP", "FAILED_DRIVER", "CANCELLED"])
def test_one_that_failed_is_this_trys_outcome_and_a_retry_begins_anew(home: Path, action: str, status: str) -> None:
    engine = engine_with(status)
    engine.job_ends_as = status
    run = start(home, engine, action)
    assert ACTIONS[action](run).job_status == status
    assert run.job_id == 3
    run = start(home, engine_with(status), action, RETRY)
    ACTIONS[action](run)
    assert run.job_id == JOB_ID


@actions
@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED"])
def test_a_cleared_task_begins_anew(home: Path, action: str, status: str) -> None:
    engine = engine_with(status)
    run = start(home, engine, action, CLEARED)
    ACTIONS[action](run)
    assert run.job_id == JOB_ID


@actions
def test_the_newest_of_its_jobs_counts(home: Path, action: str) -> None:
    engine = engine_with("FAILED")
    engine.jobs[9] = "RUNNING"
    engine.job_names[9] = f"train-{job_suffix(RETRY)}"
    run = start(home, engine, action, dataclasses.replace(OWNER, try_number=3))
    ACTIONS[action](run)
    assert run.job_id == 9


@actions
def test_a_cluster_that_is_up_and_does_not_tell_gets_no_second_job(home: Path, action: str) -> None:
    engine = engine_with("RUNNING")
    engine.fail("cluster_queue")
    with pytest.raises(ActionFailedError, match="cluster_queue failed"):
        ACTIONS[action](start(home, engine, action))
    assert not [call for call in engine.calls if call.startswith(action)]


def test_a_cluster_that_is_not_up_is_launched(home: Path) -> None:
    engine = engine_with("RUNNING")
    engine.cluster_status = "STOPPED"
    engine.fail("cluster_queue")
    run = start(home, engine, "launch")
    ACTIONS["launch"](run)
    assert run.job_id == JOB_ID


def test_one_that_does_not_wait_submits_once(home: Path) -> None:
    engine = engine_with("RUNNING")
    run = start(home, engine, "launch", wait=False)
    assert ACTIONS["launch"](run).return_value == "demo"
    assert (run.job_id, engine.launches) == (3, [])


@pytest.mark.parametrize("owner", [OWNER, RETRY], ids=["same try", "retry"])
def test_a_success_outlives_the_cluster_that_auto_down_took(home: Path, owner: Owner) -> None:
    ACTIONS["launch"](start(home, FakeEngine(), "launch", auto_down=True))
    engine = FakeEngine(gone=("demo",))
    run = start(home, engine, "launch", owner, auto_down=True)
    outcome = ACTIONS["launch"](run)
    assert (outcome.exit_code, outcome.return_value, outcome.job_status) == (ExitCode.OK, "demo", "SUCCEEDED")
    assert run.job_id == JOB_ID
    assert engine.calls == ["load_task"]


def test_a_teardown_that_was_cut_off_is_done_by_the_next_runner(home: Path) -> None:
    engine = FakeEngine()
    engine.told_to_stop_in = "down"
    with pytest.raises(CancelledActionError):
        ACTIONS["launch"](start(home, engine, "launch", auto_down=True))
    engine.told_to_stop_in = None
    ACTIONS["launch"](start(home, engine, "launch", RETRY, auto_down=True))
    assert engine.clusters == set()
    assert len(engine.launches) == 1


@pytest.mark.parametrize(
    ("owner", "submitted"), [(OWNER, False), (RETRY, True), (CLEARED, True)], ids=["same try", "retry", "cleared"]
)
def test_a_failure_outlives_the_cluster_for_its_own_try_only(home: Path, owner: Owner, submitted: bool) -> None:
    engine = FakeEngine()
    engine.job_ends_as = "FAILED"
    ACTIONS["launch"](start(home, engine, "launch", auto_down=True))
    engine = FakeEngine()
    outcome = ACTIONS["launch"](start(home, engine, "launch", owner, auto_down=True))
    assert bool(engine.launches) is submitted
    assert outcome.exit_code is (ExitCode.OK if submitted else ExitCode.JOB_FAILED)


def test_no_secret_is_in_the_note_of_an_outcome(home: Path) -> None:
    engine = FakeEngine("demo")
    engine.files["result.json"] = json.dumps(
        {"return_value": {"hf_secret": ["is hf_secret", "hf_secret"], "name": 1}}
    ).encode()
    run = start(home, engine, "launch", return_file="result.json")
    run.masked = lambda text: text.replace("hf_secret", "***")
    ACTIONS["launch"](run)
    (note,) = (home / ".sky" / "k8s_sky" / "outcomes").iterdir()
    assert "hf_secret" not in note.read_text()
    again = ACTIONS["launch"](start(home, FakeEngine(gone=("demo",)), "launch", RETRY, return_file="result.json"))
    assert again.return_value == {"***": ["is ***", "***"], "name": 1}


@pytest.mark.parametrize("value", ["train-hf_secret", ["a/hf_secret"]], ids=str)
def test_names_in_a_note_are_as_the_result_has_them(home: Path, value: Any) -> None:
    run = start(home, FakeEngine("demo"), "launch")
    run.masked = lambda text: text.replace("hf_secret", "***")
    note_outcome(run, Outcome(return_value=value))
    noted = earlier_outcome(run)
    assert noted is not None
    assert noted.return_value == value


def test_a_note_that_cannot_be_read_is_none(home: Path) -> None:
    ACTIONS["launch"](start(home, FakeEngine(), "launch"))
    (note,) = (home / ".sky" / "k8s_sky" / "outcomes").iterdir()
    note.write_text(json.dumps(note.read_text())[:10])
    run = start(home, engine := FakeEngine(), "launch")
    ACTIONS["launch"](run)
    assert len(engine.launches) == 1


@pytest.mark.parametrize(
    "change",
    [{"deployment": "b"}, {"dag_id": "b"}, {"run_id": "b"}, {"task_id": "b"}, {"map_index": 0}, {"generation": "b"}],
    ids=lambda change: next(iter(change)),
)
def test_another_task_instance_has_another_mark(change: dict[str, Any]) -> None:
    assert job_suffix(dataclasses.replace(OWNER, **change)) != job_suffix(OWNER)


def test_the_mark_never_changes_between_versions() -> None:
    # A retry after an upgrade must find its job.
    assert job_suffix(OWNER) == "35554ed7-1"
