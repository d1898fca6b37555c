"""What reads text from outside gets text that is made to hold it up: 1 MiB each, and 300 MB that have no line end."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

SECONDS = 1.0
"""How long any reader may take for 1 MiB."""

MEGABYTES = 64.0
"""How much more memory any reader may take."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What the worst of some texts has cost a reader.

    :param reader: what has read it
    :param text: what the text is made of
    :param seconds: CPU time
    :param megabytes: more memory than before
    :param is_stream: whether it was 300 MB of a stream, whose time is in proportion to it
    """

    reader: str
    text: str
    seconds: float
    megabytes: float
    is_stream: bool

    @property
    def is_kept(self) -> bool:
        """Whether what is promised of time and memory is kept."""
        return (self.is_stream or self.seconds <= SECONDS) and self.megabytes <= MEGABYTES


def measure() -> list[Cost]:
    """Let each reader read in a process of its own that has nothing else to do."""
    print("Reading hostile text", flush=True)
    command = [sys.executable, "-m", "benchmarks.hostile_text_reader"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [Cost(**json.loads(line)) for line in done.stdout.splitlines()]


def show(costs: list[Cost]) -> None:
    """Print a table."""
    width = max(len(cost.reader) for cost in costs)
    print(f"\n{'reader of text from outside':{width}}  {'CPU':>8}  {'memory':>8}          the worst text")
    for cost in costs:
        verdict = "ok" if cost.is_kept else "WORSE"
        print(f"{cost.reader:{width}}  {cost.seconds:6.2f} s  {cost.megabytes:5.0f} MB  {verdict:6}  {cost.text}")


def are_kept(costs: list[Cost]) -> bool:
    """Tell whether all readers take as little as is promised."""
    return all(cost.is_kept for cost in costs)


if __name__ == "__main__":
    measured = measure()
    show(measured)
    sys.exit(0 if are_kept(measured) else 1)
