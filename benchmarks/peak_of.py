"""Runs in the pod: run the command of the arguments, print its wall time and the peak memory of all other processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def memory_of_all_others() -> int:
    """Return the proportional set size, in kB, of all processes but this one."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/smaps_rollup"):
        if status.parent.name == str(os.getpid()):
            continue
        try:
            lines = status.read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


started = time.monotonic()
peak = 0
command = subprocess.Popen(sys.argv[1:])
while command.poll() is None:
    peak = max(peak, memory_of_all_others())
    time.sleep(0.1)
print(json.dumps({"seconds": time.monotonic() - started, "peak_mb": peak / 1024}))
sys.exit(command.returncode)
