"""What the engine does with a task. SkyPilot is a fake."""

from __future__ import annotations

import importlib
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from k8s_sky_provider.protocol import ExitCode, TaskOverrides
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def tasks() -> Iterator[Any]:
    with fake_sky.installed():
        yield importlib.import_module("k8s_sky_provider.runner.sky.tasks").Tasks()


@pytest.fixture
def loaded(tasks: Any) -> MagicMock:
    """Return SkyPilot's task."""
    del tasks
    task: MagicMock = importlib.import_module("sky").Task.from_yaml_config.return_value
    return task


@pytest.fixture
def load(tasks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def load(task: Any, **overrides: Any) -> Any:
        return tasks.load_task(task, TaskOverrides(**overrides), list)

    return load


def given() -> Any:
    """Return the content that SkyPilot was given."""
    return importlib.import_module("sky").Task.from_yaml_config.call_args.args[0]


def test_an_empty_section_is_none(load: Callable[..., Any]) -> None:
    load({"run": "x", "envs": None})
    assert given() == {"run": "x"}


def test_a_task_without_autostop_leaves_that_of_its_cluster(tasks: Any) -> None:
    task = MagicMock()
    tasks.keep_autostop(task)
    task.set_resources_override.assert_called_once_with({"autostop": None})


class TestOverrides:
    """What is said over a task."""

    def test_all(self, load: Callable[..., Any], loaded: MagicMock) -> None:
        registry = importlib.import_module("sky.utils.registry").CLOUD_REGISTRY
        where = SimpleNamespace(cloud="aws", region="us-east-1", zone="us-east-1a")
        importlib.import_module("sky.utils.infra_utils").InfraInfo.from_str.return_value = where
        config = importlib.import_module("sky.skypilot_config").override_skypilot_config
        load(
            {"run": "date"},
            envs={"A": "1"},
            resources={"infra": "aws/us-east-1/us-east-1a", "cpus": 4},
            num_nodes=2,
            job_name="own",
            job_suffix="12",
            workdir="~/code",
            file_mounts={"/a": "b"},
            config={"kubernetes": {}},
        )
        registry.from_str.assert_called_once_with("aws")
        loaded.set_resources_override.assert_called_once_with(
            {"cpus": 4, "cloud": registry.from_str.return_value, "region": "us-east-1", "zone": "us-east-1a"}
        )
        assert (loaded.num_nodes, loaded.name, loaded.workdir) == (2, "own-12", "~/code")
        loaded.update_file_mounts.assert_called_once_with({"/a": "b"})
        loaded.update_envs_and_secrets_from_workdir.assert_called_once_with()
        options = importlib.import_module("sky").Task.from_yaml_config.call_args.kwargs
        assert options == {"env_overrides": [("A", "1")], "secrets_overrides": []}
        config.assert_called_once_with({"kubernetes": {}})
        config.return_value.__enter__.assert_called_once_with()

    def test_none(self, load: Callable[..., Any], loaded: MagicMock) -> None:
        loaded.num_nodes, loaded.name, loaded.workdir = 3, "train", "code"
        assert load({"run": "date"}) is loaded
        assert (loaded.num_nodes, loaded.name, loaded.workdir) == (3, "train", "code")
        loaded.set_resources_override.assert_called_once_with({})
        loaded.update_file_mounts.assert_not_called()

    @pytest.mark.parametrize(("name", "expected"), [("train", "train-12"), (None, "task-12")])
    def test_a_suffix_makes_the_name_the_trys_own(
        self, load: Callable[..., Any], loaded: MagicMock, name: str | None, expected: str
    ) -> None:
        loaded.name = name
        load({"run": "date"}, job_suffix="12")
        assert loaded.name == expected

    @pytest.mark.parametrize(
        ("resources", "over", "expected"),
        [
            (None, {}, {"infra": "k8s", "cpus": 2}),
            ({"cpus": 4}, {}, {"infra": "k8s", "cpus": 4}),
            ({"cloud": "aws"}, {}, {"cloud": "aws", "cpus": 2}),
            ({}, {"region": "x"}, {"cpus": 2}),
            ({"any_of": [{"zone": "x"}]}, {}, {"any_of": [{"zone": "x"}], "cpus": 2}),
            ({"ordered": [{"cpus": 1}]}, {}, {"ordered": [{"cpus": 1}], "infra": "k8s"}),
            ({"infra": "aws", "cpus": 1}, {}, {"infra": "aws", "cpus": 1}),
        ],
    )
    def test_defaults_are_for_what_nobody_says(
        self,
        load: Callable[..., Any],
        loaded: MagicMock,
        resources: dict[str, Any] | None,
        over: dict[str, Any],
        expected: dict[str, Any],
    ) -> None:
        del loaded
        task = {"run": "date", **({} if resources is None else {"resources": resources})}
        load(task, resources=over, default_resources={"infra": "k8s", "cpus": 2})
        assert given() == {"run": "date", "resources": expected}

    def test_without_defaults_a_task_stays_as_it_is(self, load: Callable[..., Any], loaded: MagicMock) -> None:
        del loaded
        load({"run": "date"})
        assert given() == {"run": "date"}


class TestFiles:
    """A task on the volume."""

    def test_its_paths_start_beside_it(self, load: Callable[..., Any], loaded: MagicMock, tmp_path: Path) -> None:
        del loaded
        (tmp_path / "tasks").mkdir()
        (tmp_path / "tasks" / "t.yaml").write_text("run: date\n")
        load("~/tasks/t.yaml")
        assert (os.getcwd(), given()) == (str((tmp_path / "tasks").resolve()), {"run": "date"})  # noqa: PTH109
        load({"run": "date"})
        assert os.getcwd() == str((tmp_path / "sky_workdir").resolve())  # noqa: PTH109

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "must be one YAML mapping"),
            ("- a\n", "must be one YAML mapping"),
            ("run: a\n---\nrun: b\n", "has 2 YAML documents, a pipeline of tasks or a job group: SkyJobLaunch"),
        ],
    )
    def test_one_that_is_none(
        self, load: Callable[..., Any], loaded: MagicMock, tmp_path: Path, text: str, reason: str
    ) -> None:
        del loaded
        (tmp_path / "t.yaml").write_text(text)
        with pytest.raises(ActionFailedError, match=reason) as caught:
            load(str(tmp_path / "t.yaml"))
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ValueError("odd"), ExitCode.REQUEST_WRONG),
        (RuntimeError("odd"), ExitCode.REQUEST_WRONG),
        (ConnectionError("odd"), ExitCode.TRY_AGAIN),
        (ActionFailedError(ExitCode.DEPLOYMENT_WRONG, "odd"), ExitCode.DEPLOYMENT_WRONG),
    ],
)
def test_what_skypilot_dislikes_about_a_task_is_for_its_author_to_mend(
    load: Callable[..., Any], loaded: MagicMock, error: Exception, exit_code: ExitCode
) -> None:
    loaded.update_envs_and_secrets_from_workdir.side_effect = error
    with pytest.raises(ActionFailedError, match="odd") as caught:
        load({"run": "date"})
    assert caught.value.exit_code is exit_code
