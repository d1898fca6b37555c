"""Services, and pools of workers for managed jobs: to SkyPilot a pool is a service without an endpoint."""

from __future__ import annotations

import fnmatch
import functools
import time
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode, OnCancel, TaskOverrides
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.actions.lock import using_controller
from k8s_sky_provider.runner.actions.run import Outcome, listing
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.protocol import JsonValue
    from k8s_sky_provider.runner.actions.run import Run

SECONDS_BETWEEN_LOOKS = 10.0
"""How often a service is looked at until it is as it should be."""

SECONDS_TO_END = 900.0
"""How long a service's teardown may take."""

SECONDS_TO_REPLACE = 60.0
"""How long replicas may all have failed until nobody waits for others: SkyPilot replaces those that it will at once."""

FAILED = {"FAILED", "CONTROLLER_FAILED", "FAILED_CLEANUP"}
"""Statuses that a service does not leave by itself."""


def serve_up(run: Run) -> Outcome:
    """Bring a service up and wait until it is ready; one that does not get there is taken down."""
    arguments = run.request.arguments
    name = str(arguments["service_name"])
    task = run.engine.load_task(arguments["task"], TaskOverrides(**arguments["overrides"]), run.mask)
    owner, recorded = run.request.owner, state.owner_of(run.store, _record(name, pool=False))
    own = recorded is not None and recorded.task_instance == owner.task_instance
    there = _find(run, name, pool=False)
    if there is not None and not own:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"service_name: there is a service {name!r} already, with status {there['status']}: "
            "SkyServeUpdateOperator changes it, SkyServeDownOperator takes it down",
        )
    state.record_owner(run.store, _record(name, pool=False), owner)
    run.undo = functools.partial(_undo, run, name)
    try:
        if there is None:
            with using_controller(run, "serve"):
                endpoint = run.engine.service_up(task, name)
        else:
            print(f"Service {name} was brought up by an earlier try of this task")
            endpoint = there["endpoint"]
        if arguments["wait"]:
            endpoint = _wait_until_ready(run, name, arguments["timeout"], pool=False)["endpoint"]
    except Exception as failure:
        print(f"Service {name} did not get ready; taking it down: {failure}")
        _end(run, [name], purge=False, pool=False)
        raise
    return Outcome(return_value=endpoint)


def serve_update(run: Run) -> Outcome:
    """Give a service another task and wait until that one serves."""
    arguments = run.request.arguments
    name = str(arguments["service_name"])
    task = run.engine.load_task(arguments["task"], TaskOverrides(**arguments["overrides"]), run.mask)
    before = _get(run, name, pool=False)
    run.engine.service_update(task, name, arguments["mode"])
    row = before
    if arguments["wait"]:
        row = _wait_until_ready(run, name, arguments["timeout"], pool=False, later_than=before["version"])
    return Outcome(return_value=row["endpoint"])


def pool_apply(run: Run) -> Outcome:
    """Make a pool, or change the one of that name, and wait until its workers are ready.

    One that this task makes and that does not get there is taken down: its workers cost money.
    """
    arguments = run.request.arguments
    name = str(arguments["pool_name"])
    task = None
    if arguments["task"] is not None:
        task = run.engine.load_task(arguments["task"], TaskOverrides(**arguments["overrides"]), run.mask)
    before = _find(run, name, pool=True)
    if before is None and task is None:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"pool_name: there is no pool {name!r}, and a new one needs sky_task_yaml"
        )
    owner, recorded = run.request.owner, state.owner_of(run.store, _record(name, pool=True))
    if before is None:
        state.record_owner(run.store, _record(name, pool=True), owner)
    made_here = before is None or (recorded is not None and recorded.task_instance == owner.task_instance)
    try:
        with using_controller(run, "jobs"):
            run.engine.pool_apply(task, name, workers=arguments["workers"], mode=arguments["mode"])
        if arguments["wait"]:
            _wait_until_ready(
                run, name, arguments["timeout"], pool=True, later_than=None if before is None else before["version"]
            )
    except Exception as failure:
        if made_here:
            print(f"Pool {name} did not get ready; taking it down: {failure}")
            _end(run, [name], purge=False, pool=True)
        raise
    return Outcome(return_value=name)


def serve_status(run: Run) -> Outcome:
    """List services."""
    return listing(run, run.engine.services(run.request.arguments["names"], pool=False), "service_names")


def pool_status(run: Run) -> Outcome:
    """List pools."""
    return listing(run, run.engine.services(run.request.arguments["names"], pool=True), "pool_names")


def serve_down(run: Run) -> Outcome:
    """Take services down."""
    return _down(run, pool=False)


def pool_down(run: Run) -> Outcome:
    """Take pools down."""
    return _down(run, pool=True)


def serve_logs(run: Run) -> Outcome:
    """Show the log of a service's replica, controller or load balancer."""
    arguments = run.request.arguments
    name = str(arguments["service_name"])
    row = _get(run, name, pool=False)
    replica = arguments["replica"]
    ids = [one["id"] for one in row["replicas"]]
    if replica is not None and replica not in ids:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"replica: service {name} has no replica {replica}; it has {ids}"
        )
    run.engine.print_service_log(
        name,
        target=arguments["target"],
        replica=replica,
        follow=arguments["follow"],
        tail=arguments["tail"],
    )
    return Outcome(return_value=name)


def _down(run: Run, *, pool: bool) -> Outcome:
    """Take down what the names and globs mean; what is gone already is fine, what never was is an error."""
    arguments = run.request.arguments
    there = [row["name"] for row in run.engine.services(None, pool=pool)]
    noun = "pool" if pool else "service"
    chosen: list[str] = []
    for wanted in arguments["names"] if arguments["names"] is not None else ["*"]:
        found = [name for name in there if fnmatch.fnmatchcase(name, wanted)]
        is_name = set(wanted).isdisjoint("*?[")
        if not found and is_name and state.owner_of(run.store, _record(wanted, pool=pool)) is None:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"{noun}_names: there never was a {noun} {wanted!r} in this state; check the name and the volume",
            )
        if not found:
            print(f"No {noun} {wanted} is there any more")
        chosen += [name for name in found if name not in chosen]
    if chosen:
        _end(run, chosen, purge=bool(arguments["purge"]), pool=pool)
    return Outcome(return_value=chosen)


def _end(run: Run, names: list[str], *, purge: bool, pool: bool) -> None:
    """Take services down and wait until they are gone: only then their controller can be."""
    if not run.engine.services(names, pool=pool):
        return
    run.engine.services_down(names, purge=purge, pool=pool)
    end = time.monotonic() + SECONDS_TO_END
    while rows := run.engine.services(names, pool=pool):
        stuck = [row["name"] for row in rows if row["status"] == "FAILED_CLEANUP"]
        if stuck or time.monotonic() > end:
            left = ", ".join(f"{row['name']} ({row['status']})" for row in rows)
            raise ActionFailedError(
                ExitCode.TRY_AGAIN, f"could not be taken down and may still cost money: {left}; purge=True forgets them"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _wait_until_ready(
    run: Run, name: str, timeout: float, *, pool: bool, later_than: int | None = None
) -> dict[str, JsonValue]:
    """Wait until a service is ready, with a version that is later than that one and no older one beside it."""
    end = time.monotonic() + timeout
    last_hope = time.monotonic()
    shown = ""
    while True:
        row = _get(run, name, pool=pool)
        replicas = row["workers" if pool else "replicas"]
        counts = ", ".join(f"{one['id']}: {one['status']}" for one in replicas) or "none yet"
        line = f"{name}: {row['status']}, {'workers' if pool else 'replicas'} {counts}"
        if line != shown:
            print(line)
            shown = line
        new = later_than is None or (row["version"] > later_than and min(row["active_versions"] or [0]) > later_than)
        if row["status"] == "READY" and new:
            return row
        if row["status"] in FAILED:
            raise ActionFailedError(ExitCode.JOB_FAILED, f"{line}: see its log with SkyServeLogsOperator")
        if not replicas or not all(one["status"].startswith("FAILED") for one in replicas):
            last_hope = time.monotonic()
        if time.monotonic() - last_hope >= SECONDS_TO_REPLACE:
            raise ActionFailedError(ExitCode.JOB_FAILED, f"{line}: all have failed, and no other comes")
        if time.monotonic() > end:
            raise ActionFailedError(ExitCode.JOB_FAILED, f"{line}: not ready after {timeout:g} s")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _get(run: Run, name: str, *, pool: bool) -> dict[str, JsonValue]:
    row = _find(run, name, pool=pool)
    if row is None:
        noun = "pool" if pool else "service"
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{noun}_name: there is no {noun} {name!r}")
    return row


def _find(run: Run, name: str, *, pool: bool) -> dict[str, JsonValue] | None:
    rows = run.engine.services([name], pool=pool)
    return rows[0] if rows else None


def _undo(run: Run, name: str, wish: OnCancel) -> str:
    if wish is not OnCancel.DOWN:
        return "nothing was undone"
    _end(run, [name], purge=False, pool=False)
    return f"service {name} was taken down"


def _record(name: str, *, pool: bool) -> str:
    return f"{'pool' if pool else 'service'}:{name}"


ACTIONS: dict[str, Callable[[Run], Outcome]] = {
    "serve_up": serve_up,
    "serve_update": serve_update,
    "serve_status": serve_status,
    "serve_down": serve_down,
    "serve_logs": serve_logs,
    "pool_apply": pool_apply,
    "pool_status": pool_status,
    "pool_down": pool_down,
}
