"""How the runner's parts say that an action failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import ExitCode


class ActionFailedError(Exception):
    """An action failed, and it is known how.

    :param exit_code: what the container ends with
    :param reason: one line for the first line of the task's error
    :param error: SkyPilot's name of the error, if it came from there
    """

    def __init__(self, exit_code: ExitCode, reason: str, error: str | None = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.reason = reason
        self.error = error


class CancelledActionError(KeyboardInterrupt):
    """The pod was told to stop. A KeyboardInterrupt, because that is what SkyPilot cleans up after."""
