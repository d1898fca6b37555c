"""Operators for clusters: launch, exec, status, down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.base import SkyBaseOperator, cluster_name_for, dag_folder
from k8s_sky_provider.operators.task import TO_BE_RENDERED, check_task, read_task
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

# SkyPilot's own rule (sky/skylet/constants.py: CLUSTER_NAME_VALID_REGEX).
_CLUSTER_NAME = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")


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
        workspace = self.workspace()
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
            else _rendered_cluster_name(self.cluster_name),
            "resources": {name: value for name, value in resources.items() if value is not None},
            "default_image_id": workspace.default_image_id,
            "num_nodes": self.num_nodes,
            "envs": _check_envs(self.envs),
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
            "cluster_name": _rendered_cluster_name(self.cluster_name),
            "envs": _check_envs(self.envs),
        }


class SkyDownOperator(SkyBaseOperator):
    """Take a cluster down, with its disks and its jobs. Returns the cluster's name.

    Wraps ``sky.down``. A cluster that is gone already is fine; a name that SkyPilot never had is an error,
    for behind a typing error a cluster would go on costing money.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param purge: forget the cluster even when the cloud could not end it; you then look after it yourself
    """

    action: ClassVar[str] = "down"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name")

    def __init__(self, *, cluster_name: str | XComArg, purge: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_cluster_name(cluster_name)
        self.cluster_name = cluster_name
        self.purge = purge

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``down``."""
        return {"cluster_name": _rendered_cluster_name(self.cluster_name), "purge": self.purge}


class SkyStatusOperator(SkyBaseOperator):
    """List clusters. Returns a list of dicts with the keys name, status, nodes, resources, launched_at and autostop.

    Wraps ``sky.status``.

    :param cluster_names: the clusters to list; all of this deployment by default (templated)
    :param refresh: ask the clouds, instead of what SkyPilot noted last
    """

    action: ClassVar[str] = "status"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_names")

    def __init__(
        self,
        *,
        cluster_names: Sequence[str | XComArg] | str | XComArg | None = None,
        refresh: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_names = cluster_names
        self.refresh = refresh

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``status``."""
        names: Any = self.cluster_names
        if isinstance(names, str):
            names = [names]
        if names is not None and not (
            isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
        ):
            raise SkyRequestError(f"cluster_names: must be a name or a list of names, not {names!r}")
        return {"cluster_names": names, "refresh": self.refresh}


def check_cluster_name(name: object) -> None:
    """Check a cluster's name as SkyPilot does; one that is still to be rendered or comes from XCom passes.

    :raises SkyRequestError: if SkyPilot would refuse it
    """
    if isinstance(name, str) and not TO_BE_RENDERED.search(name) and not _CLUSTER_NAME.fullmatch(name):
        raise SkyRequestError(
            f"cluster_name: {name!r} must start with a letter, end with a letter or digit, "
            "and have only letters, digits, '-', '_' and '.' between"
        )


def _rendered_cluster_name(name: object) -> str:
    if not isinstance(name, str):
        raise SkyRequestError(f"cluster_name: {name!r} is no name; did the task that it comes from return one?")
    check_cluster_name(name)
    return name


def _check_task_argument(task: object) -> None:
    if isinstance(task, Mapping):
        check_task(task, "sky_task_yaml")
    elif isinstance(task, str) and not task.strip():
        raise SkyRequestError("sky_task_yaml: is empty; give a path or a dict")


def _check_envs(envs: object) -> dict[str, str]:
    if envs is None:
        return {}
    if not isinstance(envs, Mapping):
        raise SkyRequestError(f"envs: must be a mapping, not {type(envs).__name__}")
    for name, value in envs.items():
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", str(name)):
            raise SkyRequestError(f"envs: {name!r} is not a name of an environment variable")
        if value is None:
            raise SkyRequestError(f"envs: {name} has no value; use an empty string for none")
    return {str(name): str(value) for name, value in envs.items()}


def _at_least(number: float | None) -> str | None:
    return None if number is None else f"{number:g}+"
