"""Clusters as a whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.actions.run import Outcome
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.runner.actions.run import Run
    from k8s_sky_provider.runner.engine_interface import Clusters

ATTEMPTS_TO_END = 3
"""How often a cluster's teardown is tried: one that fails leaves a cluster that costs money."""

SECONDS_BETWEEN_ATTEMPTS = 5.0


def down(run: Run) -> Outcome:
    """Take a cluster down; one that is gone already is fine, one that never was is an error."""
    name = run.cluster_name = str(run.request.arguments["cluster_name"])
    if run.engine.cluster_exists(name):
        run.engine.down(name, purge=bool(run.request.arguments["purge"]))
    elif run.request.arguments.get("missing_ok") or run.engine.cluster_existed(name):
        print(f"Cluster {name} is gone already")
    else:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"cluster_name: SkyPilot never had a cluster {name!r} in this state; check the name and the volume",
        )
    return Outcome(return_value=name)


def status(run: Run) -> Outcome:
    """List clusters."""
    arguments = run.request.arguments
    return Outcome(return_value=run.engine.status(arguments["cluster_names"], refresh=bool(arguments["refresh"])))


def end_cluster(engine: Clusters, cluster_name: str) -> None:
    """Take a cluster down, and try again when that fails.

    :raises ActionFailedError: if it cannot be taken down
    """
    for attempt in range(1, ATTEMPTS_TO_END + 1):
        try:
            engine.down(cluster_name)
        except ActionFailedError as failure:
            if attempt == ATTEMPTS_TO_END:
                raise ActionFailedError(
                    ExitCode.TRY_AGAIN,
                    f"cluster {cluster_name} could not be taken down and may still cost money: {failure.reason}",
                    failure.error,
                ) from failure
            print(f"Taking down {cluster_name} failed, trying again: {failure.reason}")
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        else:
            return


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"down": down, "status": status}
