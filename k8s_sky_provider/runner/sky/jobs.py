"""Managed jobs (``sky.jobs``): their controller is a cluster of its own."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from sky import global_user_state
from sky.exceptions import JobExitCode
from sky.jobs import ManagedJobStatus
from sky.jobs.server import core
from sky.utils import common, dag_utils

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import yaml_file
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.errors import explain, explained
from k8s_sky_provider.runner.sky.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import sky

    from k8s_sky_provider.protocol import JsonValue, TaskOverrides

SECONDS_BETWEEN_LOOKS = 10.0
"""How often a job is looked at while its log cannot be followed."""

ATTEMPTS_TO_REACH = 30
"""How often in a row the controller may be out of reach while a job is followed."""

FIELDS = (
    "job_id",
    "task_id",
    "job_name",
    "task_name",
    "status",
    "submitted_at",
    "end_at",
    "job_duration",
    "recovery_count",
    "resources",
    "pool",
    "is_primary_in_job_group",
    "failure_reason",
)
"""What is asked of the controller about each task of a job."""

_LOG_IS_WHOLE = {JobExitCode.SUCCEEDED, JobExitCode.FAILED, JobExitCode.CANCELLED}
"""What ``tail_logs`` returns when the job has ended."""


class ManagedJobs(Tasks):
    """Jobs that SkyPilot's jobs controller looks after. A job has one row for each of its tasks."""

    def load_job(
        self,
        task: str | dict[str, Any] | list[dict[str, Any]],
        overrides: TaskOverrides,
        job_name: str,
        mask: Callable[[Iterable[str]], None],
    ) -> sky.Dag:
        """Read, check and override all the tasks of a job; what is said over a task is said over each."""
        documents = _read_documents(task) if isinstance(task, str) else [task] if isinstance(task, dict) else task
        # A pipeline may begin with a document that is no task, a job group must.
        head = documents[:1] if len(documents) > 1 and _is_header(documents[0]) else []
        of_each = overrides if len(documents) - len(head) == 1 else dataclasses.replace(overrides, job_name=None)
        tasks = [self.load_task(document, of_each, mask).to_yaml_config() for document in documents[len(head) :]]
        if isinstance(task, str):
            os.chdir(Path(task).expanduser().parent)
        try:
            job = dag_utils.load_dag_from_yaml_str(yaml.safe_dump_all([*head, *tasks]))
            job.name = job_name
            if len(job.tasks) == 1:
                job.tasks[0].name = job_name
        except Exception as error:
            raise ActionFailedError(ExitCode.REQUEST_WRONG, explain(error).reason, type(error).__name__) from error
        return job

    def launch_managed_job(self, job: sky.Dag, *, pool: str | None, num_jobs: int | None) -> list[int]:
        """Bring the controller up if it is not, and submit a job as often as asked; return the ids."""
        job_ids = self.call.order(core.launch, job, name=job.name, pool=pool, num_jobs=num_jobs)[0]
        return [job_ids] if isinstance(job_ids, int) else list(job_ids or ())

    def managed_jobs(
        self,
        *,
        job_ids: list[int] | None = None,
        skip_finished: bool = False,
        statuses: list[str] | None = None,
        all_users: bool = False,
    ) -> list[dict[str, JsonValue]]:
        """List the tasks of managed jobs, the newest job first; none without a controller."""
        if not self._may_have_a_controller():
            return []
        answer = self.call.ask_controller(
            core.queue_v2,
            # A stopped controller knows its jobs when it is started again.
            refresh=True,
            job_ids=job_ids,
            skip_finished=skip_finished,
            statuses=statuses,
            all_users=all_users,
            fields=list(FIELDS),
        )
        rows = [job_row(row) for row in answer[0]] if answer else []
        # A client of 0.12 gets them all.
        return [row for row in rows if statuses is None or row["status"] in statuses]

    def _may_have_a_controller(self) -> bool:
        """Tell whether it is worth to ask: SkyPilot would start a controller that never was."""
        with explained():
            return bool(global_user_state.cluster_with_name_exists(common.JOB_CONTROLLER_NAME))

    def follow_managed_job(self, job_id: int, *, tail: int | None = None) -> list[dict[str, JsonValue]]:
        """Print a job's output, or only its last lines, until it ends; list its tasks then.

        That goes on over breaks of the connection.
        """
        failures = 0
        followed = False
        while True:
            try:
                if not followed:
                    end = self._tail(job_id, follow=True, controller=False, tail=tail)
                    followed = end in _LOG_IS_WHOLE
                    # What is followed again is not printed again.
                    tail = 1
                rows = self.managed_jobs(job_ids=[job_id])
                if not rows:
                    raise ActionFailedError(ExitCode.INTERNAL_ERROR, f"there is no managed job {job_id} any more")
                # The controller takes the cluster down between the log's end and the job's.
                if all(ManagedJobStatus(row["status"]).is_terminal() for row in rows):
                    return rows
                failures = 0
            except ActionFailedError as failure:
                failures += 1
                if failures == ATTEMPTS_TO_REACH:
                    raise
                print(f"Managed job {job_id} is out of sight, looking again: {failure.reason}")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def print_managed_job_log(self, job_id: int, *, controller: bool, tail: int | None) -> None:
        """Print what a job, or the controller about it, has written until now."""
        self._tail(job_id, follow=False, controller=controller, tail=tail)

    def _tail(self, job_id: int, *, follow: bool, controller: bool, tail: int | None) -> int | None:
        return self.call.show(
            core.tail_logs, name=None, job_id=job_id, follow=follow, controller=controller, refresh=True, tail=tail
        )

    def cancel_managed_jobs(self, job_ids: list[int]) -> None:
        """Ask the controller to cancel jobs; it takes their clusters down."""
        self.call.order(core.cancel, job_ids=job_ids)


def job_row(row: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return what the controller has of a task of a job."""
    return {**{key: row.get(key) for key in FIELDS}, "status": row["status"].value}


def _read_documents(path: str) -> list[dict[str, Any]]:
    documents = yaml_file.read("sky_task_yaml", path)
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"sky_task_yaml: {path!r} must have YAML mappings, one for each task"
        )
    return documents


def _is_header(document: dict[str, Any]) -> bool:
    """Tell whether the first of several documents is a pipeline's or a job group's own (as SkyPilot's dag_utils do)."""
    return document.keys() == {"name"} or "execution" in document
