"""One function for each action: arguments in, :class:`Outcome` out.

They know what an action means for its task and nothing of SkyPilot's insides: those are the
engine's. Tests of the actions fake the engine, and nothing else.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, Protocol

from k8s_sky_provider.protocol import ExitCode, JsonValue, OnCancel, SkyRequest
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ATTEMPTS_TO_END = 3
"""How often a cluster's teardown is tried: one that fails leaves a cluster that costs money."""

SECONDS_BETWEEN_ATTEMPTS = 5.0


class Engine(Protocol):
    """What the actions need of SkyPilot; :class:`k8s_sky_provider.runner.engine.SkyEngine` is the real one.

    Every method raises :class:`ActionFailedError` when SkyPilot fails.
    """

    def load_task(
        self,
        task: str | dict[str, Any],
        *,
        resources: dict[str, Any],
        default_image_id: str | None,
        num_nodes: int | None,
        envs: dict[str, str],
    ) -> Any:
        """Read, check and override a task, given by content or by path."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""

    def launch(
        self, task: Any, cluster_name: str, *, idle_minutes_to_autostop: int | None, down: bool, retry_until_up: bool
    ) -> int | None:
        """Bring a cluster up and submit the task; return the job's id, None for a task without commands."""

    def exec(self, task: Any, cluster_name: str) -> int | None:
        """Submit a task to a cluster that is up; return the job's id."""

    def follow_job(self, cluster_name: str, job_id: int) -> str:
        """Print a job's output until it ends; return its last status, as SkyPilot names it."""

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        """Return a job's own exit codes, one for each node."""

    def cancel_job(self, cluster_name: str, job_id: int) -> None:
        """Cancel a job."""

    def down(self, cluster_name: str, *, purge: bool = False) -> None:
        """Take a cluster down."""

    def stop(self, cluster_name: str) -> None:
        """Stop a cluster."""

    def status(self, cluster_names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        """List clusters."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """One action under way: what was asked, and how far it came. A cancel needs to know both."""

    request: SkyRequest
    engine: Engine
    home: Path
    cluster_name: str | None = None
    job_id: int | None = None
    made_cluster: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an action ended; the fields are those of :class:`k8s_sky_provider.protocol.SkyResult`."""

    return_value: JsonValue = None
    exit_code: ExitCode = ExitCode.OK
    reason: str = ""
    job_status: str | None = None
    job_exit_codes: list[int] = dataclasses.field(default_factory=list)


def launch(run: Run) -> Outcome:
    """Launch a cluster, or use the one of that name, run the task and wait for it."""
    arguments = run.request.arguments
    task = run.engine.load_task(
        arguments["task"],
        resources=arguments["resources"],
        default_image_id=arguments["default_image_id"],
        num_nodes=arguments["num_nodes"],
        envs=arguments["envs"],
    )
    name = run.cluster_name = str(arguments["cluster_name"])
    owner = run.request.owner
    recorded = state.owner_of(run.home, name)
    run.made_cluster = not run.engine.cluster_exists(name) or (
        recorded is not None and recorded.task_instance == owner.task_instance
    )
    if run.made_cluster:
        state.record_owner(run.home, name, owner)
    idle_minutes = int(arguments["idle_minutes_to_autostop"])
    try:
        run.job_id = run.engine.launch(
            task,
            name,
            idle_minutes_to_autostop=None if idle_minutes < 0 else idle_minutes,
            down=idle_minutes >= 0 and bool(arguments["down"]),
            retry_until_up=bool(arguments["retry_until_up"]),
        )
    except ActionFailedError:
        if run.made_cluster and run.engine.cluster_exists(name):
            print(f"The launch failed; taking down what it made: {name}")
            _end_cluster(run, name)
        raise
    # Not a finally: what a cancelled run leaves behind is for on_cancel to say.
    outcome: Outcome | ActionFailedError
    try:
        outcome = _follow_job(run, name)
    except ActionFailedError as failure:
        outcome = failure
    if arguments["auto_down"]:
        print(f"Taking cluster {name} down (auto_down)")
        _end_cluster(run, name)
    if isinstance(outcome, ActionFailedError):
        raise outcome
    return outcome


def exec_(run: Run) -> Outcome:
    """Run a task on a cluster that is up and wait for it."""
    arguments = run.request.arguments
    task = run.engine.load_task(
        arguments["task"], resources={}, default_image_id=None, num_nodes=None, envs=arguments["envs"]
    )
    name = run.cluster_name = str(arguments["cluster_name"])
    run.job_id = run.engine.exec(task, name)
    return _follow_job(run, name)


def down(run: Run) -> Outcome:
    """Take a cluster down; one that is gone already is fine, one that never was is an error."""
    name = run.cluster_name = str(run.request.arguments["cluster_name"])
    if run.engine.cluster_exists(name):
        run.engine.down(name, purge=bool(run.request.arguments["purge"]))
    elif run.engine.cluster_existed(name):
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


ACTIONS: dict[str, Callable[[Run], Outcome]] = {
    "launch": launch,
    "exec": exec_,
    "down": down,
    "status": status,
}


def cancel(run: Run) -> str:
    """Undo a run that was told to stop, as its request says; return what was done, in words.

    :raises ActionFailedError: if it could not be undone
    """
    name, wish = run.cluster_name, run.request.on_cancel
    if name is None or wish is None or wish is OnCancel.LEAVE:
        return "nothing was undone"
    if run.job_id is None and run.made_cluster:
        # Half a cluster is of no use to anybody and has no autostop yet.
        wish = OnCancel.DOWN
    if wish is OnCancel.DOWN:
        if run.engine.cluster_exists(name):
            _end_cluster(run, name)
        return f"cluster {name} was taken down"
    if wish is OnCancel.STOP:
        run.engine.stop(name)
        return f"cluster {name} was stopped"
    if run.job_id is None:
        return "no job had been submitted"
    run.engine.cancel_job(name, run.job_id)
    return f"job {run.job_id} on cluster {name} was cancelled"


def _follow_job(run: Run, cluster_name: str) -> Outcome:
    if run.job_id is None:
        return Outcome(return_value=cluster_name)
    job_status = run.engine.follow_job(cluster_name, run.job_id)
    if job_status == "SUCCEEDED":
        return Outcome(return_value=cluster_name, job_status=job_status)
    exit_codes = run.engine.job_exit_codes(cluster_name, run.job_id)
    codes = f", exit codes by node: {exit_codes}" if exit_codes else ""
    exit_code = {"FAILED_SETUP": ExitCode.SETUP_FAILED, "CANCELLED": ExitCode.CANCELLED}.get(
        job_status, ExitCode.JOB_FAILED
    )
    return Outcome(
        exit_code=exit_code,
        reason=f"Job {run.job_id} on cluster {cluster_name} ended as {job_status}{codes}",
        job_status=job_status,
        job_exit_codes=exit_codes,
    )


def _end_cluster(run: Run, cluster_name: str) -> None:
    for attempt in range(1, ATTEMPTS_TO_END + 1):
        try:
            run.engine.down(cluster_name)
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
