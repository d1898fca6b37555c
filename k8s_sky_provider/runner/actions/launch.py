"""Launch a cluster for a task, run a task on a cluster that is up."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from k8s_sky_provider.protocol import ExitCode, OnCancel, TaskOverrides
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.actions import once
from k8s_sky_provider.runner.actions.cluster import end_cluster
from k8s_sky_provider.runner.actions.cluster_jobs import follow_job, undo_job
from k8s_sky_provider.runner.actions.lock import changing, sharing
from k8s_sky_provider.runner.actions.return_file import with_return_value
from k8s_sky_provider.runner.actions.run import Outcome
from k8s_sky_provider.runner.console import END_OF_TAIL
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.runner.actions.run import Run

_LAUNCH_OPTIONS = ("retry_until_up", "no_setup", "fast", "resize", "clone_disk_from")

_NOT_OURS = "neither this task nor another of its DAG run has made it"


def launch(run: Run) -> Outcome:
    """Launch a cluster, or use the one of that name, run the task and wait for it unless told not to."""
    arguments = run.request.arguments
    name = run.cluster_name = str(arguments["cluster_name"])
    task = run.engine.load_task(arguments["task"], _overrides(run), run.mask)
    if arguments["dryrun"]:
        run.engine.launch(task, name, dryrun=True, **_options(run))
        return Outcome(return_value=name)
    with changing(run, name):
        is_of_this_run = _is_of_this_run(run, name)
        made_here = _take_over(run, name)
        is_ours = made_here or is_of_this_run
        run.undo = functools.partial(_undo, run, name, made_here=made_here, is_ours=is_ours)
        outcome = once.earlier_outcome(run)
        if outcome is None:
            if once.may_have_submitted(run):
                run.job_id = once.earlier_job(run, name)
            if run.job_id is None:
                if not is_ours and _has_its_own_autostop(run, name):
                    print(f"Cluster {name} stays, with the autostop that it has: {_NOT_OURS}")
                    run.engine.keep_autostop(task)
                run.job_id = _submit(run, task, name, made_here=made_here)
    if not arguments["wait"]:
        return Outcome(return_value=name)
    # Not a finally: what a cancelled run leaves behind is for on_cancel to say.
    try:
        outcome = outcome or _wait(run, name)
    except Exception as error:
        print(END_OF_TAIL)
        exit_code = error.exit_code if isinstance(error, ActionFailedError) else ExitCode.INTERNAL_ERROR
        _tidy(run, name, exit_code, made_here=made_here, is_ours=is_ours)
        raise
    if outcome.exit_code != ExitCode.OK:
        print(END_OF_TAIL)
    _tidy(run, name, outcome.exit_code, made_here=made_here, is_ours=is_ours)
    return outcome


def exec_(run: Run) -> Outcome:
    """Run a task on a cluster that is up and wait for it unless told not to."""
    arguments = run.request.arguments
    name = run.cluster_name = str(arguments["cluster_name"])
    task = run.engine.load_task(arguments["task"], _overrides(run), run.mask)
    run.undo = functools.partial(_undo, run, name, made_here=False, is_ours=True)
    with sharing(run, name):
        if once.may_have_submitted(run):
            run.job_id = once.earlier_job(run, name)
        if run.job_id is None:
            run.job_id = run.engine.exec(task, name)
    if not arguments["wait"]:
        return Outcome(return_value=name)
    return with_return_value(run, name, follow_job(run, name))


def _overrides(run: Run) -> TaskOverrides:
    overrides = TaskOverrides(**run.request.arguments["overrides"])
    return dataclasses.replace(overrides, job_suffix=once.job_suffix(run.request.owner))


def _options(run: Run) -> dict[str, Any]:
    return {option: run.request.arguments[option] for option in _LAUNCH_OPTIONS}


def _take_over(run: Run, cluster_name: str) -> bool:
    """Record who makes a cluster, if it is this task, in this try or in an earlier one; tell whether it is."""
    owner, recorded = run.request.owner, state.owner_of(run.store, cluster_name)
    made_here = (recorded is not None and recorded.task_instance == owner.task_instance) or not _is_there(
        run, cluster_name
    )
    if made_here:
        state.record_owner(run.store, cluster_name, owner)
    return made_here


def _is_there(run: Run, cluster_name: str) -> bool:
    """Tell whether a cluster is there. SkyPilot lists one that has taken itself down until somebody looks."""
    if not run.engine.cluster_exists(cluster_name):
        return False
    run.engine.status([cluster_name], refresh=True, all_users=True)
    return run.engine.cluster_exists(cluster_name)


def _has_its_own_autostop(run: Run, cluster_name: str) -> bool:
    """Tell whether a cluster's autostop, or that it has none, is as somebody wants it.

    A launch that died left its cluster without one, and one that takes itself down right now is made anew.
    """
    rows = run.engine.status([cluster_name], refresh=False, all_users=True)
    return not any(
        (row["status"] == "INIT" and row.get("autostop") is None)
        or (row["status"] == "AUTOSTOPPING" and row.get("to_down"))
        for row in rows
    )


def _submit(run: Run, task: Any, cluster_name: str, *, made_here: bool) -> int | None:
    """Launch; a launch that fails takes down what it made."""
    try:
        return run.engine.launch(task, cluster_name, dryrun=False, **_options(run))
    except Exception as failure:
        print(END_OF_TAIL)
        if made_here and run.engine.cluster_exists(cluster_name):
            print(f"The launch failed; taking down what it made: {cluster_name}")
            try:
                end_cluster(run, cluster_name)
            except ActionFailedError as left:
                raise ActionFailedError(left.exit_code, f"{failure}; and {left.reason}", left.error) from failure
        raise


def _wait(run: Run, cluster_name: str) -> Outcome:
    outcome = with_return_value(run, cluster_name, follow_job(run, cluster_name))
    once.note_outcome(run, outcome)
    return outcome


def _is_of_this_run(run: Run, cluster_name: str) -> bool:
    """Tell whether a task of the same DAG run has made a cluster; one that others have made is not ours to end."""
    owner, recorded = run.request.owner, state.owner_of(run.store, cluster_name)
    return recorded is not None and recorded.task_instance[:3] == owner.task_instance[:3]


def _tidy(run: Run, cluster_name: str, exit_code: ExitCode, *, made_here: bool, is_ours: bool) -> None:
    """Take the cluster down when its job has ended, if that is wished for, or if nobody tries this launch again."""
    arguments = run.request.arguments
    if arguments["auto_down"] and not is_ours:
        print(f"Cluster {cluster_name} stays: {_NOT_OURS}")
        return
    if arguments["auto_down"]:
        why = "auto_down"
    elif made_here and exit_code in arguments.get("down_after", ()):
        why = "on_failure: this task made it, has failed, and is not tried again"
    else:
        return
    if run.engine.cluster_exists(cluster_name):
        print(f"Taking cluster {cluster_name} down ({why})")
        end_cluster(run, cluster_name)


def _undo(run: Run, cluster_name: str, wish: OnCancel, *, made_here: bool, is_ours: bool) -> str:
    if not is_ours and wish is OnCancel.DOWN:
        print(f"Cluster {cluster_name} stays: {_NOT_OURS}")
        wish = OnCancel.CANCEL
    if run.job_id is None and made_here:
        # Half a cluster is of no use to anybody and has no autostop yet.
        return undo_job(run, cluster_name, OnCancel.DOWN)
    if run.job_id is None and wish is OnCancel.CANCEL:
        # A job may have been submitted although its id was never heard of.
        run.job_id = once.earlier_job(run, cluster_name)
    return undo_job(run, cluster_name, wish)


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"launch": launch, "exec": exec_}
