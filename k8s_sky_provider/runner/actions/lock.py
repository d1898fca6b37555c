"""Actions that change one cluster queue behind each other.

Whoever launches, starts, stops or takes down a cluster has it alone until that is done. Whoever submits a job to it
shares it with others that do. Nobody has a cluster while a job runs, and nobody ever has two: there is no deadlock.
Who waits to have it alone keeps the gate shut meanwhile, through which all others come: those that share it would take
turns for ever.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8s_sky_provider.runner.actions.run import Run
    from k8s_sky_provider.runner.store import Store

SECONDS_BETWEEN_TRIES = 1.0

SECONDS_TO_WAIT = 3600.0
"""How long an action waits for a cluster before it fails and may be tried again: longer than a launch usually takes."""

SECONDS_TO_WAIT_AT_THE_END = 120.0
"""The same for one that was told to stop: the pod's grace period must also do for what it waits to do."""

SECONDS_BETWEEN_WORDS = 300.0
"""How often one that waits says so."""


@contextlib.contextmanager
def changing(run: Run, cluster_name: str) -> Iterator[None]:
    """Have a cluster for this run alone; one that has it already keeps it.

    :raises ActionFailedError: if others have it for too long
    """
    if run.locked == cluster_name:
        yield
        return
    _lock(run, cluster_name, shared=False)
    run.locked = cluster_name
    try:
        yield
    except CancelledActionError:
        # Kept until the end of this process: what on_cancel says comes next, and nobody may come before it.
        raise
    except BaseException:
        _unlock(run, cluster_name)
        raise
    _unlock(run, cluster_name)


@contextlib.contextmanager
def sharing(run: Run, cluster_name: str) -> Iterator[None]:
    """Keep a cluster from being changed, together with others that do so.

    :raises ActionFailedError: if somebody changes it for too long
    """
    _lock(run, cluster_name, shared=True)
    try:
        yield
    finally:
        run.store.unlock(_name(cluster_name))


@contextlib.contextmanager
def using_controller(run: Run, kind: str) -> Iterator[None]:
    """Keep a controller from being changed while something is submitted to it; whoever makes it does so alone.

    :param kind: ``jobs`` or ``serve``
    """
    name = f"sky-{kind}-controller-{run.request.owner.deployment}"
    with sharing(run, name) if run.engine.cluster_exists(name) else changing(run, name):
        yield


def _lock(run: Run, cluster_name: str, *, shared: bool) -> None:
    limit = SECONDS_TO_WAIT_AT_THE_END if run.told_to_stop else SECONDS_TO_WAIT
    waited, last_word = 0.0, -SECONDS_BETWEEN_WORDS
    gate = _Gate(run.store, cluster_name, shared=shared)
    try:
        while not gate.try_lock():
            note = run.store.read_note("holders", cluster_name) or {}
            holder = f"{note.get('who', 'another task')} is at work on cluster {cluster_name}"
            if waited >= limit:
                raise ActionFailedError(
                    ExitCode.TRY_AGAIN, f"{holder}, for more than the {limit:g} s that this task waits"
                )
            if waited - last_word >= SECONDS_BETWEEN_WORDS:
                print(f"Waiting: {holder}")
                last_word = waited
            time.sleep(SECONDS_BETWEEN_TRIES)
            waited += SECONDS_BETWEEN_TRIES
    finally:
        gate.leave()
    run.store.note("holders", cluster_name, {"who": _who(run), "since": int(time.time())})


class _Gate:
    """The way to a cluster: who wants it alone is in it until it has the cluster, who shares it does not stay."""

    def __init__(self, store: Store, cluster_name: str, *, shared: bool) -> None:
        self._store = store
        self._cluster = _name(cluster_name)
        self._name = f"gate of {self._cluster}"
        self._shared = shared
        self._is_in = False

    def try_lock(self) -> bool:
        """Take the cluster if nobody else has it, or waits to have it alone."""
        self._is_in = self._is_in or self._store.try_lock(self._name, shared=self._shared)
        has_it = self._is_in and self._store.try_lock(self._cluster, shared=self._shared)
        if self._shared or has_it:
            self.leave()
        return has_it

    def leave(self) -> None:
        """Let others in."""
        if self._is_in:
            self._is_in = False
            self._store.unlock(self._name)


def _unlock(run: Run, cluster_name: str) -> None:
    run.locked = None
    run.store.unlock(_name(cluster_name))


def _name(cluster_name: str) -> str:
    return f"cluster {cluster_name}"


def _who(run: Run) -> str:
    owner = run.request.owner
    task = f"{owner.dag_id}.{owner.task_id}" + (f"[{owner.map_index}]" if owner.map_index >= 0 else "")
    return f"{run.request.action} of task {task}, run {owner.run_id}, in pod {socket.gethostname()},"
