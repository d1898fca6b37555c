from __future__ import annotations

from typing import Any

from airflow.cli.commands.task_command import _get_template_context
from airflow.models.taskinstance import TaskInstance
from airflow.serialization.serialized_objects import create_scheduler_operator

from tests_common.test_utils.dag import create_scheduler_dag


def create_task_instance(
    task: Any, *, dag_version_id: Any, run_id: str | None = None, state: str | None = None, map_index: int = -1
) -> TaskInstance:
    dag = task.get_dag()
    scheduled = create_scheduler_dag(dag).get_task(task.task_id) if dag else create_scheduler_operator(task)
    return TaskInstance(scheduled, dag_version_id=dag_version_id, run_id=run_id, state=state, map_index=map_index)


def get_template_context(ti: TaskInstance, task: Any, *, session: Any = None) -> Any:
    context = _get_template_context(ti, task)
    # XComs go to the database: there is no execution API here.
    context["ti"].__dict__.update(xcom_push=ti.xcom_push, xcom_pull=ti.xcom_pull)
    return context
