"""What importing an operator costs each parse of a DAG file."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from benchmarks.ratio import Ratio

ROUNDS = 9
OURS = "from k8s_sky_provider.operators import SkyLaunchOperator"
THEIRS = "from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator"


def measure() -> list[Ratio]:
    """Import ours and KubernetesPodOperator in turn, each in a new interpreter; CPU time, the median of each."""
    print(f"Importing, {ROUNDS} times each", flush=True)
    seconds: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for statement in (THEIRS, OURS):
        _cpu_seconds(statement)
    for _ in range(ROUNDS):
        for statement, spent in seconds.items():
            spent.append(_cpu_seconds(statement))
    return [
        Ratio(
            what="import SkyLaunchOperator / KubernetesPodOperator, CPU",
            ours=statistics.median(seconds[OURS]),
            theirs=statistics.median(seconds[THEIRS]),
            unit="s",
            limit=1.05,
        )
    ]


def _cpu_seconds(statement: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
