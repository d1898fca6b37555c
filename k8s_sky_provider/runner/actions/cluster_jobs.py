"""The jobs in a cluster's queue."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode, OnCancel
from k8s_sky_provider.runner.actions.cluster import cluster_names_of, undo_to_cluster
from k8s_sky_provider.runner.actions.run import Outcome, listing
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.runner.actions.run import Run

EXIT_CODES = {"FAILED_SETUP": ExitCode.SETUP_FAILED, "CANCELLED": ExitCode.CANCELLED}
"""A job's last status -> what it means for the task; any other is a failed job."""

KILLED = 128 + signal.SIGKILL
"""What a shell says of a process that was killed."""


def queue(run: Run) -> Outcome:
    """List the jobs of clusters."""
    arguments = run.request.arguments
    wanted = arguments["cluster_name"]
    names = cluster_names_of(run, wanted)
    rows = []
    for name in names:
        jobs = run.engine.cluster_queue(
            name, skip_finished=arguments["skip_finished"], all_users=arguments["all_users"]
        )
        rows += jobs if [wanted] == names else [{"cluster_name": name, **job} for job in jobs]
    return listing(run, rows[: arguments["limit"]], "skip_finished or limit")


def cancel_jobs(run: Run) -> Outcome:
    """Cancel jobs; one that has ended already is fine, one that never was is an error."""
    arguments = run.request.arguments
    name = run.cluster_name = str(arguments["cluster_name"])
    job_ids = arguments["job_ids"]
    if job_ids is not None:
        _check_jobs(run, name, job_ids)
    run.engine.cancel_jobs(name, job_ids, all_users=arguments["all_users"])
    return Outcome(return_value=name)


def logs(run: Run) -> Outcome:
    """Show a job's log; while following it, wait for the job as the task that submitted it would have."""
    arguments = run.request.arguments
    name = run.cluster_name = str(arguments["cluster_name"])
    if arguments["provision"]:
        return _provision_log(run, name)
    statuses = _check_jobs(run, name, None if arguments["job_id"] is None else [arguments["job_id"]])
    run.job_id, job_status = next(iter(statuses.items()))
    if arguments["sync_down"]:
        return Outcome(return_value=run.engine.download_job_log(name, run.job_id), job_status=job_status)
    if arguments["follow"]:
        run.undo = lambda wish: undo_job(run, name, wish)
        return follow_job(run, name, tail=arguments["tail"])
    run.engine.print_job_log(name, run.job_id, tail=arguments["tail"])
    return Outcome(return_value=name, job_status=job_status)


def follow_job(run: Run, cluster_name: str, *, tail: int = 0) -> Outcome:
    """Wait for the run's job, with its output in the log; a task without commands has none."""
    if run.job_id is None:
        return Outcome(return_value=cluster_name)
    job_status = run.engine.follow_job(cluster_name, run.job_id, tail=tail, on_status=run.saw_job)
    if job_status == "SUCCEEDED":
        return Outcome(return_value=cluster_name, job_status=job_status)
    exit_codes = run.engine.job_exit_codes(cluster_name, run.job_id)
    codes = f", exit codes by node: {exit_codes}" if exit_codes else ""
    # SkyPilot itself kills the other nodes of a job when one has failed.
    if set(exit_codes) - {0} == {KILLED}:
        codes += f"; {KILLED} is a process that was killed, mostly for want of memory"
    return Outcome(
        exit_code=EXIT_CODES.get(job_status, ExitCode.JOB_FAILED),
        reason=f"Job {run.job_id} on cluster {cluster_name} ended as {job_status}{codes}",
        job_status=job_status,
        job_exit_codes=exit_codes,
    )


def undo_job(run: Run, cluster_name: str, wish: OnCancel) -> str:
    """Do what ``on_cancel`` wishes with the run's job or its cluster; return what was done, in words."""
    done = undo_to_cluster(run, cluster_name, wish)
    if done is not None:
        return done
    if run.job_id is None:
        return "no job had been submitted"
    run.engine.cancel_jobs(cluster_name, [run.job_id])
    return f"job {run.job_id} on cluster {cluster_name} was cancelled"


def _check_jobs(run: Run, cluster_name: str, job_ids: list[int] | None) -> dict[int, str]:
    statuses = run.engine.job_statuses(cluster_name, job_ids)
    missing = [job_id for job_id in job_ids or () if job_id not in statuses]
    if missing or not statuses:
        which = ", ".join(map(str, missing))
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"cluster {cluster_name} has no job {which}".rstrip() + "; SkyQueueOperator lists those it has",
        )
    return statuses


def _provision_log(run: Run, cluster_name: str) -> Outcome:
    arguments = run.request.arguments
    lines = run.engine.provision_log(cluster_name, arguments["worker"]).splitlines()
    if not lines:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"cluster_name: SkyPilot has no provision log of a cluster {cluster_name!r}; check the name and the volume",
        )
    # A tail of 0 is the whole.
    for line in lines[-arguments["tail"] :]:
        print(line)
    return Outcome(return_value=cluster_name)


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"queue": queue, "cancel": cancel_jobs, "logs": logs}
