"""The runner as a process: whatever happens, it ends with an exit code and leaves a result that says why."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from k8s_sky_provider.protocol import (
    KILL_ANNOTATION,
    TRY_ANNOTATION,
    ExitCode,
    OnCancel,
    Owner,
    SkyRequest,
    SkyResult,
)
from k8s_sky_provider.runner.__main__ import _file_name, run_action
from k8s_sky_provider.runner.console import Console
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider.fake_engine import FakeEngine

REPOSITORY = Path(__file__).resolve().parents[4]
OWNER = Owner(deployment="airflow", dag_id="my dag/1", run_id="manual__2026-01-01T00:00:00+00:00", task_id="status")
EXEC: dict[str, Any] = {"task": {"run": "x"}, "cluster_name": "demo", "overrides": {}, "wait": True}

KILLED = {KILL_ANNOTATION: "1", TRY_ANNOTATION: "1"}
"""Annotations of a pod whose end is wanted."""

PROGRAM = """
import hashlib, os, signal, subprocess, sys, time, types
from pathlib import Path
from k8s_sky_provider.runner import __main__ as runner, console, own_pod, skypilot_version
from unit.k8s_sky_provider.fake_engine import FakeEngine

runner.TERMINATION_LOG = Path(os.environ["TERMINATION_LOG"])

class Engine(FakeEngine):
    def __init__(self):
        super().__init__("demo")
{methods}

skypilot_version.installed = lambda: "0.14.1"
own_pod.read_metadata = lambda: {{"annotations": {annotations}}}
sys.modules["k8s_sky_provider.runner.sky"] = types.SimpleNamespace(Engine=Engine)
runner.main()
"""


def ask(action: str, arguments: dict[str, Any], **fields: Any) -> str:
    """Return the argument of a runner on this machine, whatever file system it has."""
    request = SkyRequest(action=action, arguments=arguments, owner=OWNER, allow_network_file_system=True, **fields)
    return request.to_argument()


STATUS = ask(
    "status",
    {
        "cluster_names": None,
        **dict.fromkeys(("refresh", "ip", "endpoints", "all_users", "owners"), False),
    },
)


class Process:
    """A runner in a process of its own, with SkyPilot faked in it."""

    def __init__(self, folder: Path, *arguments: str, methods: str = "", annotations: Any = KILLED) -> None:
        self._termination_log = folder / "termination-log"
        program = PROGRAM.format(methods=textwrap.indent(textwrap.dedent(methods), "    "), annotations=annotations)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={
                "HOME": str(folder),
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}",
                "TERMINATION_LOG": str(self._termination_log),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output: list[str] = []

    def read_until(self, text: str) -> None:
        """Read the output until a line that has the text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))
            if text in line:
                return
        pytest.fail(f"{text!r} never came, but: {self.output}")

    def end(self) -> SkyResult:
        """Wait for the process; check that its exit code is that of its result, and return that."""
        assert self.process.stdout is not None
        self.process.wait(timeout=30)
        # Children that live on must not outlive the test.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.output.extend(self.process.stdout.read().splitlines())
        result = SkyResult.from_json(self._termination_log.read_text())
        assert self.process.returncode == result.exit_code
        return result


def run(home: Path, argument: str, engine: FakeEngine | None = None) -> SkyResult:
    """Run an action in this process."""
    return run_action([argument], home=home, make_engine=lambda: engine or FakeEngine("demo"))


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["on the volume", "at an API server, without a volume"])
def test_a_first_try_asks_the_queue_only_where_no_note_could_have_been_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    if is_elsewhere:
        monkeypatch.setenv("SKYPILOT_API_SERVER_ENDPOINT", "http://sky")
    engine = FakeEngine("demo")
    assert run(tmp_path, ask("exec", EXEC), engine).exit_code == ExitCode.OK
    assert ("cluster_queue demo" in engine.calls) is is_elsewhere


def test_nothing_is_done_without_the_files_that_travel_with_the_task(tmp_path: Path) -> None:
    engine = FakeEngine("demo")
    result = run(tmp_path, ask("exec", EXEC, local_files="0" * 64), engine)
    assert (result.exit_code, engine.calls) == (ExitCode.TRY_AGAIN, [])
    assert result.reason.startswith("the files that travel with the task have not arrived")


class TestProcess:
    """What Kubernetes sees of the runner."""

    def test_a_success_ends_with_0_and_its_value(self, tmp_path: Path) -> None:
        process = Process(tmp_path, STATUS)
        assert process.end() == SkyResult(action="status", exit_code=0, return_value=[{"name": "demo", "status": "UP"}])
        assert process.output[0].startswith("k8s_sky_provider 0.")

    def test_a_failed_job_ends_with_65_and_leaves_it_to_the_tasks_error_to_say_why(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC),
            methods="""
            def follow_job(self, *_, **__):
                print("boom")
                return "FAILED"
            """,
        )
        result = process.end()
        assert (result.exit_code, result.job_status) == (ExitCode.JOB_FAILED, "FAILED")
        assert result.log_tail[-1] == "boom"
        assert result.reason == "Job 7 on cluster demo ended as FAILED"
        assert process.output[-1] == "boom"

    def test_a_job_that_was_cancelled_leaves_it_to_the_tasks_error_too(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC),
            methods="""
            def follow_job(self, *_, **__):
                print("at work")
                return "CANCELLED"
            """,
        )
        result = process.end()
        assert (result.exit_code, result.reason) == (
            ExitCode.CANCELLED,
            "Job 7 on cluster demo ended as CANCELLED",
        )
        assert process.output[-1] == "at work"

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ((), "the runner takes one argument, the request as JSON, and got 0"),
            (("{}", "{}"), "the runner takes one argument, the request as JSON, and got 2"),
            (("{",), "the request is not JSON"),
            (('{"protocol": 99}',), "the request is of protocol version 99, this side speaks 3"),
        ],
        ids=["none", "two", "not JSON", "another version"],
    )
    def test_a_malformed_request_ends_with_78(self, arguments: tuple[str, ...], reason: str, tmp_path: Path) -> None:
        process = Process(tmp_path, *arguments)
        result = process.end()
        assert result.exit_code == ExitCode.DEPLOYMENT_WRONG
        assert result.reason.startswith(reason)
        assert process.output == []

    @pytest.mark.parametrize("error", ["RuntimeError", "SystemExit"])
    def test_anything_unknown_ends_with_70_and_its_traceback(self, error: str, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC),
            methods=f"""
            def exec(self, *_):
                raise {error}("what is this")
            """,
        )
        result = process.end()
        assert result.exit_code == ExitCode.INTERNAL_ERROR
        assert (result.error, result.reason) == (error, f"Cluster demo: {error}: what is this")
        assert "Traceback (most recent call last):" in result.log_tail

    def test_an_image_without_skypilot_is_a_wrong_deployment(self, tmp_path: Path) -> None:
        result = run_action([STATUS], home=tmp_path)
        assert result.exit_code == ExitCode.DEPLOYMENT_WRONG
        assert result.reason.startswith(
            "the image's SkyPilot cannot be used: No package metadata was found for skypilot; build"
        )

    def test_sigterm_counts_even_where_skypilot_swallows_it(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC, on_cancel=OnCancel.CANCEL),
            methods="""
            def follow_job(self, *_, **__):
                print("at work")
                try:
                    time.sleep(60)
                except BaseException:
                    return "SUCCEEDED"
            """,
        )
        process.read_until("at work")
        process.process.terminate()
        result = process.end()
        assert (result.exit_code, result.reason) == (
            ExitCode.CANCELLED,
            "Cancelled: job 7 on cluster demo was cancelled",
        )

    def test_sigterm_cancels_the_job_and_ends_with_143(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC, on_cancel=OnCancel.CANCEL),
            methods="""
            def follow_job(self, *_, **__):
                print("at work")
                time.sleep(60)

            def cancel_jobs(self, *_):
                print("cancelling")
                os.kill(os.getpid(), signal.SIGTERM)  # a second one must not stop the first
            """,
        )
        process.read_until("at work")
        process.process.terminate()
        result = process.end()
        assert result.exit_code == ExitCode.CANCELLED
        assert result.reason == "Cancelled: job 7 on cluster demo was cancelled"
        assert (result.cluster_name, result.job_id) == ("demo", 7)
        assert process.output[-3:] == ["Told to stop; on_cancel is cancel", "cancelling", result.reason]
        assert result.reason not in result.log_tail

    def test_sigterm_without_a_word_on_the_pod_cancels_nothing_and_ends_with_79(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC, on_cancel=OnCancel.DOWN),
            methods="""
            def follow_job(self, *_, **__):
                print("at work")
                time.sleep(60)
            """,
            annotations={TRY_ANNOTATION: "1"},
        )
        process.read_until("at work")
        process.process.terminate()
        result = process.end()
        assert result.exit_code == ExitCode.EVICTED
        assert result.reason == "Evicted: job and cluster stay as they are; the next try goes on"
        assert process.output[-1] == result.reason
        assert (result.cluster_name, result.job_id) == ("demo", 7)

    def test_sigterm_while_the_engine_starts_undoes_nothing(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC, on_cancel=OnCancel.DOWN),
            methods="""
            def __init__(self):
                print("importing")
                time.sleep(60)
            """,
        )
        process.read_until("importing")
        process.process.terminate()
        assert process.end().reason == "Cancelled before anything was done"

    def test_sigterm_after_the_action_still_leaves_a_result(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            STATUS,
            methods="""
            def status(self, *_, **__):
                # As ssh's control master does: it keeps the output open, and the runner waits for it.
                subprocess.Popen(["sleep", "60"])
                print("done")
                return []
            """,
        )
        process.read_until("done")
        time.sleep(0.5)
        process.process.terminate()
        assert process.end().exit_code == ExitCode.CANCELLED

    def test_a_signal_while_the_result_is_written_changes_nothing(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            STATUS,
            methods="""
            def status(self, *_, **__):
                write = Path.write_text

                def write_late(path, text):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return write(path, text)

                Path.write_text = write_late
                return []
            """,
        )
        assert process.end().exit_code == ExitCode.OK

    def test_what_on_cancel_starts_takes_signals(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC, on_cancel=OnCancel.CANCEL),
            methods="""
            def follow_job(self, *_, **__):
                print("at work")
                time.sleep(60)

            def cancel_jobs(self, *_):
                child = subprocess.Popen(["sleep", "60"])
                child.terminate()
                print("child ended as", child.wait(timeout=10))
            """,
        )
        process.read_until("at work")
        process.process.terminate()
        assert process.end().exit_code == ExitCode.CANCELLED
        assert "child ended as -15" in process.output

    def test_a_child_that_lives_on_does_not_keep_the_runner(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            STATUS,
            methods="""
            def status(self, *_, **__):
                console.SECONDS_TO_DRAIN = 0.1
                subprocess.Popen(["sleep", "60"])
                return []
            """,
        )
        assert process.end().exit_code == ExitCode.OK

    def test_secrets_are_masked_wherever_they_could_leave_the_pod(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            ask("exec", EXEC),
            methods="""
            runner.state.secret_values = lambda: frozenset({"hunter2-value"})

            def exec(self, *_):
                print("token is hunter2-value")
                raise RuntimeError("refused: hunter2-value")
            """,
        )
        result = process.end()
        assert "hunter2" not in result.to_json() + "".join(process.output)
        assert result.reason == "Cluster demo: RuntimeError: refused: ***"
        assert "token is ***" in result.log_tail

    def test_a_long_list_is_an_error_and_the_whole_is_on_the_volume(self, tmp_path: Path) -> None:
        process = Process(
            tmp_path,
            STATUS,
            methods="""
            def status(self, *_, **__):
                return [{"name": hashlib.sha256(str(number).encode()).hexdigest()} for number in range(500)]
            """,
        )
        result = process.end()
        assert result.exit_code == ExitCode.REQUEST_WRONG
        assert "the list has 500 rows, which do not fit" in result.reason
        assert result.truncated
        assert result.return_value is None
        assert result.whole_result is not None
        path = Path(result.whole_result)
        assert path.parent == tmp_path / "sky_logs" / "results"
        assert re.fullmatch(
            r"airflow-my_dag_1-manual__2026-01-01T00_00_00_00_00-status--1-1-[0-9a-f]{12}\.json", path.name
        )
        assert len(json.loads(path.read_text())["return_value"]) == 500


def test_no_two_tries_keep_their_results_in_one_file() -> None:
    owners = [
        Owner(deployment="airflow", dag_id="dag" * 100, run_id=run_id, task_id=task_id, try_number=try_number)
        for run_id in ("a+b" * 80, "a b" * 80)
        for task_id in ("x.y", "x:y")
        for try_number in (1, 2)
    ]
    names = {_file_name(owner) for owner in owners}
    assert len(names) == len(owners)
    assert max(map(len, names)) < 200


class TestAction:
    """What becomes of an action, whatever it raises."""

    def test_an_action_that_the_image_does_not_know_is_a_wrong_deployment(self, tmp_path: Path) -> None:
        result = run(tmp_path, ask("teleport", {}))
        assert result.exit_code == ExitCode.DEPLOYMENT_WRONG
        assert "the image's runner has no action 'teleport': use the same k8s_sky_provider on both" in result.reason

    def test_a_failure_of_skypilot_keeps_its_name(self, tmp_path: Path) -> None:
        engine = FakeEngine("demo")
        engine.fail("exec", exit_code=ExitCode.TRY_AGAIN)
        result = run(tmp_path, ask("exec", EXEC), engine)
        assert (result.exit_code, result.reason, result.error) == (
            ExitCode.TRY_AGAIN,
            "Cluster demo: exec failed",
            "FakeError",
        )
        assert result.cluster_name == "demo"

    def test_a_reason_that_has_the_cluster_is_left_as_it_is(self, tmp_path: Path) -> None:
        engine = FakeEngine("demo")
        engine.failures["exec"] = [ActionFailedError(ExitCode.TRY_AGAIN, "demo is not up")]
        assert run(tmp_path, ask("exec", EXEC), engine).reason == "demo is not up"

    def test_a_volume_that_is_full_is_a_wrong_deployment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*arguments: object, **options: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        engine = FakeEngine("demo")
        monkeypatch.setattr(engine, "exec", full)
        result = run(tmp_path, ask("exec", EXEC), engine)
        assert result.exit_code == ExitCode.DEPLOYMENT_WRONG
        assert "The volume is full, make room there" in result.reason

    def test_what_can_be_checked_without_skypilot_is_checked_before_it_is_loaded(self, tmp_path: Path) -> None:
        def never() -> FakeEngine:
            pytest.fail("SkyPilot was loaded")

        argument = ask("exec", EXEC, expected_mounts={"/missing": "Secret 'aws'"})
        result = run_action([argument], home=tmp_path, make_engine=never)
        assert result.exit_code == ExitCode.CREDENTIALS_REFUSED
        assert "Secret 'aws'" in result.reason

    def test_a_cancel_that_cannot_be_undone_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.own_pod.read_metadata", lambda: {"annotations": KILLED})
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "follow_job"
        engine.fail("cancel_jobs")
        result = run(tmp_path, ask("exec", EXEC, on_cancel=OnCancel.CANCEL), engine)
        assert result.exit_code == ExitCode.CANCELLED
        assert result.reason == "Cancelled, but it could not be undone: cancel_jobs failed"

    def test_what_undoes_its_work_prints_without_a_pace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.own_pod.read_metadata", lambda: {"annotations": KILLED})
        engine = FakeEngine("demo")
        engine.told_to_stop_in = "follow_job"
        monkeypatch.setattr(Console, "hurry", lambda _: engine.calls.append("hurry"))
        run(tmp_path, ask("exec", EXEC, on_cancel=OnCancel.CANCEL), engine)
        assert engine.calls[engine.calls.index("hurry") + 1].startswith("cancel_jobs")

    def test_a_success_has_no_log_in_its_result(self, tmp_path: Path) -> None:
        assert run(tmp_path, STATUS).log_tail == []

    def test_secrets_are_masked_inside_the_value(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.state.secret_values", lambda: frozenset({"hunter2-value"}))
        engine = FakeEngine("has hunter2-value inside")
        result = run(tmp_path, STATUS, engine)
        assert result.return_value == [{"name": "has *** inside", "status": "UP"}]

    def test_a_name_stays_one_that_the_next_task_can_use(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.state.secret_values", lambda: frozenset({"training"}))
        result = run(tmp_path, ask("exec", {**EXEC, "cluster_name": "training-1"}), FakeEngine("training-1"))
        assert (result.return_value, result.cluster_name) == ("training-1", "training-1")
        assert run(tmp_path, STATUS, FakeEngine("training-1")).return_value == [{"name": "training-1", "status": "UP"}]

    def test_a_secret_of_a_commands_output_does_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.state.secret_values", lambda: frozenset({"training"}))
        result = run(tmp_path, ask("bash", {"bash_command": "echo training-1", "env": {}}))
        assert result.return_value == "***-1"

    @pytest.mark.parametrize("text", ["lost training", "KeyError('training')", "a=training"])
    def test_nor_does_one_of_other_texts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.state.secret_values", lambda: frozenset({"training"}))
        result = run(tmp_path, STATUS, FakeEngine(text))
        assert result.return_value == [{"name": text.replace("training", "***"), "status": "UP"}]

    @pytest.mark.parametrize(
        ("environment", "engine"),
        [({}, "in this process"), ({"SKYPILOT_API_SERVER_ENDPOINT": "http://sky"}, "of an API server")],
    )
    def test_the_environment_says_which_engine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], engine: str
    ) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.skypilot_version.installed", lambda: "0.14.1")
        package = "k8s_sky_provider.runner"
        engines = {"sky": "in this process", "sky.at_server": "of an API server"}
        for (module, cluster), name in zip(engines.items(), ("Engine", "EngineAtServer"), strict=True):
            fake = SimpleNamespace(**{name: functools.partial(FakeEngine, cluster)})
            monkeypatch.setitem(sys.modules, f"{package}.{module}", fake)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert run_action([STATUS], home=tmp_path).return_value == [{"name": engine, "status": "UP"}]
