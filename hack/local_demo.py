"""Runs example_dags/sky_quickstart.py on the local Airflow, and shows what its tasks print and return, or why not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from local_airflow import (
    AIRFLOW_NAME,
    CLUSTERS_NAMESPACE,
    FINISHED,
    NAMESPACE,
    LocalAirflow,
    password_hint,
    without_noise,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

DAG_ID = "sky_quickstart"
SECONDS = 900
LINES_OF_A_LOG = 25

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

WAY_OUT = f"""What to look at:
  set -a; . .build/cluster.env; set +a
  .build/bin/kubectl -n {NAMESPACE} get events --sort-by=.lastTimestamp
  .build/bin/kubectl -n {NAMESPACE} describe pods
  .build/bin/kubectl -n {CLUSTERS_NAMESPACE} describe pods
  .build/bin/kubectl -n {NAMESPACE} logs deployment/{AIRFLOW_NAME} -c scheduler --tail=50
What errors mean: docs/operators.md, "Failures and retries". What may be wrong with the cluster: docs/local-cluster.md,
"Known traps", and 'hack/cluster status'.
"""


class Airflow(Protocol):
    """What the demo needs of the local Airflow: the seam at which tests put one of their own."""

    def trigger(self, dag_id: str) -> str:
        """Start a run of a DAG and return its id."""

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, by the time they started."""

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        """Return a task's log, nothing if the task never began."""

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned."""

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of Airflow, of the operators and of SkyPilot's clusters."""

    def refusals(self, seconds: int) -> list[str]:
        """Return why Kubernetes refused pods in which tasks were to begin, in the last so many seconds."""


def main(
    connect: Callable[[], AbstractContextManager[Airflow]] = LocalAirflow, *, seconds: float = SECONDS, pause: float = 1
) -> int:
    """Return the exit code of hack/demo."""
    try:
        with connect() as airflow:
            return Demo(airflow, seconds=seconds, pause=pause).run()
    except KeyboardInterrupt:
        print(f"\nStopped watching. A run that has begun goes on; Airflow's user interface ends it:\n{password_hint()}")
        return EXIT_INTERRUPTED
    except (RuntimeError, OSError) as error:
        print(f"\nerror: {error}\n\n{WAY_OUT}")
        return EXIT_FAILED


class Demo:
    """One run of the DAG.

    :param airflow: where it runs
    :param seconds: how long the run may take
    :param pause: between two looks at it
    """

    def __init__(self, airflow: Airflow, *, seconds: float, pause: float) -> None:
        self.airflow = airflow
        self.seconds = seconds
        self.pause = pause
        self.started = time.monotonic()
        self.run_id = ""

    @property
    def age(self) -> float:
        """The seconds since the run began."""
        return time.monotonic() - self.started

    def run(self) -> int:
        """Run the DAG and show it; return the exit code."""
        self.run_id = self.airflow.trigger(DAG_ID)
        self.started = time.monotonic()
        print(f"\nTriggered {DAG_ID}, run {self.run_id}", flush=True)
        state = self.watch()
        if state == "success":
            print(f"\nThe run ended as success after {self.age:.0f} s.\n")
            print(f"Airflow's user interface:\n{password_hint()}\n\nStop everything:\n  make cluster-down\n")
            return 0
        self.explain(state)
        return EXIT_FAILED

    def watch(self) -> str | None:
        """Show the tasks until the run has ended; return its state, None if that takes too long."""
        states: dict[str, str | None] = {}
        while True:
            # first the run, so that the last look at the tasks comes after its end
            state = self.airflow.run_state(DAG_ID, self.run_id)
            for task in self.airflow.tasks(DAG_ID, self.run_id):
                name = task["task_id"]
                if states.get(name) != task["state"]:
                    states[name] = task["state"]
                    print(f"{self.age:6.0f} s  {name}: {task['state']}", flush=True)
                    if task["state"] == "success":
                        self.show_task(task)
            if state in FINISHED:
                return state
            if self.age > self.seconds:
                return None
            time.sleep(self.pause)

    def log(self, task: Mapping[str, Any]) -> str:
        """Return the log of a task's last try."""
        return self.airflow.log(DAG_ID, self.run_id, task["task_id"], task["try_number"] or 1)

    def show_task(self, task: Mapping[str, Any]) -> None:
        """Print what the task's pod printed, and what the task returned."""
        name, log = task["task_id"], self.log(task)
        print_log(f"log of {name}", without_noise(log) or log)
        print(f"--- {name} returned: {self.airflow.xcom(DAG_ID, self.run_id, name)!r}\n", flush=True)

    def explain(self, state: str | None) -> None:
        """Print what went wrong, task by task, and the way out."""
        if state is None:
            print(f"\nerror: the run has not ended after {self.age:.0f} s, and goes on.\n")
        else:
            print(f"\nerror: the run ended as {state} after {self.age:.0f} s.\n")
        tasks = self.airflow.tasks(DAG_ID, self.run_id)
        for task in tasks:
            if task["state"] == "failed":
                self.explain_failure(task)
        waiting = [
            f"{task['task_id']} ({task['state'] or 'no state yet'})" for task in tasks if task["state"] not in FINISHED
        ]
        if waiting:
            print(f"Not ended: {', '.join(waiting)}")
        not_run = [task["task_id"] for task in tasks if task["state"] == "upstream_failed"]
        if not_run:
            print(f"Not run, for what they need has failed: {', '.join(not_run)}")
        for pod in self.airflow.pods():
            if reason := why_pending(pod):
                print(f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']} waits: {reason}")
        print(f"\n{WAY_OUT}")

    def explain_failure(self, task: Mapping[str, Any]) -> None:
        """Print the end of a failed task's log, or why it has none."""
        if task["start_date"] is None:
            print(f"{task['task_id']} failed before it began, so it has no log.")
            for refusal in self.airflow.refusals(int(self.age) + 1):
                print(f"  Kubernetes refused a pod: {refusal}")
            return
        lines = self.log(task).splitlines()
        print_log(f"{task['task_id']} failed; the end of its log", "\n".join(lines[-LINES_OF_A_LOG:]))


def print_log(title: str, text: str) -> None:
    """Print lines, indented under a title."""
    print(f"--- {title} " + "-" * 50)
    print("\n".join(f"  {line}" for line in text.splitlines()), flush=True)


def why_pending(pod: Mapping[str, Any]) -> str | None:
    """Return why a pod does not run: no node has room, or its image cannot be had; None if it runs or has ended."""
    status = pod["status"]
    if status["phase"] != "Pending":
        return None
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason"))
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = container["state"].get("waiting") or {}
        if waiting.get("message"):
            return f"{waiting['reason']}: {waiting['message']}"
    return "it is about to start"
