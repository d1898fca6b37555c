"""Clusters that their DAG runs have left behind."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.actions.cluster import end_cluster
from k8s_sky_provider.runner.actions.lock import changing
from k8s_sky_provider.runner.actions.run import Outcome
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.runner.actions.run import Run


def reap(run: Run) -> Outcome:
    """Take clusters down, each if it is still of the run that it was of when Airflow was asked about that.

    :raises ActionFailedError: naming the clusters that could not be taken down, when all have been tried
    """
    taken, failures = [], []
    for name, owner in run.request.arguments["clusters"].items():
        try:
            # Before the look: a launch that is under way may take the cluster over.
            with contextlib.nullcontext() if run.request.arguments["dryrun"] else changing(run, name):
                if not _is_still_of(run, name, owner):
                    print(f"Cluster {name} is gone, or has another owner or another state by now")
                    continue
                print(f"Cluster {name}: its run {owner['run_id']} of DAG {owner['dag_id']} is over")
                taken.append(name)
                if not run.request.arguments["dryrun"]:
                    end_cluster(run, name)
        except ActionFailedError as failure:
            failures.append(failure.reason)
    if failures:
        raise ActionFailedError(ExitCode.TRY_AGAIN, "; ".join(failures))
    return Outcome(return_value=taken)


def _is_still_of(run: Run, cluster_name: str, owner: dict[str, str]) -> bool:
    now = state.owner_of(run.store, cluster_name)
    return (
        run.engine.cluster_exists(cluster_name)
        and now is not None
        and (now.dag_id, now.run_id) == (owner["dag_id"], owner["run_id"])
        and (cluster_name not in run.request.arguments.get("half_made", ()) or _is_half_made(run, cluster_name))
    )


def _is_half_made(run: Run, cluster_name: str) -> bool:
    """Tell whether nobody has launched a cluster again that was half made: another task may use it under its name."""
    return all(row["status"] == "INIT" for row in run.engine.status([cluster_name], refresh=False))


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"reap": reap}
