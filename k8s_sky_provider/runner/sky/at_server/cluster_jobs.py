"""The logs of clusters and of their jobs, by way of the server."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING

from sky import exceptions
from sky.client import sdk
from sky.skylet import job_lib

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.cluster_jobs import ClusterJobs, parse_exit_codes

if TYPE_CHECKING:
    from collections.abc import Callable


class ClusterJobsAtServer(ClusterJobs):
    """Logs come through the server."""

    def follow_job(
        self, cluster_name: str, job_id: int, *, tail: int = 0, on_status: Callable[[str], None] | None = None
    ) -> str:
        """Print a job's output until it ends (``sky.tail_logs``), over breaks of the connection.

        The log comes through the server: not every cluster's machines are in reach of this pod.
        """
        failures = 0
        followed = False
        log = _Log()
        while True:
            try:
                if not followed:
                    log.again()
                    with server.explained_by_the_server():
                        sdk.tail_logs(cluster_name, job_id, follow=True, tail=tail, output_stream=log)
                    followed = True
                status = self.job_statuses(cluster_name, [job_id]).get(job_id)
                if status is None:
                    raise ActionFailedError(ExitCode.INTERNAL_ERROR, f"cluster {cluster_name} has no job {job_id}")
                if on_status is not None:
                    on_status(status)
                if job_lib.JobStatus(status).is_terminal():
                    return status
                failures = 0
            except ActionFailedError as failure:
                failures += 1
                if failure.exit_code != ExitCode.TRY_AGAIN or failures == server.ATTEMPTS_TO_REACH:
                    raise
                print(f"Cluster {cluster_name} is out of reach, looking again: {failure.reason}")
            time.sleep(server.SECONDS_BETWEEN_LOOKS)

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        """Return a job's own exit codes, one for each node; none if the cluster does not tell."""
        try:
            return_code, output, complaint = self.run_on_head(
                cluster_name, job_lib.JobLibCodeGen.get_job_exit_codes(job_id)
            )
        except ActionFailedError as failure:
            return_code, output, complaint = 1, "", failure.reason
        if return_code != 0:
            # That the job failed is what counts.
            print(f"The exit codes of job {job_id} are not known: {' '.join(complaint.split())}")
            return []
        return parse_exit_codes(output)

    def provision_log(self, cluster_name: str, worker: int | None) -> str:
        """Return the log of a cluster's last provisioning, or of one node's; node 0 is the head."""
        text = io.StringIO()
        with server.explained_by_the_server():
            try:
                sdk.tail_provision_logs(cluster_name, worker=worker or None, follow=False, output_stream=text)
            except exceptions.CommandError as error:
                # That is the answer's HTTP status: 404 is for no log, 400 for no such node.
                if error.returncode == 404:
                    return ""
                if error.returncode == 400:
                    raise ActionFailedError(
                        ExitCode.REQUEST_WRONG, f"worker: {worker} is none of the nodes of cluster {cluster_name}"
                    ) from error
                raise
        return text.getvalue()


class _Log(io.TextIOBase):
    """Prints a job's log, and of one that is read again only what was not printed yet."""

    def __init__(self) -> None:
        self._printed = 0
        self._read = 0

    def again(self) -> None:
        """Begin anew: the log comes from its start."""
        self._read = 0

    def write(self, text: str) -> int:
        """Print a piece of the log, or what of it is new."""
        new = text[max(0, self._printed - self._read) :]
        self._read += len(text)
        self._printed = max(self._printed, self._read)
        sys.stdout.write(new)
        return len(text)

    def flush(self) -> None:
        """Pass on what was printed."""
        sys.stdout.flush()
