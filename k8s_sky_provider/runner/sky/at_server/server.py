"""The SkyPilot API server: whether it can be used, and how a request is made, awaited and cancelled."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import functools
import time
import urllib.parse
from typing import TYPE_CHECKING

import requests
import sky
from sky import exceptions
from sky.client import sdk
from sky.server import common, versions

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.console import without_terminal_codes
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.errors import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8s_sky_provider.runner.sky.caller import T

SECONDS_BETWEEN_LOOKS = 10.0
"""How often a server that is out of reach is tried again, and a job whose log cannot be followed is looked at."""

ATTEMPTS_TO_REACH = 6
"""How often in a row the server, or a cluster, may be out of reach while something is waited for."""

SECONDS_TO_SUBMIT = 60.0
"""How long a runner that is told to stop waits for the id of a request that it is making, so as to cancel it."""

OUT_OF_REACH = (
    exceptions.ApiServerConnectionError,
    exceptions.ServerTemporarilyUnavailableError,
    exceptions.RequestInterruptedError,
    requests.exceptions.RequestException,
    ConnectionError,
)
"""What is raised when it is the way to the server that is broken, and not the request."""

_FIRST_ERROR_OF_THE_SERVER = 500
_REFUSED = (401, 403)


def check_server() -> None:
    """Check that the server is there, lets this client in, and is of a version that understands it.

    :raises ActionFailedError: with the way out
    """
    url = _server_url()
    with explained_by_the_server():
        info = _over_breaks(lambda _: _health(url))
        if info.status is common.ApiServerStatus.VERSION_MISMATCH:
            raise ActionFailedError(
                ExitCode.DEPLOYMENT_WRONG,
                f"the SkyPilot API server at {url} has version {_version_of_the_server(info)} and the image has "
                f"SkyPilot {sky.__version__}, which do not understand each other: build the image with the server's "
                "version (`hack/build-images --skypilot MINOR`, docs/images.md), or upgrade the server",
                exceptions.APIVersionMismatchError.__name__,
            )
        if info.status is common.ApiServerStatus.NEEDS_AUTH or (info.basic_auth_enabled and info.user is None):
            raise refused()
    print(f"SkyPilot API server at {url}, version {info.version}; this is SkyPilot {sky.__version__}")


def _server_url() -> str:
    """Return the server's address without the name and the password that it may have in it."""
    parts = urllib.parse.urlsplit(str(common.get_server_url()))
    _, userinfo, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"***@{host}" if userinfo else host).geturl()


def _health(url: str) -> common.ApiServerInfo:
    info = common.get_api_server_status()
    if info.status is common.ApiServerStatus.UNHEALTHY:
        raise exceptions.ApiServerConnectionError(url)
    return info


def _version_of_the_server(info: common.ApiServerInfo) -> str:
    version = info.version or versions.get_remote_version()
    said = " ".join(without_terminal_codes(info.error or "").split())
    return version if version != "unknown" else f"unknown ({said})"


def refused() -> ActionFailedError:
    """Return what it means that the server wants a token, or another one."""
    return ActionFailedError(
        ExitCode.CREDENTIALS_REFUSED,
        f"the SkyPilot API server at {_server_url()} does not accept the token, "
        "or none was given: make one on its dashboard (Users, service accounts), put it into a Kubernetes Secret and "
        "name that as api_server_token_secret",
        exceptions.ApiServerAuthenticationError.__name__,
    )


@contextlib.contextmanager
def explained_by_the_server() -> Iterator[None]:
    """Raise what the server says, or its silence, as :class:`ActionFailedError`."""
    with explained():
        try:
            yield
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code if error.response is not None else _FIRST_ERROR_OF_THE_SERVER
            if status in _REFUSED:
                raise refused() from error
            if status >= _FIRST_ERROR_OF_THE_SERVER:
                raise ActionFailedError(ExitCode.TRY_AGAIN, f"the SkyPilot API server failed: {error}") from error
            raise
        except exceptions.ApiServerAuthenticationError as error:
            raise refused() from error
        except OUT_OF_REACH as error:
            raise ActionFailedError(
                ExitCode.TRY_AGAIN,
                f"{type(error).__name__}: the SkyPilot API server is out of reach: {' '.join(str(error).split())}",
                type(error).__name__,
            ) from error
        except (exceptions.APIVersionMismatchError, exceptions.APINotSupportedError) as error:
            raise ActionFailedError(
                ExitCode.DEPLOYMENT_WRONG,
                f"the SkyPilot API server has version {versions.get_remote_version()} and the image has SkyPilot "
                f"{sky.__version__}: {' '.join(without_terminal_codes(str(error)).split())}",
                type(error).__name__,
            ) from error
        except NotImplementedError as error:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"with an API server SkyPilot cannot do this: {' '.join(str(error).split())}",
                type(error).__name__,
            ) from error
        except exceptions.RequestCancelled as error:
            raise ActionFailedError(
                ExitCode.CANCELLED,
                f"the request was cancelled at the SkyPilot API server: {without_terminal_codes(str(error))}",
                type(error).__name__,
            ) from error


def ask(make_request: Callable[[], common.RequestId[T]]) -> T:
    """Make a request that changes nothing, and return what it results in."""
    with explained_by_the_server():
        return _over_breaks(lambda _: sdk.get(make_request()))


def order(
    make_request: Callable[[], common.RequestId[T]],
    find_request: Callable[[], common.RequestId[T] | None] = lambda: None,
) -> T:
    """Make a request that changes something, print what the server says on the way, and return what it results in.

    A runner that is told to stop meanwhile cancels the request: the server would go on with it.

    :param find_request: looks for the request at the server when it is not known whether it arrived there
    """
    with explained_by_the_server():
        request_id = _make(functools.partial(_make_or_find, make_request, find_request))
    return wait_for(request_id)


def _make_or_find(
    make_request: Callable[[], common.RequestId[T]], find_request: Callable[[], common.RequestId[T] | None]
) -> common.RequestId[T]:
    try:
        # Only what is found out before the request is made may be tried again.
        return _over_breaks(lambda _: make_request(), (exceptions.ApiServerConnectionError,))
    except (requests.exceptions.Timeout, requests.exceptions.ConnectionError) as error:
        print(f"The SkyPilot API server did not answer, looking whether it got the request: {error}")
        time.sleep(SECONDS_BETWEEN_LOOKS)
        found = _over_breaks(lambda _: find_request())
        if found is None:
            raise
        return found


def _make(make_request: Callable[[], common.RequestId[T]]) -> common.RequestId[T]:
    """Make a request in a thread: its id must be known, too, when this runner is told to stop right now."""
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    # The client keeps in its context what the server's version is.
    future = pool.submit(contextvars.copy_context().run, make_request)
    pool.shutdown(wait=False)
    try:
        return future.result()
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):
            _cancel(future.result(SECONDS_TO_SUBMIT))
        raise


def wait_for(request_id: common.RequestId[T]) -> T:
    """Print what the server says about a request and return what it results in, over breaks of the connection."""

    def result(attempt: int) -> T:
        # What was printed once is not printed again.
        return sdk.stream_and_get(request_id) if attempt == 0 else sdk.get(request_id)

    with explained_by_the_server():
        try:
            return _over_breaks(result)
        except KeyboardInterrupt:
            _cancel(request_id)
            raise
        except (exceptions.ClientError, RuntimeError) as error:
            if not _is_forgotten(error):
                raise
            raise ActionFailedError(
                ExitCode.TRY_AGAIN,
                f"the SkyPilot API server has forgotten request {request_id}: it was started again meanwhile",
            ) from error


def _over_breaks(call: Callable[[int], T], breaks: tuple[type[Exception], ...] = OUT_OF_REACH) -> T:
    """Call until the server is in reach; the argument is how often it was not."""
    failures = 0
    while True:
        try:
            return call(failures)
        except breaks as error:
            failures += 1
            if failures == ATTEMPTS_TO_REACH or _status(error) not in {None, *range(500, 600)}:
                raise
            print(f"The SkyPilot API server is out of reach, trying again: {' '.join(str(error).split())}")
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _is_forgotten(error: Exception) -> bool:
    return type(error) in {exceptions.ClientError, RuntimeError} and str(error).startswith(
        ("Failed to stream logs", "Failed to get request")
    )


def _cancel(request_id: str) -> None:
    """Cancel a request at the server, which goes on with it otherwise; what was begun is for ``on_cancel`` to undo."""
    print(f"Cancelling request {request_id} at the SkyPilot API server")
    try:
        with explained_by_the_server():
            # The id says which request; whose it is, the server looks up itself, unless it is told a user.
            sdk.get(sdk.api_cancel([request_id], all_users=True, silent=True))
    except ActionFailedError as failure:
        print(f"Request {request_id} could not be cancelled: {failure.reason}")
