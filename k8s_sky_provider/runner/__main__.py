"""``python -m k8s_sky_provider.runner REQUEST``: run one action, report its result, end with its exit code."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import k8s_sky_provider
from k8s_sky_provider.protocol import ExitCode, Owner, ProtocolError, SkyRequest, SkyResult
from k8s_sky_provider.runner import actions, credentials, local_files, own_pod, skypilot_version, state
from k8s_sky_provider.runner.actions import once
from k8s_sky_provider.runner.actions.run import masked_value
from k8s_sky_provider.runner.console import Console
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.store import FileStore, alone_at_first

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from k8s_sky_provider.runner.sky import Engine
    from k8s_sky_provider.runner.store import Store

_told_to_stop = threading.Event()

_STOPPED = (ExitCode.CANCELLED, ExitCode.EVICTED)

TERMINATION_LOG = Path("/dev/termination-log")


def _sky_engine() -> Engine:
    # Late, because the import takes seconds: what can be checked without SkyPilot is checked first.
    try:
        skypilot_version.check()
        if "SKYPILOT_API_SERVER_ENDPOINT" in os.environ:
            from k8s_sky_provider.runner.sky.at_server import EngineAtServer

            return EngineAtServer()
        from k8s_sky_provider.runner.sky import Engine
    except ImportError as error:
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG, f"the image's SkyPilot cannot be used: {error}; build it from images/skypilot"
        ) from error

    return Engine()


def _store(home: Path) -> Store:
    if "SKYPILOT_DB_CONNECTION_URI" not in os.environ:
        return FileStore(home, outlives_the_pod=state.has_volume(home))
    # Late, because it is only for this mode and only in the image.
    from k8s_sky_provider.runner import database

    return database.use()


def run_action(arguments: list[str], *, home: Path, make_engine: Callable[[], Engine] = _sky_engine) -> SkyResult:
    """Run the action of a request and return its result, whatever happens on the way.

    :param arguments: the request as JSON, and nothing else
    :param home: the home directory, with SkyPilot's state
    :param make_engine: makes the engine; tests give a fake one
    """
    try:
        if len(arguments) != 1:
            raise ProtocolError(f"the runner takes one argument, the request as JSON, and got {len(arguments)}")
        request = SkyRequest.from_argument(arguments[0])
    except ProtocolError as error:
        return SkyResult(action="unknown", exit_code=ExitCode.DEPLOYMENT_WRONG, reason=str(error))
    console = Console(state.secret_values())
    with console:
        result = _run(request, home, make_engine, console)
    result = _mask(result, console)
    if result.fits():
        return result
    return result.cut_to_fit(state.keep_whole(home, _file_name(request.owner), result.to_json()))


def _file_name(owner: Owner) -> str:
    """Return a name that people can read, and that no other try has."""
    names = [*map(str, owner.task_instance), str(owner.try_number)]
    readable = re.sub(r"[^-_.a-zA-Z0-9]", "_", "-".join(names))
    return f"{readable[-180:]}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]}"


def _run(request: SkyRequest, home: Path, make_engine: Callable[[], Engine], console: Console) -> SkyResult:
    print(f"k8s_sky_provider {k8s_sky_provider.__version__}: {request.action}")
    action = actions.ACTIONS.get(request.action)
    run: actions.Run | None = None
    exit_code, reason, error_name, outcome = ExitCode.OK, "", None, actions.Outcome()
    try:
        if action is None:
            raise ActionFailedError(
                ExitCode.DEPLOYMENT_WRONG,
                f"the image's runner has no action {request.action!r}: use the same k8s_sky_provider on both sides",
            )
        state.check(
            home,
            expected_mounts=request.expected_mounts,
            allow_network_file_system=request.allow_network_file_system,
        )
        if request.local_files is not None:
            local_files.unpack(request.local_files)
        credentials.prepare(home)
        store = _store(home)
        run = actions.Run(
            request=once.since_clear(store, request),
            engine=alone_at_first(store, make_engine),
            home=home,
            store=store,
            mask=lambda secrets: console.add_secrets(state.to_mask(secrets)),
            masked=console.mask,
        )
        console.doing = run.describe
        outcome = action(run)
        exit_code, reason = outcome.exit_code, outcome.reason
    except CancelledActionError:
        exit_code, reason = _stop(request, run, console)
    except ActionFailedError as failure:
        exit_code, reason, error_name = failure.exit_code, failure.reason, failure.error
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever it is, the task must hear of it
        traceback.print_exc()
        exit_code, error_name = ExitCode.INTERNAL_ERROR, type(error).__name__
        reason = f"{error_name}: {error}"
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            exit_code, reason = ExitCode.DEPLOYMENT_WRONG, f"The volume is full, make room there: {reason}"
    if _told_to_stop.is_set() and exit_code not in _STOPPED:
        # SkyPilot has places that catch any exception: the signal counts all the same.
        exit_code, reason = _stop(request, run, console)
    has_failed = exit_code not in {ExitCode.OK, *_STOPPED}
    if has_failed and run and run.cluster_name and run.cluster_name not in reason:
        reason = f"Cluster {run.cluster_name}: {reason}"
    return SkyResult(
        action=request.action,
        exit_code=exit_code,
        return_value=masked_value(
            run.value if run and outcome.return_value is None else outcome.return_value,
            console.mask,
            is_of_a_job=outcome.is_of_a_job,
        ),
        reason=reason,
        error=error_name,
        cluster_name=run.cluster_name if run else None,
        job_id=run.job_id if run else None,
        job_status=outcome.job_status,
        job_exit_codes=outcome.job_exit_codes,
    )


def _stop(request: SkyRequest, run: actions.Run | None, console: Console) -> tuple[ExitCode, str]:
    exit_code, done = _end_or_leave(request, run, console)
    # The reason of a failure is for the task's error to say; of a stop it may say something else, or go unread.
    print(done)
    return exit_code, done


def _end_or_leave(request: SkyRequest, run: actions.Run | None, console: Console) -> tuple[ExitCode, str]:
    console.hurry()
    reason = own_pod.why_told_to_stop(request)
    if reason is own_pod.Reason.CLEARED and run:
        once.note_clear(run.store, request.owner)
    if reason is not own_pod.Reason.EVICTED:
        return ExitCode.CANCELLED, _undo(run)
    print("Told to stop, and nobody wants the end: this pod is evicted")
    return ExitCode.EVICTED, _leave(run)


def _leave(run: actions.Run | None) -> str:
    if run is None:
        return "Evicted before anything was done"
    try:
        return f"Evicted: {actions.leave(run)}; the next try goes on"
    except ActionFailedError as failure:
        return f"Evicted, and what the next try begins anew could not be ended: {failure.reason}"


def _undo(run: actions.Run | None) -> str:
    if run is None:
        return "Cancelled before anything was done"
    print(f"Told to stop; on_cancel is {run.request.on_cancel or 'not set'}")
    try:
        return f"Cancelled: {actions.cancel(run)}"
    except ActionFailedError as failure:
        return f"Cancelled, but it could not be undone: {failure.reason}"


def _mask(result: SkyResult, console: Console) -> SkyResult:
    reason = console.mask(result.reason)
    return dataclasses.replace(
        result,
        reason=reason,
        log_tail=[line for line in console.tail if line != reason] if result.exit_code != ExitCode.OK else [],
    )


def _on_sigterm(signal_number: int, frame: FrameType | None) -> None:
    del signal_number, frame
    _told_to_stop.set()
    _take_no_more_signals()
    raise CancelledActionError


def _take_no_more_signals() -> None:
    # Not SIG_IGN, which all programs that are started from here on would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)


def main() -> None:
    """Run the request of ``sys.argv`` and end the process."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    result = None
    try:
        result = run_action(sys.argv[1:], home=Path.home())
        # What is done is done: nothing may keep it from being told.
        _take_no_more_signals()
    except CancelledActionError:
        result = result or SkyResult(
            action="unknown", exit_code=ExitCode.CANCELLED, reason="Cancelled before or after the action itself"
        )
    TERMINATION_LOG.write_text(result.to_message())
    sys.stdout.flush()
    sys.stderr.flush()
    # SkyPilot's worker threads may still wait for a cloud; nobody waits for them.
    os._exit(result.exit_code)


if __name__ == "__main__":
    main()
