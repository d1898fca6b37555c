"""Operators for services (up, update, status, down, logs) and for pools of workers (apply, status, down)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyServeEndpointLink
from k8s_sky_provider.operators.arguments import (
    as_choice,
    as_flag,
    as_number,
    as_whole_number,
    check_choice,
    check_flags,
    check_globs,
    check_number,
    check_rendered_glob,
    check_rendered_name,
    check_whole_number,
    is_known,
    is_name,
    rendered_names,
    written,
)
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.operators.jobs import check_on_cancel
from k8s_sky_provider.operators.task import TO_BE_RENDERED
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    Names = Sequence[str | XComArg] | str | XComArg | None

MODES = ("rolling", "blue_green")
"""How a new version takes over: replica by replica, or all at once when all are ready."""

TARGETS = ("replica", "controller", "load_balancer")

READY_TIMEOUT = 1800
"""Seconds that a service may take to be ready, unless somebody says otherwise."""


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
        _check_name("service_name", service_name)
        check_flags(wait=wait)
        check_number("timeout", timeout)
        check_on_cancel(self.on_cancel, OnCancel.DOWN)
        self.service_name = service_name
        self.wait = wait
        self.timeout = timeout

    @property
    def default_on_cancel(self) -> OnCancel:
        """Take the service down: what waited for it is no more."""
        return OnCancel.DOWN

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``serve_up``."""
        check_on_cancel(self.on_cancel, OnCancel.DOWN)
        return {
            **self.task_arguments(context),
            "service_name": _rendered_name("service_name", self.service_name),
            "wait": as_flag("wait", self.wait),
            "timeout": as_number("timeout", self.timeout),
        }


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
        _check_name("service_name", service_name)
        check_choice("mode", mode, MODES)
        check_flags(wait=wait)
        check_number("timeout", timeout)
        self.service_name = service_name
        self.mode = mode
        self.wait = wait
        self.timeout = timeout

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``serve_update``."""
        return {
            **self.task_arguments(context),
            "service_name": _rendered_name("service_name", self.service_name),
            "mode": as_choice("mode", self.mode, MODES),
            "wait": as_flag("wait", self.wait),
            "timeout": as_number("timeout", self.timeout),
        }


class SkyServeStatusOperator(SkyBaseOperator):
    """List services. Returns a list of dicts.

    Their keys: name, status, version, active_versions, uptime (since when, in seconds since 1970), endpoint, and
    replicas, each with id, status, version and endpoint. Wraps ``sky.serve.status``. Without a controller the list is
    empty.

    :param service_names: the services, one or several; all by default (templated)
    """

    action: ClassVar[str] = "serve_status"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "service_names")

    def __init__(self, *, service_names: Names = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service_names = service_names

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``serve_status``."""
        return {"names": rendered_names("service_names", self.service_names)}


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
        check_flags(all=all, purge=purge)
        _check_names("service_names", service_names, everything=all)
        self._written = {"service_names": written(service_names)}
        self.service_names = service_names
        self.all = all
        self.purge = purge

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``serve_down``."""
        return _down_arguments(
            "service_names",
            self.service_names,
            everything=self.all,
            purge=self.purge,
            texts=self.as_written("service_names", context),
        )


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
        _check_name("service_name", service_name)
        check_choice("target", target, TARGETS)
        check_whole_number("replica", replica)
        check_flags(follow=follow)
        check_whole_number("tail", tail)
        _check_replica(target, replica)
        self.service_name = service_name
        self.target = target
        self.replica = replica
        self.follow = follow
        self.tail = tail

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``serve_logs``."""
        _check_replica(self.target, self.replica)
        return {
            "service_name": _rendered_name("service_name", self.service_name),
            "target": as_choice("target", self.target, TARGETS),
            "replica": None if self.replica is None else as_whole_number("replica", self.replica),
            "follow": as_flag("follow", self.follow),
            "tail": None if self.tail is None else as_whole_number("tail", self.tail),
        }


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
        _check_name("pool_name", pool_name)
        check_whole_number("workers", workers)
        check_choice("mode", mode, MODES)
        check_flags(wait=wait)
        check_number("timeout", timeout)
        _check_workers(sky_task_yaml, workers)
        self.pool_name = pool_name
        self.workers = workers
        self.mode = mode
        self.wait = wait
        self.timeout = timeout

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``pool_apply``."""
        _check_workers(self.sky_task_yaml, self.workers)
        task = {"task": None, "overrides": {}} if self.sky_task_yaml is None else self.task_arguments(context)
        return {
            **task,
            "pool_name": _rendered_name("pool_name", self.pool_name),
            "workers": None if self.workers is None else as_whole_number("workers", self.workers),
            "mode": as_choice("mode", self.mode, MODES),
            "wait": as_flag("wait", self.wait),
            "timeout": as_number("timeout", self.timeout),
        }


class SkyPoolStatusOperator(SkyBaseOperator):
    """List pools. Returns a list of dicts.

    Their keys: name, status, version, active_versions, uptime (since when, in seconds since 1970), and workers, each
    with id, status, version and endpoint. Wraps ``sky.jobs.pool_status``. Without a controller the list is empty.

    :param pool_names: the pools, one or several; all by default (templated)
    """

    action: ClassVar[str] = "pool_status"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "pool_names")

    def __init__(self, *, pool_names: Names = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_names = pool_names

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``pool_status``."""
        return {"names": rendered_names("pool_names", self.pool_names)}


class SkyPoolDownOperator(SkyBaseOperator):
    """Take pools down and wait until they are gone. Returns the list of their names.

    Wraps ``sky.jobs.pool_down``. A pool that is gone already is fine; a name that there never was is an error.

    :param pool_names: the pools: a name, a glob as ``gpu-*``, or several (templated)
    :param all: all pools instead (templated)
    :param purge: forget a pool even when its workers could not be ended; you then look after them yourself (templated)
    """

    action: ClassVar[str] = "pool_down"

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
        check_flags(all=all, purge=purge)
        _check_names("pool_names", pool_names, everything=all)
        self._written = {"pool_names": written(pool_names)}
        self.pool_names = pool_names
        self.all = all
        self.purge = purge

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``pool_down``."""
        return _down_arguments(
            "pool_names",
            self.pool_names,
            everything=self.all,
            purge=self.purge,
            texts=self.as_written("pool_names", context),
        )


def _check_name(field: str, name: object) -> None:
    if isinstance(name, str) and not TO_BE_RENDERED.search(name):
        check_rendered_name(field, name)


def _rendered_name(field: str, name: object) -> str:
    if not is_name(name):
        raise SkyRequestError(f"{field}: {name!r} is no name; did the task that it comes from return one?")
    check_rendered_name(field, name)
    return name


def _check_replica(target: object, replica: object) -> None:
    if is_known(target) and is_known(replica) and (target == "replica") != (replica is not None):
        raise SkyRequestError("replica: give its id with target='replica', and with no other target")


def _check_workers(task: object, workers: object) -> None:
    if not (is_known(task) and is_known(workers)):
        return
    if task is None and workers is None:
        raise SkyRequestError("sky_task_yaml and workers: give at least one of them")
    if task is not None and workers is not None:
        raise SkyRequestError("workers: with a task, the task's pool section says how many")


def _check_names(field: str, names: object, *, everything: object) -> None:
    if is_known(everything) and is_known(names) and as_flag("all", everything) == (names is not None):
        raise SkyRequestError(f"{field}: name them, or give all=True for all of them")
    for name in [names] if isinstance(names, str) else names if isinstance(names, (list, tuple)) else ():
        if isinstance(name, str) and not TO_BE_RENDERED.search(name):
            check_rendered_glob(field, name)


def _down_arguments(
    field: str, names: object, *, everything: object, purge: object, texts: Collection[str]
) -> dict[str, Any]:
    rendered = rendered_names(field, names)
    if not as_flag("all", everything) and not rendered:
        raise SkyRequestError(f"{field}: {names!r} names none; did the task that it comes from return one?")
    _check_names(field, rendered, everything=everything)
    for name in rendered or ():
        check_rendered_glob(field, name)
    check_globs(field, rendered or [], texts=texts)
    return {"names": rendered, "purge": as_flag("purge", purge)}
