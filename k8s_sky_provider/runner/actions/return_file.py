"""What a job gives back: a file on the cluster's first node.

The request's ``return_file`` names it, relative to the home directory there. It has ``{"return_value": value}``,
or ``{"reason": text}`` of a job that failed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from k8s_sky_provider.protocol import DEEPEST_VALUE, ExitCode, is_storable, is_too_deep, read_json
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from k8s_sky_provider.runner.actions.run import Outcome, Run

FILE_LIMIT = 65536
"""Bytes: more than a value that fits into a result can have, however it is written."""


def with_return_value(run: Run, cluster_name: str, outcome: Outcome) -> Outcome:
    """Return how a job ended together with what it gives back, if the request asks for that.

    :raises ActionFailedError: if a job that succeeded gives nothing back
    """
    path = run.request.arguments.get("return_file")
    if path is None:
        return outcome
    if outcome.exit_code == ExitCode.OK:
        content = _read(run, cluster_name, path)
        if "return_value" not in content:
            raise ActionFailedError(
                ExitCode.JOB_FAILED, f"The job on cluster {cluster_name} wrote no return value into ~/{path}"
            )
        value = content["return_value"]
        if is_too_deep(value):
            raise ActionFailedError(
                ExitCode.JOB_FAILED,
                f"The return value of the job on cluster {cluster_name} is nested more than {DEEPEST_VALUE} deep",
            )
        if not is_storable(value):
            raise ActionFailedError(
                ExitCode.JOB_FAILED,
                f"The return value of the job on cluster {cluster_name} has NaN or an infinite number: JSON has none",
            )
        return dataclasses.replace(outcome, return_value=value, is_of_a_job=True)
    if outcome.exit_code == ExitCode.JOB_FAILED:
        try:
            reason = _read(run, cluster_name, path).get("reason")
        except ActionFailedError as failure:
            # That the job failed is what counts.
            print(failure.reason)
        else:
            if reason:
                return dataclasses.replace(outcome, reason=f"{' '.join(str(reason).split())} ({outcome.reason})")
    return outcome


def _read(run: Run, cluster_name: str, path: str) -> dict[str, Any]:
    try:
        content = read_json(run.engine.read_file(cluster_name, path, limit=FILE_LIMIT) or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
