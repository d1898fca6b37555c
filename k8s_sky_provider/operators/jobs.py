"""Operators for managed jobs: launch, queue, cancel, logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators.arguments import (
    as_flag,
    as_whole_number,
    check_flags,
    check_whole_number,
    is_known,
    listed,
    rendered_text,
)
from k8s_sky_provider.operators.base import SkyBaseOperator, bundle_root, cluster_name_for, dag_folder
from k8s_sky_provider.operators.task import check_has_no_secret, check_task, read_documents
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    JobId = int | str | XComArg

STATUSES = (
    "PENDING",
    "STARTING",
    "RUNNING",
    "WINDING_DOWN",
    "RECOVERING",
    "CANCELLING",
    "SUCCEEDED",
    "CANCELLED",
    "FAILED",
    "FAILED_SETUP",
    "FAILED_PRECHECKS",
    "FAILED_NO_RESOURCE",
    "FAILED_CONTROLLER",
)
"""The statuses of a managed job."""


class SkyJobLaunchOperator(SkyTaskOperator):
    """Launch a managed job, which gets other machines when it loses its own. Returns the job's id.

    Wraps ``sky.jobs.launch``. SkyPilot's jobs controller, a cluster of its own that the first job starts, finds the
    machines, takes them down when the job has ended, and goes on when this task's pod is lost. The task waits for the
    job, with the job's output in its log; a task that is tried again follows the job of its earlier try.

    Besides one task this takes a pipeline of tasks and a job group: a file of several YAML documents, or a list of
    dicts. What an argument says over a task it says over each of them. Without ``job_name`` the job's name is derived
    from the DAG, the run, the task and its map index.

    :param sky_task_yaml: the task or the tasks: a path beside the DAG file, a path on the volume, a dict, or a list
        of dicts (templated)
    :param pool_name: the pool whose workers run the job (templated)
    :param num_jobs: submit the task so often, to the workers of that pool; returns a list of ids (templated)
    :param wait: wait for the job. Otherwise the task ends when the job is submitted (SkyJobLogsOperator waits for it)
        (templated)
    """

    action: ClassVar[str] = "jobs_launch"
    operator_extra_links = (*SkyBaseOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (*SkyTaskOperator.template_fields, "pool_name", "num_jobs", "wait")

    def __init__(
        self,
        *,
        sky_task_yaml: str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | XComArg,
        pool_name: str | XComArg | None = None,
        num_jobs: int | str | XComArg | None = None,
        wait: bool | str | XComArg = True,
        **kwargs: Any,
    ) -> None:
        # What lists are made of is checked here: to the base a task is a path or a dict.
        super().__init__(sky_task_yaml=sky_task_yaml, **kwargs)  # type: ignore[arg-type]
        check_whole_number("num_jobs", num_jobs)
        _check_num_jobs(num_jobs, pool_name)
        check_flags(wait=wait)
        if isinstance(sky_task_yaml, (list, tuple)):
            _check_documents(sky_task_yaml, "sky_task_yaml")
        check_on_cancel(self.on_cancel, OnCancel.CANCEL)
        self.pool_name = pool_name
        self.num_jobs = num_jobs
        self.wait = wait

    @property
    def default_on_cancel(self) -> OnCancel:
        """Cancel the job; its controller takes its machines down."""
        return OnCancel.CANCEL

    def known_xcoms(self, context: Context) -> dict[str, Any]:
        """Return the job's name, by which it is found also when its id was never heard of."""
        return {"job_name": self._rendered_job_name(context)}

    def _rendered_job_name(self, context: Context | None) -> str:
        return rendered_text("job_name", self.job_name) or cluster_name_for(self.request_owner(context))

    def read_task(self, context: Context | None) -> str | dict[str, Any] | list[dict[str, Any]]:
        """Return the tasks as the request carries them: their content, or their path on the volume."""
        task = self.sky_task_yaml
        if isinstance(task, Mapping):
            return check_task(task, "sky_task_yaml")
        if isinstance(task, (list, tuple)):
            return _check_documents(task, "sky_task_yaml")
        documents = read_documents(task, "sky_task_yaml", dag_folder(context), bundle_root(context))
        return documents if isinstance(documents, str) else _check_documents(documents, str(task))

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``jobs_launch``."""
        _check_num_jobs(self.num_jobs, self.pool_name)
        check_on_cancel(self.on_cancel, OnCancel.CANCEL)
        return {
            **self.task_arguments(context),
            "job_name": self._rendered_job_name(context),
            "name_is_of_task_instance": self.job_name is None,
            "pool": rendered_text("pool_name", self.pool_name),
            "num_jobs": None if self.num_jobs is None else as_whole_number("num_jobs", self.num_jobs),
            "wait": as_flag("wait", self.wait),
        }


class SkyJobQueueOperator(SkyBaseOperator):
    """List managed jobs, the newest first. Returns a list of dicts, one for each task of a job.

    Their keys: job_id, task_id, job_name, task_name, status, submitted_at and end_at (seconds since 1970),
    job_duration (seconds), recovery_count, resources, pool, is_primary_in_job_group, failure_reason.
    Wraps ``sky.jobs.queue``. Without a controller the list is empty: jobs are forgotten with it. A list that does not
    fit into a result (about a hundred jobs) fails the task.

    :param job_name: only jobs of this name (templated)
    :param pool_name: only jobs of this pool (templated)
    :param skip_finished: leave out jobs that have ended (templated)
    :param statuses: only jobs with these statuses, as ``["RUNNING", "RECOVERING"]``
    :param all_users: list the jobs of other deployments with the same controller, too (templated)
    :param limit: list no more than so many (templated)
    """

    action: ClassVar[str] = "jobs_queue"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "job_name",
        "pool_name",
        "skip_finished",
        "all_users",
        "limit",
    )

    def __init__(
        self,
        *,
        job_name: str | XComArg | None = None,
        pool_name: str | XComArg | None = None,
        skip_finished: bool | str | XComArg = False,
        statuses: Sequence[str] | None = None,
        all_users: bool | str | XComArg = False,
        limit: int | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(skip_finished=skip_finished, all_users=all_users)
        check_whole_number("limit", limit)
        unknown = [status for status in statuses or () if status not in STATUSES]
        if isinstance(statuses, str) or unknown:
            raise SkyRequestError(f"statuses: {statuses!r} is not a list of statuses; they are: {', '.join(STATUSES)}")
        self.job_name = job_name
        self.pool_name = pool_name
        self.skip_finished = skip_finished
        self.statuses = statuses
        self.all_users = all_users
        self.limit = limit

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``jobs_queue``."""
        return {
            "job_name": rendered_text("job_name", self.job_name),
            "pool": rendered_text("pool_name", self.pool_name),
            "skip_finished": as_flag("skip_finished", self.skip_finished),
            "statuses": None if self.statuses is None else list(self.statuses),
            "all_users": as_flag("all_users", self.all_users),
            "limit": None if self.limit is None else as_whole_number("limit", self.limit),
        }


class SkyJobCancelOperator(SkyBaseOperator):
    """Cancel managed jobs, with their machines. Returns the list of the ids that were cancelled.

    Wraps ``sky.jobs.cancel``. A job that has ended already is fine; an id that there never was is an error.

    :param job_ids: the jobs, one or several, for example ``launch.output`` (templated)
    :param job_name: or all jobs of this name (templated)
    :param pool_name: or all jobs of this pool (templated)
    :param all: or all jobs of this deployment (templated)
    :param wait: wait until the machines are down; otherwise the controller is only told (templated)
    """

    action: ClassVar[str] = "jobs_cancel"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "job_ids",
        "job_name",
        "pool_name",
        "all",
        "wait",
    )

    def __init__(
        self,
        *,
        job_ids: JobId | Sequence[JobId] | None = None,
        job_name: str | XComArg | None = None,
        pool_name: str | XComArg | None = None,
        all: bool | str | XComArg = False,  # noqa: A002  # SkyPilot's name
        wait: bool | str | XComArg = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(all=all, wait=wait)
        _check_which(job_ids, job_name, pool_name, everything=all)
        for job_id in listed(job_ids):
            check_whole_number("job_ids", job_id)
        self.job_ids = job_ids
        self.job_name = job_name
        self.pool_name = pool_name
        self.all = all
        self.wait = wait

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``jobs_cancel``."""
        job_ids = [as_whole_number("job_ids", job_id) for job_id in listed(self.job_ids)]
        name, pool = rendered_text("job_name", self.job_name), rendered_text("pool_name", self.pool_name)
        if not (as_flag("all", self.all) or job_ids or name or pool):
            raise SkyRequestError(
                f"job_ids: {self.job_ids!r} names no job; did the task that it comes from return one?"
            )
        _check_which(self.job_ids, name, pool, everything=self.all)
        return {"job_ids": job_ids or None, "job_name": name, "pool": pool, "wait": as_flag("wait", self.wait)}


class SkyJobLogsOperator(SkyBaseOperator):
    """Show a managed job's log, and wait for the job. Returns the job's id.

    Wraps ``sky.jobs.tail_logs``. While it follows, the task ends as the job does, just as that of
    SkyJobLaunchOperator: it is what waits for a job that was launched with ``wait=False``. A task that does not
    follow succeeds whatever the job's status is.

    :param job_id: the job, for example ``launch.output`` (templated)
    :param job_name: or the newest job of this name (templated)
    :param follow: wait for the job; otherwise show what it has written until now (templated)
    :param controller: show what the controller wrote about the job instead, until now (templated)
    :param tail: begin with this many of the last lines; the whole log by default (templated)
    """

    action: ClassVar[str] = "jobs_logs"
    operator_extra_links = (*SkyBaseOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "job_id",
        "job_name",
        "follow",
        "controller",
        "tail",
    )

    def __init__(
        self,
        *,
        job_id: JobId | None = None,
        job_name: str | XComArg | None = None,
        follow: bool | str | XComArg = True,
        controller: bool | str | XComArg = False,
        tail: int | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_id_or_name(job_id, job_name)
        check_flags(follow=follow, controller=controller)
        check_whole_number("job_id", job_id)
        check_whole_number("tail", tail)
        check_on_cancel(self.on_cancel, OnCancel.CANCEL)
        self.job_id = job_id
        self.job_name = job_name
        self.follow = follow
        self.controller = controller
        self.tail = tail

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``jobs_logs``."""
        name = rendered_text("job_name", self.job_name)
        _check_id_or_name(self.job_id, name)
        check_on_cancel(self.on_cancel, OnCancel.CANCEL)
        return {
            "job_id": None if name is not None else as_whole_number("job_id", self.job_id),
            "job_name": name,
            "follow": as_flag("follow", self.follow),
            "controller": as_flag("controller", self.controller),
            "tail": None if self.tail is None else as_whole_number("tail", self.tail),
        }


def check_on_cancel(on_cancel: object, possible: OnCancel) -> None:
    """Check what a kill may do where there is but one thing to undo; what is still to be rendered passes.

    :raises SkyRequestError: if it is neither that nor ``leave``
    """
    if on_cancel is not None and is_known(on_cancel) and on_cancel not in {possible, OnCancel.LEAVE}:
        raise SkyRequestError(f"on_cancel: {on_cancel!r} is neither {possible.value!r} nor 'leave'")


def _check_num_jobs(num_jobs: object, pool_name: object) -> None:
    if num_jobs is not None and is_known(num_jobs) and pool_name is None:
        raise SkyRequestError("num_jobs: needs pool_name, the pool whose workers run the jobs")


def _check_which(*named: object, everything: object) -> None:
    if all(is_known(value) for value in (*named, everything)):
        given = [*(value is not None for value in named), as_flag("all", everything)]
        if sum(given) != 1:
            raise SkyRequestError("job_ids, job_name, pool_name, all: give one of them, to say which jobs")


def _check_id_or_name(job_id: object, job_name: object) -> None:
    if is_known(job_id) and is_known(job_name) and (job_id is None) == (job_name is None):
        raise SkyRequestError("job_id and job_name: give one of them, to say which job")


def _check_documents(documents: Sequence[object], source: str) -> list[dict[str, Any]]:
    if not documents:
        raise SkyRequestError(f"{source}: is empty; give at least one task")
    # The first of several may be the pipeline's or the job group's own: it has a name and how to run them.
    head = documents[0] if len(documents) > 1 else None
    is_head = isinstance(head, Mapping) and (set(head) == {"name"} or "execution" in head)
    first = [dict(head)] if is_head and isinstance(head, Mapping) else []
    for header in first:
        check_has_no_secret(header, source)
    tasks = documents[len(first) :]
    return [*first, *(check_task(task, f"{source}, task {number}") for number, task in enumerate(tasks, 1))]
