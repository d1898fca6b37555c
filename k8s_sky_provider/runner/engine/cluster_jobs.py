"""The jobs in a cluster's queue (``sky.core``)."""

from __future__ import annotations

import ast
import time

import sky
from sky import core, global_user_state
from sky.skylet import job_lib

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.engine.errors import explained
from k8s_sky_provider.runner.failure import ActionFailedError

SECONDS_BETWEEN_LOOKS = 10.0
"""How often a job is looked at while its log cannot be followed."""

ATTEMPTS_TO_REACH = 6
"""How often in a row a cluster may be out of reach while one of its jobs is followed."""


class SkyClusterJobs:
    """See :class:`k8s_sky_provider.runner.engine_interface.ClusterJobs`."""

    def follow_job(self, cluster_name: str, job_id: int) -> str:
        """Print a job's output until it ends (``sky.core.tail_logs``), over breaks of the connection."""
        failures = 0
        followed = False
        while True:
            try:
                with explained():
                    if not followed:
                        core.tail_logs(cluster_name, job_id, follow=True)
                        followed = True
                    status = core.job_status(cluster_name, [job_id]).get(job_id)
                    if status is None:
                        raise ActionFailedError(ExitCode.INTERNAL_ERROR, f"cluster {cluster_name} has no job {job_id}")
                    if status.is_terminal():
                        return str(status.value)
                failures = 0
            except ActionFailedError as failure:
                failures += 1
                if failure.exit_code != ExitCode.TRY_AGAIN or failures == ATTEMPTS_TO_REACH:
                    raise
                print(f"Cluster {cluster_name} is out of reach, looking again: {failure.reason}")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        """Return a job's own exit codes, one for each node; none if the cluster does not tell."""
        with explained():
            handle = global_user_state.get_handle_from_cluster_name(cluster_name)
            code = job_lib.JobLibCodeGen.get_job_exit_codes(job_id)
            return_code, output, _ = sky.backends.CloudVmRayBackend().run_on_head(handle, code, require_outputs=True)
        return _parse_exit_codes(output) if return_code == 0 else []

    def cancel_job(self, cluster_name: str, job_id: int) -> None:
        """Cancel a job (``sky.core.cancel``)."""
        with explained():
            core.cancel(cluster_name, job_ids=[job_id])


def _parse_exit_codes(output: str) -> list[int]:
    """Read the last line of the cluster's answer: a Python list, or a dict by node."""
    try:
        codes = ast.literal_eval(output.strip().splitlines()[-1])
    except (ValueError, SyntaxError, IndexError):
        return []
    return [int(code) for code in (codes.values() if isinstance(codes, dict) else codes or [])]
