"""What the operators that take a SkyPilot task have in common: the task and what is said over it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import TemplateError

from k8s_sky_provider.exceptions import SkyRequestError, SkyRetriesWarning
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator, bundle_root, dag_folder, tries_left
from k8s_sky_provider.operators.local_files import LocalFiles, fill_in, mount_in_pod, variables_of
from k8s_sky_provider.operators.task import (
    Task,
    check_git_url,
    check_has_no_secret,
    check_no_password,
    check_task,
    over_each,
    read_documents,
    task_path,
)
from k8s_sky_provider.operators.task_url import is_url, shown
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

UNTIL_LAST_TRY = "until_last_try"
"""What ``use_spot`` is for spot instances on all tries but the last."""


_warned_of: set[tuple[str, str]] = set()


class SkyTaskOperator(SkyBaseOperator):
    """The base of the operators that take a SkyPilot task; not used directly.

    An argument beats the task's YAML, as an option of SkyPilot's command line does. A relative path (``workdir``, a
    source of ``file_mounts``) is beside the task's file, or beside the DAG file if the task is a dict or an argument
    has it; what lies in the DAG bundle travels with the task.

    :param sky_task_yaml: the task: a path beside the DAG file, a path on the volume
        (``~/sky_workdir/train.yaml``), an ``https`` URL or a dict (templated)
    :param render_task: whether Jinja renders a task that is a dict; otherwise ``{{`` and ``{#`` in it are the job's own
    :param job_name: the job's name (templated)
    :param workdir: directory beside the DAG file or on the volume (``~/sky_workdir/...``) that becomes the job's
        working directory (templated)
    :param git_url: a repository that becomes the job's working directory instead (templated)
    :param git_ref: branch, tag or commit of it (templated)
    :param file_mounts: path on the cluster -> path beside the DAG file or on the volume, URL of a bucket, or, unless
        the task is on the volume, a dict as in a task's YAML; besides those of the task (templated)
    :param envs: environment of the job, over that of the task, lists and dicts as JSON; not for secrets (templated)
    :param env_file: dotenv file on the volume with more of it (templated)
    :param job_secrets: names of the job's secrets, whose values come from ``credentials`` with ``env`` (templated)
    :param secret_file: dotenv file on the volume with more of them (templated)
    :param infra: where to run, as ``cloud/region/zone``, ``kubernetes/context`` (templated)
    :param cloud: a cloud's name, or ``cheapest`` for any; instead of ``infra`` (templated)
    :param accelerators: accelerators of each node, as ``A100:4`` or ``{"A100": 4}``; unless the task is on the volume,
        also a list of which the first that there is counts, or a dict of which any does (templated)
    :param gpus: another name of ``accelerators`` (templated)
    :param cpus: vCPUs of each node, as ``4`` or ``4+`` for at least 4 (templated)
    :param minimum_cpus: vCPUs that each node has at least; instead of ``cpus`` (templated)
    :param memory: GiB of memory of each node, as ``16`` or ``16+`` (templated)
    :param minimum_memory: GiB of memory that each node has at least; instead of ``memory`` (templated)
    :param instance_type: the cloud's name of the machine's type (templated)
    :param use_spot: whether the nodes are spot instances; ``until_last_try``: on all tries but the last (templated)
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

    section: ClassVar[str | None] = None
    """The section that a task must have."""

    def __init__(
        self,
        *,
        sky_task_yaml: str | Mapping[str, Any] | XComArg,
        render_task: bool = True,
        job_name: str | None = None,
        workdir: str | None = None,
        git_url: str | None = None,
        git_ref: str | None = None,
        file_mounts: Mapping[str, str | Mapping[str, Any]] | None = None,
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
        self.sky_task_yaml = sky_task_yaml
        self.render_task = read.bare_flag("render_task", render_task)
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
        for one in sky_task_yaml if isinstance(sky_task_yaml, (list, tuple)) else [sky_task_yaml]:
            if isinstance(one, Mapping):
                # Jinja has no business there.
                check_has_no_secret(one, "sky_task_yaml")
        self.check_arguments()
        self._warn_of_no_retries()

    def _readers(self) -> dict[str, read.Reader]:
        text = read.optional(read.text)
        return {
            "sky_task_yaml": self.given_task,
            "job_name": read.optional(read.job_name),
            **dict.fromkeys(("workdir", "git_url", "git_ref", "env_file", "secret_file", "infra", "cloud"), text),
            **dict.fromkeys(("gpus", "instance_type", "disk_tier", "network_tier", "local_disk", "image_id"), text),
            "workspace": text,
            "file_mounts": read.optional(_mounts),
            "envs": read.variables,
            "job_secrets": read.optional(read.names),
            "accelerators": read.optional(_accelerators),
            **dict.fromkeys(("cpus", "memory", "priority"), read.optional(read.text_or_number)),
            **dict.fromkeys(("minimum_cpus", "minimum_memory"), read.optional(read.number)),
            "use_spot": read.optional(_spot),
            **dict.fromkeys(("disk_size", "num_nodes"), read.optional(read.whole_number())),
            "open_ports": read.optional(_ports),
            "config": read.optional(read.mapping),
        }

    def render_template(self, content: Any, context: Context, *args: Any, **kwargs: Any) -> Any:
        """Render a template field, but for a task that Jinja is to leave as it is.

        :raises SkyRequestError: if Jinja cannot render the task
        """
        if content is not self.sky_task_yaml or not isinstance(content, (Mapping, list, tuple)):
            return super().render_template(content, context, *args, **kwargs)
        if not self.render_task:
            return content
        try:
            return super().render_template(content, context, *args, **kwargs)
        except TemplateError as error:
            raise SkyRequestError(
                f"sky_task_yaml: Jinja cannot render the task: {type(error).__name__}: {error}. Where its text is not "
                "meant for Jinja, give render_task=False, or put it between {% raw %} and {% endraw %}"
            ) from error

    def given_task(self, name: str, value: object) -> Any:
        """Read a task: its content, which is checked, or a path."""
        return self.check_content(value, name) if isinstance(value, Mapping) else task_path(name, value)

    def check_content(self, task: object, source: str) -> dict[str, Any]:
        """Return the checked content of a task.

        :param source: named in the errors: the file or the argument that the task came from
        """
        checked = check_task(task, source)
        service = checked.get("service")
        # SkyPilot writes a pool as a kind of service.
        given = {**(service if isinstance(service, Mapping) else {}), **checked}
        if self.section is not None and given.get(self.section) is None:
            raise SkyRequestError(f"{source}: has no {self.section} section, which says what is to be made")
        return checked

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

    def _check_together(self, values: Mapping[str, Any]) -> None:
        for one, other in _NOT_BOTH:
            if read.is_given(values[one]) and read.is_given(values[other]) and values[other] != ANY_CLOUD:
                both = f"{read.shown(self.given(one))} and {read.shown(self.given(other))}"
                raise SkyRequestError(f"{one} and {other}: give one of them, not both ({both})")
        if values["use_spot"] == UNTIL_LAST_TRY and not self.retries:
            raise SkyRequestError(f"use_spot: {UNTIL_LAST_TRY!r} needs retries; without them the first try is the last")
        if read.is_given(values["git_ref"]) and values["git_url"] is None:
            raise SkyRequestError(f"git_ref: {values['git_ref']!r} needs git_url, the repository that it is of")

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the task, what is said over it, and the class's own arguments."""
        values = self.read_arguments(context)
        of_any_task = SkyTaskOperator._readers(self)
        own = {name: value for name, value in values.items() if name not in of_any_task}
        return {**self.task_arguments(values, context), **own}

    def task_arguments(self, values: Mapping[str, Any], context: Context | None) -> dict[str, Any]:
        """Return ``task`` and ``overrides`` of the request.

        :param values: all arguments, read
        :raises SkyRequestError: if the task or one of the arguments is wrong
        """
        check_no_password("envs", values["envs"])
        task = self.read_task(values["sky_task_yaml"], context)
        envs = {**(variables_of(task) if isinstance(task, dict) else {}), **values["envs"]}
        self._files = LocalFiles(folder=dag_folder(context), root=bundle_root(context))
        workdir = self._files.path_in_pod("workdir", fill_in(_workdir(values), envs), is_folder=True)
        file_mounts = {
            fill_in(target, envs): mount_in_pod(f"file_mounts.{target}", fill_in(source, envs), self._files.path_in_pod)
            for target, source in (values["file_mounts"] or {}).items()
        }
        if values["use_spot"] == UNTIL_LAST_TRY:
            values = {**values, "use_spot": context is None or tries_left(context["ti"]) > 0}
        resources = {**self._resources(values), **self.more_resources(values, task)}
        # SkyPilot takes those of a task alone.
        storages = {target: source for target, source in file_mounts.items() if isinstance(source, Mapping)}
        file_mounts = {target: source for target, source in file_mounts.items() if target not in storages}
        several = resources.pop("accelerators") if _are_several(resources.get("accelerators")) else None
        if not isinstance(task, str):
            has_workdir, mounted = workdir is not None, {*file_mounts, *storages}
            task = self._task_in_pod(context, task, values["envs"], has_workdir=has_workdir, mounted=mounted)
            task = over_each(task, storages, several)
        else:
            for name, value in (("file_mounts", storages), ("accelerators", several)):
                if value:
                    raise SkyRequestError(
                        f"{name}: {read.shown(value)} is for a task that is a dict or beside the DAG file; write it "
                        f"into the YAML on the volume ({task!r})"
                    )
        overrides = TaskOverrides(
            resources=resources,
            default_resources={**self._deployment_resources(), **self.default_resources()},
            num_nodes=values["num_nodes"],
            job_name=values["job_name"],
            workdir=workdir,
            file_mounts=file_mounts,
            envs=values["envs"],
            env_file=values["env_file"],
            secrets=values["job_secrets"] or [],
            secret_file=values["secret_file"],
            config={
                **(values["config"] or {}),
                **({"active_workspace": values["workspace"]} if values["workspace"] is not None else {}),
            },
        )
        return {"task": task, "overrides": dataclasses.asdict(overrides)}

    def pack_local_files(self) -> bytes | None:
        """Return the archive of what the task has beside its DAG."""
        return self._files.pack(self.settings.local_files_limit_mb * 1_000_000)

    def _task_in_pod(
        self,
        context: Context | None,
        task: Task,
        envs: Mapping[str, str],
        *,
        has_workdir: bool,
        mounted: Collection[str],
    ) -> Task:
        """Return the task, or the tasks of a pipeline, with the paths that they have in the pod."""
        source, folder = self.sky_task_yaml, dag_folder(context)
        where = shown(source) if isinstance(source, str) else "sky_task_yaml"
        beside = folder
        if folder is not None and isinstance(source, str) and not is_url(source):
            beside = (folder / source).parent

        def in_pod(one: dict[str, Any], which: str) -> dict[str, Any]:
            return self._files.task_in_pod(
                one, f"{where}{which}", beside=beside, envs=envs, has_workdir=has_workdir, mounted=mounted
            )

        if isinstance(task, dict):
            return in_pod(task, "")
        return [in_pod(one, f", document {number}" if len(task) > 1 else "") for number, one in enumerate(task, 1)]

    def read_task(self, given: Any, context: Context | None) -> str | Task:
        """Return the task as the request carries it: its content, or its path on the volume.

        :param given: what :meth:`given_task` returned
        """
        if not isinstance(given, str):
            return given  # type: ignore[no-any-return]  # checked
        documents = read_documents(given, "sky_task_yaml", dag_folder(context), bundle_root(context))
        return documents if isinstance(documents, str) else self.check_documents(documents, shown(given))

    def check_documents(self, documents: Sequence[object], source: str) -> Task:
        """Return the checked content of a file.

        :param source: named in the errors: the file
        """
        if len(documents) > 1:
            raise SkyRequestError(
                f"sky_task_yaml: {source!r} has {len(documents)} YAML documents, a pipeline of tasks or a job group: "
                "SkyJobLaunchOperator takes those"
            )
        return self.check_content(documents[0] if documents else None, source)

    def more_resources(self, values: Mapping[str, Any], task: object) -> dict[str, Any]:
        """Return keys of ``resources`` that the class's own arguments say over the task."""
        del values, task
        return {}

    def default_resources(self) -> dict[str, Any]:
        """Return keys of ``resources`` that hold where the task says nothing."""
        return {}

    def _deployment_resources(self) -> dict[str, Any]:
        if not self.uses_default_resources:
            return {}
        image = {"image_id": self.settings.default_image_id} if self.settings.default_image_id else {}
        return {**image, **self.settings.default_resources}

    def _resources(self, values: Mapping[str, Any]) -> dict[str, Any]:
        resources: dict[str, Any] = {
            "infra": values["infra"] or (None if values["cloud"] == ANY_CLOUD else values["cloud"]),
            "accelerators": values["gpus"] if values["accelerators"] is None else values["accelerators"],
            "cpus": values["cpus"] or _or_more(values["minimum_cpus"]),
            "memory": values["memory"] or _or_more(values["minimum_memory"]),
            **{name: values[name] for name in ("instance_type", "use_spot", "disk_size", "disk_tier", "network_tier")},
            **{name: values[name] for name in ("local_disk", "image_id")},
            "ports": values["open_ports"],
        }
        if values["priority"] is not None:
            number = read.whole(values["priority"])
            resources["priority_class" if number is None else "priority"] = (
                values["priority"] if number is None else number
            )
        return {name: value for name, value in resources.items() if value is not None}


def _mounts(name: str, value: object) -> dict[str, Any]:
    """Read what is mounted: paths, URLs, or dicts as of a task."""
    return {
        target: source
        if source is read.UNKNOWN or isinstance(source, Mapping)
        else read.text(f"{name}.{target}", source)
        for target, source in read.mapping(name, value).items()
    }


def _accelerators(name: str, value: object) -> Any:
    """Read accelerators: a text, a list in the order in which they are wanted, or a mapping of any of them."""
    if isinstance(value, Mapping):
        counts = read.mapping(name, value)
        return {one: _count(f"{name}.{one}", count) if read.is_given(count) else None for one, count in counts.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        several = read.some_names(name, value)
        return several if len(several) > 1 else several[0]
    return read.text(name, value)


def _count(name: str, value: object) -> float:
    number = read.number(name, value)
    return int(number) if number.is_integer() else number


def _are_several(accelerators: object) -> bool:
    if isinstance(accelerators, Mapping):
        return len(accelerators) > 1
    return isinstance(accelerators, list) or (isinstance(accelerators, str) and accelerators.lstrip().startswith("{"))


def _ports(name: str, value: object) -> Any:
    """Read ports: one, a range, or a list of both."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_port(name, port) for port in value]
    return _port(name, value)


def _port(name: str, value: object) -> int | str:
    return value if isinstance(value, int) and read.whole_number()(name, value) else read.text(name, value)


def _workdir(values: Mapping[str, Any]) -> str | dict[str, str] | None:
    if values["git_url"] is not None:
        check_git_url("git_url", values["git_url"])
        return {"url": values["git_url"], **({"ref": values["git_ref"]} if values["git_ref"] is not None else {})}
    workdir: str | None = values["workdir"]
    return workdir


def _or_more(number: float | None) -> str | None:
    return None if number is None else f"{number:g}+"


def _spot(name: str, value: object) -> bool | str:
    return UNTIL_LAST_TRY if value == UNTIL_LAST_TRY else read.flag(name, value)
