"""How late a line is in the task's log that is printed before a silence: ours against KubernetesPodOperator's.

The local cluster's node is this machine: what a pod calls the time is what the reader of its log calls so.
"""

from __future__ import annotations

import dataclasses
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from local_airflow import RESTRICTED_CONTAINER, Kubectl
from local_pods import create, pod_of, settings, volume, wait_for

from benchmarks.ratio import Ratio
from k8s_sky_provider.operators import SkyBashOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LINES = 100
SILENCES = (0.5, 1.3, 2.9, 4.1)
"""Seconds after a line, in turn: no multiple of anything that is looked at now and then."""

LONG_SILENCE = 12.0
"""Longer than a silent connection is trusted; after each tenth line."""

SECONDS_TO_BEGIN = 60
"""How long nothing is printed, while the readers start."""

SECONDS = 900
PROMISED = 1.5
"""Seconds within which a line is in the task's log (docs/reliability.md)."""

CLUSTER = "bench-log-delay"
_PRINTED = re.compile(r"line (\d+) printed at (\d+\.\d+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delays:
    """How late the lines were.

    :param seconds: of each line that came
    :param lost: how many never came
    :param doubled: how many came again
    """

    seconds: list[float]
    lost: int
    doubled: int

    @classmethod
    def of(cls, logged: Iterable[tuple[float, str]], lines: int = LINES) -> Delays:
        """Return the delays of what was logged, each with the time at which it was.

        :param lines: how many were printed
        """
        found = [(when, match) for when, text in logged for match in _PRINTED.finditer(text)]
        seconds: dict[str, float] = {}
        for when, match in found:
            seconds.setdefault(match[1], when - float(match[2]))
        return cls(seconds=list(seconds.values()), lost=lines - len(seconds), doubled=len(found) - len(seconds))


def script(lines: int = LINES) -> str:
    """Return the shell commands that print lines with the time, and are silent after each."""
    silences = " ".join(str(silence_after(number)) for number in range(lines))
    return (
        f"sleep {SECONDS_TO_BEGIN}; number=0; for silence in {silences}; do "
        'echo "line $number printed at $(date +%s.%N)"; number=$((number + 1)); sleep $silence; done'
    )


def silence_after(number: int) -> float:
    """Return how many seconds nothing is printed after a line."""
    return LONG_SILENCE if number % 10 == 9 else SILENCES[number % len(SILENCES)]


def measure() -> list[Ratio]:
    """Print the same in four pods at once, and let each be read by one of the four readers."""
    kubectl = Kubectl()
    print(f"{LINES} lines with a silence after each, in four pods", flush=True)
    ways = [(whose, where) for where in ("worker", "triggerer") for whose in ("ours", "theirs")]
    with volume(kubectl, CLUSTER) as claim, settings(kubectl):
        pods = {way: _pod(*way, claim) for way in ways}
        names = [pod["metadata"]["name"] for pod in pods.values()]
        started = create(kubectl, list(pods.values()))
        try:
            kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "--timeout=300s")
            found = _read(kubectl, dict(zip(ways, names, strict=True)))
        finally:
            wait_for(kubectl, names, started, SECONDS)
    return [ratio for where in ("worker", "triggerer") for ratio in ratios(where, found)]


def ratios(where: str, found: dict[tuple[str, str], Delays]) -> list[Ratio]:
    """Return what is promised of the delays in the worker or the triggerer.

    A line that is lost or comes again breaks the promise as one that is late does.
    """
    ours, theirs = found["ours", where], found["theirs", where]
    if not theirs.seconds:
        raise RuntimeError(f"KubernetesPodOperator's {where} has logged no line: nothing to compare with")
    kinds: tuple[tuple[str, Callable[[list[float]], float]], ...] = (("median", statistics.median), ("worst", max))
    rows = []
    for kind, of in kinds:
        ours_seconds = of(ours.seconds) if ours.seconds and not (ours.lost or ours.doubled) else float("inf")
        theirs_seconds = of(theirs.seconds)
        rows.append(
            Ratio(
                what=f"delay of a line before a silence, {where}, {kind} of {LINES}",
                ours=ours_seconds,
                theirs=theirs_seconds,
                unit="s",
                # What is promised is a time, and not one that depends on theirs.
                limit=PROMISED / theirs_seconds,
            )
        )
    return rows


def _pod(whose: str, where: str, claim: str) -> dict[str, Any]:
    """Return ours with its runner, or a pod of the same image that runs the same commands without it."""
    name = f"bench-log-delay-{whose}-{where}"
    operator = SkyBashOperator(task_id=name, kubernetes_conn_id=None, volume_claim=claim, bash_command=script())
    pod = pod_of(operator, name)
    if whose == "theirs":
        container = pod["spec"]["containers"][0]
        container["command"], container["args"] = ["tini", "--", "bash", "-c"], [script()]
        container.setdefault("securityContext", RESTRICTED_CONTAINER)
    return pod


def _read(kubectl: Kubectl, names: dict[tuple[str, str], str]) -> dict[tuple[str, str], Delays]:
    logged: dict[tuple[str, str], list[tuple[float, str]]] = {way: [] for way in names}
    readers = [
        threading.Thread(target=_read_one, args=(kubectl, *way, name, logged[way])) for way, name in names.items()
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return {way: Delays.of(of_way) for way, of_way in logged.items()}


def _read_one(kubectl: Kubectl, whose: str, where: str, name: str, logged: list[tuple[float, str]]) -> None:
    module = "benchmarks.log_delay_reader"
    command = [sys.executable, "-u", "-m", module, whose, where, kubectl.kubeconfig, name, kubectl.namespace]
    environment = {**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as reader:
        logged.extend((time.time(), line) for line in reader.stdout or ())
    if reader.returncode:
        raise RuntimeError(f"{module} {whose} {where} ended with {reader.returncode}:\n{logged[-1:]}")
