"""What the operators that take a SkyPilot task have in common: the task and what is said over it."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError, SkyRetriesWarning
from k8s_sky_provider.operators.arguments import (
    as_flag,
    as_number,
    as_whole_number,
    check_flags,
    check_number,
    check_whole_number,
    is_known,
    rendered_envs,
    rendered_names,
    rendered_text,
)
from k8s_sky_provider.operators.base import SkyBaseOperator, bundle_root, dag_folder
from k8s_sky_provider.operators.local_files import LocalFiles
from k8s_sky_provider.operators.task import check_git_url, check_no_password, check_task, read_task
from k8s_sky_provider.protocol import OnEviction, TaskOverrides

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.providers.common.compat.sdk import Context, XComArg

_NOT_BOTH = (
    ("infra", "cloud"),
    ("accelerators", "gpus"),
    ("cpus", "minimum_cpus"),
    ("memory", "minimum_memory"),
    ("workdir", "git_url"),
)
ANY_CLOUD = "cheapest"
"""What airflow-provider-skypilot calls it when SkyPilot may choose."""


_warned_of: set[tuple[str, str]] = set()


class SkyTaskOperator(SkyBaseOperator):
    """The base of the operators that take a SkyPilot task; not used directly.

    An argument beats the task's YAML, as an option of SkyPilot's command line does. A relative path (``workdir``, a
    source of ``file_mounts``) is beside the task's file, or beside the DAG file if the task is a dict or an argument
    has it; what lies in the DAG bundle travels with the task.

    :param sky_task_yaml: the task: a path beside the DAG file, a path on the volume
        (``~/sky_workdir/train.yaml``) or a dict (templated)
    :param job_name: the job's name (templated)
    :param workdir: directory beside the DAG file or on the volume (``~/sky_workdir/...``) that becomes the job's
        working directory (templated)
    :param git_url: a repository that becomes the job's working directory instead (templated)
    :param git_ref: branch, tag or commit of it (templated)
    :param file_mounts: path on the cluster -> path beside the DAG file or on the volume, or URL of a bucket, besides
        those of the task (templated)
    :param envs: environment of the job, over that of the task; not for secrets (templated)
    :param env_file: dotenv file on the volume with more of it (templated)
    :param job_secrets: names of the job's secrets, whose values come from ``credentials`` with ``env`` (templated)
    :param secret_file: dotenv file on the volume with more of them (templated)
    :param infra: where to run, as ``cloud/region/zone``, ``kubernetes/context`` (templated)
    :param cloud: a cloud's name, or ``cheapest`` for any; instead of ``infra`` (templated)
    :param accelerators: accelerators of each node, as ``A100:4`` or ``{"A100": 4}`` (templated)
    :param gpus: another name of ``accelerators`` (templated)
    :param cpus: vCPUs of each node, as ``4`` or ``4+`` for at least 4 (templated)
    :param minimum_cpus: vCPUs that each node has at least; instead of ``cpus`` (templated)
    :param memory: GiB of memory of each node, as ``16`` or ``16+`` (templated)
    :param minimum_memory: GiB of memory that each node has at least; instead of ``memory`` (templated)
    :param instance_type: the cloud's name of the machine's type (templated)
    :param use_spot: whether the nodes are spot instances (templated)
    :param disk_size: GiB of disk of each node (templated)
    :param disk_tier: ``low``, ``medium``, ``high``, ``ultra`` or ``best`` (templated)
    :param network_tier: ``standard`` or ``best`` (templated)
    :param local_disk: local disk of each node, as ``nvme:1000+`` (templated)
    :param image_id: the nodes' image, as ``docker:ubuntu:22.04``; by default the task's own, or else
        ``default_image_id`` of the ``[skypilot]`` section (templated)
    :param open_ports: ports to open, SkyPilot's ``ports``: one, a range ``8000-8010``, or a list (templated)
    :param priority: priority of the job: a number, or the name of a priority class (templated)
    :param num_nodes: number of nodes (templated)
    :param config: SkyPilot configuration over that of ``config.yaml``, for this action only (templated)
    :param workspace: SkyPilot workspace (templated)
    """

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "sky_task_yaml",
        "job_name",
        "workdir",
        "git_url",
        "git_ref",
        "file_mounts",
        "envs",
        "env_file",
        "job_secrets",
        "secret_file",
        "infra",
        "cloud",
        "accelerators",
        "gpus",
        "cpus",
        "minimum_cpus",
        "memory",
        "minimum_memory",
        "instance_type",
        "use_spot",
        "disk_size",
        "disk_tier",
        "network_tier",
        "local_disk",
        "image_id",
        "open_ports",
        "priority",
        "num_nodes",
        "config",
        "workspace",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SkyBaseOperator.template_fields_renderers,
        "sky_task_yaml": "yaml",
        "file_mounts": "json",
        "envs": "json",
        "config": "yaml",
    }

    uses_default_resources: ClassVar[bool] = True
    """Whether the deployment's defaults for resources apply: not where the machines are there already."""

    def __init__(
        self,
        *,
        sky_task_yaml: str | Mapping[str, Any] | XComArg,
        job_name: str | None = None,
        workdir: str | None = None,
        git_url: str | None = None,
        git_ref: str | None = None,
        file_mounts: Mapping[str, str] | None = None,
        envs: Mapping[str, str] | None = None,
        env_file: str | None = None,
        job_secrets: Sequence[str] | None = None,
        secret_file: str | None = None,
        infra: str | None = None,
        cloud: str | None = None,
        accelerators: str | Mapping[str, float] | Sequence[str] | None = None,
        gpus: str | None = None,
        cpus: float | str | None = None,
        minimum_cpus: float | str | None = None,
        memory: float | str | None = None,
        minimum_memory: float | str | None = None,
        instance_type: str | None = None,
        use_spot: bool | str | XComArg | None = None,
        disk_size: int | str | XComArg | None = None,
        disk_tier: str | None = None,
        network_tier: str | None = None,
        local_disk: str | None = None,
        image_id: str | None = None,
        open_ports: int | str | Sequence[int | str] | None = None,
        priority: int | str | None = None,
        num_nodes: int | str | XComArg | None = None,
        config: Mapping[str, Any] | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(sky_task_yaml, Mapping):
            check_task(sky_task_yaml, "sky_task_yaml")
        elif isinstance(sky_task_yaml, str) and not sky_task_yaml.strip():
            raise SkyRequestError("sky_task_yaml: is empty; give a path or a dict")
        check_number("minimum_cpus", minimum_cpus)
        check_number("minimum_memory", minimum_memory)
        if use_spot is not None:
            check_flags(use_spot=use_spot)
        check_whole_number("disk_size", disk_size)
        check_whole_number("num_nodes", num_nodes)
        self.sky_task_yaml = sky_task_yaml
        self.job_name = job_name
        self.workdir = workdir
        self.git_url = git_url
        self.git_ref = git_ref
        self.file_mounts = file_mounts
        self.envs = envs
        self.env_file = env_file
        self.job_secrets = job_secrets
        self.secret_file = secret_file
        self.infra = infra
        self.cloud = cloud
        self.accelerators = accelerators
        self.gpus = gpus
        self.cpus = cpus
        self.minimum_cpus = minimum_cpus
        self.memory = memory
        self.minimum_memory = minimum_memory
        self.instance_type = instance_type
        self.use_spot = use_spot
        self.disk_size = disk_size
        self.disk_tier = disk_tier
        self.network_tier = network_tier
        self.local_disk = local_disk
        self.image_id = image_id
        self.open_ports = open_ports
        self.priority = priority
        self.num_nodes = num_nodes
        self.config = config
        self.workspace = workspace
        self._files = LocalFiles(folder=None, root=None)
        self._check_alternatives()
        self._warn_of_no_retries()

    def _warn_of_no_retries(self) -> None:
        """Say once that an eviction ends this task: Airflow's default is no retry."""
        task = self.dag_id, self.task_id
        if self.on_eviction != OnEviction.FOLLOW or self.retries or task in _warned_of:
            return
        _warned_of.add(task)
        warnings.warn(
            f"{self.dag_id}.{self.task_id}: retries=0, so when a node is drained nobody goes on with its work and "
            "on_cancel ends it; set retries, or on_eviction='kill' if that is meant",
            SkyRetriesWarning,
            stacklevel=2,
        )

    def task_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return ``task`` and ``overrides`` of the request, after Jinja.

        :raises SkyRequestError: if the task or one of the arguments is wrong
        """
        self._check_alternatives()
        check_no_password("envs", self.envs)
        task, envs = self.read_task(context), rendered_envs(self.envs)
        self._files = LocalFiles(folder=dag_folder(context), root=bundle_root(context))
        workdir = self._files.path_in_pod("workdir", self._workdir(), envs=envs, is_folder=True)
        file_mounts = {
            target: self._files.path_in_pod(f"file_mounts.{target}", source, envs=envs)
            for target, source in _mapping("file_mounts", self.file_mounts).items()
        }
        if not isinstance(task, str):
            task = self._task_in_pod(context, task, envs, has_workdir=workdir is not None, mounted=file_mounts)
        overrides = TaskOverrides(
            resources={**self._resources(), **self.more_resources()},
            default_resources={**self._deployment_resources(), **self.default_resources()},
            num_nodes=None if self.num_nodes is None else as_whole_number("num_nodes", self.num_nodes),
            job_name=self.job_name,
            workdir=workdir,
            file_mounts=file_mounts,
            envs=envs,
            env_file=self.env_file,
            secrets=rendered_names("job_secrets", self.job_secrets) or [],
            secret_file=self.secret_file,
            config={
                **_mapping("config", self.config),
                **({"active_workspace": self.workspace} if self.workspace is not None else {}),
            },
        )
        return {"task": task, "overrides": dataclasses.asdict(overrides)}

    def pack_local_files(self) -> bytes | None:
        """Return the archive of what the task has beside its DAG."""
        return self._files.pack(self.settings.local_files_limit_mb * 1_000_000)

    def _task_in_pod(
        self,
        context: Context | None,
        task: dict[str, Any] | list[dict[str, Any]],
        envs: Mapping[str, str],
        *,
        has_workdir: bool,
        mounted: Collection[str],
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Return the task, or the tasks of a pipeline, with the paths that they have in the pod."""
        source, folder = self.sky_task_yaml, dag_folder(context)
        where = str(source) if isinstance(source, str) else "sky_task_yaml"
        beside = (folder / source).parent if folder is not None and isinstance(source, str) else folder

        def in_pod(one: dict[str, Any], which: str) -> dict[str, Any]:
            return self._files.task_in_pod(
                one, f"{where}{which}", beside=beside, envs=envs, has_workdir=has_workdir, mounted=mounted
            )

        if isinstance(task, dict):
            return in_pod(task, "")
        return [in_pod(one, f", document {number}" if len(task) > 1 else "") for number, one in enumerate(task, 1)]

    def read_task(self, context: Context | None) -> str | dict[str, Any] | list[dict[str, Any]]:
        """Return the task as the request carries it: its content, or its path on the volume."""
        return read_task(self.sky_task_yaml, dag_folder(context), bundle_root(context))

    def more_resources(self) -> dict[str, Any]:
        """Return keys of ``resources`` that the class's own arguments say over the task."""
        return {}

    def default_resources(self) -> dict[str, Any]:
        """Return keys of ``resources`` that hold where the task says nothing."""
        return {}

    def _deployment_resources(self) -> dict[str, Any]:
        if not self.uses_default_resources:
            return {}
        image = {"image_id": self.settings.default_image_id} if self.settings.default_image_id else {}
        return {**image, **self.settings.default_resources}

    def _check_alternatives(self) -> None:
        for one, other in _NOT_BOTH:
            values = (getattr(self, one), getattr(self, other))
            if all(value is not None and is_known(value) for value in values) and values[1] != ANY_CLOUD:
                raise SkyRequestError(
                    f"{one} and {other}: give one of them, not both ({values[0]!r} and {values[1]!r})"
                )
        if self.git_ref is not None and is_known(self.git_ref) and self.git_url is None:
            raise SkyRequestError(f"git_ref: {self.git_ref!r} needs git_url, the repository that it is of")

    def _resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = {
            "infra": self.infra or (None if self.cloud == ANY_CLOUD else self.cloud),
            "accelerators": self.gpus if self.accelerators is None else self.accelerators,
            "cpus": _or_more("minimum_cpus", self.minimum_cpus) if self.cpus is None else str(self.cpus),
            "memory": _or_more("minimum_memory", self.minimum_memory) if self.memory is None else str(self.memory),
            "instance_type": self.instance_type,
            "use_spot": None if self.use_spot is None else as_flag("use_spot", self.use_spot),
            "disk_size": None if self.disk_size is None else as_whole_number("disk_size", self.disk_size),
            "disk_tier": self.disk_tier,
            "network_tier": self.network_tier,
            "local_disk": self.local_disk,
            "image_id": self.image_id,
            "ports": self.open_ports,
        }
        if self.priority is not None:
            number = re.fullmatch(r"-?[0-9]{1,9}", str(self.priority))
            resources["priority" if number else "priority_class"] = int(self.priority) if number else self.priority
        return {name: value for name, value in resources.items() if value is not None}

    def _workdir(self) -> str | dict[str, str] | None:
        if self.git_url is not None:
            check_git_url("git_url", self.git_url)
            return {"url": self.git_url, **({"ref": self.git_ref} if self.git_ref is not None else {})}
        return rendered_text("workdir", self.workdir)


def _mapping(name: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SkyRequestError(f"{name}: must be a mapping, not {type(value).__name__}")
    return {str(key): item for key, item in value.items()}


def _or_more(name: str, number: object) -> str | None:
    return None if number is None else f"{as_number(name, number):g}+"
