"""A runner that is told to stop and finds no word on its pod leaves job and cluster to the next try."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import (
    KILL_ANNOTATION,
    TRIES_LEFT_ANNOTATION,
    TRY_ANNOTATION,
    ExitCode,
    OnCancel,
    OnEviction,
    Owner,
    SkyRequest,
    SkyResult,
)
from k8s_sky_provider.runner import own_pod
from k8s_sky_provider.runner.__main__ import run_action
from k8s_sky_provider.runner.actions import ACTIONS
from k8s_sky_provider.runner.actions.once import job_suffix
from k8s_sky_provider.runner.failure import CancelledActionError
from unit.k8s_sky_provider.fake_engine import JOB_ID, FakeEngine
from unit.k8s_sky_provider.runner import test_actions_cluster, test_actions_cluster_jobs, test_actions_jobs
from unit.k8s_sky_provider.runner import test_actions_serve as serve
from unit.k8s_sky_provider.runner.test_actions import EXEC, LAUNCH
from unit.k8s_sky_provider.runner.test_actions_machine import SSH

if TYPE_CHECKING:
    from pathlib import Path

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task", generation="2026/2")
FOLLOWED = {TRY_ANNOTATION: "1", TRIES_LEFT_ANNOTATION: "1"}
COPY = {"cluster_name": "demo", "nodes": "head"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "launch": LAUNCH,
    "exec": EXEC,
    "ssh": SSH,
    "rsync_up": {**COPY, "source": "data", "target": "data"},
    "rsync_down": {**COPY, "source": "data", "target": "data"},
    "reap": {"clusters": {"demo": {"dag_id": "dag", "run_id": "run"}}, "dryrun": False},
    "check": {"infra": None, "require": []},
    "gpus": {"accelerator": None, "count": None, "infra": None},
    "volume_apply": {"volume": {}, "overrides": {}},
    "volume_delete": {"names": ["v"], "purge": False, "missing_ok": True},
    "volume_list": {"names": None, "refresh": False},
    "storage_delete": {"names": [], "all": True, "missing_ok": True},
    "storage_list": {},
    **test_actions_cluster.ARGUMENTS,
    **test_actions_cluster_jobs.ARGUMENTS,
    **test_actions_jobs.ARGUMENTS,
    **serve.ARGUMENTS,
}
UNDOING = ("down", "stop", "cancel", "services_down", "end_command")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the annotations of the runner's pod: a try follows it, and another comes after."""
    annotations = dict(FOLLOWED)
    monkeypatch.setattr(own_pod, "read_metadata", lambda: {"annotations": annotations})
    return annotations


class Stopped(FakeEngine):
    """SkyPilot, in whose call of that number SIGTERM arrives."""

    def __init__(self, *clusters: str, at: int) -> None:
        super().__init__(*clusters)
        self.at: int | None = at

    def _do(self, method: str, *arguments: object) -> None:
        super()._do(method, *arguments)
        if self.at is not None and len(self.calls) == self.at + 1:
            raise CancelledActionError


def run(home: Path, engine: FakeEngine, action: str, owner: Owner = OWNER, **fields: Any) -> SkyResult:
    request = SkyRequest(
        action=action,
        arguments={"cluster_name": "demo", **ARGUMENTS[action]},
        owner=owner,
        allow_network_file_system=True,
        **{"on_cancel": OnCancel.DOWN, **fields},
    )
    return run_action([request.to_argument()], home=home, make_engine=lambda: engine)


@pytest.mark.usefixtures("pod")
class TestEveryVerb:
    """Whatever is at work, an eviction undoes nothing but what nobody can take up again."""

    @pytest.mark.parametrize("action", sorted(set(ACTIONS) - {"bash"}))
    def test_is_left_as_it_is_wherever_it_is_told_to_stop(self, action: str, tmp_path: Path) -> None:
        (tmp_path / "sky_workdir" / "data").mkdir(parents=True)
        stops = 0
        for at in range(8):
            engine = Stopped("demo", at=at)
            result = run(tmp_path / str(at), engine, action)
            if len(engine.calls) <= at:
                break
            stops += 1
            assert result.exit_code == ExitCode.EVICTED, result
            assert result.reason.startswith("Evicted")
            after = engine.calls[at + 1 :]
            assert [call for call in after if call.startswith(UNDOING)] == (
                ["end_command node-0"] if action == "ssh" and at > 0 and after else []
            )
        # These ask the engine for nothing before they know of files, or of an owner.
        assert stops or action in {"rsync_up", "rsync_down", "reap"}

    def test_a_command_that_nobody_can_take_up_is_ended_and_its_cluster_stays(self, tmp_path: Path) -> None:
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "run_command"
        result = run(tmp_path, engine, "ssh")
        assert (result.exit_code, engine.calls[-1], engine.clusters) == (
            ExitCode.EVICTED,
            "end_command node-0",
            {"demo"},
        )
        assert result.reason == "Evicted: the command on cluster demo was ended; the next try goes on"

    def test_one_that_cannot_be_ended_says_so(self, tmp_path: Path) -> None:
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "run_command"
        engine.fail("end_command")
        result = run(tmp_path, engine, "ssh")
        assert result.reason == "Evicted, and what the next try begins anew could not be ended: end_command failed"


@pytest.mark.usefixtures("pod")
class TestLaunch:
    """The next try goes on in each phase, and the job runs once."""

    @pytest.mark.parametrize("phase", ["load_task", "launch", "follow_job", "down"])
    def test_evicted(self, phase: str, tmp_path: Path) -> None:
        engine = FakeEngine()
        engine.told_to_stop_in = phase
        result = run(tmp_path, engine, "launch")
        assert result.exit_code == ExitCode.EVICTED
        assert ("demo" in engine.clusters) is (phase != "load_task")
        if phase in {"follow_job", "down"}:
            engine.jobs = {JOB_ID: "RUNNING"}
            engine.job_names = {JOB_ID: f"train-{job_suffix(OWNER)}"}
        engine.told_to_stop_in = None
        before = len(engine.calls)
        result = run(tmp_path, engine, "launch", dataclasses.replace(OWNER, try_number=2))
        assert (result.exit_code, result.job_id) == (ExitCode.OK, JOB_ID)
        again = engine.calls[before:]
        assert ("launch demo" in again) is (phase in {"load_task", "launch"})
        assert (f"follow_job demo {JOB_ID}" in again) is (phase != "down")
        assert again[-1] == "down demo"
        assert engine.clusters == set()

    def test_before_skypilot_is_there(self, tmp_path: Path) -> None:
        def make() -> FakeEngine:
            raise CancelledActionError

        request = SkyRequest(action="launch", arguments=LAUNCH, owner=OWNER, allow_network_file_system=True)
        result = run_action([request.to_argument()], home=tmp_path, make_engine=make)
        assert (result.exit_code, result.reason) == (ExitCode.EVICTED, "Evicted before anything was done")


class TestKill:
    """What is a kill to the runner."""

    @pytest.mark.parametrize(
        ("annotations", "fields", "expected"),
        [
            pytest.param({**FOLLOWED, KILL_ANNOTATION: "1"}, {}, ExitCode.CANCELLED, id="the word"),
            pytest.param({**FOLLOWED, KILL_ANNOTATION: "1 cleared"}, {}, ExitCode.CANCELLED, id="cleared"),
            pytest.param({**FOLLOWED, TRY_ANNOTATION: "2", KILL_ANNOTATION: "1"}, {}, ExitCode.EVICTED, id="of before"),
            pytest.param({**FOLLOWED, TRIES_LEFT_ANNOTATION: "0"}, {}, ExitCode.CANCELLED, id="the last try"),
            pytest.param(FOLLOWED, {"on_eviction": OnEviction.KILL}, ExitCode.CANCELLED, id="on_eviction"),
            pytest.param({}, {}, ExitCode.EVICTED, id="unreadable"),
            pytest.param(FOLLOWED, {}, ExitCode.EVICTED, id="no word"),
        ],
    )
    def test_is_told(
        self,
        annotations: dict[str, str],
        fields: dict[str, Any],
        expected: ExitCode,
        pod: dict[str, str],
        tmp_path: Path,
    ) -> None:
        pod.clear()
        pod.update(annotations)
        engine = FakeEngine()
        engine.told_to_stop_in = "follow_job"
        assert run(tmp_path, engine, "launch", **fields).exit_code == expected
        assert engine.clusters == (set() if expected == ExitCode.CANCELLED else {"demo"})


class TestCleared:
    """A task that is cleared while it runs begins anew, whatever on_cancel leaves."""

    @pytest.mark.parametrize("action", ["launch", "exec", "jobs_launch"])
    @pytest.mark.parametrize("word", ["1 cleared", "1"], ids=["cleared", "killed"])
    def test_with_leave(self, action: str, word: str, pod: dict[str, str], tmp_path: Path) -> None:
        pod[KILL_ANNOTATION] = word
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "follow_managed_job" if action == "jobs_launch" else "follow_job"
        result = run(tmp_path, engine, action, on_cancel=OnCancel.LEAVE)
        assert result.exit_code == ExitCode.CANCELLED
        engine.jobs = {JOB_ID: "RUNNING"}
        engine.job_names = {JOB_ID: f"train-{job_suffix(OWNER)}"}
        engine.told_to_stop_in = None
        before = len(engine.calls)
        assert run(tmp_path, engine, action, dataclasses.replace(OWNER, try_number=2)).exit_code == ExitCode.OK
        submission = {"launch": "launch demo", "exec": "exec demo"}.get(action, "launch_managed_job")
        again = any(call.startswith(submission) for call in engine.calls[before:])
        assert again is (word == "1 cleared")
