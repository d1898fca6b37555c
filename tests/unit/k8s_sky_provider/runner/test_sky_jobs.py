"""What the engine does with managed jobs. SkyPilot is a fake."""

from __future__ import annotations

import importlib
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from k8s_sky_provider.protocol import ExitCode, TaskOverrides
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "k8s_sky_provider.runner.sky"


@pytest.fixture
def engine() -> Iterator[Any]:
    with fake_sky.installed():
        yield object.__new__(importlib.import_module(PACKAGE).Engine)


@pytest.fixture
def jobs(engine: Any) -> Any:
    """Return SkyPilot's functions for managed jobs."""
    del engine
    return importlib.import_module("sky.jobs.server.core")


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def answer(*statuses: str) -> tuple[Any, ...]:
    """Return what the controller says of a job that has tasks of these statuses."""
    known = importlib.import_module("sky.jobs").ManagedJobStatus
    known.side_effect = lambda status: SimpleNamespace(is_terminal=lambda: status in {"SUCCEEDED", "FAILED"})
    rows = [
        {"job_id": 1, "task_id": task, "status": SimpleNamespace(value=status), "user": "eve"}
        for task, status in enumerate(statuses)
    ]
    return rows, len(rows), {}, len(rows)


class TestRows:
    """A job has one row for each of its tasks."""

    def test_have_what_is_asked_for_and_no_more(self, engine: Any, jobs: Any) -> None:
        jobs.queue_v2.return_value = answer("RUNNING")
        (row,) = engine.managed_jobs()
        assert set(row) == set(importlib.import_module(f"{PACKAGE}.jobs").FIELDS)
        assert (row["job_id"], row["status"], row["pool"]) == (1, "RUNNING", None)

    @pytest.mark.parametrize(("statuses", "tasks"), [(None, [0, 1]), (["FAILED"], [1]), ([], [])])
    def test_are_those_of_the_statuses_whoever_chooses(
        self, engine: Any, jobs: Any, statuses: list[str] | None, tasks: list[int]
    ) -> None:
        jobs.queue_v2.return_value = answer("RUNNING", "FAILED")
        assert [row["task_id"] for row in engine.managed_jobs(statuses=statuses)] == tasks

    @pytest.mark.parametrize(("ids", "expected"), [(3, [3]), ([3, 4], [3, 4]), (None, [])])
    def test_ids_of_what_was_submitted(self, engine: Any, jobs: Any, ids: Any, expected: list[int]) -> None:
        jobs.launch.return_value = (ids, None)
        assert engine.launch_managed_job(SimpleNamespace(name="train"), pool=None, num_jobs=None) == expected


class TestFollowing:
    """A job that is followed to its end."""

    @pytest.fixture(autouse=True)
    def ends(self, jobs: Any) -> Any:
        """Return how a log may end."""
        del jobs
        return importlib.import_module("sky.exceptions").JobExitCode

    def test_its_log_is_read_once_and_its_end_awaited(
        self, engine: Any, jobs: Any, ends: Any, sleeps: list[float]
    ) -> None:
        jobs.tail_logs.return_value = ends.FAILED
        jobs.queue_v2.side_effect = [answer("SUCCEEDED", "RUNNING"), answer("SUCCEEDED", "FAILED")]
        rows = engine.follow_managed_job(1, tail=5)
        assert [row["status"] for row in rows] == ["SUCCEEDED", "FAILED"]
        jobs.tail_logs.assert_called_once_with(name=None, job_id=1, follow=True, controller=False, refresh=True, tail=5)
        assert jobs.queue_v2.call_args.kwargs["job_ids"] == [1]
        assert sleeps == [10]

    def test_a_log_that_breaks_off_is_read_on_and_not_printed_again(
        self, engine: Any, jobs: Any, ends: Any, sleeps: list[float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        away = importlib.import_module("sky.exceptions").NetworkError("away")
        jobs.tail_logs.side_effect = [ends.NOT_FINISHED, away, ends.SUCCEEDED]
        jobs.queue_v2.side_effect = [answer("RUNNING"), answer("SUCCEEDED")]
        engine.follow_managed_job(1)
        assert [call.kwargs["tail"] for call in jobs.tail_logs.call_args_list] == [None, 1, 1]
        assert len(sleeps) == 2
        assert "Managed job 1 is out of sight, looking again: NetworkError: away" in capsys.readouterr().out

    @pytest.mark.parametrize("recovers", [False, True])
    def test_a_controller_that_stays_away_is_given_up(
        self, engine: Any, jobs: Any, ends: Any, sleeps: list[float], recovers: bool
    ) -> None:
        away = importlib.import_module("sky.exceptions").NetworkError("away")
        jobs.tail_logs.return_value = ends.SUCCEEDED
        # What was in reach meanwhile counts anew.
        between = [answer("RUNNING")] if recovers else []
        jobs.queue_v2.side_effect = [*[away] * 29, *between, *[away] * 29, answer("SUCCEEDED")]
        if recovers:
            engine.follow_managed_job(1)
            assert len(sleeps) == 59
        else:
            with pytest.raises(ActionFailedError, match="away") as caught:
                engine.follow_managed_job(1)
            assert (caught.value.exit_code, len(sleeps)) == (ExitCode.TRY_AGAIN, 29)

    def test_one_that_is_gone(self, engine: Any, jobs: Any, ends: Any, sleeps: list[float]) -> None:
        jobs.tail_logs.return_value = ends.SUCCEEDED
        jobs.queue_v2.return_value = answer()
        with pytest.raises(ActionFailedError, match="there is no managed job 1 any more") as caught:
            engine.follow_managed_job(1)
        assert caught.value.exit_code is ExitCode.INTERNAL_ERROR
        assert len(sleeps) == 29


class TestReading:
    """The tasks of a job, from its YAML."""

    @pytest.fixture
    def load(self, engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
        """Return what loads a job; each task is loaded as it is, but for its name."""
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)

        def load_task(_: Any, task: Any, overrides: TaskOverrides, mask: Any) -> SimpleNamespace:
            mask(["secret"])
            name = overrides.job_name or task.get("name")
            return SimpleNamespace(to_yaml_config=lambda: {**task, "name": name})

        monkeypatch.setattr(type(engine), "load_task", load_task)

        def load_dag(text: str) -> SimpleNamespace:
            tasks = [document for document in yaml.safe_load_all(text) if "run" in document]
            return SimpleNamespace(tasks=[SimpleNamespace(**task) for task in tasks], text=text)

        importlib.import_module("sky.utils.dag_utils").load_dag_from_yaml_str.side_effect = load_dag
        masked: list[Any] = []

        def load(task: Any, **overrides: Any) -> Any:
            job = engine.load_job(task, TaskOverrides(**overrides), "train", masked.extend)
            assert masked
            return job

        return load

    def test_of_one_task(self, load: Any) -> None:
        job = load({"run": "date", "name": "other"}, job_name="own")
        assert (job.name, [task.name for task in job.tasks]) == ("train", ["train"])

    @pytest.mark.parametrize("header", [{"name": "pipeline"}, {"execution": "parallel"}, None])
    def test_of_several(self, load: Any, header: Any) -> None:
        tasks = [{"run": "a", "name": "one"}, {"run": "b", "name": "two"}]
        job = load([*([header] if header else []), *tasks], job_name="own")
        # A name that is said over all would make them one.
        assert (job.name, [task.name for task in job.tasks]) == ("train", ["one", "two"])
        assert list(yaml.safe_load_all(job.text)) == [*([header] if header else []), *tasks]

    def test_of_one_with_a_header(self, load: Any) -> None:
        job = load([{"name": "pipeline"}, {"run": "a", "name": "one"}], job_name="own")
        assert [task.name for task in job.tasks] == ["train"]

    def test_one_alone_is_no_header(self, load: Any) -> None:
        assert list(yaml.safe_load_all(load([{"name": "one"}]).text)) == [{"name": "one"}]

    def test_on_the_volume(self, load: Any, tmp_path: Path) -> None:
        (tmp_path / "jobs").mkdir()
        (tmp_path / "jobs" / "j.yaml").write_text("name: p\n---\nrun: a\n---\nrun: b\n")
        assert [task.run for task in load("~/jobs/j.yaml").tasks] == ["a", "b"]
        # Relative paths of the tasks start there.
        assert importlib.import_module("os").getcwd() == str((tmp_path / "jobs").resolve())

    @pytest.mark.parametrize("text", ["", "- a\n", "run: a\n---\n- b\n"])
    def test_a_file_that_is_none(self, load: Any, tmp_path: Path, text: str) -> None:
        (tmp_path / "j.yaml").write_text(text)
        with pytest.raises(ActionFailedError, match="must have YAML mappings, one for each task") as caught:
            load(str(tmp_path / "j.yaml"))
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    def test_one_that_skypilot_does_not_take(self, load: Any) -> None:
        importlib.import_module("sky.utils.dag_utils").load_dag_from_yaml_str.side_effect = RuntimeError("odd")
        with pytest.raises(ActionFailedError, match="RuntimeError: odd") as caught:
            load({"run": "a"})
        assert (caught.value.exit_code, caught.value.error) == (ExitCode.REQUEST_WRONG, "RuntimeError")
