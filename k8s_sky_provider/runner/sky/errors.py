"""What a SkyPilot error means for the task: the exit code of the design."""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import re
import socket
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

import requests
import sqlalchemy.exc
import urllib3.exceptions
from filelock import Timeout as LockTimeout
from sky import exceptions, global_user_state

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.console import without_terminal_codes
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky import minors

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK_ERRORS = (
    ConnectionError,
    TimeoutError,
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    urllib3.exceptions.HTTPError,
)

EXIT_CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    ((exceptions.KubeAPIUnreachableError, exceptions.ExecutionRetryableError), ExitCode.TRY_AGAIN),
    (
        minors.NOT_PROVISIONED,
        ExitCode.RESOURCES_UNAVAILABLE,
    ),
    (
        (
            exceptions.NoCloudAccessError,
            exceptions.InvalidCloudCredentials,
            exceptions.InvalidCloudConfigs,
            exceptions.CloudUserIdentityError,
            exceptions.ClusterOwnerIdentityMismatchError,
            exceptions.PermissionDeniedError,
        ),
        ExitCode.CREDENTIALS_REFUSED,
    ),
    ((exceptions.InvalidSkyPilotConfigError,), ExitCode.DEPLOYMENT_WRONG),
    (
        (
            exceptions.NetworkError,
            exceptions.FetchClusterInfoError,
            exceptions.ClusterStatusFetchingError,
            exceptions.ClusterNotUpError,
            exceptions.CommandError,
            exceptions.ServerTemporarilyUnavailableError,
            exceptions.SkyletUnavailableError,
            exceptions.VolumeNotReadyError,
            sqlalchemy.exc.OperationalError,
            LockTimeout,
            *NETWORK_ERRORS,
        ),
        ExitCode.TRY_AGAIN,
    ),
    (
        (
            exceptions.InvalidClusterNameError,
            exceptions.NotSupportedError,
            exceptions.ResourcesMismatchError,
            exceptions.KubernetesValidationError,
            exceptions.StorageSpecError,
            exceptions.UserRequestRejectedByPolicy,
            exceptions.VolumeNotFoundError,
            ValueError,
        ),
        ExitCode.REQUEST_WRONG,
    ),
)
"""The first row that an error belongs to decides; one that is in none is an internal error."""


REASONS: tuple[tuple[re.Pattern[str], ExitCode, str], ...] = (
    (re.compile(r"quota", re.IGNORECASE), ExitCode.RESOURCES_UNAVAILABLE, ""),
    (
        re.compile(
            r"is forbidden|\((401|403)\)|Unauthorized|which is not enabled|AuthFailure|AccessDenied|ExpiredToken|"
            r"InvalidClientTokenId|PERMISSION_DENIED"
        ),
        ExitCode.CREDENTIALS_REFUSED,
        "SkyCheckOperator tells which clouds the pod's credentials open",
    ),
    (
        re.compile(r"InvalidImageName|\A(?>.*?ErrImage).*(not found|manifest unknown)"),
        ExitCode.REQUEST_WRONG,
        "look at image_id of the task, or at default_image_id of the deployment",
    ),
    (re.compile(r"ErrImage|ImagePullBackOff|Timed out when trying to get"), ExitCode.TRY_AGAIN, ""),
)
"""What SkyPilot got instead of resources and is no lack of them: words of its reason, their meaning, the way out."""

OUT_OF_REACH = re.compile(
    r"connection to the server \S+ was refused|connection refused|network is unreachable|no route to host|timed out|"
    r"temporary failure in name resolution|failed to run setup commands on an instance|invalid payload string",
    re.IGNORECASE,
)
"""Words of errors that have no type of their own: a machine or an API could not be reached, and may be later. What a
machine that goes away answers is an invalid payload."""

LONGEST_TEXT = 20_000
"""Characters of an error that are looked at."""

LONGEST_REASON = 1000
"""Characters: the log below it has the rest."""


class _Causes(logging.Handler):
    """Keeps the errors that SkyPilot only logs: what it raises in the end says that there are no resources.

    Both loggers speak while the error in question is handled.
    """

    MESSAGES = ("bulk_provision for", "Excluding Kubernetes context")

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._errors: collections.deque[BaseException] = collections.deque(maxlen=8)
        for name in ("sky.provisioner", "sky.clouds.kubernetes"):
            logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error that is being handled."""
        error = sys.exc_info()[1]
        if error is not None and str(record.msg).startswith(self.MESSAGES):
            self._errors.append(error)

    def take(self) -> list[BaseException]:
        """Return what there was since the last time."""
        errors = list(self._errors)
        self._errors.clear()
        return errors


_causes = _Causes()


def explain(error: Exception) -> ActionFailedError:
    """Return what a SkyPilot error means for the task."""
    name = type(error).__name__
    if isinstance(error, exceptions.ResourcesUnavailableError):
        exit_code, text = _explain_resources(error)
    else:
        exit_code, text = _exit_code_of(error), _brief(error)
    if error.__cause__ is not None and "above" in text:
        # What SkyPilot has printed above is in the error's cause.
        text = f"{text} ({_brief(error.__cause__)})"
    if isinstance(error, exceptions.ClusterNotUpError):
        text += _last_event(error)
    reason = f"{name}: {text}"
    if exit_code is ExitCode.REQUEST_WRONG and (lost := _host_out_of_reach(text)):
        # SkyPilot speaks of the rights to the repository then.
        exit_code, reason = ExitCode.TRY_AGAIN, f"{lost} ({reason})"
    if _is_disk_full(error):
        reason = f"The volume with SkyPilot's state is full, make room there: {reason}"
    return ActionFailedError(exit_code, reason[:LONGEST_REASON], name)


def _brief(error: BaseException) -> str:
    """Return what an error says, in one line; of an answer of Kubernetes only its message."""
    # A database's error also has the statement with its values, which may be keys.
    said = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    text = " ".join(without_terminal_codes(str(said)).split()) or type(error).__name__
    # It may have a machine's output in it: nothing here looks twice at a part of it, or at more than its beginning.
    message = re.search(r'"message": ?"((?:[^"\\]|\\++.)*+)"', text.partition("HTTP response body: ")[2])
    return (re.sub(r'(?<!\\)\\+"', '"', message[1]) if message else text)[:LONGEST_TEXT]


def _is_disk_full(error: BaseException) -> bool:
    """Tell whether an error comes from a full file system of the pod, which is where SkyPilot's state is."""
    return any(
        (isinstance(link, OSError) and link.errno in {errno.ENOSPC, errno.EDQUOT})
        or (isinstance(link, sqlalchemy.exc.OperationalError) and "disk is full" in str(link.orig))
        for link in _chain(error)
    )


def _exit_code_of(error: BaseException) -> ExitCode:
    if _is_disk_full(error):
        return ExitCode.DEPLOYMENT_WRONG
    exit_code = next((code for kinds, code in EXIT_CODES if isinstance(error, kinds)), ExitCode.INTERNAL_ERROR)
    # SkyPilot calls a wrong value what it could not reach, too.
    may_be_lost = exit_code in {ExitCode.REQUEST_WRONG, ExitCode.INTERNAL_ERROR}
    is_lost = OUT_OF_REACH.search(str(error)) or any(isinstance(link, NETWORK_ERRORS) for link in _chain(error))
    return ExitCode.TRY_AGAIN if may_be_lost and is_lost else exit_code


def _explain_resources(error: exceptions.ResourcesUnavailableError) -> tuple[ExitCode, str]:
    """Say why each place that was tried gave nothing. As long as one of them lacks resources, that is what it means."""
    causes = _causes.take() or error.failover_history or [error]
    found = {_brief(cause).rpartition(" Reason: ")[2]: cause for cause in causes}
    meanings = [_meaning(text, cause) for text, cause in found.items()]
    codes = [exit_code for exit_code, _ in meanings]
    by_weight = (ExitCode.RESOURCES_UNAVAILABLE, ExitCode.TRY_AGAIN, *codes)
    exit_code = next(code for code in by_weight if code in codes)
    return exit_code, "; ".join([*found, *(way_out for code, way_out in meanings if way_out and code is exit_code)])


def _meaning(text: str, cause: BaseException) -> tuple[ExitCode, str]:
    for words, exit_code, way_out in REASONS:
        if words.search(text):
            return exit_code, way_out
    may_pass = isinstance(cause, (*NETWORK_ERRORS, exceptions.KubeAPIUnreachableError))
    return ExitCode.TRY_AGAIN if may_pass else ExitCode.RESOURCES_UNAVAILABLE, ""


def _host_out_of_reach(text: str) -> str:
    """Return why the host of a repository that could not be read cannot be looked up now; nothing if that is not it."""
    url = re.search(r"Failed to access repository (\S+?)\.? ", text)
    host = url and (urllib.parse.urlsplit(url[1]).hostname or url[1].partition(":")[0].rpartition("@")[2])
    if not host:
        return ""
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror as error:
        return f"{host}: {error.strerror}" if error.errno == socket.EAI_AGAIN else ""
    return ""


def _last_event(error: exceptions.ClusterNotUpError) -> str:
    """Return what SkyPilot noted when the cluster ceased to be up."""
    with contextlib.suppress(Exception):
        handle: Any = error.handle
        events = global_user_state.get_cluster_events(
            handle.cluster_name, None, global_user_state.ClusterEventType.STATUS_CHANGE, limit=1
        )
        return f" ({events[0]})" if events else ""
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise SkyPilot's errors as :class:`ActionFailedError`."""
    try:
        yield
    except ActionFailedError:
        raise
    except Exception as error:
        # What our checks within SkyPilot raise, it may wrap.
        ours = (link for link in _chain(error) if isinstance(link, ActionFailedError))
        raise next(ours, None) or explain(error) from error
