"""Shell commands in the pod itself, where the volume is."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.actions.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.runner.actions.run import Run


def bash(run: Run) -> Outcome:
    """Run a command in the work directory; the last line of its output is the value.

    When the runner is told to stop, its container ends, and the command with it.
    """
    arguments = run.request.arguments
    directory = run.home / "sky_workdir"
    directory.mkdir(exist_ok=True)
    last_line = ""
    with subprocess.Popen(  # noqa: S603  # to run what the user gives is what this action is for
        ["/bin/bash", "-c", arguments["bash_command"]],
        cwd=directory,
        env={**os.environ, **arguments["env"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            print(line, end="")
            last_line = line.rstrip("\n")
    failed = process.returncode != 0
    return Outcome(
        return_value=last_line,
        exit_code=ExitCode.JOB_FAILED if failed else ExitCode.OK,
        reason=f"The command ended with exit code {process.returncode}" if failed else "",
        job_exit_codes=[process.returncode],
    )


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"bash": bash}
