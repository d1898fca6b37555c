"""How late a line is in the task's log that is printed before a silence: ours against KubernetesPodOperator's.

The local cluster's node is this machine: what a pod calls the time is what the reader of its log calls so.
"""

from __future__ import annotations

import contextlib
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
    from collections.abc import Callable, Iterable, Iterator

    Reader = subprocess.Popen[str]

LINES = 100
SILENCES = (0.5, 1.3, 2.9, 4.1)
"""Seconds after a line, in turn: no multiple of anything that is looked at now and then."""

LONG_SILENCE = 12.0
"""Longer than a silent connection is trusted; after each tenth line."""

SECONDS_TO_BEGIN = 30
"""How long nothing is printed, until all pods have started and are read."""

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
        names = {way: pod["metadata"]["name"] for way, pod in pods.items()}
        with _readers(kubectl, names) as readers:
            started = create(kubectl, list(pods.values()))
            try:
                kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names.values()), "--timeout=300s")
                found = _read(readers)
            finally:
                wait_for(kubectl, list(names.values()), started, SECONDS)
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


@contextlib.contextmanager
def _readers(kubectl: Kubectl, names: dict[tuple[str, str], str]) -> Iterator[dict[tuple[str, str], Reader]]:
    """Start the readers, which takes some seconds each, and have them wait for their pods."""
    command = [sys.executable, "-u", "-m", "benchmarks.log_delay_reader"]
    environment = {**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}
    readers = {
        way: subprocess.Popen(
            [*command, *way, kubectl.kubeconfig, name, kubectl.namespace],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for way, name in names.items()
    }
    try:
        for way, reader in readers.items():
            if not any(line == "ready\n" for line in reader.stdout or ()):
                raise RuntimeError(f"the reader of {way} does not start")
        yield readers
    finally:
        for reader in readers.values():
            reader.kill()
            reader.communicate()


def _read(readers: dict[tuple[str, str], Reader]) -> dict[tuple[str, str], Delays]:
    """Let the readers read until their pods have ended."""
    logged: dict[tuple[str, str], list[tuple[float, str]]] = {way: [] for way in readers}
    threads = [threading.Thread(target=_note, args=(reader, logged[way])) for way, reader in readers.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for way, reader in readers.items():
        if reader.wait():
            raise RuntimeError(f"the reader of {way} ended with {reader.returncode}: {logged[way][-5:]}")
    return {way: Delays.of(of_way) for way, of_way in logged.items()}


def _note(reader: Reader, logged: list[tuple[float, str]]) -> None:
    if reader.stdin is not None:
        reader.stdin.write("begin\n")
        reader.stdin.flush()
    logged.extend((time.time(), line) for line in reader.stdout or ())
