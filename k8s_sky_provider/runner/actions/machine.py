"""Commands and files on a cluster's machines."""

from __future__ import annotations

import contextlib
import functools
import glob
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8s_sky_provider.protocol import ExitCode, OnCancel
from k8s_sky_provider.runner import remote_shell, state
from k8s_sky_provider.runner.actions.cluster import undo_to_cluster
from k8s_sky_provider.runner.actions.run import Outcome, whole
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8s_sky_provider.runner.actions.run import Run
    from k8s_sky_provider.runner.sky.machines import Machines

# What rsync's wildcards begin with.
_WILDCARDS = frozenset("*?[")


def ssh(run: Run) -> Outcome:
    """Run a command on a cluster's machines; its output is the value, its exit codes are by rank."""
    arguments = run.request.arguments
    name = run.cluster_name = str(arguments["cluster_name"])
    machines = _machines(run.engine, name, arguments["nodes"])
    mark = uuid.uuid4().hex
    script = remote_shell.command(
        arguments["command"],
        mark=mark,
        environment=arguments["environment"],
        working_dir=arguments["working_dir"],
        get_pty=bool(arguments["get_pty"]),
    )
    run.undo = functools.partial(_undo, run, name, machines, mark)
    run.end = functools.partial(_end, run, name, machines, mark)
    with _explained_by_the_cloud(run.engine, name):
        outputs = run.engine.run_command(
            machines,
            script,
            mark=mark,
            connect_timeout=arguments["conn_timeout"],
            timeout=arguments["cmd_timeout"],
        )
    texts = [output.output.replace("\r\n", "\n").rstrip("\n") for output in outputs.values()]
    codes = {rank: output.exit_code for rank, output in outputs.items()}
    late = [rank for rank, output in outputs.items() if output.timed_out]
    reason = ""
    if late:
        reason = (
            f"cmd_timeout: the command took longer than {arguments['cmd_timeout']} s on {_ranks(late)} and was ended"
        )
    elif any(codes.values()):
        said = ", ".join(f"{code} on machine {rank}" for rank, code in codes.items() if code)
        reason = f"The command ended with exit code {said} of cluster {name}"
    outcome = Outcome(
        return_value=texts[0] if arguments["nodes"] == "head" else texts,
        is_of_a_job=True,
        exit_code=ExitCode.JOB_FAILED if reason else ExitCode.OK,
        reason=reason,
        job_exit_codes=list(codes.values()),
    )
    if reason or arguments["nodes"] == "head":
        return outcome
    # A text is cut; of a list nothing would be left.
    return whole(
        run, outcome, f"the outputs of {len(texts)} machines", "have the command print less; what they have printed"
    )


def rsync_up(run: Run) -> Outcome:
    """Copy from the volume to a cluster's machines."""
    arguments = run.request.arguments
    name = run.cluster_name = str(arguments["cluster_name"])
    source = _on_the_volume(run.home, "source", arguments["source"])
    is_pattern = bool(_WILDCARDS & set(source))
    # Not Path.glob: it needs a place to start from, and drops the slash at the end.
    paths = sorted(glob.glob(source)) if is_pattern and not Path(source).exists() else [source]  # noqa: PTH207  # see above
    paths = [path for path in paths if Path(path).exists()]
    if not paths:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"source: {arguments['source']!r} does not exist on the volume (as {source})"
        )
    target = arguments["target"] if not is_pattern else f"{arguments['target'].rstrip('/')}/"
    for rank, machine in _machines(run.engine, name, arguments["nodes"]).items():
        for path in paths:
            goal, into = _upload_goal(path, target)
            # A link that the pattern has met may lead elsewhere.
            _check_place(run.home, "source", arguments["source"], Path(path))
            print(f"{path} -> {goal} on machine {rank} of cluster {name}")
            with _explained_by_the_cloud(run.engine, name):
                run.engine.upload(machine, path, goal, into=into)
    return Outcome(return_value=name)


def rsync_down(run: Run) -> Outcome:
    """Copy from a cluster's machines to the volume; of several machines, each gets a directory named by its rank."""
    arguments = run.request.arguments
    name = run.cluster_name = str(arguments["cluster_name"])
    source, target = arguments["source"], _on_the_volume(run.home, "target", arguments["target"])
    is_pattern = bool(_WILDCARDS & set(source))
    for rank, machine in _machines(run.engine, name, arguments["nodes"]).items():
        with _explained_by_the_cloud(run.engine, name):
            paths = run.engine.find_on_machine(machine, source)
        if not paths:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG, f"source: {source!r} does not exist on machine {rank} of cluster {name}"
            )
        goal = target
        if arguments["nodes"] != "head":
            goal = f"{target.rstrip('/')}/{rank}/"
        elif is_pattern:
            goal = f"{target.rstrip('/')}/"
        _check_place(run.home, "target", arguments["target"], Path(goal))
        _make_parents(goal)
        for path in paths:
            print(f"{path} on machine {rank} of cluster {name} -> {goal}")
            with _explained_by_the_cloud(run.engine, name):
                run.engine.download(machine, path, goal)
    return Outcome(return_value=name)


def _machines(engine: Machines, cluster_name: str, nodes: str | list[int]) -> dict[int, Any]:
    """Return the machines that were asked for, by rank."""
    machines = engine.machines(cluster_name)
    named = {"head": [0], "all": list(range(len(machines)))}
    ranks = named[nodes] if isinstance(nodes, str) else nodes
    missing = [rank for rank in ranks if rank not in range(len(machines))]
    if missing or not machines:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"nodes: cluster {cluster_name} has {len(machines)} machines, so there is no {_ranks(missing)}",
        )
    return {rank: machines[rank] for rank in ranks}


@contextlib.contextmanager
def _explained_by_the_cloud(engine: Machines, cluster_name: str) -> Iterator[None]:
    """Where machines are out of reach, raise what became of the cluster, if anything did."""
    try:
        yield
    except ActionFailedError as failure:
        if failure.exit_code is ExitCode.TRY_AGAIN:
            engine.check_cluster_up(cluster_name)
        raise


def _ranks(ranks: list[Any]) -> str:
    return f"machine {', '.join(map(str, ranks))}"


def _on_the_volume(home: Path, field: str, path: str) -> str:
    """Return a path of the runner as it is here, with its slash at the end.

    :raises ActionFailedError: if it is no place for files, or what is there does not outlive the pod
    """
    text = f"{home}{path[1:]}" if path == "~" or path.startswith("~/") else path
    whole = Path(home / "sky_workdir" / text)
    _check_place(home, field, path, whole)
    return f"{whole}/" if path.endswith("/") else str(whole)


def _check_place(home: Path, field: str, path: str, whole: Path) -> None:
    if not state.outlives_the_pod(whole, home):
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"{field}: {path!r} leads to {str(whole.resolve())!r}, which is not on the volume (and gone when the pod "
            "ends) or has SkyPilot's state or keys: give a path below ~/sky_workdir, or mount a volume there "
            "(volumes, volume_mounts)",
        )


def _upload_goal(path: str, target: str) -> tuple[str, str]:
    """Return where a path goes to, and the directory that must exist for that: rsync's own rules.

    SkyPilot copies what is in a directory, as rsync does with a slash at its end; without one, the directory
    itself goes into the target.
    """
    if Path(path).is_dir():
        goal = target if path.endswith("/") else f"{target.rstrip('/')}/{Path(path).name}"
        return goal, goal
    if target.endswith("/"):
        return f"{target}{Path(path).name}", target
    return target, str(Path(target).parent)


def _make_parents(goal: str) -> None:
    place = Path(goal) if goal.endswith("/") else Path(goal).parent
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"target: {str(place)!r} cannot be made: {error.strerror}"
        ) from error


def _undo(run: Run, cluster_name: str, machines: dict[int, Any], mark: str, wish: OnCancel) -> str:
    done = undo_to_cluster(run, cluster_name, wish)
    if done is not None:
        return done
    return _end(run, cluster_name, machines, mark)


def _end(run: Run, cluster_name: str, machines: dict[int, Any], mark: str) -> str:
    run.engine.end_command(machines, mark)
    return f"the command on cluster {cluster_name} was ended"


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"ssh": ssh, "rsync_up": rsync_up, "rsync_down": rsync_down}
