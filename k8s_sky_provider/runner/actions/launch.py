"""Launch a cluster for a task, run a task on a cluster that is up."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import OnCancel, TaskOverrides
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.actions.cluster import end_cluster
from k8s_sky_provider.runner.actions.cluster_jobs import follow_job
from k8s_sky_provider.runner.actions.return_file import with_return_value
from k8s_sky_provider.runner.actions.run import Outcome
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.runner.actions.run import Run

_LAUNCH_OPTIONS = ("retry_until_up", "no_setup", "fast", "resize", "clone_disk_from")


def launch(run: Run) -> Outcome:
    """Launch a cluster, or use the one of that name, run the task and wait for it unless told not to."""
    arguments = run.request.arguments
    task = run.engine.load_task(arguments["task"], TaskOverrides(**arguments["overrides"]))
    name = run.cluster_name = str(arguments["cluster_name"])
    options = {option: arguments[option] for option in _LAUNCH_OPTIONS}
    if arguments["dryrun"]:
        run.engine.launch(task, name, dryrun=True, **options)
        return Outcome(return_value=name)
    owner = run.request.owner
    recorded = state.owner_of(run.home, name)
    made_here = not run.engine.cluster_exists(name) or (
        recorded is not None and recorded.task_instance == owner.task_instance
    )
    if made_here:
        state.record_owner(run.home, name, owner)
    run.undo = functools.partial(_undo, run, name, made_here=made_here)
    try:
        run.job_id = run.engine.launch(task, name, dryrun=False, **options)
    except ActionFailedError:
        if made_here and run.engine.cluster_exists(name):
            print(f"The launch failed; taking down what it made: {name}")
            end_cluster(run.engine, name)
        raise
    if not arguments["wait"]:
        return Outcome(return_value=name)
    # Not a finally: what a cancelled run leaves behind is for on_cancel to say.
    outcome: Outcome | ActionFailedError
    try:
        outcome = with_return_value(run, name, follow_job(run, name))
    except ActionFailedError as failure:
        outcome = failure
    if arguments["auto_down"]:
        print(f"Taking cluster {name} down (auto_down)")
        end_cluster(run.engine, name)
    if isinstance(outcome, ActionFailedError):
        raise outcome
    return outcome


def exec_(run: Run) -> Outcome:
    """Run a task on a cluster that is up and wait for it unless told not to."""
    arguments = run.request.arguments
    task = run.engine.load_task(arguments["task"], TaskOverrides(**arguments["overrides"]))
    name = run.cluster_name = str(arguments["cluster_name"])
    run.undo = functools.partial(_undo, run, name, made_here=False)
    run.job_id = run.engine.exec(task, name)
    if not arguments["wait"]:
        return Outcome(return_value=name)
    return with_return_value(run, name, follow_job(run, name))


def _undo(run: Run, cluster_name: str, wish: OnCancel, *, made_here: bool) -> str:
    if run.job_id is None and made_here:
        # Half a cluster is of no use to anybody and has no autostop yet.
        wish = OnCancel.DOWN
    if wish is OnCancel.DOWN:
        if run.engine.cluster_exists(cluster_name):
            end_cluster(run.engine, cluster_name)
        return f"cluster {cluster_name} was taken down"
    if wish is OnCancel.STOP:
        run.engine.stop(cluster_name)
        return f"cluster {cluster_name} was stopped"
    if run.job_id is None:
        return "no job had been submitted"
    run.engine.cancel_job(cluster_name, run.job_id)
    return f"job {run.job_id} on cluster {cluster_name} was cancelled"


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"launch": launch, "exec": exec_}
