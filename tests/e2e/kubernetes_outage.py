"""Takes the Kubernetes API of the local cluster away for a while, as a crash of its server does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from local_airflow import BUILD, ROOT, read_env_file

if TYPE_CHECKING:
    from collections.abc import Iterator

PID_FILE = Path("/run/k8s-sky/apiserver.pid")
MARK = b"K8S_SKY_COMPONENT=apiserver"


@contextlib.contextmanager
def kubernetes_is_away(seconds: float) -> Iterator[None]:
    """Kill the API server; it is back after so many seconds, or earlier if the block has ended."""
    if read_env_file(BUILD / "cluster.env")["CLUSTER_KIND"] != "compiled":
        pytest.skip("only the API server of the compiled cluster can be taken away by a test")
    process = int(PID_FILE.read_text())
    assert MARK in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"), "some other process has its id"
    gone_at = time.monotonic()
    os.kill(process, signal.SIGKILL)
    try:
        yield
        time.sleep(max(0.0, gone_at + seconds - time.monotonic()))
    finally:
        subprocess.run([str(ROOT / "hack" / "cluster"), "up"], check=True, capture_output=True)
