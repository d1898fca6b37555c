"""No value of a task's secrets is in the log, however its file writes it and wherever that lies."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, Owner, SkyRequest, SkyResult, TaskOverrides
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.__main__ import run_action
from unit.k8s_sky_provider import fake_sky
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")

SECRETS_FILE = """\
# of the team
COMMENTED=hf_commented-value # prod
QUOTED='hf_quoted value' # prod
export EXPORTED="hf_exported" # prod
ESCAPED="hf_before\\nhf_after"
KEY="-----BEGIN KEY-----
MIIEpAIBAAK
-----END KEY-----"
OTHER=hf_other
BUILT=https://user:${OTHER}@example.com
"""

SPOKEN = (
    *("hf_commented-value", "hf_quoted value", "hf_exported", "hf_before", "hf_after", "MIIEpAIBAAK", "hf_other"),
    "https://user:hf_other@example.com",
)


@pytest.fixture
def sky() -> Iterator[Any]:
    with fake_sky.installed():
        yield importlib.import_module("sky")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sky_workdir" / "tasks").mkdir(parents=True)
    (tmp_path / "sky_workdir" / "tasks" / "train.yaml").write_text("run: env\nsecrets: {INLINE: hf_inline-value}\n")
    return tmp_path


def exec_a_job_that_prints_its_secrets(home: Path, sky: Any, task: Any, **overrides: Any) -> SkyResult:
    """Run an exec whose job prints the secrets that SkyPilot was given."""
    tasks = importlib.import_module("k8s_sky_provider.runner.sky.tasks").Tasks

    class Engine(FakeEngine):
        load_task = tasks.load_task

        def exec(self, task: Any, cluster_name: str) -> int | None:
            del task, cluster_name
            (content,), options = sky.Task.from_yaml_config.call_args
            for _, value in [*(content.get("secrets") or {}).items(), *options["secrets_overrides"]]:
                os.write(1, f"{value}\n".encode())
            return 1

    request = SkyRequest(
        action="exec",
        arguments={
            "task": task,
            "overrides": dataclasses.asdict(TaskOverrides(**overrides)),
            "cluster_name": "demo",
            "wait": False,
        },
        owner=OWNER,
        allow_network_file_system=True,
    )
    return run_action([request.to_argument()], home=home, make_engine=lambda: Engine("demo"))


@pytest.mark.parametrize("task", [{"run": "env"}, "~/sky_workdir/tasks/train.yaml"], ids=["dict", "on the volume"])
@pytest.mark.parametrize("path", ["~/sky_workdir/team/.env", "team/.env", "./team/../team/.env"])
def test_what_a_secret_file_holds_is_masked(
    home: Path, sky: Any, capfd: pytest.CaptureFixture[str], task: Any, path: str
) -> None:
    file = home / "sky_workdir" / "team" / ".env"
    file.parent.mkdir()
    file.write_text(SECRETS_FILE)
    result = exec_a_job_that_prints_its_secrets(home, sky, task, secret_file=path)
    assert result.exit_code == ExitCode.OK, result.reason
    given = "\n".join(value for _, value in sky.Task.from_yaml_config.call_args.kwargs["secrets_overrides"])
    output = capfd.readouterr().out
    assert [value for value in SPOKEN if value not in given] == []
    assert [value for value in SPOKEN if value in output] == []


def test_a_secret_in_a_yaml_on_the_volume_is_masked(home: Path, sky: Any, capfd: pytest.CaptureFixture[str]) -> None:
    exec_a_job_that_prints_its_secrets(home, sky, "~/sky_workdir/tasks/train.yaml")
    output = capfd.readouterr().out
    assert "hf_inline-value" not in output
    assert "***" in output


@pytest.mark.parametrize("task", [{"run": "env"}, "~/sky_workdir/tasks/train.yaml"], ids=["dict", "on the volume"])
def test_a_relative_env_file_starts_from_the_work_directory_too(home: Path, sky: Any, task: Any) -> None:
    (home / "sky_workdir" / "job.env").write_text("MODE=fast # for now\n")
    result = exec_a_job_that_prints_its_secrets(home, sky, task, env_file="job.env")
    assert result.exit_code == ExitCode.OK, result.reason
    assert sky.Task.from_yaml_config.call_args.kwargs["env_overrides"] == [("MODE", "fast")]


@pytest.mark.parametrize("field", ["env_file", "secret_file"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "'no.env' does not exist on the volume"),
        (b"TOKEN\nA=1\n", "'no.env' has lines that are not NAME=value: TOKEN"),
        (b"A=\xff\xfe\n", "'no.env' cannot be read"),
    ],
    ids=["missing", "no value", "no text"],
)
def test_a_file_that_cannot_be_read_is_named(
    home: Path, sky: Any, field: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (home / "sky_workdir" / "no.env").write_bytes(content)
    result = exec_a_job_that_prints_its_secrets(home, sky, {"run": "env"}, **{field: "no.env"})
    assert (result.exit_code, result.reason.startswith(f"Cluster demo: {field}: {reason}")) == (
        ExitCode.REQUEST_WRONG,
        True,
    ), result.reason


@pytest.mark.parametrize("userinfo", ["x-access-token:ghp_0123456789", "ghp_0123456789"])
def test_a_token_in_the_url_of_a_repository_is_masked(home: Path, sky: Any, userinfo: str) -> None:
    task = {"run": "env", "workdir": {"url": f"https://{userinfo}@github.com/a/b"}}
    sky.Task.from_yaml_config.side_effect = ValueError(f"Failed to access repository https://{userinfo}@github.com/a/b")
    try:
        result = exec_a_job_that_prints_its_secrets(home, sky, task)
    finally:
        sky.Task.from_yaml_config.side_effect = None
    assert "Failed to access repository https://***@github.com/a/b" in result.reason


class TestThePodsOwn:
    """No task gets a variable of the pod but the Secrets that the operator gives it."""

    @pytest.fixture(autouse=True)
    def secrets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = tmp_path / "secrets"
        for secret, key in (("hf", "HF_TOKEN"), ("sky-api-token", "TOKEN"), ("sky-connection", "masked")):
            (directory / secret).mkdir(parents=True)
            (directory / secret / key).write_text("hf_value")
        for name in ("HF_TOKEN", "TOKEN", "masked", "SKYPILOT_SERVICE_ACCOUNT_TOKEN"):
            monkeypatch.setenv(name, "hf_value")
        names = functools.partial(state.names_for_jobs, directory)
        monkeypatch.setattr("k8s_sky_provider.runner.state.names_for_jobs", names)

    NAMES = ("SKYPILOT_SERVICE_ACCOUNT_TOKEN", "HOME", "TOKEN", "masked")

    @pytest.mark.parametrize("named", [list, dict.fromkeys], ids=["list", "dict"])
    def test_a_task_takes_only_what_credentials_give(self, home: Path, sky: Any, named: Any) -> None:
        exec_a_job_that_prints_its_secrets(home, sky, {"run": "env", "secrets": named(["HF_TOKEN", *self.NAMES])})
        assert sky.Task.from_yaml_config.call_args.kwargs["secrets_overrides"] == [("HF_TOKEN", "hf_value")]

    @pytest.mark.parametrize("name", NAMES)
    def test_nor_does_the_operator_name_more(self, home: Path, sky: Any, name: str) -> None:
        result = exec_a_job_that_prints_its_secrets(home, sky, {"run": "env"}, secrets=["HF_TOKEN", name])
        assert result.exit_code == ExitCode.REQUEST_WRONG
        assert f"job_secrets: {name} is not a key of a Kubernetes Secret" in result.reason

    @pytest.mark.parametrize("field", ["env_file", "secret_file"])
    def test_a_file_takes_only_what_it_sets(self, home: Path, sky: Any, field: str) -> None:
        (home / "sky_workdir" / "job.env").write_text("A=${SKYPILOT_SERVICE_ACCOUNT_TOKEN}\n")
        result = exec_a_job_that_prints_its_secrets(home, sky, {"run": "env"}, **{field: "job.env"})
        assert result.exit_code == ExitCode.REQUEST_WRONG
        assert f"{field}: 'job.env': A takes ${{SKYPILOT_SERVICE_ACCOUNT_TOKEN}}, which no line before" in result.reason

    def test_a_file_says_what_is_taken_instead(self, home: Path, sky: Any) -> None:
        text = "A=a\nB=${A}b${HF_TOKEN:-}${TOKEN:-c}\nC='$A'\nD=\n"
        (home / "sky_workdir" / "job.env").write_text(text)
        exec_a_job_that_prints_its_secrets(home, sky, {"run": "env"}, env_file="job.env")
        expected = [("A", "a"), ("B", "abc"), ("C", "$A"), ("D", "")]
        assert sky.Task.from_yaml_config.call_args.kwargs["env_overrides"] == expected
