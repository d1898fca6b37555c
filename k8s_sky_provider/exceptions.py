"""One exception for each way a SkyPilot action can fail.

Those that derive from :class:`~airflow.exceptions.AirflowFailException` fail the task without a
retry, because a second try would meet the same wall; all others count against ``retries``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from k8s_sky_provider.protocol import ExitCode

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import SkyResult


class SkyRetriesWarning(UserWarning):
    """A task has work that outlives its pods, and no retry that would go on with it."""


class SkyPilotError(AirflowException):
    """A SkyPilot action did not succeed.

    :param reason: why, in one line, and what to do about it
    :param result: what the runner reported, if it reported anything
    """

    def __init__(self, reason: str, result: SkyResult | None = None) -> None:
        self.reason = reason
        self.result = result
        tail = result.log_tail if result else []
        super().__init__("\n".join([reason, *(["Last lines of the log:", *tail] if tail else [])]))


class SkyRequestError(SkyPilotError, AirflowFailException):
    """The operator's arguments or the task YAML are wrong (exit code 64). Not retried."""


class SkyJobFailedError(SkyPilotError):
    """The user's job failed (exit code 65); ``result.job_exit_codes`` has its own codes. Retried."""


class SkyJobFailedFastError(SkyJobFailedError, AirflowFailException):
    """The user's job failed and the operator has ``fail_fast=True``. Not retried."""


class SkySetupFailedError(SkyJobFailedError):
    """The task's setup commands failed (exit code 66). Retried."""


class SkySetupFailedFastError(SkySetupFailedError, SkyJobFailedFastError):
    """The task's setup commands failed and the operator has ``fail_fast=True``. Not retried."""


class SkyResourcesUnavailableError(SkyPilotError):
    """No cloud had the resources that were asked for (exit code 69). Retried."""


class SkyTransientError(SkyPilotError):
    """A lock, an API or the network failed in a way that may pass (exit code 75). Retried."""


class SkyCredentialsError(SkyPilotError, AirflowFailException):
    """Cloud credentials are missing or were refused (exit code 77). Not retried."""


class SkyDeploymentError(SkyPilotError, AirflowFailException):
    """The deployment is wrong: volume, state, image or versions (exit code 78). Not retried."""


class SkyCancelledError(SkyPilotError):
    """The action was told to stop before it was done (exit code 143). Retried, unless a user set the state."""


class SkyEvictedError(SkyPilotError):
    """The worker or the pod (exit code 79) was evicted; job and cluster go on, and the next try with them. Retried."""


class SkyPodFailedError(SkyPilotError):
    """The pod ended without a result: out of memory, evicted, deleted, node lost. Retried."""


_ERRORS: dict[int, type[SkyPilotError]] = {
    ExitCode.REQUEST_WRONG: SkyRequestError,
    ExitCode.JOB_FAILED: SkyJobFailedError,
    ExitCode.SETUP_FAILED: SkySetupFailedError,
    ExitCode.RESOURCES_UNAVAILABLE: SkyResourcesUnavailableError,
    ExitCode.TRY_AGAIN: SkyTransientError,
    ExitCode.CREDENTIALS_REFUSED: SkyCredentialsError,
    ExitCode.DEPLOYMENT_WRONG: SkyDeploymentError,
    ExitCode.EVICTED: SkyEvictedError,
    ExitCode.CANCELLED: SkyCancelledError,
}
_FAST_ERRORS: dict[int, type[SkyPilotError]] = {
    ExitCode.JOB_FAILED: SkyJobFailedFastError,
    ExitCode.SETUP_FAILED: SkySetupFailedFastError,
}


def error_for(result: SkyResult, *, fail_fast: bool) -> SkyPilotError:
    """Return the exception for a result that is not a success.

    :param result: what the runner reported
    :param fail_fast: whether a failed job or setup ends the task without a retry
    """
    errors = {**_ERRORS, **_FAST_ERRORS} if fail_fast else _ERRORS
    reason = result.reason or f"sky {result.action} ended with exit code {result.exit_code}"
    return errors.get(result.exit_code, SkyPilotError)(reason, result)
