"""Each example DAG with its first job failing, as ``e2e_failing_NAME``; sky_maintenance has no job."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG

FIRST_JOBS = {
    "sky_hello": ("echo Hello from", "exit 3; echo Hello from"),
    "sky_quickstart": ('echo "Hello from', 'exit 3; echo "Hello from'),
    "sky_training_pipeline": ("mkdir -p ~/pipeline", "exit 3"),
    "sky_fan_out": ("mkdir -p ~/results", "exit 3"),
    "sky_python_task": ("    import socket", '    raise ValueError("on purpose")'),
    "sky_migrated": ("echo 'echo ", "echo 'exit 3; echo "),
    "sky_managed_job": ("echo Preparing", "exit 3"),
    "sky_serving": ("mkdir -p ~/page", "exit 3; mkdir -p ~/page"),
}
"""Example -> what of it is replaced, and what with."""


def with_a_failing_job(name: str) -> DAG:
    """Return the DAG of an example whose first job fails."""
    old, new = FIRST_JOBS[name]
    source = Path(__file__).with_name(f"{name}.py").read_text()
    assert old in source, f"{name} has no {old!r}"
    source = source.replace(old, new, 1).replace(f'"{name}"', f'"e2e_failing_{name}"')
    # A job that fails on purpose fails again.
    source = source.replace('"retries": 2', '"retries": 0').replace("retries=1", "retries=0")
    source = re.sub(r"with DAG\((.*?)\):\n", r"with DAG(\1) as dag:\n", source, count=1, flags=re.DOTALL)
    # @task.sky looks there for the source of a function.
    file = f"<failing {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    variables: dict[str, Any] = {"__name__": f"e2e_failing_{name}"}
    exec(compile(source, file, "exec"), variables)  # noqa: S102  # the project's own examples
    dag: DAG = variables["dag"]
    dag.fileloc = __file__
    return dag


for name in FIRST_JOBS:
    globals()[f"e2e_failing_{name}"] = with_a_failing_job(name)
