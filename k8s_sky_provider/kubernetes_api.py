"""The Kubernetes API being away for a while is no reason to fail a task whose pod runs on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self, cast

from aiohttp import ClientError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from kubernetes_asyncio.client.exceptions import ApiException as AsyncApiException
from urllib3.exceptions import MaxRetryError
from urllib3.util.retry import Retry

from k8s_sky_provider.exceptions import SkyTransientError

if TYPE_CHECKING:
    from types import TracebackType

    from kubernetes.client import CoreV1Api
    from kubernetes.client.models import V1Pod
    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import BaseHTTPResponse

SECONDS_OF_PATIENCE = 120.0
"""How long one request is tried again. KubernetesPodOperator tries most of its requests five times on top of it."""

TRIGGERER_SECONDS_OF_PATIENCE = 600.0
"""How long the triggerer tries to reach the API before it hands the task back."""

SECONDS_BETWEEN_ATTEMPTS = 5.0

SECONDS_TO_SETTLE = 30.0
"""How long an API server that has just started may refuse what is allowed: it does not know all roles at once."""

_PASSES = frozenset({429, 500, 502, 503, 504})
_NOT_SETTLED = frozenset({401, 403})


class Patience(Retry):
    """Tries a request again for :data:`SECONDS_OF_PATIENCE`, if it may have reached nobody or only reads."""

    away_at = -SECONDS_TO_SETTLE
    """When the API was last away (``time.monotonic``)."""

    began: float | None = None
    """When the first attempt failed."""

    @classmethod
    def endless(cls) -> Self:
        """Return what is given to a client; each of its requests has its own time."""
        return cls(total=None, connect=None, read=None, status=None, other=None, redirect=3, raise_on_status=False)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """Return what the next attempt has, or raise if there was time enough."""
        following = super().increment(method, url, response, error, _pool, _stacktrace)
        now = time.monotonic()
        began = self.began or now
        if now - began > SECONDS_OF_PATIENCE:
            # As urllib3 has it: the pool is always given.
            raise MaxRetryError(cast("ConnectionPool", _pool), url or "", error)
        following.began = began
        if error is not None:
            Patience.away_at = now
        return following

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Tell whether an answer means that the API is not there yet."""
        del has_retry_after
        if status_code in _NOT_SETTLED:
            return time.monotonic() - Patience.away_at < SECONDS_TO_SETTLE
        return self._is_method_retryable(method) and status_code in _PASSES

    def get_backoff_time(self) -> float:
        """Return the seconds until the next attempt."""
        return SECONDS_BETWEEN_ATTEMPTS


def make_patient(client: CoreV1Api) -> None:
    """Let a client wait for the API to come back."""
    client.api_client.rest_client.pool_manager.connection_pool_kw["retries"] = Patience.endless()


class PatientAsyncHook(AsyncKubernetesHook):
    """The triggerer's client, that waits for the API to come back."""

    async def get_pod(self, name: str, namespace: str) -> V1Pod:
        """Return a pod.

        :raises SkyTransientError: if the API is away for longer than :data:`TRIGGERER_SECONDS_OF_PATIENCE`
        """
        began = time.monotonic()
        while True:
            try:
                return await super().get_pod(name, namespace)
            except (ClientError, TimeoutError, OSError, AsyncApiException) as error:
                away_for = time.monotonic() - began
                if not is_away(error, was_away=away_for > SECONDS_BETWEEN_ATTEMPTS):
                    raise
                if away_for > TRIGGERER_SECONDS_OF_PATIENCE:
                    raise SkyTransientError(
                        f"The Kubernetes API is away for {away_for:.0f} s; pod {name} may run on: {error}"
                    ) from error
                self.log.warning("The Kubernetes API does not answer, trying again: %s", error)
            await asyncio.sleep(SECONDS_BETWEEN_ATTEMPTS)


def is_away(error: BaseException, *, was_away: bool) -> bool:
    """Tell whether an error means that the API is away, or has just come back and does not know all roles yet."""
    if isinstance(error, AsyncApiException):
        return error.status in _PASSES or (was_away and error.status in _NOT_SETTLED)
    return True
