"""Runs an operator as Airflow's worker and triggerer do: rendered first, and after a deferral in a new instance."""

from __future__ import annotations

import dataclasses
import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, TaskDeferred

from k8s_sky_provider.operators import SkyLaunchOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kubernetes.client import models as k8s

    from k8s_sky_provider.operators import SkyBaseOperator
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass
class TaskInstance:
    """What the operators use of a task instance, with the XComs that were pushed."""

    task_id: str = "task"
    dag_id: str = "dag"
    run_id: str = "manual__2026-01-01"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    start_date: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.now(tz=dt.UTC))
    xcom: dict[str, Any] = dataclasses.field(default_factory=dict)
    task_states: dict[str, str] = dataclasses.field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcom[key] = value

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """Say that no task here is mapped: Airflow 2 asks before it takes a task's output."""

    def get_task_states(self, *, dag_id: str, map_index: int | None, task_ids: list[str], run_ids: list[str]) -> Any:
        """Answer as Airflow does, of a mapped task with its index in its name."""
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        suffix = "" if map_index is None else f"_{map_index}"
        return {
            self.run_id: {f"{name}{suffix}": self.task_states[name] for name in task_ids if name in self.task_states}
        }


def make_dag(folder: Path | None = None, **options: Any) -> DAG:
    """Return a DAG; its file is dag.py in that folder."""
    dag = DAG("dag", schedule=None, start_date=START, **options)
    if folder is not None:
        dag.fileloc = str(folder / "dag.py")
    return dag


def read_task(task: Any, folder: Path | None, root: Path | None = None) -> Any:
    """Return a task as the request of a launch would carry it.

    :param folder: of the DAG file
    :param root: of the DAG bundle
    """
    operator = SkyLaunchOperator(task_id="task", dag=make_dag(), sky_task_yaml={})
    file = folder and folder / "dag.py"
    below = file.relative_to(root) if file and root else None
    dag = SimpleNamespace(fileloc=file and str(file), relative_fileloc=below)
    context: Any = {"dag": dag}
    return operator.read_task(operator.given_task("sky_task_yaml", task), context)


def context_of(operator: SkyBaseOperator, ti: TaskInstance | None = None) -> Any:
    """Return the context that Airflow gives to execute."""
    ti = ti or TaskInstance()
    return {"ti": ti, "run_id": ti.run_id, "dag": operator.dag, "params": {"who": "Zoë"}, "expanded_ti_count": None}


def run_task(
    make: Callable[[], SkyBaseOperator], kubernetes: FakeKubernetes, ti: TaskInstance | None = None
) -> TaskInstance:
    """Run a task to its end, deferred or not, and return its task instance with the XComs."""
    ti = ti or TaskInstance()
    operator = make()
    deferral: TaskDeferred | None = None
    try:
        value = _step(operator, ti, operator.execute)
    except TaskDeferred as deferred:
        deferral = deferred
    # In a process of its own, where nothing is raised any more.
    if deferral is not None:
        method, event = deferral.method_name, trigger_event(deferral, kubernetes.finish())
        operator = make()
        value = _step(operator, ti, lambda context: operator.resume_execution(method, {"event": event}, context))
    if operator.do_xcom_push and value is not None:
        ti.xcom_push("return_value", value)
    return ti


def _step(operator: SkyBaseOperator, ti: TaskInstance, execute: Callable[[Any], Any]) -> Any:
    context = context_of(operator, ti)
    operator.render_template_fields(context)
    return execute(context)


def trigger_event(deferred: TaskDeferred, status: k8s.V1PodStatus) -> dict[str, Any]:
    """Return the event of SkyPodTrigger for a pod's last status."""
    assert deferred.trigger is not None
    event = {"name": deferred.trigger.pod_name, "namespace": deferred.trigger.pod_namespace, "last_log_time": None}
    ended = next((one.state.terminated for one in status.container_statuses or [] if one.name == "base"), None)
    if ended is not None and ended.exit_code == 0:
        return {**event, "status": "success"}
    if ended is not None or status.phase == "Failed":
        return {**event, "status": "failed", "message": "Container state failed"}
    waiting = status.container_statuses[0].state.waiting
    message = f"Image cannot be pulled, unable to start: {waiting.reason}\n{waiting.message}"
    return {**event, "status": "timeout", "message": message}
