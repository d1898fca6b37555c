"""Clusters as a whole."""

from __future__ import annotations

import fnmatch
import itertools
import re
import time
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import OWNER_KEYS, ExitCode, OnCancel
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.actions.lock import changing
from k8s_sky_provider.runner.actions.run import Outcome, listing
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.protocol import JsonValue
    from k8s_sky_provider.runner.actions.run import Run

PAUSES = (5.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds between attempts to take a cluster down: one that is left costs money, and an API can be away for minutes."""

PAUSES_AFTER_REFUSAL = 2
"""How many of them are worth it where nothing says that the failure may pass."""

GLOB = re.compile(r"[*?\[\]]")
"""What makes a pattern of a name."""

CONTROLLERS = ("sky-jobs-controller-", "sky-serve-controller-")
"""How the names of SkyPilot's own clusters begin: a glob that they match does not mean them."""

NEWEST_CLUSTERS = 5
"""How many clusters a cost report has unless all are asked for, as that of SkyPilot's command line."""


def start(run: Run) -> Outcome:
    """Start clusters that are stopped; one that is up stays as it is."""
    arguments = run.request.arguments
    return _each_cluster(
        run,
        lambda name: run.engine.start(
            name,
            idle_minutes_to_autostop=arguments["idle_minutes_to_autostop"],
            wait_for=arguments["wait_for"],
            down=arguments["down"],
            retry_until_up=arguments["retry_until_up"],
            force=arguments["force"],
        ),
    )


def stop(run: Run) -> Outcome:
    """Stop clusters."""
    arguments = run.request.arguments
    return _each_cluster(
        run,
        lambda name: run.engine.stop(
            name, graceful=arguments["graceful"], graceful_timeout=arguments["graceful_timeout"]
        ),
    )


def autostop(run: Run) -> Outcome:
    """Set or cancel the autostop of clusters."""
    arguments = run.request.arguments
    return _each_cluster(
        run,
        lambda name: run.engine.autostop(
            name,
            idle_minutes=arguments["idle_minutes"],
            wait_for=arguments["wait_for"],
            down=arguments["down"],
            hook=arguments["hook"],
            hook_timeout=arguments["hook_timeout"],
        ),
    )


def down(run: Run) -> Outcome:
    """Take clusters down; one that is gone already is fine, one that never was is an error."""
    return _each_cluster(run, lambda name: _down(run, name))


def _down(run: Run, name: str) -> None:
    arguments = run.request.arguments
    if run.engine.cluster_exists(name):
        if name.startswith(CONTROLLERS) and not arguments["purge"]:
            _check_idle(run, name)
        run.engine.down(
            name,
            purge=arguments["purge"],
            graceful=arguments["graceful"],
            graceful_timeout=arguments["graceful_timeout"],
        )
    elif arguments.get("missing_ok") or run.engine.cluster_existed(name):
        print(f"Cluster {name} is gone already")
    else:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"cluster_name: SkyPilot never had a cluster {name!r} in this state; check the name and the volume",
        )


def _check_idle(run: Run, controller: str) -> None:
    """Refuse to end a controller that is at work: what it looks after would be left to itself, and cost money.

    :raises ActionFailedError: if it still has managed jobs, pools or services
    """
    if not any(row["status"] == "UP" for row in run.engine.status([controller], refresh=False)):
        return
    if controller.startswith(CONTROLLERS[0]):
        jobs = {str(row["job_id"]) for row in run.engine.managed_jobs(skip_finished=True, all_users=True)}
        pools = {row["name"] for row in run.engine.services(None, pool=True)}
        found = [("managed jobs", jobs, "SkyJobCancelOperator"), ("pools", pools, "SkyPoolDownOperator")]
    else:
        services = {row["name"] for row in run.engine.services(None, pool=False)}
        found = [("services", services, "SkyServeDownOperator")]
    for what, names, way_out in found:
        if names:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"cluster_name: controller {controller} still has {what} {', '.join(sorted(names))}; end them first "
                f"({way_out}), or set purge to leave them to themselves",
            )


def status(run: Run) -> Outcome:
    """List clusters."""
    arguments = run.request.arguments
    rows = run.engine.status(
        arguments["cluster_names"],
        refresh=arguments["refresh"],
        ip=arguments["ip"],
        endpoints=arguments["endpoints"],
        all_users=arguments["all_users"],
    )
    if arguments["owners"]:
        rows = [row | _owner_cells(run, row["name"]) for row in rows]
    return listing(run, rows, "cluster_names")


def _owner_cells(run: Run, cluster_name: str) -> dict[str, JsonValue]:
    owner = state.owner_of(run.store, cluster_name)
    if owner is None:
        return {}
    return {key: getattr(owner, key) for key in OWNER_KEYS}


def cost_report(run: Run) -> Outcome:
    """List what clusters cost, those that are gone too."""
    arguments = run.request.arguments
    names = arguments["cluster_names"]
    rows = [
        row
        for row in run.engine.cost_report(arguments["days"])
        if names is None or any(fnmatch.fnmatchcase(row["name"], name) for name in names)
    ]
    return listing(run, rows if arguments["all"] else rows[:NEWEST_CLUSTERS], "cluster_names or days")


def end_cluster(run: Run, cluster_name: str) -> None:
    """Take a cluster down, and try again when that fails.

    :raises ActionFailedError: if it cannot be taken down
    """
    with changing(run, cluster_name):
        for attempt in itertools.count():
            try:
                run.engine.down(cluster_name)
            except ActionFailedError as failure:
                if attempt >= (len(PAUSES) if failure.exit_code is ExitCode.TRY_AGAIN else PAUSES_AFTER_REFUSAL):
                    raise ActionFailedError(
                        ExitCode.TRY_AGAIN,
                        f"cluster {cluster_name} could not be taken down and may still cost money: {failure.reason}",
                        failure.error,
                    ) from failure
                print(f"Taking down {cluster_name} failed, trying again in {PAUSES[attempt]:g} s: {failure.reason}")
                time.sleep(PAUSES[attempt])
            else:
                return


def undo_to_cluster(run: Run, cluster_name: str, wish: OnCancel) -> str | None:
    """Do what ``on_cancel`` wishes with a cluster; return what was done, in words, None if it is to stay as it is."""
    if wish is OnCancel.DOWN:
        if run.engine.cluster_exists(cluster_name):
            end_cluster(run, cluster_name)
        return f"cluster {cluster_name} was taken down"
    if wish is OnCancel.STOP:
        with changing(run, cluster_name):
            run.engine.stop(cluster_name)
        return f"cluster {cluster_name} was stopped"
    return None


def cluster_names_of(run: Run, wanted: str | list[str]) -> list[str]:
    """Return the clusters that are meant by a name, a glob or several of them, each once.

    A glob means clusters of this deployment, and none of SkyPilot's controllers.
    """
    names: list[str] = []
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if not GLOB.search(name):
            names.append(name)
            continue
        rows = run.engine.status([name], refresh=False)
        found = sorted(row["name"] for row in rows if not row["name"].startswith(CONTROLLERS))
        if not found:
            print(f"No cluster matches {name}")
        names += found
    return list(dict.fromkeys(names))


def _each_cluster(run: Run, act: Callable[[str], None]) -> Outcome:
    """Act on every cluster that ``cluster_name`` means, whatever comes of the others.

    :return: the name where one was given, or else the list of all
    :raises ActionFailedError: naming the clusters that failed; worth a retry if one of the failures is
    """
    wanted = run.request.arguments["cluster_name"]
    names = cluster_names_of(run, wanted)
    if [wanted] == names:
        run.cluster_name = wanted
        with changing(run, wanted):
            act(wanted)
        return Outcome(return_value=wanted)
    failures: dict[str, ActionFailedError] = {}
    for name in names:
        try:
            with changing(run, name):
                act(name)
        except ActionFailedError as failure:
            print(f"Cluster {name}: {failure.reason}")
            failures[name] = failure
    if failures:
        worst = max(failures.values(), key=lambda failure: failure.exit_code is ExitCode.TRY_AGAIN)
        reasons = "; ".join(f"{name}: {failure.reason}" for name, failure in failures.items())
        raise ActionFailedError(
            worst.exit_code, f"{len(failures)} of {len(names)} clusters failed: {reasons}", worst.error
        )
    return Outcome(return_value=names)


ACTIONS: dict[str, Callable[[Run], Outcome]] = {
    "start": start,
    "stop": stop,
    "autostop": autostop,
    "down": down,
    "status": status,
    "cost_report": cost_report,
}
