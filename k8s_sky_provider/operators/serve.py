"""Operators for services (up, update, status, down, logs) and for pools of workers (apply, status, down)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyServeEndpointLink
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    Names = Sequence[str | XComArg] | str | XComArg | None

MODES = ("rolling", "blue_green")
"""How a new version takes over: replica by replica, or all at once when all are ready."""

TARGETS = ("replica", "controller", "load_balancer")

READY_TIMEOUT = 1800
"""Seconds that a service may take to be ready, unless somebody says otherwise."""


_WAIT = {"wait": read.flag, "timeout": read.number}


class SkyServeUpOperator(SkyTaskOperator):
    """Bring a service up. Returns its endpoint.

    Wraps ``sky.serve.up``. The task has a ``service`` section; SkyPilot's serve controller, a cluster of its own that
    the first service starts, keeps its replicas up and spreads the requests. A service that does not get ready is
    taken down again. A name that is taken is an error, unless by an earlier try of this task.

    :param service_name: the service's name (templated)
    :param wait: wait until the service is ready; otherwise the task ends when its controller knows it (templated)
    :param timeout: seconds that it may take to be ready (templated)
    """

    action: ClassVar[str] = "serve_up"
    section = "service"
    kill_can = (OnCancel.DOWN, OnCancel.LEAVE)
    operator_extra_links = (*SkyBaseOperator.operator_extra_links, SkyServeEndpointLink())

    template_fields: Sequence[str] = (*SkyTaskOperator.template_fields, "service_name", "wait", "timeout")

    def __init__(
        self,
        *,
        service_name: str | XComArg,
        wait: bool | str | XComArg = True,
        timeout: float | str | XComArg = READY_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.service_name = service_name
        self.wait = wait
        self.timeout = timeout
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {**super()._readers(), "service_name": read.cluster, **_WAIT}

    @property
    def default_on_cancel(self) -> OnCancel:
        """Take the service down: what waited for it is no more."""
        return OnCancel.DOWN


class SkyServeUpdateOperator(SkyTaskOperator):
    """Give a service another task. Returns its endpoint, which stays the same.

    Wraps ``sky.serve.update``.

    :param service_name: the service (templated)
    :param mode: ``rolling``: new replicas take over one by one; ``blue_green``: all at once, when all are ready
        (templated)
    :param wait: wait until only the new task serves (templated)
    :param timeout: seconds that this may take (templated)
    """

    action: ClassVar[str] = "serve_update"
    section = "service"
    operator_extra_links = (*SkyBaseOperator.operator_extra_links, SkyServeEndpointLink())

    template_fields: Sequence[str] = (*SkyTaskOperator.template_fields, "service_name", "mode", "wait", "timeout")

    def __init__(
        self,
        *,
        service_name: str | XComArg,
        mode: str | XComArg = "rolling",
        wait: bool | str | XComArg = True,
        timeout: float | str | XComArg = READY_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.service_name = service_name
        self.mode = mode
        self.wait = wait
        self.timeout = timeout
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {**super()._readers(), "service_name": read.cluster, "mode": read.one_of(MODES), **_WAIT}


class SkyServeStatusOperator(SkyBaseOperator):
    """List services. Returns a list of dicts.

    Their keys: name, status, version, active_versions, uptime (since when, in seconds since 1970), endpoint, and
    replicas, each with id, status, version and endpoint. Wraps ``sky.serve.status``. Without a controller the list is
    empty.

    :param service_names: the services, one or several; all by default (templated)
    """

    action: ClassVar[str] = "serve_status"
    renamed: ClassVar[dict[str, str]] = {"service_names": "names"}

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "service_names")

    def __init__(self, *, service_names: Names = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service_names = service_names
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"service_names": read.optional(read.names)}


class SkyServeDownOperator(SkyBaseOperator):
    """Take services down and wait until they are gone. Returns the list of their names.

    Wraps ``sky.serve.down``. A service that is gone already is fine; a name that there never was is an error, for
    behind a typing error a service would go on costing money. SkyPilot's serve controller stays: SkyDownOperator
    takes it down, or its own autostop does.

    :param service_names: the services: a name, a glob as ``demo-*``, or several (templated)
    :param all: all services instead (templated)
    :param purge: forget a service even when its replicas could not be ended; you then look after them yourself
        (templated)
    """

    action: ClassVar[str] = "serve_down"
    renamed: ClassVar[dict[str, str]] = {"service_names": "names"}
    wildcards = "service_names"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "service_names", "all", "purge")

    def __init__(
        self,
        *,
        service_names: Names = None,
        all: bool | str | XComArg = False,  # noqa: A002  # SkyPilot's name
        purge: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.service_names = service_names
        self.all = all
        self.purge = purge
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"service_names": read.optional(read.list_of_clusters), **dict.fromkeys(("all", "purge"), read.flag)}

    def _check_together(self, values: Mapping[str, Any]) -> None:
        _check_which("service_names", values)

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``serve_down``."""
        values = super().build_arguments(context)
        del values["all"]
        return values


class SkyServeLogsOperator(SkyBaseOperator):
    """Show the log of a service. Returns the service's name.

    Wraps ``sky.serve.tail_logs``.

    :param service_name: the service (templated)
    :param target: whose log: ``replica``, ``controller`` or ``load_balancer`` (templated)
    :param replica: the replica's id, as SkyServeStatusOperator lists it; needs ``target="replica"`` (templated)
    :param follow: go on as long as it writes: bound it with ``execution_timeout`` (templated)
    :param tail: begin with this many of the last lines; the whole log by default (templated)
    """

    action: ClassVar[str] = "serve_logs"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "service_name",
        "target",
        "replica",
        "follow",
        "tail",
    )

    def __init__(
        self,
        *,
        service_name: str | XComArg,
        target: str | XComArg = "replica",
        replica: int | str | XComArg | None = None,
        follow: bool | str | XComArg = False,
        tail: int | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.service_name = service_name
        self.target = target
        self.replica = replica
        self.follow = follow
        self.tail = tail
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "service_name": read.cluster,
            "target": read.one_of(TARGETS),
            "replica": read.optional(read.whole_number()),
            "follow": read.flag,
            "tail": read.optional(read.whole_number()),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        target, replica = values["target"], values["replica"]
        if read.UNKNOWN not in (target, replica) and (target == "replica") != (replica is not None):
            raise SkyRequestError("replica: give its id with target='replica', and with no other target")


class SkyPoolApplyOperator(SkyTaskOperator):
    """Make a pool of workers for managed jobs, or change the one of that name. Returns the pool's name.

    Wraps ``sky.jobs.pool_apply``. The task has a ``pool`` section and a setup; SkyJobLaunchOperator(pool_name=...) runs
    jobs on the workers. Pools are kept by the controller of managed jobs.

    :param pool_name: the pool's name (templated)
    :param sky_task_yaml: the workers' task: a path beside the DAG file, a path on the volume or a dict; none to only
        change the number of ``workers`` (templated)
    :param workers: number of workers, instead of the task's (templated)
    :param mode: ``rolling``: new workers take over one by one; ``blue_green``: all at once, when all are ready
        (templated)
    :param wait: wait until the workers are ready (templated)
    :param timeout: seconds that this may take (templated)
    """

    action: ClassVar[str] = "pool_apply"
    section = "pool"

    template_fields: Sequence[str] = (
        *SkyTaskOperator.template_fields,
        "pool_name",
        "workers",
        "mode",
        "wait",
        "timeout",
    )

    def __init__(
        self,
        *,
        pool_name: str | XComArg,
        sky_task_yaml: str | Mapping[str, Any] | XComArg | None = None,
        workers: int | str | XComArg | None = None,
        mode: str | XComArg = "rolling",
        wait: bool | str | XComArg = True,
        timeout: float | str | XComArg = READY_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        # None is no task for the base, and read as none below.
        super().__init__(sky_task_yaml=sky_task_yaml, **kwargs)  # type: ignore[arg-type]
        self.pool_name = pool_name
        self.workers = workers
        self.mode = mode
        self.wait = wait
        self.timeout = timeout
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        readers = super()._readers()
        return {
            **readers,
            "sky_task_yaml": read.optional(readers["sky_task_yaml"]),
            "pool_name": read.cluster,
            "workers": read.optional(read.whole_number()),
            "mode": read.one_of(MODES),
            **_WAIT,
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        super()._check_together(values)
        task, workers = values["sky_task_yaml"], values["workers"]
        if task is None and workers is None:
            raise SkyRequestError("sky_task_yaml and workers: give at least one of them")
        if read.is_given(task) and read.is_given(workers):
            raise SkyRequestError("workers: with a task, the task's pool section says how many")

    def task_arguments(self, values: Mapping[str, Any], context: Context | None) -> dict[str, Any]:
        """Return ``task`` and ``overrides`` of the request: none where only the number of workers changes."""
        if values["sky_task_yaml"] is None:
            return {"task": None, "overrides": {}}
        return super().task_arguments(values, context)


class SkyPoolStatusOperator(SkyBaseOperator):
    """List pools. Returns a list of dicts.

    Their keys: name, status, version, active_versions, uptime (since when, in seconds since 1970), and workers, each
    with id, status, version and endpoint. Wraps ``sky.jobs.pool_status``. Without a controller the list is empty.

    :param pool_names: the pools, one or several; all by default (templated)
    """

    action: ClassVar[str] = "pool_status"
    renamed: ClassVar[dict[str, str]] = {"pool_names": "names"}

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "pool_names")

    def __init__(self, *, pool_names: Names = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_names = pool_names
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"pool_names": read.optional(read.names)}


class SkyPoolDownOperator(SkyBaseOperator):
    """Take pools down and wait until they are gone. Returns the list of their names.

    Wraps ``sky.jobs.pool_down``. A pool that is gone already is fine; a name that there never was is an error.

    :param pool_names: the pools: a name, a glob as ``gpu-*``, or several (templated)
    :param all: all pools instead (templated)
    :param purge: forget a pool even when its workers could not be ended; you then look after them yourself (templated)
    """

    action: ClassVar[str] = "pool_down"
    renamed: ClassVar[dict[str, str]] = {"pool_names": "names"}
    wildcards = "pool_names"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "pool_names", "all", "purge")

    def __init__(
        self,
        *,
        pool_names: Names = None,
        all: bool | str | XComArg = False,  # noqa: A002  # SkyPilot's name
        purge: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_names = pool_names
        self.all = all
        self.purge = purge
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"pool_names": read.optional(read.list_of_clusters), **dict.fromkeys(("all", "purge"), read.flag)}

    def _check_together(self, values: Mapping[str, Any]) -> None:
        _check_which("pool_names", values)

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``pool_down``."""
        values = super().build_arguments(context)
        del values["all"]
        return values


def _check_which(field: str, values: Mapping[str, Any]) -> None:
    names, everything = values[field], values["all"]
    if read.UNKNOWN not in (names, everything) and everything == bool(names):
        raise SkyRequestError(f"{field}: name them, or give all=True for all of them (it is {read.shown(names)})")
