"""One function for each action: arguments in, :class:`Outcome` out.

They know what an action means for its task and nothing of SkyPilot's insides: those are the
engine's. Tests of the actions fake the engine, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_sky_provider.runner.actions import (
    bash,
    cluster,
    cluster_jobs,
    infra,
    jobs,
    launch,
    machine,
    reap,
    serve,
    storage,
)
from k8s_sky_provider.runner.actions.run import Outcome, Run, cancel, leave

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ACTIONS", "Outcome", "Run", "cancel", "leave"]

ACTIONS: dict[str, Callable[[Run], Outcome]] = {
    **launch.ACTIONS,
    **cluster.ACTIONS,
    **cluster_jobs.ACTIONS,
    **machine.ACTIONS,
    **bash.ACTIONS,
    **storage.ACTIONS,
    **infra.ACTIONS,
    **reap.ACTIONS,
    **jobs.ACTIONS,
    **serve.ACTIONS,
}
"""Name in the request -> function."""
