"""Operators that run a task on a cluster: launch, exec."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.arguments import check_cluster_name, rendered_cluster_name, rendered_envs
from k8s_sky_provider.operators.base import SkyBaseOperator, cluster_name_for, dag_folder
from k8s_sky_provider.operators.task import check_task, read_task
from k8s_sky_provider.protocol import OnCancel, TaskOverrides

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg


class SkyLaunchOperator(SkyBaseOperator):
    """Launch a cluster, or use the one of that name, and run a task on it. Returns the cluster's name.

    Wraps ``sky.launch``. The task waits for the job, with the job's output in its log.

    :param sky_task_yaml: the task: a path beside the DAG file, a path on the volume
        (``~/sky_workdir/train.yaml``) or a dict (templated)
    :param cluster_name: name of the cluster; by default one derived from the DAG, the run, the task and
        its map index, so that a retry meets its own cluster (templated)
    :param cloud: a cloud's name, or ``cheapest`` for any (templated)
    :param infra: where exactly, as ``cloud/region/zone``; instead of ``cloud`` (templated)
    :param gpus: accelerators of each node, as ``A100:4`` (templated)
    :param minimum_cpus: vCPUs that each node has at least
    :param minimum_memory: GiB of memory that each node has at least
    :param disk_size: GiB of disk of each node
    :param image_id: the nodes' image, as ``docker:ubuntu:22.04``; by default the task's own, or else
        ``default_image_id`` of the ``[skypilot]`` section (templated)
    :param num_nodes: number of nodes
    :param envs: environment of the task, over that of its YAML; not for secrets (templated)
    :param auto_down: take the cluster down when its job has ended, whatever came of it
    :param idle_minutes_to_autostop: the net below that: minutes without a job after which the cluster
        takes itself down, or stops with ``down=False``; -1 for never
    :param down: whether idleness takes the cluster down or stops it
    :param retry_until_up: wait for resources instead of failing; bound it with ``execution_timeout``
    """

    action: ClassVar[str] = "launch"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "sky_task_yaml",
        "cluster_name",
        "cloud",
        "infra",
        "gpus",
        "image_id",
        "envs",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SkyBaseOperator.template_fields_renderers,
        "sky_task_yaml": "yaml",
        "envs": "json",
    }

    def __init__(
        self,
        *,
        sky_task_yaml: str | Mapping[str, Any] | XComArg,
        cluster_name: str | XComArg | None = None,
        cloud: str | None = "cheapest",
        infra: str | None = None,
        gpus: str | None = None,
        minimum_cpus: float | None = None,
        minimum_memory: float | None = None,
        disk_size: int | None = None,
        image_id: str | None = None,
        num_nodes: int | None = None,
        envs: Mapping[str, str] | None = None,
        auto_down: bool = True,
        idle_minutes_to_autostop: int = 60,
        down: bool = True,
        retry_until_up: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_task_argument(sky_task_yaml)
        check_cluster_name(cluster_name)
        if infra is not None and cloud not in {None, "cheapest"}:
            raise SkyRequestError(f"infra and cloud: give one of them, not both ({infra!r} and {cloud!r})")
        for name, number in (
            ("minimum_cpus", minimum_cpus),
            ("minimum_memory", minimum_memory),
            ("disk_size", disk_size),
            ("num_nodes", num_nodes),
        ):
            if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float)) or number <= 0):
                raise SkyRequestError(f"{name}: {number!r} is not a number above 0")
        if (
            not isinstance(idle_minutes_to_autostop, int)
            or idle_minutes_to_autostop < -1
            or idle_minutes_to_autostop == 0
        ):
            raise SkyRequestError(
                f"idle_minutes_to_autostop: {idle_minutes_to_autostop!r} is neither minutes from 1 up nor -1 for never"
            )
        self.sky_task_yaml = sky_task_yaml
        self.cluster_name = cluster_name
        self.cloud = cloud
        self.infra = infra
        self.gpus = gpus
        self.minimum_cpus = minimum_cpus
        self.minimum_memory = minimum_memory
        self.disk_size = disk_size
        self.image_id = image_id
        self.num_nodes = num_nodes
        self.envs = envs
        self.auto_down = auto_down
        self.idle_minutes_to_autostop = idle_minutes_to_autostop
        self.down = down
        self.retry_until_up = retry_until_up

    @property
    def default_on_cancel(self) -> OnCancel:
        """Take down what would have been taken down anyway; otherwise only end the job."""
        return OnCancel.DOWN if self.auto_down else OnCancel.CANCEL

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``launch``."""
        workspace = self.resolve_workspace()
        resources = {
            "infra": self.infra or (None if self.cloud in {None, "cheapest"} else self.cloud),
            "accelerators": self.gpus,
            "cpus": _at_least(self.minimum_cpus),
            "memory": _at_least(self.minimum_memory),
            "disk_size": self.disk_size,
            "image_id": self.image_id,
        }
        return {
            "task": read_task(self.sky_task_yaml, dag_folder(context)),
            "cluster_name": cluster_name_for(self.request_owner(context))
            if self.cluster_name is None
            else rendered_cluster_name(self.cluster_name),
            "overrides": dataclasses.asdict(
                TaskOverrides(
                    resources={name: value for name, value in resources.items() if value is not None},
                    default_image_id=workspace.default_image_id,
                    num_nodes=self.num_nodes,
                    envs=rendered_envs(self.envs),
                )
            ),
            "auto_down": self.auto_down,
            "idle_minutes_to_autostop": self.idle_minutes_to_autostop,
            "down": self.down,
            "retry_until_up": self.retry_until_up,
        }


class SkyExecOperator(SkyBaseOperator):
    """Run a task on a cluster that is up, without provisioning or setup. Returns the cluster's name.

    Wraps ``sky.exec``. The task waits for the job, with the job's output in its log.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param sky_task_yaml: the task: a path beside the DAG file, a path on the volume or a dict (templated)
    :param envs: environment of the task, over that of its YAML; not for secrets (templated)
    """

    action: ClassVar[str] = "exec"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name", "sky_task_yaml", "envs")
    template_fields_renderers: ClassVar[dict[str, str]] = SkyLaunchOperator.template_fields_renderers

    def __init__(
        self,
        *,
        cluster_name: str | XComArg,
        sky_task_yaml: str | Mapping[str, Any] | XComArg,
        envs: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_task_argument(sky_task_yaml)
        check_cluster_name(cluster_name)
        self.cluster_name = cluster_name
        self.sky_task_yaml = sky_task_yaml
        self.envs = envs

    @property
    def default_on_cancel(self) -> OnCancel:
        """End the job; the cluster is somebody else's."""
        return OnCancel.CANCEL

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``exec``."""
        return {
            "task": read_task(self.sky_task_yaml, dag_folder(context)),
            "cluster_name": rendered_cluster_name(self.cluster_name),
            "overrides": dataclasses.asdict(TaskOverrides(envs=rendered_envs(self.envs))),
        }


def _check_task_argument(task: object) -> None:
    if isinstance(task, Mapping):
        check_task(task, "sky_task_yaml")
    elif isinstance(task, str) and not task.strip():
        raise SkyRequestError("sky_task_yaml: is empty; give a path or a dict")


def _at_least(number: float | None) -> str | None:
    return None if number is None else f"{number:g}+"
