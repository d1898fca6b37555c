"""What the groups of the fake share: what was done, and what goes wrong."""

from __future__ import annotations

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError


class Recorder:
    """See the top of the package."""

    def __init__(self) -> None:
        self.failures: dict[str, list[ActionFailedError]] = {}
        self.told_to_stop_in: str | None = None
        self.calls: list[str] = []

    def fail(self, method: str, *, times: int = 1, exit_code: ExitCode = ExitCode.TRY_AGAIN) -> None:
        """Let the next calls of a method fail."""
        self.failures[method] = [ActionFailedError(exit_code, f"{method} failed", "FakeError")] * times

    def _do(self, method: str, *arguments: object) -> None:
        self.calls.append(" ".join(map(str, (method, *arguments))))
        if self.told_to_stop_in == method:
            raise CancelledActionError
        if self.failures.get(method):
            raise self.failures[method].pop(0)
