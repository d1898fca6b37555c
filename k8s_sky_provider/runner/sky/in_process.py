"""Calls SkyPilot's functions in this process, and does around them what its API server would do."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Concatenate

from sky import core, exceptions
from sky.backends import backend_utils
from sky.jobs.server import core as jobs
from sky.serve.server import core as serve
from sky.utils import subprocess_utils

from k8s_sky_provider.runner.sky.caller import P, T, none_without_a_controller
from k8s_sky_provider.runner.sky.errors import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sky

DISABLE_LOCAL_API_SERVER = "SKYPILOT_DISABLE_LOCAL_API_SERVER"
"""The variable that keeps SkyPilot 0.14 from starting an API server; older ones do not know it."""


@contextlib.contextmanager
def _starting_a_controller() -> Iterator[None]:
    """Let a controller start the API server that it works with: SkyPilot gives it this process's own settings."""
    before = os.environ.pop(DISABLE_LOCAL_API_SERVER, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[DISABLE_LOCAL_API_SERVER] = before


@contextlib.contextmanager
def _without_children() -> Iterator[None]:
    """End what a launch that was interrupted still has at work on this very cluster."""
    subprocess_utils.kill_children_processes()
    yield


@contextlib.contextmanager
def _without_the_internet() -> Iterator[None]:
    """Have SkyPilot not look for two hosts of the internet first: its controller may well be where there is none."""
    setattr(backend_utils, "check_network_connection", lambda: None)  # noqa: B010  # mypy knows the name as a function
    yield


_PREPARED: dict[Callable[..., Any], Callable[[], contextlib.AbstractContextManager[None]]] = {
    core.down: _without_children,
    jobs.launch: _starting_a_controller,
    jobs.pool_apply: _starting_a_controller,
    serve.up: _starting_a_controller,
    jobs.pool_status: _without_the_internet,
    serve.status: _without_the_internet,
}
"""What some functions need of this process."""


class InProcess:
    """See :class:`k8s_sky_provider.runner.sky.caller.Caller`."""

    def ask(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what changes nothing."""
        with explained():
            return function(*args, **options)

    def ask_controller(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
        """Call what asks a controller; None where there is no controller."""
        with explained(), _prepared(function):
            return none_without_a_controller(lambda: function(*args, **options))

    def order(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what changes something, again and again if it is to retry until a cluster is up."""
        with explained(), _prepared(function):
            while True:
                try:
                    return function(*args, **options)
                except exceptions.ExecutionRetryableError as error:
                    # The API server would schedule the request again; here it is for us to do.
                    if not options.get("retry_until_up"):
                        raise
                    print(f"{error}; trying again in {error.retry_wait_seconds} s")
                    time.sleep(error.retry_wait_seconds)

    def submit(
        self,
        function: Callable[Concatenate[sky.Task, str, P], tuple[int | None, Any]],
        task: sky.Task,
        cluster_name: str,
        *args: P.args,
        **options: P.kwargs,
    ) -> int | None:
        """Call what submits a task to a cluster; return the job's id, None for a task without commands."""
        return self.order(function, task, cluster_name, *args, **options)[0]

    def show(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what prints a log, or brings one."""
        return self.ask(function, *args, **options)


def _prepared(function: Callable[..., Any]) -> contextlib.AbstractContextManager[None]:
    return _PREPARED.get(function, contextlib.nullcontext)()
