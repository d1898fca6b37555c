"""The one seam: how SkyPilot's functions are called, in this process or at an API server.

Who calls names a function of SkyPilot's as it is in one process, such as ``sky.core.stop``: SkyPilot's server has the
same ones behind those of its client. The callers are :class:`.in_process.InProcess` and
:class:`.at_server.caller.AtServer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from sky import exceptions

if TYPE_CHECKING:
    from collections.abc import Callable

    import sky

P = ParamSpec("P")
T = TypeVar("T")


class Caller(Protocol):
    """Calls a function of SkyPilot's; its errors become :class:`~k8s_sky_provider.runner.failure.ActionFailedError`."""

    def ask(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what changes nothing."""

    def ask_controller(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
        """Call what asks a controller; None where there is no controller."""

    def order(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what changes something."""

    def submit(
        self,
        function: Callable[Concatenate[sky.Task, str, P], tuple[int | None, Any]],
        task: sky.Task,
        cluster_name: str,
        *args: P.args,
        **options: P.kwargs,
    ) -> int | None:
        """Call what submits a task to a cluster; return the job's id, None for a task without commands."""

    def show(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what prints a log, or brings one."""


class Group:
    """A group of verbs, all called in the same way."""

    call: Caller


def none_without_a_controller(ask: Callable[[], T]) -> T | None:
    """Return what a controller answers, None where there is none."""
    try:
        return ask()
    except exceptions.ClusterNotUpError as error:
        if error.cluster_status is not None:
            raise
        return None
