"""Managed jobs: SkyPilot's jobs controller finds machines for them, and others when those are lost."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode, TaskOverrides
from k8s_sky_provider.runner.actions import once
from k8s_sky_provider.runner.actions.lock import using_controller
from k8s_sky_provider.runner.actions.run import Outcome, listing
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.protocol import JsonValue, OnCancel
    from k8s_sky_provider.runner.actions.run import Run

EXIT_CODES = {
    "SUCCEEDED": ExitCode.OK,
    "FAILED_SETUP": ExitCode.SETUP_FAILED,
    "FAILED_PRECHECKS": ExitCode.REQUEST_WRONG,
    "FAILED_NO_RESOURCE": ExitCode.RESOURCES_UNAVAILABLE,
    "FAILED_CONTROLLER": ExitCode.TRY_AGAIN,
    "CANCELLED": ExitCode.CANCELLED,
}
"""A job's last status -> what it means for the task; any other is a failed job."""

SECONDS_BETWEEN_LOOKS = 5.0
"""How often a job that is being cancelled is looked at."""

SECONDS_TO_CANCEL = 900.0
"""How long that may take: the controller takes the job's cluster down before the job counts as cancelled."""


def jobs_launch(run: Run) -> Outcome:
    """Submit a managed job and wait for it; a task that is tried again follows the job that it has."""
    arguments = run.request.arguments
    name, wanted = str(arguments["job_name"]), arguments["num_jobs"] or 1
    job = run.engine.load_job(arguments["task"], TaskOverrides(**arguments["overrides"]), name, run.mask)
    job_ids: list[int] = []
    own_name = bool(arguments["name_is_of_task_instance"])
    run.undo = functools.partial(_undo, run, job_ids, name if own_name else None)
    ended = once.earlier_outcome(run)
    if ended is not None:
        return ended
    submitted = once.earlier_submission(run, name, wanted)
    owner = run.request.owner
    if submitted is None and own_name and owner.try_number > 1 and not once.was_cleared(owner):
        submitted = _under_way(run, name)
    job_ids += submitted or []
    if len(job_ids) == wanted:
        print(f"Managed job {_list(job_ids)} is this task's own; taking it up")
    else:
        with using_controller(run, "jobs"):
            once.note_submission(run, None)
            job_ids[:] = run.engine.launch_managed_job(job, pool=arguments["pool"], num_jobs=arguments["num_jobs"])
        once.note_submission(run, job_ids)
    run.job_id = job_ids[0]
    value = run.value = job_ids if arguments["num_jobs"] is not None else job_ids[0]
    if not arguments["wait"]:
        return Outcome(return_value=value)
    outcome = _outcome_of(value, [_follow(run, job_id) for job_id in job_ids])
    once.note_outcome(run, outcome)
    return outcome


def jobs_cancel(run: Run) -> Outcome:
    """Cancel managed jobs, wait until they are; one that has ended is fine, one that never was is an error."""
    arguments = run.request.arguments
    job_ids, name, pool = arguments["job_ids"], arguments["job_name"], arguments["pool"]
    if job_ids is not None:
        _check_known(run, job_ids)
    rows = run.engine.managed_jobs(job_ids=job_ids, skip_finished=True)
    chosen = sorted(
        {
            int(row["job_id"])
            for row in rows
            if (name is None or row["job_name"] == name) and (pool is None or row["pool"] == pool)
        }
    )
    if chosen:
        _cancel(run, chosen, wait=bool(arguments["wait"]))
    else:
        print("No managed job is under way that was meant")
    return Outcome(return_value=chosen)


def jobs_queue(run: Run) -> Outcome:
    """List managed jobs."""
    arguments = run.request.arguments
    name, pool = arguments["job_name"], arguments["pool"]
    rows = [
        row
        for row in run.engine.managed_jobs(
            skip_finished=arguments["skip_finished"],
            statuses=arguments["statuses"],
            all_users=arguments["all_users"],
        )
        if (name is None or row["job_name"] == name) and (pool is None or row["pool"] == pool)
    ]
    return listing(run, rows[: arguments["limit"]], "skip_finished, statuses, job_name or limit")


def jobs_logs(run: Run) -> Outcome:
    """Show a managed job's log; while following it, wait for the job as the task that submitted it would have."""
    arguments = run.request.arguments
    job_id, tail = _job_of(run, arguments["job_id"], arguments["job_name"]), arguments["tail"]
    run.job_id = job_id
    if arguments["controller"] or not arguments["follow"]:
        run.engine.print_managed_job_log(job_id, controller=arguments["controller"], tail=tail)
        return Outcome(return_value=job_id)
    run.undo = functools.partial(_undo, run, [job_id], None)
    return _follow(run, job_id, tail=tail)


def _follow(run: Run, job_id: int, *, tail: int | None = None) -> Outcome:
    rows = run.engine.follow_managed_job(job_id, tail=tail)
    # Helpers of a job group end as cancelled when the tasks that count are done.
    rows = [row for row in rows if row["is_primary_in_job_group"] is not False] or rows
    bad = [row for row in rows if row["status"] != "SUCCEEDED"]
    if not bad:
        return Outcome(return_value=job_id, job_status="SUCCEEDED")
    # What comes after a failed task of a pipeline is cancelled: the failure is what happened.
    row = min(bad, key=lambda row: (row["status"] == "CANCELLED", row["task_id"] or 0))
    task = f" (task {row['task_name']})" if len(rows) > 1 else ""
    why = f": {' '.join(row['failure_reason'].split())}" if row["failure_reason"] else ""
    return Outcome(
        return_value=job_id,
        exit_code=EXIT_CODES.get(row["status"], ExitCode.JOB_FAILED),
        reason=f"Managed job {job_id}{task} ended as {row['status']}{why}",
        job_status=row["status"],
    )


def _outcome_of(value: JsonValue, outcomes: list[Outcome]) -> Outcome:
    failed = [outcome for outcome in outcomes if outcome.exit_code != ExitCode.OK]
    if not failed:
        return Outcome(return_value=value, job_status="SUCCEEDED")
    return Outcome(
        return_value=value,
        exit_code=failed[0].exit_code,
        reason="; ".join(outcome.reason for outcome in failed),
        job_status=failed[0].job_status,
    )


def _job_of(run: Run, job_id: int | None, name: str | None) -> int:
    if job_id is not None:
        _check_known(run, [job_id])
        return job_id
    found = [int(row["job_id"]) for row in run.engine.managed_jobs() if row["job_name"] == name]
    if not found:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"job_name: there is no managed job {name!r}; SkyJobQueueOperator lists those there are",
        )
    return max(found)


def _check_known(run: Run, job_ids: list[int]) -> None:
    known = {row["job_id"] for row in run.engine.managed_jobs(job_ids=job_ids)}
    missing = [job_id for job_id in job_ids if job_id not in known]
    if missing:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"there is no managed job {_list(missing)}; SkyJobQueueOperator lists those there are. "
            "They are forgotten with their controller",
        )


def _under_way(run: Run, name: str) -> list[int]:
    """Return the jobs of that name that have not ended and are not being cancelled."""
    rows: list[dict[str, JsonValue]] = run.engine.managed_jobs(skip_finished=True)
    return sorted({int(row["job_id"]) for row in rows if row["job_name"] == name and row["status"] != "CANCELLING"})


def _cancel(run: Run, job_ids: list[int], *, wait: bool) -> None:
    run.engine.cancel_managed_jobs(job_ids)
    end = time.monotonic() + SECONDS_TO_CANCEL
    while wait and run.engine.managed_jobs(job_ids=job_ids, skip_finished=True):
        if time.monotonic() > end:
            raise ActionFailedError(
                ExitCode.TRY_AGAIN,
                f"managed job {_list(job_ids)} is still being cancelled after {SECONDS_TO_CANCEL:g} s",
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _undo(run: Run, job_ids: list[int], name: str | None, wish: OnCancel) -> str:
    del wish  # an operator takes no other than to cancel
    # A job may have been submitted although its id was never heard of: its name tells.
    meant = job_ids or ([] if name is None else _under_way(run, name))
    if not meant:
        return "no managed job had been submitted"
    _cancel(run, meant, wait=False)
    return f"managed job {_list(meant)} was cancelled"


def _list(job_ids: list[int]) -> str:
    return ", ".join(map(str, job_ids))


ACTIONS: dict[str, Callable[[Run], Outcome]] = {
    "jobs_launch": jobs_launch,
    "jobs_cancel": jobs_cancel,
    "jobs_queue": jobs_queue,
    "jobs_logs": jobs_logs,
}
