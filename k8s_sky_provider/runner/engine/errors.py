"""What a SkyPilot error means for the task: the exit code of the design."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import requests
import sqlalchemy.exc
from filelock import Timeout as LockTimeout
from sky import exceptions

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.console import without_terminal_codes
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    ((exceptions.KubeAPIUnreachableError, exceptions.ExecutionRetryableError), ExitCode.TRY_AGAIN),
    (
        (
            exceptions.ResourcesUnavailableError,
            exceptions.ProvisionPrechecksError,
            exceptions.ProvisionUnsupportedError,
        ),
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
            sqlalchemy.exc.OperationalError,
            LockTimeout,
            ConnectionError,
            requests.exceptions.ConnectionError,
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
            ValueError,
        ),
        ExitCode.REQUEST_WRONG,
    ),
)
"""The first row that an error belongs to decides; one that is in none is an internal error."""


def explain(error: Exception) -> ActionFailedError:
    """Return what a SkyPilot error means for the task."""
    exit_code = next((code for kinds, code in EXIT_CODES if isinstance(error, kinds)), ExitCode.INTERNAL_ERROR)
    name = type(error).__name__
    text = " ".join(without_terminal_codes(str(error)).split()) or name
    if error.__cause__ is not None and "above" in text:
        # What SkyPilot has printed above is in the error's cause.
        text = f"{text} ({' '.join(without_terminal_codes(str(error.__cause__)).split())})"
    return ActionFailedError(exit_code, f"{name}: {text}", name)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise SkyPilot's errors as :class:`ActionFailedError`."""
    try:
        yield
    except ActionFailedError:
        raise
    except Exception as error:
        raise explain(error) from error
