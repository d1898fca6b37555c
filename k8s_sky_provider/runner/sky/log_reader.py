"""Runs what reads a job's log on its cluster (``sky.utils.command_runner``), and gives up a dead connection."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import select
import tempfile
import time
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # SkyPilot needs it, so it is in the image; its types are not
from sky.skylet import constants

from k8s_sky_provider.runner.job_log import SECONDS_BETWEEN_FRAMES

if TYPE_CHECKING:
    from sky.utils import command_runner

    from k8s_sky_provider.runner.job_log import JobLog

SECONDS_OF_SILENCE = 6.0 * SECONDS_BETWEEN_FRAMES
"""After how long without a sign of life a connection is given up."""


def read_on(machine: command_runner.CommandRunner, log: JobLog) -> float | None:
    """Read a job's log until it is whole or the connection breaks.

    :return: when there was the last sign of life (``time.monotonic``), None if there was none
    """
    alive_at = None
    with tempfile.TemporaryDirectory(prefix="job-log-") as directory:
        # SkyPilot can write a command's output to a file: this one holds nothing.
        pipe = f"{directory}/log"
        os.mkfifo(pipe)
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        pool = concurrent.futures.ThreadPoolExecutor(1)
        answer = pool.submit(
            machine.run,
            log.command(constants.SKY_PYTHON_CMD),
            log_path=pipe,
            process_stream=False,
            stream_logs=False,
        )
        # Not a with: that would wait for the command when this process is told to stop.
        pool.shutdown(wait=False)
        began_at = time.monotonic()
        try:
            while True:
                is_over = answer.done()
                # Without a writer, before and after, a pipe is at its end.
                data = os.read(reading, 65536) if select.select([reading], [], [], 1.0)[0] else b""
                if data:
                    log.take(data)
                    alive_at = time.monotonic()
                elif is_over:
                    answer.result()
                    return alive_at
                elif time.monotonic() - (alive_at or began_at) > SECONDS_OF_SILENCE:
                    return alive_at
                else:
                    time.sleep(0.1)
        finally:
            _end_children_with(directory)
            os.close(reading)


def _end_children_with(text: str) -> None:
    """End the children of this process that have a text in their command line, and what they started."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(text in argument for argument in child.cmdline()):
                for process in [*child.children(recursive=True), child]:
                    process.kill()
