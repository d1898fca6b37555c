"""An action under way, how it ends, and how it is undone."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import TERMINATION_MESSAGE_LIMIT, ExitCode, JsonValue, OnCancel, SkyRequest, SkyResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from k8s_sky_provider.runner.sky import Engine
    from k8s_sky_provider.runner.store import Store


_NAME = re.compile(r"[-\w.:/@+~]*")
"""What names, paths and URLs are made of."""


def _mask_nothing(values: Iterable[str]) -> None:
    del values


@dataclasses.dataclass(kw_only=True)
class Run:
    """One action under way: what was asked, and how far it came.

    :param request: what was asked
    :param engine: SkyPilot
    :param home: the home directory, with SkyPilot's state
    :param store: the provider's own notes and locks
    :param cluster_name: the cluster that is worked on, once it is known
    :param job_id: the job that was submitted or is followed, once it is known
    :param job_status: the job's status, as it was seen last
    :param value: what the next task wants, as soon as it is known: it is told although the action fails
    :param undo: set by the action as soon as there is something to undo: does what ``on_cancel`` wishes and
        returns what was done, in words
    :param end: set by an action whose work nobody can take up again: ends it, and returns what was done, in words
    :param locked: the cluster that this run has for itself alone
    :param told_to_stop: whether ``on_cancel`` is being done
    :param mask: takes values that are not to be shown in the log and the result
    :param masked: returns a text without them
    """

    request: SkyRequest
    engine: Engine
    home: Path
    store: Store
    cluster_name: str | None = None
    job_id: int | None = None
    job_status: str | None = None
    value: JsonValue = None
    undo: Callable[[OnCancel], str] | None = None
    end: Callable[[], str] | None = None
    locked: str | None = None
    told_to_stop: bool = False
    mask: Callable[[Iterable[str]], None] = _mask_nothing
    masked: Callable[[str], str] = str

    def describe(self) -> str:
        """Return what is at work, in words."""
        words = [self.request.action]
        if self.cluster_name:
            words.append(f"cluster {self.cluster_name}")
        if self.job_id is not None:
            words.append(f"job {self.job_id}{f' is {self.job_status}' if self.job_status else ''}")
        return ", ".join(words)

    def saw_job(self, status: str) -> None:
        """Keep a job's status."""
        self.job_status = status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an action ended; the fields are those of :class:`k8s_sky_provider.protocol.SkyResult`, but for one.

    :param is_of_a_job: whether the value is what a job or a command said, and not a name that the runner gave
    """

    return_value: JsonValue = None
    is_of_a_job: bool = False
    exit_code: ExitCode = ExitCode.OK
    reason: str = ""
    job_status: str | None = None
    job_exit_codes: list[int] = dataclasses.field(default_factory=list)


def masked_value(value: JsonValue, masked: Callable[[str], str], *, is_of_a_job: bool) -> JsonValue:
    """Return what the next task wants, without secrets; names stay as they are, or the next task has another one.

    :param masked: returns a text without secrets
    :param is_of_a_job: as :class:`Outcome` has it: in what a job said no word is a name
    """

    def change(text: str) -> str:
        return text if not is_of_a_job and _NAME.fullmatch(text) else masked(text)

    try:
        return _with_texts(value, change)
    except RecursionError:
        return None


def _with_texts(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_with_texts(item, change) for item in value]
    if isinstance(value, dict):
        return {change(str(key)): _with_texts(item, change) for key, item in value.items()}
    return value


def listing(run: Run, rows: list[dict[str, JsonValue]], narrow_by: str) -> Outcome:
    """Return rows as the action's value. Rows that are too many for a result are a failure: a part would pass for all.

    :param narrow_by: the arguments that make the list shorter; empty where there are none
    """
    return whole(
        run,
        Outcome(return_value=rows),
        f"the list has {len(rows)} rows, which",
        f"{f'narrow it by {narrow_by}; ' if narrow_by else ''}the whole list",
    )


def whole(run: Run, outcome: Outcome, what: str, way_out: str) -> Outcome:
    """Return how an action ended, if its value fits into a result; if not it has failed.

    :param what: what does not fit, for the error
    :param way_out: what to do, and what is on the volume
    """
    result = SkyResult(
        action=run.request.action,
        exit_code=outcome.exit_code,
        return_value=outcome.return_value,
        cluster_name=run.cluster_name,
        job_exit_codes=outcome.job_exit_codes,
    )
    if result.fits():
        return outcome
    return dataclasses.replace(
        outcome,
        exit_code=ExitCode.REQUEST_WRONG,
        reason=f"{what} do not fit into a result of {TERMINATION_MESSAGE_LIMIT} bytes: {way_out} is on the volume, "
        "below sky_logs/results",
    )


def cancel(run: Run) -> str:
    """Undo a run that was told to stop, as its request says; return what was done, in words.

    :raises ActionFailedError: if it could not be undone
    """
    run.told_to_stop = True
    wish = run.request.on_cancel
    if run.undo is None or wish is None or wish is OnCancel.LEAVE:
        return "nothing was undone"
    return run.undo(wish)


def leave(run: Run) -> str:
    """Leave a run that is evicted to the next try; return what becomes of its work, in words.

    :raises ActionFailedError: if what nobody can take up again could not be ended
    """
    run.told_to_stop = True
    return run.end() if run.end else "job and cluster stay as they are"
