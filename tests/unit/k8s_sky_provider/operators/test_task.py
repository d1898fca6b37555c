"""A task is found and read where it is meant to be, and a mistake in it is named before a pod exists."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.task import RESOURCES_KEYS, TASK_KEYS, Kinds, check_task
from unit.k8s_sky_provider.operators.running import read_task

if TYPE_CHECKING:
    from pathlib import Path

TASK = {
    "name": "train",
    "num_nodes": 2,
    "resources": {"cpus": "2+", "memory": 8, "accelerators": {"A100": 4}, "use_spot": True, "any_of": [{}]},
    "envs": {"EPOCHS": "3"},
    "secrets": {"TOKEN": None},
    "setup": "pip install torch",
    "run": "python train.py",
}


def test_a_correct_task_is_taken_as_it_is() -> None:
    assert check_task(TASK, "task.yaml") == TASK


def test_a_key_without_a_value_is_fine() -> None:
    assert check_task({"run": None, "resources": None, "envs": None}, "task.yaml")["run"] is None


def test_skypilots_own_private_keys_pass() -> None:
    assert check_task({"run": "x", "_policy": 1}, "task.yaml") == {"run": "x", "_policy": 1}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        pytest.param({"runn": "x"}, "task.yaml: runn is not a key of a SkyPilot task; did you mean 'run'?", id="run"),
        pytest.param({"resource": {}}, "resource is not a key of a SkyPilot task; did you mean 'resources'?", id="res"),
        pytest.param(
            {"resources": {"accelerator": "A100"}},
            "resources.accelerator is not a key of a SkyPilot task; did you mean 'accelerators'?",
            id="key of resources",
        ),
        pytest.param({"colour": "red"}, "colour is not a key of a SkyPilot task; known keys are: name,", id="no guess"),
        pytest.param({1: "x"}, "1 is not a key of a SkyPilot task", id="key that is a number"),
        pytest.param({True: "x"}, "True is not a key of a SkyPilot task", id="key that is YAML's on"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(task: dict[Any, Any], message: str) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        check_task(task, "task.yaml")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        pytest.param({"run": ["echo"]}, "task.yaml: run must be of type str, not list (['echo'])", id="list for text"),
        pytest.param({"num_nodes": "two"}, "num_nodes must be of type int, not str ('two')", id="text for number"),
        pytest.param({"num_nodes": True}, "num_nodes must be of type int, not bool (True)", id="bool for number"),
        pytest.param({"envs": ["A=1"]}, "envs must be of type dict, not list", id="list for mapping"),
        pytest.param({"resources": "A100"}, "resources must be of type dict, not str", id="text for mapping"),
        pytest.param(
            {"resources": {"use_spot": 1}}, "resources.use_spot must be of type bool, not int (1)", id="number for bool"
        ),
        pytest.param(
            {"resources": {"cpus": True}},
            "resources.cpus must be of type int or float or str, not bool (True)",
            id="bool for cpus",
        ),
        pytest.param({"resources": {"autostop": 1.5}}, "resources.autostop must be of type bool or", id="fraction"),
        pytest.param("echo hello", "the task must be a mapping, not str", id="no mapping"),
        pytest.param(None, "the task must be a mapping, not empty", id="nothing"),
        pytest.param([TASK], "the task must be a mapping, not list", id="list of tasks"),
    ],
)
def test_a_value_of_a_wrong_type_is_named_with_the_right_one(task: object, message: str) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        check_task(task, "task.yaml")


@pytest.mark.parametrize(
    ("place", "text", "value"),
    [
        ("num_nodes", "2", 2),
        ("api_server_access", "no", False),
        ("resources.use_spot", "False", False),
        ("resources.priority", "-5", -5),
        ("resources.max_hourly_cost", "0.5", 0.5),
        ("resources.max_hourly_cost", "2", 2),
        ("resources.disk_size", "256", "256"),
        ("resources.cpus", "4", "4"),
        ("resources.autostop", "false", False),
        ("resources.autostop", "10h", "10h"),
        ("resources.autostop.idle_minutes", "600", 600),
        ("resources.autostop.down", "yes", True),
        ("resources.job_recovery.max_restarts_on_errors", "3", 3),
        ("resources.accelerators.A100", "1", 1),
        ("resources.any_of.0.use_spot", "True", True),
        ("resources.ordered.0.accelerators.A100", "0.5", 0.5),
        ("resources.ordered.0.autostop.idle_minutes", "5", 5),
        ("file_mounts./b.persistent", "off", False),
        ("service.replicas", "2", 2),
        ("service.replica_policy.min_replicas", "1", 1),
        ("service.replica_policy.target_qps_per_replica", "1.5", 1.5),
        ("service.replica_policy.target_qps_per_replica.A100", "2", 2),
        ("service.replica_policy.dynamic_ondemand_fallback", "true", True),
        ("service.readiness_probe.timeout_seconds", "15", 15),
        ("pool.workers", "4", 4),
        ("envs.N", "1.10", "1.10"),
        ("labels", "2", None),
    ],
)
def test_numbers_and_flags_that_jinja_left_as_text(place: str, text: str, value: object) -> None:
    """A wrong one is named by its place."""

    def task_with(content: object) -> Any:
        for key in reversed(place.split(".")):
            content = [content] if key == "0" else {key: content}
        return content

    if value is None:
        with pytest.raises(SkyRequestError, match=f"task.yaml: {place} is not a key"):
            check_task(task_with(text), "task.yaml")
        return
    checked = check_task(task_with(text), "task.yaml")
    assert json.dumps(checked) == json.dumps(task_with(value))
    if not isinstance(value, str):
        with pytest.raises(SkyRequestError, match=re.escape(f"task.yaml: {place.replace('.0', '')} must be of type")):
            check_task(task_with([1]), "task.yaml")


@pytest.mark.parametrize("name", ["team/train", "../x", "a b", ""])
def test_a_name_that_would_be_a_folder_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(f"task.yaml: name: {name!r} is no name of a job")):
        check_task({"name": name}, "task.yaml")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": True, "b": None}, '{"a": true, "b": null}'),
        (["ü", 1.5], '["ü", 1.5]'),
        ({"day": dt.date(2026, 1, 1)}, '{"day": "2026-01-01"}'),
        ("{'a': 1}", "{'a': 1}"),
        ("1.10", "1.10"),
        (False, "False"),
    ],
)
def test_the_environment_has_json_and_no_python(value: object, text: str) -> None:
    assert check_task({"envs": {"A": value}}, "task.yaml")["envs"] == {"A": text}
    assert read.variables("envs", {"A": value}) == {"A": text}


@pytest.mark.parametrize("value", [{1}, b"x", object(), {"a": {1}}, [float("nan")]])
def test_what_json_does_not_know_is_no_value_of_the_environment(value: object) -> None:
    with pytest.raises(SkyRequestError, match="envs"):
        read.variables("envs", {"A": value})


def test_values_of_the_environment_become_text_as_skypilot_makes_them(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("envs: {EPOCHS: 3, DAY: 2026-01-01, FAST: true, LATER: }")
    read = read_task("task.yaml", tmp_path)
    assert isinstance(read, dict)
    assert read["envs"] == {"EPOCHS": "3", "DAY": "2026-01-01", "FAST": "True", "LATER": None}


def test_the_value_of_a_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(SkyRequestError, match=r"secrets\.TOKEN has its value in the task") as refused:
        check_task({"secrets": {"TOKEN": "hunter2-hunter2"}}, "task.yaml")
    assert "hunter2" not in str(refused.value)
    assert check_task({"secrets": ["TOKEN"]}, "task.yaml") == {"secrets": ["TOKEN"]}


def test_a_value_that_json_does_not_know_is_named() -> None:
    with pytest.raises(SkyRequestError, match=r"task\.yaml: config has a value that cannot be sent to the pod: \{1\}"):
        check_task({"config": {"gcp": {1}}}, "task.yaml")


@pytest.mark.parametrize("keys", [TASK_KEYS, RESOURCES_KEYS])
def test_every_known_key_takes_a_value_of_each_of_its_types(keys: dict[str, Kinds]) -> None:
    for key, kinds in keys.items():
        for kind in kinds:
            value = kind() if isinstance(kind, type) else type(kind)()
            content: dict[str, Any] = {key: "x" if (key, kind) == ("name", str) else value}
            check_task(content if keys is TASK_KEYS else {"resources": content}, "task.yaml")


def test_a_file_beside_the_dag_is_read(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    file = tmp_path / "tasks" / "train.yaml"
    file.write_text("# comment\nrun: echo größer\nnum_nodes: 2\n")
    expected = {"run": "echo größer", "num_nodes": 2}
    assert read_task("tasks/train.yaml", tmp_path) == expected
    assert read_task(str(file), tmp_path) == expected


@pytest.mark.parametrize("path", ["~/sky_workdir/train.yaml", "/home/sky/sky_workdir/train.yaml"])
def test_a_path_on_the_volume_is_left_to_the_pod(path: str, tmp_path: Path) -> None:
    assert read_task(path, tmp_path) == path
    assert read_task(path, None) == path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "does not exist beside the DAG file. Ship it with the DAGs, or give a path", id="missing"),
        pytest.param("run: 'echo", "cannot be read", id="no YAML"),
        pytest.param("run: \tx\n\ty: [", "cannot be read", id="tabs"),
        pytest.param("!!python/object/apply:os.system ['true']", "cannot be read", id="unsafe YAML"),
        pytest.param("", "the task must be a mapping, not empty", id="empty"),
        pytest.param("run: a\n---\nrun: b\n", "has 2 YAML documents, a pipeline of tasks or", id="two documents"),
        pytest.param("- run: a\n", "the task must be a mapping, not list", id="list"),
        pytest.param("null\n", "the task must be a mapping, not empty", id="null"),
        pytest.param("runn: a\n", "runn is not a key", id="typing error"),
    ],
)
def test_a_file_that_is_no_task_is_refused_by_its_path(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SkyRequestError, match=re.escape(message)) as caught:
        read_task("task.yaml", tmp_path)
    assert "task.yaml" in str(caught.value)


def test_a_file_of_bytes_or_a_folder_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"run: \xff\xfe")
    (tmp_path / "folder").mkdir()
    for name in ("binary.yaml", "folder"):
        with pytest.raises(SkyRequestError, match=f"{name}' cannot be read"):
            read_task(name, tmp_path)


@pytest.mark.parametrize("path", ["../../secret.yaml", "link.yaml"])
def test_a_file_outside_of_the_bundle_is_not_read(path: str, tmp_path: Path) -> None:
    """Whoever may trigger a DAG may write such a path, where it comes out of params."""
    folder = tmp_path / "bundle" / "dags"
    folder.mkdir(parents=True)
    (tmp_path / "secret.yaml").write_text("run: cat the worker's own files\n")
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(SkyRequestError, match=re.escape(f"sky_task_yaml: {path!r} leaves the DAG bundle")) as caught:
        read_task(path, folder, folder.parent)
    assert "own files" not in str(caught.value)
    of_the_pod = f"{folder.parent}/../secret.yaml"
    assert read_task(of_the_pod, folder, folder.parent) == of_the_pod


def test_a_file_elsewhere_in_the_bundle_is_read(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "common.yaml").write_text("run: hostname\n")
    assert read_task("../common.yaml", tmp_path / "dags", tmp_path) == {"run": "hostname"}


def test_a_relative_path_needs_the_folder_of_the_dag() -> None:
    with pytest.raises(SkyRequestError, match=r"'task\.yaml' is relative, and the folder of the DAG file is not known"):
        read_task("task.yaml", None)


@pytest.mark.parametrize(("task", "kind"), [(None, "empty"), (7, "int"), ([TASK], "list"), (True, "bool")])
def test_what_is_neither_a_path_nor_a_mapping_is_refused(task: object, kind: str, tmp_path: Path) -> None:
    with pytest.raises(SkyRequestError, match=f"sky_task_yaml: must be a path or a mapping, not {kind}"):
        read_task(task, tmp_path)


def test_aliases_are_not_written_out_without_end(tmp_path: Path) -> None:
    lines = ["_a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"_a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    (tmp_path / "bomb.yaml").write_text("\n".join([*lines, "run: x"]))
    with pytest.raises(SkyRequestError, match=r"sky_task_yaml: .*bomb\.yaml' has more than 120000 characters"):
        read_task("bomb.yaml", tmp_path)


def test_an_alias_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("run: x\nenvs: &same {A: a}\nsecrets: []\n_more: [*same, *same]\n")
    assert read_task("task.yaml", tmp_path)["_more"] == [{"A": "a"}, {"A": "a"}]
