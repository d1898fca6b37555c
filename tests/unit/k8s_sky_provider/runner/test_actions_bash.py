"""A shell command in the pod: where it runs, what it returns and how it fails."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from k8s_sky_provider.protocol import ExitCode, Owner, SkyRequest
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.failure import CancelledActionError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")


def bash(home: Path, command: str, **env: str) -> Outcome:
    request = SkyRequest(action="bash", arguments={"bash_command": command, "env": env}, owner=OWNER)
    return ACTIONS["bash"](Run(request=request, engine=FakeEngine(), home=home, store=FileStore(home)))


@pytest.mark.parametrize(
    ("command", "value"),
    [("echo one; echo two", "two"), ("true", ""), ('echo "$A"', "it's $B"), ("cat", ""), ("printf '\\377'", "\ufffd")],
)
def test_it_returns_the_last_line(tmp_path: Path, command: str, value: str) -> None:
    outcome = bash(tmp_path, command, A="it's $B")
    assert (outcome.exit_code, outcome.return_value, outcome.job_exit_codes) == (ExitCode.OK, value, [0])


def test_its_output_is_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bash(tmp_path, "echo one; echo two >&2")
    assert sorted(capfd.readouterr()) == ["one\n", "two\n"]


def test_of_a_line_without_an_end_no_more_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("k8s_sky_provider.runner.actions.bash.LONGEST_PIECE", 4)
    assert bash(tmp_path, "echo short; printf 0123456789").return_value == "0123"
    assert capfd.readouterr().out == "short\n0123456789"


def test_it_starts_in_the_work_directory(tmp_path: Path) -> None:
    bash(tmp_path, "touch here")
    bash(tmp_path, "touch there")
    assert sorted(path.name for path in (tmp_path / "sky_workdir").iterdir()) == ["here", "there"]


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", -9)])
def test_one_that_fails_is_a_failed_job(tmp_path: Path, command: str, code: int) -> None:
    outcome = bash(tmp_path, command)
    assert (outcome.exit_code, outcome.job_exit_codes) == (ExitCode.JOB_FAILED, [code])
    assert outcome.reason == f"The command ended with exit code {code}"


def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    assert bash(tmp_path, "sleep 30 & echo done").return_value == "done"
    assert time.monotonic() - began < 10


def test_it_is_ended_when_the_runner_is_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = subprocess.Popen.wait

    def stopped(process: subprocess.Popen[str], timeout: float | None = None) -> int:
        if timeout is None:
            # Until its child has begun.
            while not (tmp_path / "sky_workdir" / "pid").exists():
                time.sleep(0.05)
            raise CancelledActionError
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", stopped)
    with pytest.raises(CancelledActionError):
        bash(tmp_path, "trap '' TERM; sleep 60 & echo $! > new; mv new pid; sleep 60")
    pid = int((tmp_path / "sky_workdir" / "pid").read_text())
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("its child lives on")
