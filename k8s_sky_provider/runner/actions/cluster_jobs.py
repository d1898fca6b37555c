"""The jobs in a cluster's queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.actions.run import Outcome

if TYPE_CHECKING:
    from k8s_sky_provider.runner.actions.run import Run

EXIT_CODES = {"FAILED_SETUP": ExitCode.SETUP_FAILED, "CANCELLED": ExitCode.CANCELLED}
"""A job's last status -> what it means for the task; any other is a failed job."""


def follow_job(run: Run, cluster_name: str) -> Outcome:
    """Wait for the run's job, with its output in the log; a task without commands has none."""
    if run.job_id is None:
        return Outcome(return_value=cluster_name)
    job_status = run.engine.follow_job(cluster_name, run.job_id)
    if job_status == "SUCCEEDED":
        return Outcome(return_value=cluster_name, job_status=job_status)
    exit_codes = run.engine.job_exit_codes(cluster_name, run.job_id)
    codes = f", exit codes by node: {exit_codes}" if exit_codes else ""
    return Outcome(
        exit_code=EXIT_CODES.get(job_status, ExitCode.JOB_FAILED),
        reason=f"Job {run.job_id} on cluster {cluster_name} ended as {job_status}{codes}",
        job_status=job_status,
        job_exit_codes=exit_codes,
    )
