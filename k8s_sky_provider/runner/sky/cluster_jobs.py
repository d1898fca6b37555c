"""The jobs in a cluster's queue (``sky.core``)."""

from __future__ import annotations

import ast
import functools
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sky import backends, core, global_user_state
from sky.provision import metadata_utils
from sky.skylet import job_lib

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.job_log import JobLog
from k8s_sky_provider.runner.output import write_all
from k8s_sky_provider.runner.sky.errors import explained
from k8s_sky_provider.runner.sky.log_reader import read_on
from k8s_sky_provider.runner.sky.machines import Machines

if TYPE_CHECKING:
    from collections.abc import Callable

    from sky.schemas.api import responses

    from k8s_sky_provider.protocol import JsonValue

SECONDS_BETWEEN_ATTEMPTS = 5.0
"""How often a cluster is tried to be reached while one of its jobs is followed."""

SECONDS_TO_REACH = 300.0
"""How long a cluster may be out of reach while one of its jobs is followed."""

_LONGEST_CODES = 64 * 1024
"""Characters of a cluster's answer: it has a number for each node."""


class ClusterJobs(Machines):
    """The jobs in a cluster's queue."""

    def job_statuses(self, cluster_name: str, job_ids: list[int] | None) -> dict[int, str]:
        """Return the status of those of the jobs that the cluster has; None is for its last job."""
        statuses = self.call.ask(core.job_status, cluster_name, job_ids)
        return {
            job_id: status.value for job_id, status in statuses.items() if job_id is not None and status is not None
        }

    def cluster_queue(self, cluster_name: str, *, skip_finished: bool, all_users: bool) -> list[dict[str, JsonValue]]:
        """List a cluster's jobs, the newest first."""
        jobs = self.call.ask(core.queue, cluster_name, skip_finished=skip_finished, all_users=all_users)
        return [job_row(job, user=all_users) for job in jobs]

    def follow_job(
        self, cluster_name: str, job_id: int, *, tail: int = 0, on_status: Callable[[str], None] | None = None
    ) -> str:
        """Print a job's output, or only its last lines, until it ends; return its last status, as SkyPilot names it.

        Over breaks of the connection each byte of the log comes once: ``sky.core.tail_logs`` can only begin again, so
        ``CommandRunner.run`` reads the log (:class:`JobLog`).

        :param on_status: gets the job's status as it changes
        """
        log = JobLog(job_id, functools.partial(write_all, 1), on_status or (lambda _: None), tail=tail)
        reached_at = time.monotonic()
        while True:
            try:
                with explained():
                    reached_at = read_on(self.machines(cluster_name)[0], log) or reached_at
                    if not log.is_whole:
                        # A cluster that is gone need not be waited for.
                        self.check_cluster_up(cluster_name)
                        raise ActionFailedError(ExitCode.TRY_AGAIN, "the connection to its head node broke")
            except ActionFailedError as failure:
                if failure.exit_code != ExitCode.TRY_AGAIN or time.monotonic() - reached_at > SECONDS_TO_REACH:
                    raise
                print(f"Cluster {cluster_name} is out of reach, following job {job_id} again: {failure.reason}")
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
                continue
            if log.status is None:
                raise ActionFailedError(ExitCode.INTERNAL_ERROR, f"cluster {cluster_name} has no job {job_id}")
            return log.status

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        """Return a job's own exit codes, one for each node; none if the cluster does not tell."""
        with explained():
            handle = global_user_state.get_handle_from_cluster_name(cluster_name)
            code = job_lib.JobLibCodeGen.get_job_exit_codes(job_id)
            return_code, output, _ = backends.CloudVmRayBackend().run_on_head(handle, code, require_outputs=True)
        return parse_exit_codes(output) if return_code == 0 else []

    def print_job_log(self, cluster_name: str, job_id: int, *, tail: int = 0) -> None:
        """Print what a job has written until now, or the last lines of it."""
        self.call.show(core.tail_logs, cluster_name, job_id, follow=False, tail=tail)

    def download_job_log(self, cluster_name: str, job_id: int) -> str:
        """Copy a job's log files to the volume; return their directory."""
        directories = self.call.show(core.download_logs, cluster_name, [str(job_id)])
        if str(job_id) not in directories:
            raise ActionFailedError(ExitCode.REQUEST_WRONG, f"job {job_id} on cluster {cluster_name} has no log files")
        return str(_in_sky_logs(Path(directories[str(job_id)]).expanduser()))

    def provision_log(self, cluster_name: str, worker: int | None) -> str:
        """Return the log of a cluster's last provisioning, or of one node's; empty where there is none."""
        with explained():
            paths = self._provision_log_files(cluster_name, worker)
            return "".join(path.read_text(errors="replace") for path in paths if path.is_file())

    def _provision_log_files(self, cluster_name: str, worker: int | None) -> list[Path]:
        if worker is None:
            path = global_user_state.get_cluster_provision_log_path(
                cluster_name
            ) or global_user_state.get_cluster_history_provision_log_path(cluster_name)
            return [Path(path).expanduser()] if path else []
        handle = global_user_state.get_handle_from_cluster_name(cluster_name)
        nodes = (handle and handle.instance_ids) or []
        if worker >= len(nodes):
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG, f"worker: {worker} is none of the {len(nodes)} nodes of cluster {cluster_name}"
            )
        directory = metadata_utils.get_instance_log_dir(handle.get_cluster_name_on_cloud(), nodes[worker])
        return sorted(directory.glob("*.log"))

    def cancel_jobs(self, cluster_name: str, job_ids: list[int] | None, *, all_users: bool = False) -> None:
        """Cancel jobs, or all of them."""
        self.call.order(
            core.cancel,
            cluster_name,
            all=job_ids is None,
            all_users=job_ids is None and all_users,
            job_ids=job_ids,
        )


def _in_sky_logs(directory: Path) -> Path:
    """Bring log files to where a volume keeps them: where a token says the user, the client puts them elsewhere."""
    below = directory.parts[directory.parts.index("sky_logs") + 1 :]
    target = Path.home().joinpath("sky_logs", *below)
    if target != directory:
        shutil.copytree(directory, target, dirs_exist_ok=True)
    return target


def job_row(job: responses.ClusterJobRecord, *, user: bool) -> dict[str, JsonValue]:
    """Return what a queue has of a job; a key without a value is left out, for a result is small."""
    cells = {
        "job_id": job.job_id,
        "job_name": None if job.job_name == "-" else job.job_name,
        "status": job.status.value,
        "submitted_at": int(job.submitted_at),
        "start_at": job.start_at and int(job.start_at),
        "end_at": job.end_at and int(job.end_at),
        "resources": job.resources,
        "user": job.username if user else None,
    }
    return {name: cell for name, cell in cells.items() if cell is not None}


def parse_exit_codes(output: str) -> list[int]:
    """Read the last line of the cluster's answer: a Python list, or a dict by node."""
    end = output.rstrip()[-_LONGEST_CODES:]
    last = end.splitlines()[-1] if end else ""
    try:
        codes = ast.literal_eval(last if len(last) < _LONGEST_CODES else "")
        return [int(code) for code in (codes.values() if isinstance(codes, dict) else codes or [])]
    except (ValueError, SyntaxError, IndexError, TypeError, RecursionError, MemoryError, OverflowError):
        # Whatever a cluster answers, how its job ended is known already.
        return []
