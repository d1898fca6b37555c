"""Operators for clusters as a whole: start, stop, autostop, down, status, cost report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.operators.launch import WAIT_FOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    ClusterNames = str | XComArg | Sequence[str | XComArg]


_GRACEFUL = {"graceful": read.flag, "graceful_timeout": read.optional(read.whole_number())}


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
    wildcards = "cluster_name"

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
        self.cluster_name = cluster_name
        self.idle_minutes_to_autostop = idle_minutes_to_autostop
        self.wait_for = wait_for
        self.down = down
        self.retry_until_up = retry_until_up
        self.force = force
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "cluster_name": read.clusters,
            "idle_minutes_to_autostop": read.optional(read.whole_number(0)),
            "wait_for": read.optional(read.one_of(WAIT_FOR)),
            **dict.fromkeys(("down", "retry_until_up", "force"), read.flag),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        if values["down"] is True and values["idle_minutes_to_autostop"] is None:
            raise SkyRequestError("down: needs idle_minutes_to_autostop, the minutes after which it happens")


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
    wildcards = "cluster_name"

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
        self.cluster_name = cluster_name
        self.graceful = graceful
        self.graceful_timeout = graceful_timeout
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"cluster_name": read.clusters, **_GRACEFUL}

    def _check_together(self, values: Mapping[str, Any]) -> None:
        _check_graceful(values)


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
    wildcards = "cluster_name"

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
        self.cluster_name = cluster_name
        self.idle_minutes = idle_minutes
        self.wait_for = wait_for
        self.cancel = cancel
        self.down = down
        # A KubernetesPodOperator has a hook already.
        self.autostop_hook = hook
        self.hook_timeout = hook_timeout
        self.check_arguments()

    def given(self, name: str) -> Any:
        """Return an argument as it was given."""
        return super().given("autostop_hook" if name == "hook" else name)

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "cluster_name": read.clusters,
            "idle_minutes": read.whole_number(0),
            "wait_for": read.optional(read.one_of(WAIT_FOR)),
            **dict.fromkeys(("cancel", "down"), read.flag),
            "hook": read.optional(read.text),
            "hook_timeout": read.optional(read.whole_number()),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        if read.is_given(values["hook_timeout"]) and values["hook"] is None:
            raise SkyRequestError("hook_timeout: needs a hook")
        if values["cancel"] is True and (values["down"] is True or read.is_given(values["hook"])):
            raise SkyRequestError("cancel: switches the autostop off; down and hook mean nothing then")

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``autostop``."""
        values = super().build_arguments(context)
        if values.pop("cancel"):
            values["idle_minutes"] = -1
        return values


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
    wildcards = "cluster_name"

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
        self.cluster_name = cluster_name
        self.purge = purge
        self.graceful = graceful
        self.graceful_timeout = graceful_timeout
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"cluster_name": read.clusters, "purge": read.flag, **_GRACEFUL}

    def _check_together(self, values: Mapping[str, Any]) -> None:
        _check_graceful(values)


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
        self.cluster_names = cluster_names
        self.refresh = refresh
        self.ip = ip
        self.endpoints = endpoints
        self.all_users = all_users
        self.owners = owners
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        flags = ("refresh", "ip", "endpoints", "all_users", "owners")
        return {"cluster_names": read.optional(read.list_of_clusters), **dict.fromkeys(flags, read.flag)}

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``status``."""
        values = super().build_arguments(context)
        if values["owners"]:
            self.settings.check_keeps_notes("owners")
        return values


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
        self.cluster_names = cluster_names
        self.days = days
        self.all = all
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "cluster_names": read.optional(read.list_of_clusters),
            "days": read.whole_number(0),
            "all": read.flag,
        }

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``cost_report``."""
        values = super().build_arguments(context)
        return {**values, "days": values["days"] or None}


def _check_graceful(values: Mapping[str, Any]) -> None:
    if read.is_given(values["graceful_timeout"]) and values["graceful"] is False:
        raise SkyRequestError("graceful_timeout: needs graceful=True")
