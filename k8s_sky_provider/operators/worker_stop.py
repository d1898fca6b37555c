"""A worker that is told to stop: somebody wants the end of its task, or its own pod is evicted.

Both are SIGTERM, and the state of the task instance tells them apart: whoever kills a task has set it. Airflow is asked
in a thread, because the channel to its supervisor is not reentrant: a handler that interrupts a request would wait for
itself.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from k8s_sky_provider.kubernetes_api import SECONDS_OF_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")

log = logging.getLogger(__name__)

STATES_OF_A_KILL = frozenset({"failed", "success", "skipped", "removed", "restarting"})
"""States of a task instance whose worker is told to stop because somebody has set them."""

SECONDS_TO_ASK = 2.0
"""How long Airflow may take to tell the state: it kills a task 5 s after it has told it to stop."""

SECONDS_UNTIL_ASKED_AGAIN = 1.5
"""Somebody may end a task at the very moment at which its worker is evicted."""

SECONDS_BETWEEN_SIGNALS = 1.0
"""How often a task that is to end is interrupted: an event loop may swallow an interruption."""


def within(seconds: float, call: Callable[[], _Answer]) -> _Answer | None:
    """Return what a call returns; None if it fails or takes longer, and is then left to itself."""
    answers: list[_Answer] = []

    def run() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001  # whatever it is, there is no answer
            log.info("No answer: %s", error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None


class WorkerEvictedError(BaseException):
    """Interrupts the task of an evicted worker. KubernetesPodOperator and asyncio catch what is an Exception."""


class WorkerStop:
    """What becomes of a task whose worker is told to stop: found out once, however often that is said.

    :param ask: returns the states that the task instance has: none if Airflow has no such task instance
    :param kill: ends the task's pod
    :param is_followed: whether the next try is to go on with the pod of an evicted worker
    """

    def __init__(self, *, ask: Callable[[], list[Any]], kill: Callable[[], None], is_followed: bool) -> None:
        self._ask = ask
        self._kill = kill
        self._is_followed = is_followed
        self._is_eviction = False
        self.is_cleared = False
        """Whether the task was cleared while it ran."""
        self._is_decided = threading.Event()
        self._is_done = threading.Event()
        self._has_ended = threading.Event()

    def begin(self) -> None:
        """Find out what it is and do it, in a thread: this is called in a signal handler."""
        threading.Thread(target=self._run, daemon=True).start()

    def interrupt(self) -> None:
        """Interrupt the task if it is to end, in the signal handler.

        :raises WorkerEvictedError: if the worker is evicted and the task is still at work
        """
        if self._is_decided.is_set() and self._is_eviction and not self._has_ended.is_set():
            raise WorkerEvictedError

    def wait(self) -> bool:
        """Interrupt the task no more; wait until what is to be done is done; tell whether it is an eviction."""
        self._has_ended.set()
        self._is_done.wait(2 * SECONDS_TO_ASK + SECONDS_UNTIL_ASKED_AGAIN + SECONDS_OF_PATIENCE)
        return self._is_eviction

    def _run(self) -> None:
        is_kill = self._is_kill()
        self._is_eviction = self._is_followed and not is_kill
        self._is_decided.set()
        try:
            if not self._is_eviction:
                self._kill()
        finally:
            self._is_done.set()
        while self._is_eviction and not self._has_ended.wait(SECONDS_BETWEEN_SIGNALS):
            # Airflow's handler calls on_kill again, which interrupts; with no handler this would end the process.
            if callable(signal.getsignal(signal.SIGTERM)):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _is_kill(self) -> bool:
        """Tell whether somebody has ended the task; where Airflow does not answer, nobody has."""
        states = within(SECONDS_TO_ASK, self._ask)
        if states is not None and self._is_followed and not _are_of_a_kill(states):
            threading.Event().wait(SECONDS_UNTIL_ASKED_AGAIN)
            states = within(SECONDS_TO_ASK, self._ask)
        self.is_cleared = states is not None and "restarting" in states
        return states is not None and _are_of_a_kill(states)


def _are_of_a_kill(states: list[Any]) -> bool:
    return all(state in STATES_OF_A_KILL for state in states)
