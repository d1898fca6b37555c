"""The operators of managed jobs: their arguments become the runner's, and a wrong one is named when the DAG is read."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import (
    SkyBaseOperator,
    SkyJobCancelOperator,
    SkyJobLaunchOperator,
    SkyJobLogsOperator,
    SkyJobQueueOperator,
)
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.protocol import OnCancel, Owner, TaskOverrides
from unit.k8s_sky_provider.operators.running import context_of, make_dag, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

TASK = {"run": "echo hello"}
PIPELINE = [{"name": "pipe"}, {"name": "one", "run": "echo 1"}, {"name": "two", "run": "echo 2"}]
GROUP = [{"name": "group", "execution": "parallel", "primary_tasks": ["one"]}, *PIPELINE[1:]]
OWNER = Owner(deployment="airflow", dag_id="dag", run_id="manual__2026-01-01", task_id="task")


def make(kind: type[SkyBaseOperator], folder: Path | None = None, **arguments: Any) -> Any:
    return kind(task_id="task", dag=make_dag(folder), **arguments)


def arguments_of(kind: type[SkyBaseOperator], folder: Path | None = None, **arguments: Any) -> dict[str, Any]:
    """Return the arguments that the runner would get, after Jinja."""
    operator = make(kind, folder, **arguments)
    context = context_of(operator)
    operator.render_template_fields(context)
    return dict(operator.build_arguments(context))


class TestArguments:
    """What the operator was given is what the runner gets."""

    def test_launch_with_nothing_but_a_task(self) -> None:
        assert arguments_of(SkyJobLaunchOperator, sky_task_yaml=TASK) == {
            "task": TASK,
            "overrides": dataclasses.asdict(TaskOverrides()),
            "job_name": cluster_name_for(OWNER),
            "name_is_of_task_instance": True,
            "pool": None,
            "num_jobs": None,
            "wait": True,
        }

    def test_launch_with_everything(self) -> None:
        arguments = arguments_of(
            SkyJobLaunchOperator,
            sky_task_yaml=TASK,
            job_name="for-{{ ti.task_id }}",
            pool_name="{{ ti.task_id }}",
            num_jobs="{{ 1 + 2 }}",
            wait=False,
            priority=700,
        )
        assert arguments["overrides"]["resources"] == {"priority": 700}
        del arguments["task"], arguments["overrides"]
        assert arguments == {
            "job_name": "for-task",
            "name_is_of_task_instance": False,
            "pool": "task",
            "num_jobs": 3,
            "wait": False,
        }

    @pytest.mark.parametrize("documents", [PIPELINE, GROUP, PIPELINE[1:], [TASK]], ids=["pipe", "group", "bare", "one"])
    @pytest.mark.parametrize("given_as", ["list", "file"])
    def test_launch_takes_several_tasks(self, given_as: str, documents: list[Any], tmp_path: Path) -> None:
        (tmp_path / "job.yaml").write_text("\n---\n".join(str(document) for document in documents))
        task = documents if given_as == "list" else "job.yaml"
        assert arguments_of(SkyJobLaunchOperator, tmp_path, sky_task_yaml=task)["task"] == documents

    def test_launch_leaves_a_file_on_the_volume_to_the_runner(self) -> None:
        assert arguments_of(SkyJobLaunchOperator, sky_task_yaml="~/sky_workdir/job.yaml")["task"] == (
            "~/sky_workdir/job.yaml"
        )

    @pytest.mark.parametrize(
        ("kind", "arguments", "expected"),
        [
            (SkyJobCancelOperator, {"job_ids": 3}, {"job_ids": [3]}),
            (SkyJobCancelOperator, {"job_ids": "{{ 3 }}"}, {"job_ids": [3]}),
            (SkyJobCancelOperator, {"job_ids": [3, "4"], "wait": False}, {"job_ids": [3, 4], "wait": False}),
            (SkyJobCancelOperator, {"job_name": "train"}, {"job_name": "train"}),
            (SkyJobCancelOperator, {"pool_name": "gpus"}, {"pool": "gpus"}),
            (SkyJobCancelOperator, {"all": True}, {}),
            (SkyJobQueueOperator, {}, {}),
            (
                SkyJobQueueOperator,
                {
                    "job_name": "train",
                    "pool_name": "gpus",
                    "skip_finished": True,
                    "statuses": ("RUNNING",),
                    "all_users": True,
                    "limit": 5,
                },
                {
                    "job_name": "train",
                    "pool": "gpus",
                    "skip_finished": True,
                    "statuses": ["RUNNING"],
                    "all_users": True,
                    "limit": 5,
                },
            ),
            (SkyJobLogsOperator, {"job_id": "7"}, {"job_id": 7}),
            (SkyJobLogsOperator, {"job_name": "train", "tail": 9}, {"job_name": "train", "tail": 9}),
            (SkyJobLogsOperator, {"job_id": 7, "follow": False}, {"job_id": 7, "follow": False}),
            (SkyJobLogsOperator, {"job_id": 7, "controller": True}, {"job_id": 7, "controller": True}),
        ],
    )
    def test_of_the_others(
        self, kind: type[SkyBaseOperator], arguments: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        defaults: dict[type[SkyBaseOperator], dict[str, Any]] = {
            SkyJobCancelOperator: {"job_ids": None, "job_name": None, "pool": None, "wait": True},
            SkyJobQueueOperator: {
                "job_name": None,
                "pool": None,
                "skip_finished": False,
                "statuses": None,
                "all_users": False,
                "limit": None,
            },
            SkyJobLogsOperator: {"job_id": None, "job_name": None, "follow": True, "controller": False, "tail": None},
        }
        assert arguments_of(kind, **arguments) == {**defaults[kind], **expected}

    @pytest.mark.parametrize(
        ("kind", "arguments", "on_cancel"),
        [
            (SkyJobLaunchOperator, {"sky_task_yaml": TASK}, OnCancel.CANCEL),
            (SkyJobCancelOperator, {"all": True}, None),
            (SkyJobQueueOperator, {}, None),
            (SkyJobLogsOperator, {"job_id": 1}, None),
        ],
    )
    def test_the_request_says_what_a_kill_does(
        self,
        kind: type[SkyBaseOperator],
        arguments: dict[str, Any],
        on_cancel: OnCancel | None,
        kubernetes: FakeKubernetes,
    ) -> None:
        run_task(lambda: make(kind, **arguments), kubernetes)
        assert (kubernetes.request.action, kubernetes.request.on_cancel) == (kind.action, on_cancel)


class TestWrongArguments:
    """A wrong argument is named, with its value, when the DAG is read."""

    @pytest.mark.parametrize(
        ("kind", "arguments", "message"),
        [
            (SkyJobLaunchOperator, {"sky_task_yaml": ""}, "sky_task_yaml: is empty"),
            (SkyJobLaunchOperator, {"sky_task_yaml": []}, "sky_task_yaml: is empty"),
            (SkyJobLaunchOperator, {"sky_task_yaml": {"runn": "x"}}, "sky_task_yaml: runn is not a key"),
            (
                SkyJobLaunchOperator,
                {"sky_task_yaml": [*PIPELINE, {"runn": "x"}]},
                "sky_task_yaml, task 3: runn is not a key of a SkyPilot task; did you mean 'run'?",
            ),
            (SkyJobLaunchOperator, {"sky_task_yaml": [TASK, "two"]}, "sky_task_yaml, task 2: the task must be a map"),
            (SkyJobLaunchOperator, {"sky_task_yaml": TASK, "num_jobs": 2}, "num_jobs: needs pool_name"),
            (
                SkyJobLaunchOperator,
                {"sky_task_yaml": TASK, "pool_name": "gpus", "num_jobs": 0},
                "num_jobs: 0 is not a whole number from 1 up",
            ),
            (
                SkyJobLaunchOperator,
                {"sky_task_yaml": TASK, "on_cancel": "down"},
                "on_cancel: 'down' is not one of cancel, leave",
            ),
            (SkyJobCancelOperator, {}, "job_ids, job_name, pool_name, all: give one of them"),
            (SkyJobCancelOperator, {"job_ids": 1, "all": True}, "job_ids, job_name, pool_name, all: give one of them"),
            (SkyJobCancelOperator, {"job_ids": "x"}, "job_ids: 'x' is not a whole number from 1 up"),
            (SkyJobQueueOperator, {"limit": 0}, "limit: 0 is not a whole number from 1 up"),
            (SkyJobQueueOperator, {"statuses": ["DONE"]}, "statuses: ['DONE'] is not a list of statuses; they are"),
            (SkyJobQueueOperator, {"statuses": "RUNNING"}, "statuses: 'RUNNING' is not a list of statuses"),
            (SkyJobLogsOperator, {}, "job_id and job_name: give one of them"),
            (SkyJobLogsOperator, {"job_id": 1, "job_name": "x"}, "job_id and job_name: give one of them"),
            (SkyJobLogsOperator, {"job_id": 1, "tail": -1}, "tail: -1 is not a whole number"),
            (SkyJobLogsOperator, {"job_id": 1, "on_cancel": "stop"}, "on_cancel: 'stop' is not one of cancel, leave"),
        ],
    )
    def test_when_the_dag_is_read(self, kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            make(kind, **arguments)

    @pytest.mark.parametrize(
        ("kind", "arguments", "message"),
        [
            (SkyJobLaunchOperator, {"sky_task_yaml": TASK, "job_name": "{{ '' }}"}, "job_name: '' is no name of a job"),
            (SkyJobCancelOperator, {"job_ids": "{{ none }}"}, "job_ids: 'None' is not a whole number"),
            (SkyJobLogsOperator, {"job_id": "{{ none }}"}, "job_id: 'None' is not a whole number"),
        ],
    )
    def test_when_it_is_rendered(self, kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            arguments_of(kind, **arguments)

    def test_in_a_file_of_several_tasks(self, tmp_path: Path) -> None:
        (tmp_path / "job.yaml").write_text("name: pipe\n---\nrun: x\n---\nrum: x\n")
        with pytest.raises(SkyRequestError, match=r"job.yaml, task 2: rum is not a key .* did you mean 'run'"):
            arguments_of(SkyJobLaunchOperator, tmp_path, sky_task_yaml="job.yaml")


@pytest.mark.parametrize("secret", [{"secrets": {"A": "value"}}, {"envs": {"SKYPILOT_DOCKER_PASSWORD": "value"}}])
def test_the_header_of_a_job_group_has_no_secret(secret: dict[str, Any], tmp_path: Path) -> None:
    header: Any = GROUP[0]
    (tmp_path / "group.yaml").write_text(yaml.safe_dump_all([{**header, **secret}, *GROUP[1:]]))
    with pytest.raises(SkyRequestError, match=r"group\.yaml.*: .*(has its value in the task|is a secret)"):
        arguments_of(SkyJobLaunchOperator, tmp_path, sky_task_yaml="group.yaml")
