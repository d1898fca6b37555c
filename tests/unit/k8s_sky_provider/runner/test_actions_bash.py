"""A shell command in the pod: where it runs, what it returns and how it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k8s_sky_provider.protocol import ExitCode, Owner, SkyRequest
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

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


def test_it_starts_in_the_work_directory(tmp_path: Path) -> None:
    bash(tmp_path, "touch here")
    bash(tmp_path, "touch there")
    assert sorted(path.name for path in (tmp_path / "sky_workdir").iterdir()) == ["here", "there"]


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", -9)])
def test_one_that_fails_is_a_failed_job(tmp_path: Path, command: str, code: int) -> None:
    outcome = bash(tmp_path, command)
    assert (outcome.exit_code, outcome.job_exit_codes) == (ExitCode.JOB_FAILED, [code])
    assert outcome.reason == f"The command ended with exit code {code}"
