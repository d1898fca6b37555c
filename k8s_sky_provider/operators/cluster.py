"""Operators for clusters as a whole: start, stop, autostop, down, status, cost report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.arguments import (
    as_choice,
    as_flag,
    as_whole_number,
    check_choice,
    check_cluster_names,
    check_flags,
    check_globs,
    check_whole_number,
    is_known,
    rendered_cluster_names,
    rendered_text,
    written,
)
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.operators.launch import WAIT_FOR

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    ClusterNames = str | XComArg | Sequence[str | XComArg]


class SkyStartOperator(SkyBaseOperator):
    """Start clusters that are stopped. Returns the cluster's name, of a list or a glob the list of names.

    Wraps ``sky.start``. A cluster that is up stays as it is; one that SkyPilot does not have is an error. Several
    clusters are started one after the other, whatever comes of the others, and one error names those that failed.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param idle_minutes_to_autostop: minutes without a job after which the cluster stops itself; by default as it
        was before it was stopped (templated)
    :param wait_for: what counts as no idleness: ``jobs_and_ssh`` (the default), ``jobs`` or ``none`` (templated)
    :param down: let idleness take the cluster down instead; needs ``idle_minutes_to_autostop`` (templated)
    :param retry_until_up: wait for resources instead of failing; bound it with ``execution_timeout`` (templated)
    :param force: start a cluster that is up, too, which brings SkyPilot's runtime on it up to date (templated)
    """

    action: ClassVar[str] = "start"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "idle_minutes_to_autostop",
        "wait_for",
        "down",
        "retry_until_up",
        "force",
    )

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        idle_minutes_to_autostop: int | str | XComArg | None = None,
        wait_for: str | XComArg | None = None,
        down: bool | str | XComArg = False,
        retry_until_up: bool | str | XComArg = False,
        force: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        self._written = {"cluster_name": written(cluster_name)}
        check_whole_number("idle_minutes_to_autostop", idle_minutes_to_autostop, 0)
        if wait_for is not None:
            check_choice("wait_for", wait_for, WAIT_FOR)
        check_flags(down=down, retry_until_up=retry_until_up, force=force)
        _check_idleness(down=down, minutes=idle_minutes_to_autostop)
        self.cluster_name = cluster_name
        self.idle_minutes_to_autostop = idle_minutes_to_autostop
        self.wait_for = wait_for
        self.down = down
        self.retry_until_up = retry_until_up
        self.force = force

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``start``."""
        minutes = self.idle_minutes_to_autostop
        _check_idleness(down=self.down, minutes=minutes)
        return {
            "cluster_name": _meant(self.cluster_name, texts=self.as_written("cluster_name", context)),
            "idle_minutes_to_autostop": None
            if minutes is None
            else as_whole_number("idle_minutes_to_autostop", minutes, 0),
            "wait_for": None if self.wait_for is None else as_choice("wait_for", self.wait_for, WAIT_FOR),
            "down": as_flag("down", self.down),
            "retry_until_up": as_flag("retry_until_up", self.retry_until_up),
            "force": as_flag("force", self.force),
        }


class SkyStopOperator(SkyBaseOperator):
    """Stop clusters; their disks stay and cost. Returns the cluster's name, of a list or a glob the list of names.

    Wraps ``sky.stop``. Where the cloud cannot stop a cluster (Kubernetes, most spot instances) the task fails with
    SkyPilot's reason. Several clusters are stopped one after the other, whatever comes of the others, and one error
    names those that failed.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param graceful: cancel the jobs first and wait until their data is in the buckets (``MOUNT_CACHED``) (templated)
    :param graceful_timeout: seconds that this may take; needs ``graceful`` (templated)
    """

    action: ClassVar[str] = "stop"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "graceful",
        "graceful_timeout",
    )

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        graceful: bool | str | XComArg = False,
        graceful_timeout: int | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        self._written = {"cluster_name": written(cluster_name)}
        _check_graceful(graceful=graceful, graceful_timeout=graceful_timeout)
        self.cluster_name = cluster_name
        self.graceful = graceful
        self.graceful_timeout = graceful_timeout

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``stop``."""
        return {
            "cluster_name": _meant(self.cluster_name, texts=self.as_written("cluster_name", context)),
            **_graceful_arguments(graceful=self.graceful, graceful_timeout=self.graceful_timeout),
        }


class SkyAutostopOperator(SkyBaseOperator):
    """Let clusters stop themselves when they are idle, or no more.

    Returns the cluster's name, of a list or a glob the list of names. Wraps ``sky.autostop``. Where the cloud cannot
    stop a cluster (Kubernetes) give ``down=True``, or the task fails with SkyPilot's reason. Several clusters are
    set one after the other, whatever comes of the others, and one error names those that failed.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param idle_minutes: minutes without a job after which the cluster stops itself (templated)
    :param wait_for: what counts as no idleness: ``jobs_and_ssh`` (the default), ``jobs`` or ``none`` (templated)
    :param cancel: switch it off instead (templated)
    :param down: let idleness take the cluster down instead of stopping it (templated)
    :param hook: commands that the cluster runs before it stops itself; that they fail does not keep it (templated)
    :param hook_timeout: seconds that they may take; one hour by default (templated)
    """

    action: ClassVar[str] = "autostop"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "idle_minutes",
        "wait_for",
        "cancel",
        "down",
        "autostop_hook",
        "hook_timeout",
    )

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        idle_minutes: int | str | XComArg = 5,
        wait_for: str | XComArg | None = None,
        cancel: bool | str | XComArg = False,
        down: bool | str | XComArg = False,
        hook: str | XComArg | None = None,
        hook_timeout: int | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        self._written = {"cluster_name": written(cluster_name)}
        check_whole_number("idle_minutes", idle_minutes, 0)
        if wait_for is not None:
            check_choice("wait_for", wait_for, WAIT_FOR)
        check_flags(cancel=cancel, down=down)
        check_whole_number("hook_timeout", hook_timeout)
        _check_hook(hook=hook, hook_timeout=hook_timeout)
        _check_cancel(cancel=cancel, down=down, hook=hook)
        self.cluster_name = cluster_name
        self.idle_minutes = idle_minutes
        self.wait_for = wait_for
        self.cancel = cancel
        self.down = down
        # A KubernetesPodOperator has a hook already.
        self.autostop_hook = hook
        self.hook_timeout = hook_timeout

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``autostop``."""
        hook = rendered_text("hook", self.autostop_hook)
        _check_hook(hook=hook, hook_timeout=self.hook_timeout)
        _check_cancel(cancel=self.cancel, down=self.down, hook=hook)
        idle_minutes = as_whole_number("idle_minutes", self.idle_minutes, 0)
        return {
            "cluster_name": _meant(self.cluster_name, texts=self.as_written("cluster_name", context)),
            "idle_minutes": -1 if as_flag("cancel", self.cancel) else idle_minutes,
            "wait_for": None if self.wait_for is None else as_choice("wait_for", self.wait_for, WAIT_FOR),
            "down": as_flag("down", self.down),
            "hook": hook,
            "hook_timeout": None if self.hook_timeout is None else as_whole_number("hook_timeout", self.hook_timeout),
        }


class SkyDownOperator(SkyBaseOperator):
    """Take clusters down, with their disks and jobs. Returns the cluster's name, of a list or a glob the list of names.

    Wraps ``sky.down``. A cluster that is gone already is fine; a name that SkyPilot never had is an error,
    for behind a typing error a cluster would go on costing money. A glob that matches nothing is fine. Several
    clusters are taken down one after the other, whatever comes of the others, and one error names those that failed.
    A controller that still has managed jobs, pools or services is refused.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*``, which means
        clusters of this deployment and none of SkyPilot's controllers (templated)
    :param purge: forget the cluster even when the cloud could not end it, and end a controller that is at work; you
        then look after what is left yourself (templated)
    :param graceful: cancel the jobs first and wait until their data is in the buckets (``MOUNT_CACHED``) (templated)
    :param graceful_timeout: seconds that this may take; needs ``graceful`` (templated)
    """

    action: ClassVar[str] = "down"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "purge",
        "graceful",
        "graceful_timeout",
    )

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        purge: bool | str | XComArg = False,
        graceful: bool | str | XComArg = False,
        graceful_timeout: int | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        self._written = {"cluster_name": written(cluster_name)}
        check_flags(purge=purge)
        _check_graceful(graceful=graceful, graceful_timeout=graceful_timeout)
        self.cluster_name = cluster_name
        self.purge = purge
        self.graceful = graceful
        self.graceful_timeout = graceful_timeout

    def clusters_to_take_down(self, context: Context | None) -> object:
        """Return the name or the names, as they are rendered."""
        return self.cluster_name

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``down``."""
        return {
            "cluster_name": _meant(self.clusters_to_take_down(context), texts=self.as_written("cluster_name", context)),
            "purge": as_flag("purge", self.purge),
            **_graceful_arguments(graceful=self.graceful, graceful_timeout=self.graceful_timeout),
        }


class SkyStatusOperator(SkyBaseOperator):
    """List clusters. Returns a list of dicts.

    Their keys: name, status, infra, nodes, resources, launched_at (seconds since 1970), and only where there is such a
    thing: autostop (minutes), to_down, user, ip, endpoints (port -> address), dag_id, run_id, task_id, map_index.
    Wraps ``sky.status``. A list that does not fit into a result (about a hundred clusters) fails the task: name the
    clusters then.

    :param cluster_names: the clusters to list, names and globs; all of this deployment by default (templated)
    :param refresh: ask the clouds, instead of what SkyPilot noted last (templated)
    :param ip: add the head node's address (templated)
    :param endpoints: add the endpoints of the ports that are open, where the cluster is up (templated)
    :param all_users: list the clusters of other deployments with the same state, too (templated)
    :param owners: add the task instance that launched the cluster (dag_id, run_id, task_id, map_index) (templated)
    """

    action: ClassVar[str] = "status"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_names",
        "refresh",
        "ip",
        "endpoints",
        "all_users",
        "owners",
    )

    def __init__(
        self,
        *,
        cluster_names: ClusterNames | None = None,
        refresh: bool | str | XComArg = False,
        ip: bool | str | XComArg = False,
        endpoints: bool | str | XComArg = False,
        all_users: bool | str | XComArg = False,
        owners: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_names", cluster_names)
        check_flags(refresh=refresh, ip=ip, endpoints=endpoints, all_users=all_users, owners=owners)
        self.cluster_names = cluster_names
        self.refresh = refresh
        self.ip = ip
        self.endpoints = endpoints
        self.all_users = all_users
        self.owners = owners

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``status``."""
        owners = as_flag("owners", self.owners)
        if owners:
            self.settings.check_keeps_notes("owners")
        return {
            "cluster_names": _names_to_list(self.cluster_names),
            "refresh": as_flag("refresh", self.refresh),
            "ip": as_flag("ip", self.ip),
            "endpoints": as_flag("endpoints", self.endpoints),
            "all_users": as_flag("all_users", self.all_users),
            "owners": owners,
        }


class SkyCostReportOperator(SkyBaseOperator):
    """List what clusters cost, those that are gone too, the newest first. Returns a list of dicts.

    Their keys: name, status (``TERMINATED`` for one that is gone), resources, launched_at (seconds since 1970),
    duration (seconds), total_cost (US dollars, SkyPilot's estimate by list prices). Wraps ``sky.cost_report``. A list
    that does not fit into a result (about a hundred clusters) fails the task.

    :param cluster_names: the clusters to list, names and globs; all by default (templated)
    :param days: leave out clusters that were last used longer ago; 0 for none (templated)
    :param all: list all of them, not only the newest five (templated)
    """

    action: ClassVar[str] = "cost_report"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_names", "days", "all")

    def __init__(
        self,
        *,
        cluster_names: ClusterNames | None = None,
        days: int | str | XComArg = 30,
        all: bool | str | XComArg = False,  # noqa: A002  # SkyPilot's name
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_names", cluster_names)
        check_whole_number("days", days, 0)
        check_flags(all=all)
        self.cluster_names = cluster_names
        self.days = days
        self.all = all

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``cost_report``."""
        return {
            "cluster_names": _names_to_list(self.cluster_names),
            "days": as_whole_number("days", self.days, 0) or None,
            "all": as_flag("all", self.all),
        }


def _meant(cluster_name: object, *, texts: Collection[str]) -> str | list[str]:
    """Return the clusters that something is done with, after Jinja and XCom."""
    names = rendered_cluster_names("cluster_name", cluster_name)
    check_globs("cluster_name", names, texts=texts)
    return names


def _names_to_list(names: ClusterNames | None) -> list[str] | None:
    if names is None:
        return None
    rendered = rendered_cluster_names("cluster_names", names)
    return [rendered] if isinstance(rendered, str) else rendered


def _check_idleness(*, down: object, minutes: object) -> None:
    if is_known(down) and minutes is None and as_flag("down", down):
        raise SkyRequestError("down: needs idle_minutes_to_autostop, the minutes after which it happens")


def _check_hook(*, hook: object, hook_timeout: object) -> None:
    if is_known(hook_timeout) and hook_timeout is not None and hook is None:
        raise SkyRequestError("hook_timeout: needs a hook")


def _check_cancel(*, cancel: object, down: object, hook: object) -> None:
    if not (is_known(cancel) and is_known(down) and is_known(hook)):
        return
    if as_flag("cancel", cancel) and (as_flag("down", down) or hook is not None):
        raise SkyRequestError("cancel: switches the autostop off; down and hook mean nothing then")


def _check_graceful(*, graceful: object, graceful_timeout: object) -> None:
    check_flags(graceful=graceful)
    check_whole_number("graceful_timeout", graceful_timeout)
    if not (is_known(graceful) and is_known(graceful_timeout)):
        return
    if graceful_timeout is not None and not as_flag("graceful", graceful):
        raise SkyRequestError("graceful_timeout: needs graceful=True")


def _graceful_arguments(*, graceful: object, graceful_timeout: object) -> dict[str, Any]:
    _check_graceful(graceful=graceful, graceful_timeout=graceful_timeout)
    return {
        "graceful": as_flag("graceful", graceful),
        "graceful_timeout": None if graceful_timeout is None else as_whole_number("graceful_timeout", graceful_timeout),
    }
