"""Operators for managed jobs: launch, queue, cancel, logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators import read, sections
from k8s_sky_provider.operators.base import SkyBaseOperator, cluster_name_for
from k8s_sky_provider.operators.sections import read_section
from k8s_sky_provider.operators.task import check_has_no_secret, header_of
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
    kill_can = (OnCancel.CANCEL, OnCancel.LEAVE)
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
        self.pool_name = pool_name
        self.num_jobs = num_jobs
        self.wait = wait
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            **super()._readers(),
            "pool_name": read.optional(read.cluster),
            "num_jobs": read.optional(read.whole_number()),
            "wait": read.flag,
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        super()._check_together(values)
        # The base's constructor checks before there is a pool.
        if read.is_given(values["num_jobs"]) and values["pool_name"] is None:
            raise SkyRequestError("num_jobs: needs pool_name, the pool whose workers run the jobs")

    def given_task(self, name: str, value: object) -> Any:
        """Read a task, or the tasks of a pipeline or job group."""
        return (
            self.check_documents(value, name) if isinstance(value, (list, tuple)) else super().given_task(name, value)
        )

    def check_documents(self, documents: Sequence[object], source: str) -> list[dict[str, Any]]:
        """Return the checked tasks of a pipeline or job group, after its header if it has one."""
        if not documents:
            raise SkyRequestError(f"{source}: is empty; give at least one task")
        head = header_of(documents)
        if head is not None:
            head = read_section(head, sections.JOB_GROUP, source, "job group")
            check_has_no_secret(head, source)
        tasks = documents[1:] if head is not None else documents
        checked = [self.check_content(task, f"{source}, task {number}") for number, task in enumerate(tasks, 1)]
        return [head, *checked] if head is not None else checked

    @property
    def default_on_cancel(self) -> OnCancel:
        """Cancel the job; its controller takes its machines down."""
        return OnCancel.CANCEL

    def known_xcoms(self, context: Context) -> dict[str, Any]:
        """Return the job's name, by which it is found also when its id was never heard of."""
        return {"job_name": self._rendered_job_name(context)}

    def _rendered_job_name(self, context: Context | None) -> str:
        if self.job_name is None:
            return cluster_name_for(self.request_owner(context))
        return read.job_name("job_name", self.job_name)

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``jobs_launch``."""
        arguments = super().build_arguments(context)
        pool = arguments.pop("pool_name")
        return {
            **arguments,
            "job_name": self._rendered_job_name(context),
            "name_is_of_task_instance": self.job_name is None,
            "pool": pool,
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
    renamed: ClassVar[dict[str, str]] = {"pool_name": "pool"}

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
        self.job_name = job_name
        self.pool_name = pool_name
        self.skip_finished = skip_finished
        self.statuses = statuses
        self.all_users = all_users
        self.limit = limit
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            **dict.fromkeys(("job_name", "pool_name"), read.optional(read.text)),
            **dict.fromkeys(("skip_finished", "all_users"), read.flag),
            "statuses": read.optional(_statuses),
            "limit": read.optional(read.whole_number()),
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
    renamed: ClassVar[dict[str, str]] = {"pool_name": "pool"}

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
        self.job_ids = job_ids
        self.job_name = job_name
        self.pool_name = pool_name
        self.all = all
        self.wait = wait
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "job_ids": read.optional(read.each(read.whole_number())),
            **dict.fromkeys(("job_name", "pool_name"), read.optional(read.text)),
            **dict.fromkeys(("all", "wait"), read.flag),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        named = [values[name] for name in ("job_ids", "job_name", "pool_name", "all")]
        if read.UNKNOWN not in named and sum(map(bool, named)) != 1:
            given = ", ".join(map(read.shown, named))
            raise SkyRequestError(
                f"job_ids, job_name, pool_name, all: give one of them, to say which jobs, not {given}"
            )

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``jobs_cancel``."""
        values = super().build_arguments(context)
        del values["all"]
        return values


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
    kill_can = (OnCancel.CANCEL, OnCancel.LEAVE)
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
        self.job_id = job_id
        self.job_name = job_name
        self.follow = follow
        self.controller = controller
        self.tail = tail
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "job_id": read.optional(read.whole_number()),
            "job_name": read.optional(read.text),
            **dict.fromkeys(("follow", "controller"), read.flag),
            "tail": read.optional(read.whole_number()),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        if read.UNKNOWN not in (values["job_id"], values["job_name"]) and (
            (values["job_id"] is None) == (values["job_name"] is None)
        ):
            raise SkyRequestError("job_id and job_name: give one of them, to say which job")


def _statuses(name: str, value: object) -> list[str]:
    """Read statuses of managed jobs."""
    if isinstance(value, str) or not isinstance(value, Sequence) or any(status not in STATUSES for status in value):
        raise SkyRequestError(f"{name}: {read.shown(value)} is not a list of statuses; they are: {', '.join(STATUSES)}")
    return list(value)
