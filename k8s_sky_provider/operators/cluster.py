"""Operators for clusters as a whole: start, stop, autostop, down, status, cost report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.arguments import (
    check_cluster_names,
    check_whole_number,
    rendered_cluster_names,
)
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.operators.launch import WAIT_FOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    ClusterNames = str | XComArg | Sequence[str | XComArg]


class SkyStartOperator(SkyBaseOperator):
    """Start clusters that are stopped. Returns the cluster's name, of a list or a glob the list of names.

    Wraps ``sky.start``. A cluster that is up stays as it is; one that SkyPilot does not have is an error. Several
    clusters are started one after the other, whatever comes of the others, and one error names those that failed.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param idle_minutes_to_autostop: minutes without a job after which the cluster stops itself; by default as it
        was before it was stopped
    :param wait_for: what counts as no idleness: ``jobs_and_ssh`` (the default), ``jobs`` or ``none``
    :param down: let idleness take the cluster down instead; needs ``idle_minutes_to_autostop``
    :param retry_until_up: wait for resources instead of failing; bound it with ``execution_timeout``
    :param force: start a cluster that is up, too, which brings SkyPilot's runtime on it up to date
    """

    action: ClassVar[str] = "start"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name")

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        idle_minutes_to_autostop: int | None = None,
        wait_for: str | None = None,
        down: bool = False,
        retry_until_up: bool = False,
        force: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        check_whole_number("idle_minutes_to_autostop", idle_minutes_to_autostop, 0)
        _check_wait_for(wait_for)
        if down and idle_minutes_to_autostop is None:
            raise SkyRequestError("down: needs idle_minutes_to_autostop, the minutes after which it happens")
        self.cluster_name = cluster_name
        self.idle_minutes_to_autostop = idle_minutes_to_autostop
        self.wait_for = wait_for
        self.down = down
        self.retry_until_up = retry_until_up
        self.force = force

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``start``."""
        return {
            "cluster_name": rendered_cluster_names("cluster_name", self.cluster_name),
            "idle_minutes_to_autostop": self.idle_minutes_to_autostop,
            "wait_for": self.wait_for,
            "down": self.down,
            "retry_until_up": self.retry_until_up,
            "force": self.force,
        }


class SkyStopOperator(SkyBaseOperator):
    """Stop clusters; their disks stay and cost. Returns the cluster's name, of a list or a glob the list of names.

    Wraps ``sky.stop``. Where the cloud cannot stop a cluster (Kubernetes, most spot instances) the task fails with
    SkyPilot's reason. Several clusters are stopped one after the other, whatever comes of the others, and one error
    names those that failed.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param graceful: cancel the jobs first and wait until their data is in the buckets (``MOUNT_CACHED``)
    :param graceful_timeout: seconds that this may take; needs ``graceful``
    """

    action: ClassVar[str] = "stop"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name")

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        graceful: bool = False,
        graceful_timeout: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        _check_graceful(graceful=graceful, graceful_timeout=graceful_timeout)
        self.cluster_name = cluster_name
        self.graceful = graceful
        self.graceful_timeout = graceful_timeout

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``stop``."""
        return {
            "cluster_name": rendered_cluster_names("cluster_name", self.cluster_name),
            "graceful": self.graceful,
            "graceful_timeout": self.graceful_timeout,
        }


class SkyAutostopOperator(SkyBaseOperator):
    """Let clusters stop themselves when they are idle, or no more.

    Returns the cluster's name, of a list or a glob the list of names. Wraps ``sky.autostop``. Where the cloud cannot
    stop a cluster (Kubernetes) give ``down=True``, or the task fails with SkyPilot's reason. Several clusters are
    set one after the other, whatever comes of the others, and one error names those that failed.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param idle_minutes: minutes without a job after which the cluster stops itself
    :param wait_for: what counts as no idleness: ``jobs_and_ssh`` (the default), ``jobs`` or ``none``
    :param cancel: switch it off instead
    :param down: let idleness take the cluster down instead of stopping it
    :param hook: commands that the cluster runs before it stops itself; that they fail does not keep it
    :param hook_timeout: seconds that they may take; one hour by default
    """

    action: ClassVar[str] = "autostop"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name")

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        idle_minutes: int = 5,
        wait_for: str | None = None,
        cancel: bool = False,
        down: bool = False,
        hook: str | None = None,
        hook_timeout: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        check_whole_number("idle_minutes", idle_minutes, 0)
        _check_wait_for(wait_for)
        check_whole_number("hook_timeout", hook_timeout)
        if hook_timeout is not None and hook is None:
            raise SkyRequestError("hook_timeout: needs a hook")
        if cancel and (down or hook is not None):
            raise SkyRequestError("cancel: switches the autostop off; down and hook mean nothing then")
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
        return {
            "cluster_name": rendered_cluster_names("cluster_name", self.cluster_name),
            "idle_minutes": -1 if self.cancel else self.idle_minutes,
            "wait_for": self.wait_for,
            "down": self.down,
            "hook": self.autostop_hook,
            "hook_timeout": self.hook_timeout,
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
        then look after what is left yourself
    :param graceful: cancel the jobs first and wait until their data is in the buckets (``MOUNT_CACHED``)
    :param graceful_timeout: seconds that this may take; needs ``graceful``
    """

    action: ClassVar[str] = "down"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name")

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        purge: bool = False,
        graceful: bool = False,
        graceful_timeout: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        _check_graceful(graceful=graceful, graceful_timeout=graceful_timeout)
        self.cluster_name = cluster_name
        self.purge = purge
        self.graceful = graceful
        self.graceful_timeout = graceful_timeout

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``down``."""
        return {
            "cluster_name": rendered_cluster_names("cluster_name", self.cluster_name),
            "purge": self.purge,
            "graceful": self.graceful,
            "graceful_timeout": self.graceful_timeout,
        }


class SkyStatusOperator(SkyBaseOperator):
    """List clusters. Returns a list of dicts.

    Their keys: name, status, infra, nodes, resources, launched_at (seconds since 1970), and only where there is such a
    thing: autostop (minutes), to_down, user, ip, endpoints (port -> address), dag_id, run_id, task_id, map_index.
    Wraps ``sky.status``. A list that does not fit into a result (about a hundred clusters) fails the task: name the
    clusters then.

    :param cluster_names: the clusters to list, names and globs; all of this deployment by default (templated)
    :param refresh: ask the clouds, instead of what SkyPilot noted last
    :param ip: add the head node's address
    :param endpoints: add the endpoints of the ports that are open, where the cluster is up
    :param all_users: list the clusters of other deployments with the same state, too
    :param owners: add the task instance that launched the cluster (dag_id, run_id, task_id, map_index)
    """

    action: ClassVar[str] = "status"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_names")

    def __init__(
        self,
        *,
        cluster_names: ClusterNames | None = None,
        refresh: bool = False,
        ip: bool = False,
        endpoints: bool = False,
        all_users: bool = False,
        owners: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_names", cluster_names)
        self.cluster_names = cluster_names
        self.refresh = refresh
        self.ip = ip
        self.endpoints = endpoints
        self.all_users = all_users
        self.owners = owners

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``status``."""
        if self.owners:
            self.resolve_workspace().check_keeps_notes("owners")
        return {
            "cluster_names": _names_to_list(self.cluster_names),
            "refresh": self.refresh,
            "ip": self.ip,
            "endpoints": self.endpoints,
            "all_users": self.all_users,
            "owners": self.owners,
        }


class SkyCostReportOperator(SkyBaseOperator):
    """List what clusters cost, those that are gone too, the newest first. Returns a list of dicts.

    Their keys: name, status (``TERMINATED`` for one that is gone), resources, launched_at (seconds since 1970),
    duration (seconds), total_cost (US dollars, SkyPilot's estimate by list prices). Wraps ``sky.cost_report``. A list
    that does not fit into a result (about a hundred clusters) fails the task.

    :param cluster_names: the clusters to list, names and globs; all by default (templated)
    :param days: leave out clusters that were last used longer ago; 0 for none
    :param all: list all of them, not only the newest five
    """

    action: ClassVar[str] = "cost_report"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_names")

    def __init__(
        self,
        *,
        cluster_names: ClusterNames | None = None,
        days: int = 30,
        all: bool = False,  # noqa: A002  # SkyPilot's name
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_names", cluster_names)
        check_whole_number("days", days, 0)
        self.cluster_names = cluster_names
        self.days = days
        self.all = all

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``cost_report``."""
        return {"cluster_names": _names_to_list(self.cluster_names), "days": self.days or None, "all": self.all}


def _names_to_list(names: ClusterNames | None) -> list[str] | None:
    if names is None:
        return None
    rendered = rendered_cluster_names("cluster_names", names)
    return [rendered] if isinstance(rendered, str) else rendered


def _check_wait_for(wait_for: str | None) -> None:
    if wait_for is not None and wait_for not in WAIT_FOR:
        raise SkyRequestError(f"wait_for: {wait_for!r} is not one of {', '.join(WAIT_FOR)}")


def _check_graceful(*, graceful: bool, graceful_timeout: int | None) -> None:
    check_whole_number("graceful_timeout", graceful_timeout)
    if graceful_timeout is not None and not graceful:
        raise SkyRequestError("graceful_timeout: needs graceful=True")
