"""What SkyPilot's controllers of managed jobs and services need of this process."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from sky import exceptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DISABLE_LOCAL_API_SERVER = "SKYPILOT_DISABLE_LOCAL_API_SERVER"
"""The variable that keeps SkyPilot 0.14 from starting an API server; older ones do not know it."""


@contextlib.contextmanager
def starting_a_controller() -> Iterator[None]:
    """Let a controller start the API server that it works with: SkyPilot gives it this process's own settings."""
    before = os.environ.pop(DISABLE_LOCAL_API_SERVER, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[DISABLE_LOCAL_API_SERVER] = before


def ask_controller(ask: Callable[[], Any]) -> Any:
    """Return what a controller answers, and no rows where there is none."""
    try:
        return ask()
    except exceptions.ClusterNotUpError as error:
        if error.cluster_status is not None:
            raise
        return []
