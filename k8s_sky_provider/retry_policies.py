"""When a task is tried again: a retry policy for Airflow 3.3 and later (AIP-105).

Older Airflows have no retry policies; there the exceptions' own classes and the task's ``retry_delay`` decide.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow import __version__

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        f"SkyRetryPolicy needs Airflow 3.3 or newer, not {__version__}: leave out retry_policy; "
        "retries and retry_delay of the task decide"
    ) from error

from k8s_sky_provider.exceptions import (
    SkyCancelledError,
    SkyEvictedError,
    SkyPodFailedError,
    SkyResourcesUnavailableError,
    SkyTransientError,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

_PASSING = (SkyTransientError, SkyPodFailedError, SkyCancelledError, SkyEvictedError)


class SkyRetryPolicy(RetryPolicy):
    """Try again at the pace at which what went wrong may pass.

    What may pass soon (an API or a lock, a pod that was lost or told to stop) is tried again soon, and resources that
    nobody has later; the delay doubles with each try. A job or setup that failed, and what nobody foresaw, is left to
    the task's own ``retries`` and ``retry_delay``. Airflow asks no policy about errors that no retry can mend (wrong
    requests, credentials, deployments, ``fail_fast``): those end the task. No policy goes beyond ``retries``.

    :param soon: delay before the second try of what may pass soon
    :param soon_at_most: how long that delay may become
    :param resources: delay before the second try of what found no resources
    :param resources_at_most: how long that delay may become
    """

    def __init__(
        self,
        *,
        soon: timedelta = timedelta(seconds=30),
        soon_at_most: timedelta = timedelta(minutes=10),
        resources: timedelta = timedelta(minutes=5),
        resources_at_most: timedelta = timedelta(hours=1),
    ) -> None:
        self.soon = soon
        self.soon_at_most = soon_at_most
        self.resources = resources
        self.resources_at_most = resources_at_most

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about a task that failed."""
        retries = (context["ti"].task.retries if context else None) or max_tries
        # A cleared task goes on counting: only what it was tried since then makes it wait.
        doubled = 2 ** max(0, min(try_number - 1 - max(0, max_tries - retries), 20))
        if isinstance(exception, SkyResourcesUnavailableError):
            return RetryDecision.retry(min(self.resources * doubled, self.resources_at_most), "no resources now")
        if isinstance(exception, _PASSING):
            return RetryDecision.retry(min(self.soon * doubled, self.soon_at_most), "may pass soon")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the delays in seconds."""
        return {name: delay.total_seconds() for name, delay in vars(self).items()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SkyRetryPolicy:
        """Return the policy that :meth:`serialize` was called on."""
        return cls(**{name: timedelta(seconds=seconds) for name, seconds in data.items()})
