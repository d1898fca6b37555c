"""Shell commands in the pod itself, where the volume is."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.actions.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from k8s_sky_provider.runner.actions.run import Run


LONGEST_PIECE = 64 * 1024
"""Characters of output that are read at once; of a longer last line, so many are the value."""

SECONDS_TO_END = 5.0
SECONDS_TO_READ_THE_END = 2.0
"""How long output is read on when a command has ended: what it left in the background keeps the pipe open."""


def bash(run: Run) -> Outcome:
    """Run a command in the work directory; the last line of its output is the value.

    A command is over when its shell is, whatever that has started. It is ended when the runner is told to stop.
    """
    arguments = run.request.arguments
    directory = run.home / "sky_workdir"
    directory.mkdir(exist_ok=True)
    lines: collections.deque[str] = collections.deque(maxlen=1)
    run.end = lambda: "the command was ended"
    process = subprocess.Popen(  # noqa: S603  # to run what the user gives is what this action is for
        ["/bin/bash", "-c", arguments["bash_command"]],
        cwd=directory,
        env={**os.environ, **arguments["env"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    reader = threading.Thread(target=_show, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        process.wait()
    except BaseException:
        _end(process)
        raise
    reader.join(SECONDS_TO_READ_THE_END)
    failed = process.returncode != 0
    return Outcome(
        return_value=lines[0].rstrip("\n") if lines else "",
        is_of_a_job=True,
        exit_code=ExitCode.JOB_FAILED if failed else ExitCode.OK,
        reason=f"The command ended with exit code {process.returncode}" if failed else "",
        job_exit_codes=[process.returncode],
    )


def _show(output: IO[str], lines: collections.deque[str]) -> None:
    begins = True
    # Not line by line: a command may print any number of gigabytes without an end.
    for piece in iter(lambda: output.readline(LONGEST_PIECE), ""):
        print(piece, end="")
        if begins:
            lines.append(piece)
        begins = piece.endswith("\n")


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and what it has started: SIGTERM, and SIGKILL for what stays."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        os.killpg(process.pid, signal.SIGKILL)


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"bash": bash}
