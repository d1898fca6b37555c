"""Operators for the jobs in a cluster's queue: queue, cancel, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    from k8s_sky_provider.operators.cluster import ClusterNames
    from k8s_sky_provider.operators.jobs import JobId


class SkyQueueOperator(SkyBaseOperator):
    """List the jobs of clusters, the newest first. Returns a list of dicts.

    Their keys: job_id, status, submitted_at (seconds since 1970), resources, and only where there is such a thing:
    job_name, start_at, end_at, user; of a list or a glob also cluster_name. Wraps ``sky.queue``. A list that does not
    fit into a result (about a hundred jobs) fails the task.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param skip_finished: leave out jobs that have ended (templated)
    :param all_users: list the jobs of other deployments with the same state, too (templated)
    :param limit: list no more than so many (templated)
    """

    action: ClassVar[str] = "queue"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "skip_finished",
        "all_users",
        "limit",
    )

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        skip_finished: bool | str | XComArg = False,
        all_users: bool | str | XComArg = False,
        limit: int | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.skip_finished = skip_finished
        self.all_users = all_users
        self.limit = limit
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "cluster_name": read.clusters,
            **dict.fromkeys(("skip_finished", "all_users"), read.flag),
            "limit": read.optional(read.whole_number()),
        }


class SkyCancelOperator(SkyBaseOperator):
    """Cancel jobs of a cluster. Returns the cluster's name.

    Wraps ``sky.cancel``. A job that has ended already is fine; one that the cluster never had is an error.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param job_ids: the jobs, one or several (templated)
    :param all: cancel all jobs instead (templated)
    :param all_users: those of other deployments with the same state, too; needs ``all`` (templated)
    """

    action: ClassVar[str] = "cancel"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "job_ids",
        "all",
        "all_users",
    )

    def __init__(
        self,
        *,
        cluster_name: str | XComArg,
        job_ids: JobId | Sequence[JobId] | None = None,
        all: bool | str | XComArg = False,  # noqa: A002  # SkyPilot's name
        all_users: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.job_ids = job_ids
        self.all = all
        self.all_users = all_users
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "cluster_name": read.cluster,
            "job_ids": read.optional(read.each(read.whole_number())),
            **dict.fromkeys(("all", "all_users"), read.flag),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        if values["all"] is read.UNKNOWN:
            return
        if values["job_ids"] is not read.UNKNOWN and values["all"] == bool(values["job_ids"]):
            raise SkyRequestError(f"job_ids: {values['job_ids']}: name the jobs, or give all=True for all of them")
        if values["all_users"] is True and not values["all"]:
            raise SkyRequestError("all_users: needs all=True")

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``cancel``."""
        values = super().build_arguments(context)
        del values["all"]
        return values


class SkyLogsOperator(SkyBaseOperator):
    """Show a job's log, and wait for the job. Returns the cluster's name.

    Wraps ``sky.tail_logs``. While it follows, the task ends as the job does, just as that of SkyExecOperator: it is
    what waits for a job that was launched with ``wait=False``. A task that does not follow succeeds whatever the job's
    status is; the XCom key ``result`` has it.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param job_id: the job; the last one by default (templated)
    :param follow: wait for the job; otherwise show what it has written until now (templated)
    :param tail: begin with this many of the last lines; 0 for the whole log (templated)
    :param provision: show how the cluster was provisioned instead, also of one that is gone (templated)
    :param worker: of which node, from 0 for the head; needs ``provision`` (templated)
    :param sync_down: copy the job's log files to the volume instead, and return their directory there (templated)
    """

    action: ClassVar[str] = "logs"
    operator_extra_links = (*SkyBaseOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "job_id",
        "follow",
        "tail",
        "provision",
        "worker",
        "sync_down",
    )

    def __init__(
        self,
        *,
        cluster_name: str | XComArg,
        job_id: JobId | None = None,
        follow: bool | str | XComArg = True,
        tail: int | str | XComArg = 0,
        provision: bool | str | XComArg = False,
        worker: int | str | XComArg | None = None,
        sync_down: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.job_id = job_id
        self.follow = follow
        self.tail = tail
        self.provision = provision
        self.worker = worker
        self.sync_down = sync_down
        self.check_arguments()

    @property
    def default_on_cancel(self) -> OnCancel:
        """Leave the job: another task has submitted it."""
        return OnCancel.LEAVE

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "cluster_name": read.cluster,
            "job_id": read.optional(read.whole_number()),
            "tail": read.whole_number(0),
            "worker": read.optional(read.whole_number(0)),
            **dict.fromkeys(("follow", "provision", "sync_down"), read.flag),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        if values["provision"] is False and read.is_given(values["worker"]):
            raise SkyRequestError("worker: needs provision=True; a job's log has the output of all nodes")
        if values["provision"] is True and (read.is_given(values["job_id"]) or values["sync_down"] is True):
            raise SkyRequestError("provision: is the cluster's log; give neither job_id nor sync_down with it")
