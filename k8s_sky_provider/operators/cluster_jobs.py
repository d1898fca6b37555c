"""Operators for the jobs in a cluster's queue: queue, cancel, logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators.arguments import (
    as_whole_number,
    check_cluster_name,
    check_cluster_names,
    check_whole_number,
    rendered_cluster_name,
    rendered_cluster_names,
)
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from k8s_sky_provider.operators.cluster import ClusterNames

    JobId = int | str | XComArg


class SkyQueueOperator(SkyBaseOperator):
    """List the jobs of clusters, the newest first. Returns a list of dicts.

    Their keys: job_id, status, submitted_at (seconds since 1970), resources, and only where there is such a thing:
    job_name, start_at, end_at, user; of a list or a glob also cluster_name. Wraps ``sky.queue``. A list that does not
    fit into a result (about a hundred jobs) fails the task.

    :param cluster_name: the cluster, for example ``launch.output``; or several, or a glob as ``train-*`` (templated)
    :param skip_finished: leave out jobs that have ended
    :param all_users: list the jobs of other deployments with the same state, too
    :param limit: list no more than so many
    """

    action: ClassVar[str] = "queue"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name")

    def __init__(
        self,
        *,
        cluster_name: ClusterNames,
        skip_finished: bool = False,
        all_users: bool = False,
        limit: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_names("cluster_name", cluster_name)
        check_whole_number("limit", limit)
        self.cluster_name = cluster_name
        self.skip_finished = skip_finished
        self.all_users = all_users
        self.limit = limit

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``queue``."""
        return {
            "cluster_name": rendered_cluster_names("cluster_name", self.cluster_name),
            "skip_finished": self.skip_finished,
            "all_users": self.all_users,
            "limit": self.limit,
        }


class SkyCancelOperator(SkyBaseOperator):
    """Cancel jobs of a cluster. Returns the cluster's name.

    Wraps ``sky.cancel``. A job that has ended already is fine; one that the cluster never had is an error.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param job_ids: the jobs, one or several (templated)
    :param all: cancel all jobs instead
    :param all_users: those of other deployments with the same state, too; needs ``all``
    """

    action: ClassVar[str] = "cancel"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name", "job_ids")

    def __init__(
        self,
        *,
        cluster_name: str | XComArg,
        job_ids: JobId | Sequence[JobId] | None = None,
        all: bool = False,  # noqa: A002  # SkyPilot's name
        all_users: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_name(cluster_name)
        for job_id in _listed(job_ids):
            check_whole_number("job_ids", job_id)
        if all == (job_ids is not None):
            raise SkyRequestError("job_ids: name the jobs, or give all=True for all of them")
        if all_users and not all:
            raise SkyRequestError("all_users: needs all=True")
        self.cluster_name = cluster_name
        self.job_ids = job_ids
        self.all = all
        self.all_users = all_users

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``cancel``."""
        job_ids = [as_whole_number("job_ids", job_id) for job_id in _listed(self.job_ids)]
        if not self.all and not job_ids:
            raise SkyRequestError(f"job_ids: {self.job_ids!r} names no job")
        return {
            "cluster_name": rendered_cluster_name(self.cluster_name),
            "job_ids": None if self.all else job_ids,
            "all_users": self.all_users,
        }


class SkyLogsOperator(SkyBaseOperator):
    """Show a job's log, and wait for the job. Returns the cluster's name.

    Wraps ``sky.tail_logs``. While it follows, the task ends as the job does, just as that of SkyExecOperator: it is
    what waits for a job that was launched with ``wait=False``. A task that does not follow succeeds whatever the job's
    status is; the XCom key ``result`` has it.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param job_id: the job; the last one by default (templated)
    :param follow: wait for the job; otherwise show what it has written until now
    :param tail: begin with this many of the last lines; 0 for the whole log
    :param provision: show how the cluster was provisioned instead, also of one that is gone
    :param worker: of which node, from 0 for the head; needs ``provision``
    :param sync_down: copy the job's log files to the volume instead, and return their directory there
    """

    action: ClassVar[str] = "logs"
    operator_extra_links = (*SkyBaseOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name", "job_id")

    def __init__(
        self,
        *,
        cluster_name: str | XComArg,
        job_id: JobId | None = None,
        follow: bool = True,
        tail: int = 0,
        provision: bool = False,
        worker: int | None = None,
        sync_down: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_name(cluster_name)
        check_whole_number("job_id", job_id)
        check_whole_number("tail", tail, 0)
        check_whole_number("worker", worker, 0)
        if provision and (sync_down or job_id is not None):
            raise SkyRequestError("provision: is the cluster's log; give neither job_id nor sync_down with it")
        if worker is not None and not provision:
            raise SkyRequestError("worker: needs provision=True; a job's log has the output of all nodes")
        self.cluster_name = cluster_name
        self.job_id = job_id
        self.follow = follow
        self.tail = tail
        self.provision = provision
        self.worker = worker
        self.sync_down = sync_down

    @property
    def default_on_cancel(self) -> OnCancel:
        """Leave the job: another task has submitted it."""
        return OnCancel.LEAVE

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``logs``."""
        return {
            "cluster_name": rendered_cluster_name(self.cluster_name),
            "job_id": None if self.job_id is None else as_whole_number("job_id", self.job_id),
            "follow": self.follow,
            "tail": self.tail,
            "provision": self.provision,
            "worker": self.worker,
            "sync_down": self.sync_down,
        }


def _listed(job_ids: JobId | Sequence[JobId] | None) -> Sequence[JobId]:
    if job_ids is None:
        return []
    return job_ids if isinstance(job_ids, Sequence) and not isinstance(job_ids, str) else [job_ids]
