"""Launch and exec, and what all operators have in common: a wrong argument is named when the DAG is read."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections import UserList
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, mask_secret
from hypothesis import given
from hypothesis import strategies as st

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import (
    SkyBaseOperator,
    SkyDownOperator,
    SkyExecOperator,
    SkyLaunchOperator,
    SkyStatusOperator,
)
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.operators.read import check_carries_no_secret
from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, TaskOverrides
from unit.k8s_sky_provider.airflow_version import serialized
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

TASK = {"run": "echo hello"}
OPERATORS: list[tuple[type[SkyBaseOperator], dict[str, Any]]] = [
    (SkyLaunchOperator, {"sky_task_yaml": TASK}),
    (SkyExecOperator, {"sky_task_yaml": TASK, "cluster_name": "demo"}),
    (SkyDownOperator, {"cluster_name": "demo"}),
    (SkyStatusOperator, {}),
]
OWNER = Owner(deployment="airflow", dag_id="train_daily", run_id="manual__2026", task_id="launch")


def arguments_of(operator: SkyBaseOperator, ti: TaskInstance | None = None) -> dict[str, Any]:
    """Return the arguments that the runner would get, after Jinja."""
    context = context_of(operator, ti)
    operator.render_template_fields(context)
    return operator.build_arguments(context)


def make_launch(**arguments: Any) -> SkyLaunchOperator:
    return SkyLaunchOperator(task_id="launch", dag=make_dag(), **{"sky_task_yaml": TASK, **arguments})


class TestArguments:
    """What the operator was given is what the runner gets."""

    def test_launch_with_nothing_but_a_task(self) -> None:
        assert arguments_of(make_launch(cluster_name="demo")) == {
            "task": TASK,
            "cluster_name": "demo",
            "overrides": dataclasses.asdict(
                TaskOverrides(default_resources={"autostop": {"idle_minutes": 60, "down": True}})
            ),
            "auto_down": True,
            "down_after": [code for code in ExitCode if code is not ExitCode.OK],
            "wait": True,
            "retry_until_up": False,
            "no_setup": False,
            "fast": False,
            "resize": False,
            "clone_disk_from": None,
            "dryrun": False,
        }

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"cloud": "aws"}, {"infra": "aws"}),
            ({"cloud": "cheapest"}, {}),
            ({"cloud": None}, {}),
            ({"infra": "aws/us-east-1"}, {"infra": "aws/us-east-1"}),
            ({"cloud": "cheapest", "infra": "k8s"}, {"infra": "k8s"}),
            ({"gpus": "A100:4"}, {"accelerators": "A100:4"}),
            ({"accelerators": {"A100": 4}}, {"accelerators": {"A100": 4}}),
            ({"cpus": 2}, {"cpus": "2"}),
            ({"cpus": "2+"}, {"cpus": "2+"}),
            ({"minimum_cpus": 2}, {"cpus": "2+"}),
            ({"minimum_cpus": 0.5}, {"cpus": "0.5+"}),
            ({"minimum_cpus": "{{ 1 + 1 }}"}, {"cpus": "2+"}),
            ({"memory": "16+"}, {"memory": "16+"}),
            ({"minimum_memory": 16.0}, {"memory": "16+"}),
            ({"instance_type": "p4d.24xlarge"}, {"instance_type": "p4d.24xlarge"}),
            ({"use_spot": True}, {"use_spot": True}),
            ({"use_spot": False}, {"use_spot": False}),
            ({"disk_size": 100}, {"disk_size": 100}),
            ({"disk_size": "{{ 50 * 2 }}"}, {"disk_size": 100}),
            ({"disk_tier": "best"}, {"disk_tier": "best"}),
            ({"network_tier": "best"}, {"network_tier": "best"}),
            ({"local_disk": "nvme:1000+"}, {"local_disk": "nvme:1000+"}),
            ({"image_id": "docker:ubuntu"}, {"image_id": "docker:ubuntu"}),
            ({"open_ports": [8080, "9000-9010"]}, {"ports": [8080, "9000-9010"]}),
            ({"priority": 500}, {"priority": 500}),
            ({"priority": "500"}, {"priority": 500}),
            ({"priority": "high"}, {"priority_class": "high"}),
        ],
        ids=str,
    )
    def test_an_argument_beats_the_resources_of_the_task(
        self, arguments: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        assert arguments_of(make_launch(**arguments))["overrides"]["resources"] == expected

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"idle_minutes_to_autostop": 5}, {"idle_minutes": 5, "down": True}),
            ({"down": False}, {"idle_minutes": 60, "down": False}),
            ({"wait_for": "none"}, {"idle_minutes": 60, "down": True, "wait_for": "none"}),
            ({"idle_minutes_to_autostop": -1}, False),
            ({"idle_minutes_to_autostop": -1, "wait": False}, False),
            ({"wait": False}, {"idle_minutes": 1, "down": True}),
            ({"wait": False, "idle_minutes_to_autostop": 5}, {"idle_minutes": 5, "down": True}),
        ],
        ids=str,
    )
    def test_an_autostop_that_is_asked_for_beats_the_tasks(self, arguments: dict[str, Any], expected: object) -> None:
        assert arguments_of(make_launch(**arguments))["overrides"]["resources"] == {"autostop": expected}

    @pytest.mark.parametrize(
        ("of_the_task", "arguments", "expected"),
        [
            ({"idle_minutes": 600}, {"wait_for": "jobs"}, {"idle_minutes": 600, "wait_for": "jobs"}),
            ({"idle_minutes": "600"}, {"down": True}, {"idle_minutes": 600, "down": True}),
            (
                {"idle_minutes": 600, "wait_for": "none", "down": False},
                {"idle_minutes_to_autostop": 5},
                {"idle_minutes": 5, "wait_for": "none", "down": False},
            ),
            (600, {"wait_for": "jobs"}, {"idle_minutes": 600, "wait_for": "jobs"}),
            ("10h", {"down": True}, {"idle_minutes": 600, "down": True}),
            (True, {"wait_for": "jobs"}, {"idle_minutes": 0, "wait_for": "jobs"}),
            (False, {"wait_for": "jobs"}, None),
            (False, {"idle_minutes_to_autostop": 5}, {"idle_minutes": 5, "down": True}),
            ({"down": False}, {"wait": False}, {"idle_minutes": 1, "down": True}),
            ({"idle_minutes": 600}, {}, None),
        ],
        ids=str,
    )
    def test_an_autostop_of_the_task_is_kept_where_no_argument_says_otherwise(
        self, of_the_task: object, arguments: dict[str, Any], expected: object
    ) -> None:
        task = {"run": "x", "resources": {"autostop": of_the_task}}
        assert arguments_of(make_launch(sky_task_yaml=task, **arguments))["overrides"]["resources"].get("autostop") == (
            expected
        )

    @pytest.mark.parametrize(
        ("accelerators", "in_the_task", "over_it"),
        [
            ("A100:4", "V100", "A100:4"),
            (["A100:4"], "V100", "A100:4"),
            ({"A100": "4"}, "V100", {"A100": 4}),
            (["A100:1", "V100:1"], ["A100:1", "V100:1"], None),
            ({"A100": 1, "V100": 0.5}, {"A100": 1, "V100": 0.5}, None),
            ("{A100:1, V100:1}", "{A100:1, V100:1}", None),
        ],
        ids=str,
    )
    def test_several_accelerators_are_a_choice_as_in_a_task(
        self, accelerators: Any, in_the_task: Any, over_it: Any
    ) -> None:
        option = {"infra": "aws", "accelerators": "L4"}
        task: dict[str, Any] = {"run": "x", "resources": {"accelerators": "V100", "any_of": [option]}}
        sent = arguments_of(make_launch(sky_task_yaml=task, accelerators=accelerators))
        resources = sent["task"]["resources"]
        assert resources["accelerators"] == in_the_task
        assert resources["any_of"] == [{"infra": "aws", **({} if over_it is None else {"accelerators": "L4"})}]
        assert sent["overrides"]["resources"].get("accelerators") == over_it
        assert task["resources"]["accelerators"] == "V100", "what the author wrote stays as it is"

    @pytest.mark.parametrize("mount", [{"name": "ckpt", "mode": "MOUNT"}, {"source": "s3://ckpt", "mode": "MOUNT"}])
    def test_a_bucket_with_options_is_mounted_as_in_a_task(self, mount: dict[str, str]) -> None:
        task = {"run": "x", "file_mounts": {"/a": "s3://a", "/ckpt": "s3://old"}}
        sent = arguments_of(make_launch(sky_task_yaml=task, file_mounts={"/ckpt": mount, "/b": "s3://b"}))
        assert sent["task"]["file_mounts"] == {"/a": "s3://a", "/ckpt": mount}
        assert sent["overrides"]["file_mounts"] == {"/b": "s3://b"}

    @pytest.mark.parametrize(
        "arguments",
        [
            {"accelerators": ["A100:1", "V100:1"]},
            {"accelerators": {"A100": 1, "V100": 1}},
            {"file_mounts": {"/ckpt": {"name": "ckpt"}}},
        ],
        ids=str,
    )
    def test_neither_is_for_a_task_on_the_volume(self, arguments: dict[str, Any]) -> None:
        ((name, value),) = arguments.items()
        message = f"{name}: {value!r} is for a task that is a dict or beside the DAG file"
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            arguments_of(make_launch(sky_task_yaml="~/sky_workdir/task.yaml", **arguments))

    def test_variables_are_filled_in_as_in_a_task(self) -> None:
        overrides = arguments_of(
            make_launch(
                sky_task_yaml={"run": "x", "envs": {"BUCKET": "old", "PART": 1}},
                envs={"BUCKET": "new"},
                workdir="~/sky_workdir/$BUCKET",
                file_mounts={"/data/$PART": "s3://${BUCKET}/$PART/$OTHER"},
            )
        )["overrides"]
        assert overrides["workdir"] == "~/sky_workdir/new"
        assert overrides["file_mounts"] == {"/data/1": "s3://new/1/$OTHER"}

    def test_without_auto_down_a_launch_that_does_not_wait_keeps_the_usual_net(self) -> None:
        overrides = arguments_of(make_launch(wait=False, auto_down=False))["overrides"]
        assert (overrides["resources"], overrides["default_resources"]) == (
            {},
            {"autostop": {"idle_minutes": 60, "down": True}},
        )

    @pytest.mark.parametrize(
        ("arguments", "name", "expected"),
        [
            ({"num_nodes": 3}, "num_nodes", 3),
            ({"num_nodes": "{{ 1 + 2 }}"}, "num_nodes", 3),
            ({"job_name": "train-{{ ti.task_id }}"}, "job_name", "train-task"),
            ({"workdir": "~/sky_workdir/{{ params.who }}"}, "workdir", "~/sky_workdir/Zoë"),
            ({"git_url": "https://x/y"}, "workdir", {"url": "https://x/y"}),
            ({"git_url": "https://x/y", "git_ref": "main"}, "workdir", {"url": "https://x/y", "ref": "main"}),
            ({"file_mounts": {"/data": "s3://{{ params.who }}"}}, "file_mounts", {"/data": "s3://Zoë"}),
            ({"envs": {"EPOCHS": 3, "EMPTY": ""}}, "envs", {"EPOCHS": "3", "EMPTY": ""}),
            ({"env_file": "~/sky_workdir/.env"}, "env_file", "~/sky_workdir/.env"),
            ({"job_secrets": ["TOKEN"]}, "secrets", ["TOKEN"]),
            ({"job_secrets": "TOKEN"}, "secrets", ["TOKEN"]),
            ({"job_secrets": UserList(["TOKEN"])}, "secrets", ["TOKEN"]),
            ({"secret_file": "~/.secrets"}, "secret_file", "~/.secrets"),
            ({"config": {"kubernetes": {"a": "{{ 1 }}"}}}, "config", {"kubernetes": {"a": "1"}}),
            ({"workspace": "team-a", "config": {"b": 1}}, "config", {"b": 1, "active_workspace": "team-a"}),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("kind", [SkyLaunchOperator, SkyExecOperator])
    def test_an_argument_beats_the_task(
        self, kind: type[SkyBaseOperator], arguments: dict[str, Any], name: str, expected: object
    ) -> None:
        operator = kind(task_id="task", dag=make_dag(), cluster_name="demo", sky_task_yaml=TASK, **arguments)
        assert arguments_of(operator)["overrides"][name] == expected

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("auto_down", False),
            ("wait", False),
            ("retry_until_up", True),
            ("no_setup", True),
            ("fast", True),
            ("resize", True),
            ("clone_disk_from", "other"),
            ("dryrun", True),
        ],
    )
    def test_launch_passes_on(self, name: str, value: object) -> None:
        assert arguments_of(make_launch(**{name: value}))[name] == value

    def test_launch_names_the_deployments_image_for_nodes_as_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__SKYPILOT__DEFAULT_IMAGE_ID", "docker:nodes")
        assert arguments_of(make_launch())["overrides"]["default_resources"]["image_id"] == "docker:nodes"

    def test_exec_asks_for_no_image_of_a_machine_that_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__SKYPILOT__DEFAULT_IMAGE_ID", "docker:nodes")
        operator = SkyExecOperator(task_id="exec", dag=make_dag(), cluster_name="demo", sky_task_yaml=TASK)
        assert arguments_of(operator)["overrides"] == dataclasses.asdict(TaskOverrides())

    def test_launch_without_a_name_uses_one_of_the_task_instance(self) -> None:
        name = arguments_of(make_launch(), TaskInstance(task_id="launch"))["cluster_name"]
        assert name == cluster_name_for(dataclasses.replace(OWNER, dag_id="dag", run_id="manual__2026-01-01"))

    def test_exec(self) -> None:
        operator = SkyExecOperator(
            task_id="exec", dag=make_dag(), cluster_name="demo", sky_task_yaml="~/task.yaml", envs={"A": "1"}
        )
        assert arguments_of(operator) == {
            "task": "~/task.yaml",
            "cluster_name": "demo",
            "overrides": dataclasses.asdict(TaskOverrides(envs={"A": "1"})),
            "wait": True,
        }
        assert operator.default_on_cancel is OnCancel.CANCEL

    def test_a_task_beside_the_dag_is_read_by_the_worker(self, tmp_path: Path) -> None:
        (tmp_path / "task.yaml").write_text("run: echo from the file\n")
        operator = SkyLaunchOperator(task_id="launch", sky_task_yaml="task.yaml", dag=make_dag(tmp_path))
        assert arguments_of(operator)["task"] == {"run": "echo from the file"}

    @pytest.mark.parametrize(("kind", "arguments"), OPERATORS)
    def test_the_request_has_the_action_of_the_class(
        self, kind: type[SkyBaseOperator], arguments: dict[str, Any], kubernetes: FakeKubernetes
    ) -> None:
        run_task(lambda: kind(task_id="task", dag=make_dag(), **arguments), kubernetes)
        assert kubernetes.request.action == kind.action
        assert kind.__name__ == f"Sky{kind.action.title().replace('_', '')}Operator"


class TestWrongArguments:
    """A wrong argument is named, with its value, when the DAG is read."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"cluster_name": "1st"}, "cluster_name: '1st' must start with a letter"),
            ({"cluster_name": "demo-"}, "cluster_name: 'demo-' must start with a letter, end with"),
            ({"cluster_name": "my demo"}, "cluster_name: 'my demo' must"),
            ({"cluster_name": ""}, "cluster_name: '' must"),
            ({"minimum_cpus": 0}, "minimum_cpus: 0 is not a number above 0"),
            ({"minimum_cpus": "two"}, "minimum_cpus: 'two' is not a number above 0"),
            ({"minimum_cpus": float("inf")}, "minimum_cpus: inf is not a number above 0"),
            ({"minimum_cpus": True}, "minimum_cpus: True is not a number above 0"),
            ({"minimum_memory": -1}, "minimum_memory: -1 is not a number above 0"),
            ({"disk_size": "big"}, "disk_size: 'big' is not a whole number from 1 up"),
            ({"num_nodes": 2.5}, "num_nodes: 2.5 is not a whole number from 1 up"),
            ({"disk_size": 99.5}, "disk_size: 99.5 is not a whole number from 1 up"),
            ({"num_nodes": 0}, "num_nodes: 0 is not a whole number from 1 up"),
            ({"idle_minutes_to_autostop": 0}, "idle_minutes_to_autostop: 0 is neither minutes from 1 up nor -1"),
            ({"idle_minutes_to_autostop": -2}, "idle_minutes_to_autostop: -2 is neither"),
            ({"wait_for": "godot"}, "wait_for: 'godot' is not one of jobs_and_ssh, jobs, none"),
            ({"accelerators": "A100", "gpus": "H100"}, "accelerators and gpus: give one of them"),
            ({"cpus": 2, "minimum_cpus": 1}, "cpus and minimum_cpus: give one of them, not both (2 and 1)"),
            ({"memory": 2, "minimum_memory": 1}, "memory and minimum_memory: give one of them"),
            ({"workdir": "~/x", "git_url": "https://x/y"}, "workdir and git_url: give one of them"),
            ({"git_ref": "main"}, "git_ref: 'main' needs git_url"),
            ({"infra": "aws", "cloud": "gcp"}, "infra and cloud: give one of them, not both ('aws' and 'gcp')"),
            ({"sky_task_yaml": ""}, "sky_task_yaml: is empty; give a path or a dict"),
            ({"envs": {"1A": "x"}}, "envs: '1A' is not a name of an environment variable"),
            ({"envs": {"A": None}}, "envs: A has no value; use an empty string for none"),
            ({"envs": "A=1"}, "envs: must be a mapping, not str"),
            ({"file_mounts": "a:b"}, "file_mounts: must be a mapping, not str"),
            ({"job_secrets": [1]}, "job_secrets: must be a name or a list of names, not [1]"),
            ({"sky_task_yaml": {"runn": "x"}}, "sky_task_yaml: runn is not a key of a SkyPilot task"),
        ],
        ids=str,
    )
    def test_of_launch(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            make_launch(**arguments)

    @pytest.mark.parametrize(
        ("kind", "arguments"),
        [
            (SkyExecOperator, {"cluster_name": "1st", "sky_task_yaml": TASK}),
            (SkyDownOperator, {"cluster_name": "1st"}),
        ],
    )
    def test_of_a_name_in_the_other_operators(self, kind: type[SkyBaseOperator], arguments: dict[str, Any]) -> None:
        with pytest.raises(SkyRequestError, match="cluster_name: '1st' must start with a letter"):
            kind(task_id="task", **arguments)

    def test_of_an_argument_that_does_not_exist(self) -> None:
        with pytest.raises((TypeError, AirflowException), match="cluster_nam"):
            SkyDownOperator(task_id="down", cluster_name="demo", cluster_nam="demo")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"cluster_name": "{{ params.who }}!"}, "cluster_name: 'Zoë!' must start with a letter"),
            ({"num_nodes": "{{ params.who }}"}, "num_nodes: 'Zoë' is not a whole number from 1 up"),
            ({"workdir": "{{ '' }}"}, "workdir: must be a text, not ''"),
            ({"sky_task_yaml": "missing-{{ params.who }}.yaml"}, "missing-Zoë.yaml"),
        ],
        ids=str,
    )
    def test_that_only_shows_after_jinja(self, arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
        operator = SkyLaunchOperator(task_id="launch", dag=make_dag(tmp_path), **{"sky_task_yaml": TASK, **arguments})
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            arguments_of(operator)

    @pytest.mark.parametrize("value", [None, 7, ["demo"]])
    def test_that_another_task_returned(self, value: Any) -> None:
        message = re.escape(f"cluster_name: {value!r} is no name; did the task")
        with pytest.raises(SkyRequestError, match=message):
            SkyExecOperator(task_id="task", cluster_name=value, sky_task_yaml=TASK)
        operator = SkyExecOperator(task_id="task", dag=make_dag(), cluster_name="demo", sky_task_yaml=TASK)
        operator.cluster_name = value
        with pytest.raises(SkyRequestError, match=message):
            arguments_of(operator)


class TestTemplates:
    """Jinja renders what the documentation says it renders."""

    @pytest.mark.parametrize(("kind", "arguments"), OPERATORS)
    def test_template_fields_are_a_tuple_of_attributes_without_repetition(
        self, kind: type[SkyBaseOperator], arguments: dict[str, Any]
    ) -> None:
        fields = kind.template_fields
        operator = kind(task_id="task", **arguments)
        assert isinstance(fields, tuple)
        assert len(set(fields)) == len(fields)
        assert set(SkyBaseOperator.template_fields) <= set(fields)
        assert all(hasattr(operator, name) for name in fields)
        assert set(kind.template_fields_renderers) <= {*fields, "env_vars"}

    def test_a_launch_is_rendered_through_and_through(self) -> None:
        arguments = arguments_of(
            make_launch(
                cluster_name="demo-{{ ti.task_id }}",
                sky_task_yaml={"run": "echo {{ params.who }}", "resources": {"ports": ["{{ ti.map_index }}"]}},
                cloud=None,
                infra="{{ 'aws' }}/us-east-1",
                gpus="{{ 'A100' }}:4",
                image_id="docker:{{ params.who }}",
                envs={"WHO": "{{ params.who }}"},
            )
        )
        assert arguments["cluster_name"] == "demo-task"
        assert arguments["task"] == {"run": "echo Zoë", "resources": {"ports": ["-1"]}}
        assert arguments["overrides"]["resources"] == {
            "infra": "aws/us-east-1",
            "accelerators": "A100:4",
            "image_id": "docker:Zoë",
        }
        assert arguments["overrides"]["envs"] == {"WHO": "Zoë"}

    @pytest.mark.parametrize("name", ["{{ params.name }}", "{% if true %}demo{% endif %}"])
    def test_a_name_that_is_still_to_be_rendered_is_not_refused(self, name: str) -> None:
        assert SkyDownOperator(task_id="down", cluster_name=name).cluster_name == name

    def test_the_fields_of_the_deployment_are_rendered(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.claims = {"state-task"}
        run_task(
            lambda: make_launch(
                volume_claim="state-{{ ti.task_id }}",
                config_map="map-{{ ti.task_id }}",
                service_account_name="{{ 'sa' }}",
            ),
            kubernetes,
        )
        spec = kubernetes.pod.spec
        volumes = {volume.name: volume for volume in spec.volumes}
        assert volumes["sky-state"].persistent_volume_claim.claim_name == "state-task"
        assert volumes["sky-config"].config_map.name == "map-task"
        assert spec.service_account_name == "sa"


class TestDags:
    """The operators chain, map and serialize as all others do."""

    def test_a_chain_over_outputs_serializes_with_its_dependencies(self) -> None:
        with make_dag() as dag:
            launch = SkyLaunchOperator(task_id="launch", sky_task_yaml=TASK, auto_down=False)
            run = SkyExecOperator(task_id="exec", cluster_name=launch.output, sky_task_yaml="~/task.yaml")
            SkyStatusOperator(task_id="status", cluster_names=launch.output)
            SkyDownOperator(task_id="down", cluster_name=run.output)
        restored = serialized(dag)
        assert restored.get_task("launch").downstream_task_ids == {"exec", "status"}
        assert restored.get_task("exec").downstream_task_ids == {"down"}
        assert set(restored.get_task("exec").template_fields) == set(SkyExecOperator.template_fields)

    def test_outputs_of_other_tasks_may_be_any_argument_that_is_templated(self) -> None:
        with make_dag() as dag:
            first: Any = BaseOperator(task_id="first")
            SkyLaunchOperator(
                task_id="launch",
                sky_task_yaml=first.output,
                cluster_name=first.output["name"],
                infra=first.output["infra"],
                envs=first.output["envs"],
                volume_claim=first.output["claim"],
            )
            SkyExecOperator(
                task_id="nested",
                cluster_name="demo",
                sky_task_yaml={"run": first.output["command"], "resources": first.output["resources"]},
            )
        restored = serialized(dag)
        assert restored.get_task("first").downstream_task_ids == {"launch", "nested"}

    def test_mapped_operators_serialize_and_take_their_value(self) -> None:
        with make_dag() as dag:
            launch = SkyLaunchOperator(task_id="launch", sky_task_yaml=TASK)
            tasks: list[dict[str, Any]] = [{"run": "a"}, {"run": "b"}]
            mapped = SkyExecOperator.partial(task_id="exec", cluster_name=launch.output).expand(sky_task_yaml=tasks)
            SkyLaunchOperator.partial(task_id="many", sky_task_yaml=TASK).expand(num_nodes=[1, 2])
            SkyDownOperator.partial(task_id="down").expand(cluster_name=mapped.output)
            SkyLaunchOperator.partial(task_id="kwargs").expand_kwargs([{"sky_task_yaml": task} for task in tasks])
        restored = serialized(dag)
        assert restored.get_task("exec").downstream_task_ids == {"down"}
        operator = mapped.unmap({"sky_task_yaml": {"run": "b"}})
        assert isinstance(operator, SkyExecOperator)
        assert operator.sky_task_yaml == {"run": "b"}

    def test_a_wrong_value_of_a_mapped_argument_is_refused_when_it_is_taken(self) -> None:
        with make_dag():
            mapped = SkyLaunchOperator.partial(task_id="many", sky_task_yaml=TASK).expand(num_nodes=[1, 0])
        with pytest.raises(SkyRequestError, match="num_nodes: 0 is not a whole number from 1 up"):
            mapped.unmap({"num_nodes": 0})


class TestClusterName:
    """The name that a launch without a name uses."""

    def test_it_says_where_it_comes_from(self) -> None:
        assert re.fullmatch(r"train-daily-launch-[0-9a-f]{8}", cluster_name_for(OWNER))

    def test_it_never_changes_between_versions(self) -> None:
        # A retry after an upgrade must meet the cluster that it already has.
        assert cluster_name_for(OWNER) == "train-daily-launch-15a2b783"

    def test_a_retry_meets_its_own_cluster(self) -> None:
        assert cluster_name_for(dataclasses.replace(OWNER, try_number=5)) == cluster_name_for(OWNER)

    @pytest.mark.parametrize(
        "change",
        [{"deployment": "b"}, {"dag_id": "b"}, {"run_id": "b"}, {"task_id": "b"}, {"map_index": 0}],
        ids=lambda change: next(iter(change)),
    )
    def test_another_task_instance_has_another(self, change: dict[str, Any]) -> None:
        assert cluster_name_for(dataclasses.replace(OWNER, **change)) != cluster_name_for(OWNER)

    @given(dag_id=st.text(), task_id=st.text(), run_id=st.text(), map_index=st.integers(-1, 10_000))
    def test_skypilot_takes_it_whatever_the_ids_are(
        self, dag_id: str, task_id: str, run_id: str, map_index: int
    ) -> None:
        owner = Owner(deployment="airflow", dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
        name = cluster_name_for(owner)
        # sky/skylet/constants.py: CLUSTER_NAME_VALID_REGEX; Kubernetes takes no capitals.
        assert re.fullmatch(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?", name)
        assert name == name.lower()
        assert len(name) <= 40


class TestSecrets:
    """A request carries no secret: whoever may read pods can read it."""

    @pytest.fixture
    def password(self) -> str:
        password = "hunter2-of-the-warehouse"
        # As Airflow does when it reads a connection.
        mask_secret(password)
        return password

    @pytest.mark.parametrize(
        ("field", "arguments"),
        [
            ("task", {"sky_task_yaml": {"run": "psql PASSWORD"}}),
            ("task", {"sky_task_yaml": {"run": "mysql -pPASSWORD"}}),
            ("task", {"sky_task_yaml": {"run": "x", "envs": {"A": "PASSWORD"}}}),
            ("task", {"sky_task_yaml": {"run": "x", "_note": ["PASSWORD"]}}),
            ("overrides", {"envs": {"A": "PASSWORD"}}),
            ("overrides", {"config": {"kubernetes": {"a": ["b", "PASSWORD"]}}}),
        ],
    )
    def test_that_airflow_knows(
        self, password: str, kubernetes: FakeKubernetes, field: str, arguments: dict[str, Any]
    ) -> None:
        filled = json.loads(json.dumps({"sky_task_yaml": TASK, **arguments}).replace("PASSWORD", password))
        with pytest.raises(SkyRequestError, match=f"{field}: has a secret of an Airflow connection") as caught:
            run_task(lambda: make_launch(**filled), kubernetes)
        assert password not in str(caught.value)
        assert not kubernetes.created

    @pytest.mark.parametrize(
        ("run", "is_refused"), [("overtrain-1 *** x", False), ("echo overtrain", False), ("overt", True)]
    )
    def test_a_word_that_is_a_password_too(self, run: str, is_refused: bool) -> None:
        mask_secret("overt")
        operator = make_launch(sky_task_yaml={"run": run, "envs": {"overt": "key"}})
        with pytest.raises(SkyRequestError, match="task: has") if is_refused else contextlib.nullcontext():
            check_carries_no_secret(arguments_of(operator))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"git_url": "https://ghp_token@github.com/a/b"}, "git_url: has a name or a password in it"),
            ({"git_url": "{{ 'https://x:ghp_token@github.com/a/b' }}"}, "git_url: has a name or a password in it"),
            ({"git_url": "ssh://git:pw@github.com/a/b"}, "git_url: has a name or a password in it"),
            (
                {"sky_task_yaml": {"run": "x", "workdir": {"url": "https://x:ghp_token@github.com/a/b"}}},
                "sky_task_yaml: workdir.url: has a name or a password in it",
            ),
            ({"envs": {"SKYPILOT_DOCKER_PASSWORD": "ghp_token"}}, "envs: SKYPILOT_DOCKER_PASSWORD is a secret"),
            (
                {"sky_task_yaml": {"run": "x", "envs": {"SKYPILOT_DOCKER_PASSWORD": "ghp_token"}}},
                "sky_task_yaml: envs: SKYPILOT_DOCKER_PASSWORD is a secret",
            ),
        ],
        ids=str,
    )
    def test_that_stands_where_one_is_given(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)) as caught:
            arguments_of(make_launch(**arguments))
        assert "ghp_token" not in str(caught.value)

    @pytest.mark.parametrize("url", ["https://github.com/a/b@c", "ssh://git@github.com/a/b", "git@github.com:a/b"])
    def test_others_are_none(self, url: str) -> None:
        assert arguments_of(make_launch(git_url=url))["overrides"]["workdir"] == {"url": url}
