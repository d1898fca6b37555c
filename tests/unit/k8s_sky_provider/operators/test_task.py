"""A task is found and read where it is meant to be, and a mistake in it is named before a pod exists."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import SkyLaunchOperator, read, sections, task_url
from k8s_sky_provider.operators.task import check_task
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, read_task

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


@pytest.mark.parametrize(
    "task",
    [
        {"colour": "red"},
        {1: "x"},
        {True: "x"},
        {"resources": {"topology": "4x4"}},
        {"resources": {"cloud": "my-own"}},
        {"service": {"autoscaler": "mine"}},
        {"file_mounts": {"/x": {"name": "b", "mode": "copy", "store": "new"}}},
    ],
)
def test_what_is_like_nothing_known_is_skypilots_to_judge(task: dict[Any, Any]) -> None:
    assert check_task(task, "task.yaml") == task


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
        pytest.param({"rum": "x"}, "rum is not a key of a SkyPilot task; did you mean 'run'?", id="short"),
        pytest.param({"Run": "x"}, "Run is not a key of a SkyPilot task; did you mean 'run'?", id="capital letter"),
        pytest.param(
            {"resources": {"any_of": [{"use_spots": True}]}},
            "resources.any_of.use_spots is not a key of a SkyPilot task; did you mean 'use_spot'?",
            id="key of an option",
        ),
        pytest.param(
            {"service": {"replica_policy": {"min_replica": 1}}},
            "service.replica_policy.min_replica is not a key of a SkyPilot task; did you mean 'min_replicas'?",
            id="key of a service",
        ),
        pytest.param(
            {"file_mounts": {"/x": {"mode": "MOUNT_CACHE"}}},
            "file_mounts./x.mode is 'MOUNT_CACHE'; did you mean 'MOUNT_CACHED'?",
            id="word",
        ),
        pytest.param(
            {"resources": {"cloud": "kubernets"}},
            "resources.cloud is 'kubernets'; did you mean 'kubernetes'?",
            id="cloud",
        ),
    ],
)
def test_a_typing_error_is_named_with_what_was_meant(task: dict[Any, Any], message: str) -> None:
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
    ],
)
def test_numbers_and_flags_that_jinja_left_as_text(place: str, text: str, value: object) -> None:
    def task_with(content: object) -> Any:
        for key in reversed(place.split(".")):
            content = [content] if key == "0" else {key: content}
        return content

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
    assert check_task({"secrets": {"TOKEN": ""}}, "task.yaml") == {"secrets": {"TOKEN": ""}}


def test_a_value_that_json_does_not_know_is_named() -> None:
    with pytest.raises(SkyRequestError, match=r"task\.yaml: config has a value that cannot be sent to the pod: \{1\}"):
        check_task({"config": {"gcp": {1}}}, "task.yaml")


@pytest.mark.parametrize("keys", [sections.TASK, sections.RESOURCES])
def test_every_known_key_takes_a_value_of_each_of_its_types(keys: dict[str, sections.Kinds]) -> None:
    for key, kinds in keys.items():
        for kind in kinds:
            value = kind() if isinstance(kind, type) else "x" if isinstance(kind, frozenset) else type(kind)()
            content: dict[str, Any] = {key: "x" if (key, kind) == ("name", str) else value}
            check_task(content if keys is sections.TASK else {"resources": content}, "task.yaml")


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


class TestUrl:
    """A task at a URL."""

    @pytest.fixture
    def web(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        pages: dict[str, str] = {}
        monkeypatch.setattr(task_url, "read", lambda field, source: pages[source])
        return pages

    def test_it_is_read_and_checked(self, web: dict[str, str]) -> None:
        web["https://example.com/task.yaml?signature=s3cret"] = "run: x\nnum_nodes: 2\n"
        read = read_task("https://example.com/task.yaml?signature=s3cret", None)
        assert read == {"run": "x", "num_nodes": 2}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("rum: x", "https://example.com/a: rum is not a key"),
            ("a: b: c", "'https://example.com/a' cannot be read: mapping values"),
            ("just text", "https://example.com/a: the task must be a mapping, not str"),
            ("x" * 480_001, "'https://example.com/a' has more than 480000 characters"),
            ("a: 1\n---\nb: 2", "'https://example.com/a' has 2 YAML documents"),
        ],
    )
    def test_what_is_wrong_in_it_is_named_without_its_signature(
        self, web: dict[str, str], text: str, message: str
    ) -> None:
        web["https://example.com/a?s3cret"] = text
        with pytest.raises(SkyRequestError, match=re.escape(message)) as refused:
            read_task("https://example.com/a?s3cret", None)
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "run: echo hello",
        "name: a\nrun: x\n",
        "resources:\n  cpus: 2",
        " setup : x",
        "# a task\nrun: x",
        "type: k8s-pvc",
    ],
)
def test_the_text_of_a_yaml_is_no_path(text: str) -> None:
    with pytest.raises(SkyRequestError, match="is the text of a YAML; give it as a dict, or the path or"):
        read_task(text, None)


@pytest.mark.parametrize("text", ["secrets: {TOKEN: hunter2-hunter2}", "{'secrets': {'TOKEN': 'hunter2-hunter2'}}"])
def test_the_text_of_a_yaml_or_dict_is_not_shown(text: str) -> None:
    with pytest.raises(SkyRequestError, match="sky_task_yaml: is the text of a") as refused:
        read_task(text, None)
    assert "hunter2" not in str(refused.value)


@pytest.mark.usefixtures("deployment")
class TestARawTask:
    """A task in which Jinja has nothing to say."""

    def arguments_of(self, **arguments: Any) -> dict[str, Any]:
        operator = SkyLaunchOperator(task_id="launch", dag=make_dag(), **arguments)
        context = context_of(operator)
        operator.render_template_fields(context)
        return operator.build_arguments(context)

    def test_is_left_as_it_is_and_its_arguments_are_rendered(self) -> None:
        task = {"run": "echo ${#NAME} {{ not_ours }} {% raw", "num_nodes": 2}
        arguments = self.arguments_of(sky_task_yaml=task, render_task=False, envs={"A": "{{ params.who }}"})
        assert arguments["task"] == task
        assert arguments["overrides"]["envs"] == {"A": "Zoë"}

    @pytest.mark.parametrize("value", ["no", "{{ params.raw }}", 0, None])
    def test_whether_it_is_one_is_no_template(self, value: Any) -> None:
        with pytest.raises(SkyRequestError, match=r"render_task: .* must be True or False; it is not templated"):
            SkyLaunchOperator(task_id="launch", dag=make_dag(), sky_task_yaml={"run": "x"}, render_task=value)

    @pytest.mark.parametrize("run", ["echo ${#NAME}", "{{ not_ours.name }}", "{% if %}"])
    def test_an_error_of_jinja_says_so(self, run: str) -> None:
        with pytest.raises(SkyRequestError, match=r"sky_task_yaml: Jinja cannot render .* give render_task=False"):
            self.arguments_of(sky_task_yaml={"run": run})


@pytest.mark.usefixtures("deployment")
class TestSpotUntilTheLastTry:
    """``use_spot="until_last_try"``."""

    @pytest.mark.parametrize(("try_number", "is_spot"), [(1, True), (2, True), (3, False)])
    def test_the_last_try_has_none(self, try_number: int, is_spot: bool) -> None:
        operator = SkyLaunchOperator(
            task_id="launch", dag=make_dag(), sky_task_yaml={"run": "x"}, use_spot="{{ 'until_last_try' }}", retries=2
        )
        context = context_of(operator, TaskInstance(try_number=try_number, max_tries=2))
        operator.render_template_fields(context)
        assert operator.build_arguments(context)["overrides"]["resources"] == {"use_spot": is_spot}

    def test_it_needs_retries(self) -> None:
        with pytest.raises(SkyRequestError, match="use_spot: 'until_last_try' needs retries"):
            SkyLaunchOperator(task_id="a", dag=make_dag(), sky_task_yaml={"run": "x"}, use_spot="until_last_try")
