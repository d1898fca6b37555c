"""What the SkyPilot minors that the runner works with do not have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sky
from sky import exceptions
from sky.backends import backend_utils

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import skypilot_version
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from sky.utils import command_runner

# SkyPilot 0.14 has made this one of its own out of ResourcesUnavailableError.
NOT_PROVISIONED: tuple[type[Exception], ...] = (
    exceptions.ResourcesUnavailableError,
    exceptions.ProvisionPrechecksError,
    getattr(exceptions, "ProvisionUnsupportedError", exceptions.ResourcesUnavailableError),
)
"""What SkyPilot raises where nobody has the resources."""


def resize_option(*, resize: bool) -> dict[str, Any]:
    """Return the argument of SkyPilot's ``launch`` that resizes a cluster, which is there from 0.13 on.

    :raises ActionFailedError: if this SkyPilot cannot
    """
    if not resize:
        return {}
    if skypilot_version.minor(sky.__version__) < (0, 13):
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"resize: SkyPilot {sky.__version__} cannot resize a cluster, 0.13 and newer can: leave it out, or use an "
            "image with a newer SkyPilot",
        )
    return {"resize": True}


def statuses_option(statuses: list[str] | None) -> dict[str, Any]:
    """Return the argument of the client's ``queue_v2`` that chooses by status; before 0.13 it sends all jobs."""
    return {} if skypilot_version.minor(sky.__version__) < (0, 13) else {"statuses": statuses}


def is_too_long(runner: command_runner.CommandRunner, script: str) -> bool:
    """Tell whether a script is too long for a machine's command line; 0.14 asks the machine's runner."""
    ask: Any = getattr(runner, "is_command_length_over_limit", backend_utils.is_command_length_over_limit)
    return bool(ask(script))
