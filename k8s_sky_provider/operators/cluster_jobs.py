"""Operators for the jobs in a cluster's queue: queue, cancel, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators.arguments import (
    as_flag,
    as_whole_number,
    check_cluster_name,
    check_cluster_names,
    check_flags,
    check_whole_number,
    is_known,
    listed,
    rendered_cluster_name,
    rendered_cluster_names,
)
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    from k8s_sky_provider.operators.cluster import ClusterNames

    JobId = int | str | XComArg


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
        check_cluster_names("cluster_name", cluster_name)
        check_flags(skip_finished=skip_finished, all_users=all_users)
        check_whole_number("limit", limit)
        self.cluster_name = cluster_name
        self.skip_finished = skip_finished
        self.all_users = all_users
        self.limit = limit

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``queue``."""
        return {
            "cluster_name": rendered_cluster_names("cluster_name", self.cluster_name),
            "skip_finished": as_flag("skip_finished", self.skip_finished),
            "all_users": as_flag("all_users", self.all_users),
            "limit": None if self.limit is None else as_whole_number("limit", self.limit),
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
        check_cluster_name(cluster_name)
        for job_id in listed(job_ids):
            check_whole_number("job_ids", job_id)
        check_flags(all=all, all_users=all_users)
        _check_which(job_ids, everything=all, all_users=all_users)
        self.cluster_name = cluster_name
        self.job_ids = job_ids
        self.all = all
        self.all_users = all_users

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``cancel``."""
        everything = as_flag("all", self.all)
        job_ids = [as_whole_number("job_ids", job_id) for job_id in listed(self.job_ids)]
        if not everything and not job_ids:
            raise SkyRequestError(f"job_ids: {self.job_ids!r} names no job")
        _check_which(self.job_ids, everything=everything, all_users=self.all_users)
        return {
            "cluster_name": rendered_cluster_name(self.cluster_name),
            "job_ids": None if everything else job_ids,
            "all_users": as_flag("all_users", self.all_users),
        }


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
        check_cluster_name(cluster_name)
        check_whole_number("job_id", job_id)
        check_whole_number("tail", tail, 0)
        check_whole_number("worker", worker, 0)
        check_flags(follow=follow, provision=provision, sync_down=sync_down)
        _check_provision(provision, sync_down=sync_down, job_id=job_id, worker=worker)
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
        _check_provision(self.provision, sync_down=self.sync_down, job_id=self.job_id, worker=self.worker)
        return {
            "cluster_name": rendered_cluster_name(self.cluster_name),
            "job_id": None if self.job_id is None else as_whole_number("job_id", self.job_id),
            "follow": as_flag("follow", self.follow),
            "tail": as_whole_number("tail", self.tail, 0),
            "provision": as_flag("provision", self.provision),
            "worker": None if self.worker is None else as_whole_number("worker", self.worker, 0),
            "sync_down": as_flag("sync_down", self.sync_down),
        }


def _check_which(job_ids: object, *, everything: object, all_users: object) -> None:
    if not is_known(everything):
        return
    if is_known(job_ids) and as_flag("all", everything) == (job_ids is not None):
        raise SkyRequestError("job_ids: name the jobs, or give all=True for all of them")
    if is_known(all_users) and as_flag("all_users", all_users) and not as_flag("all", everything):
        raise SkyRequestError("all_users: needs all=True")


def _check_provision(provision: object, *, sync_down: object, job_id: object, worker: object) -> None:
    if not is_known(provision):
        return
    if not as_flag("provision", provision):
        if is_known(worker) and worker is not None:
            raise SkyRequestError("worker: needs provision=True; a job's log has the output of all nodes")
    elif (is_known(job_id) and job_id is not None) or (is_known(sync_down) and as_flag("sync_down", sync_down)):
        raise SkyRequestError("provision: is the cluster's log; give neither job_id nor sync_down with it")
