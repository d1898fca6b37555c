"""The states of task instances, as Airflow has them now."""

from __future__ import annotations

from typing import Any


def states_of(ti: Any, *, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[Any]:
    """Return the state that a task instance has, in a list; an empty one if Airflow has no such task instance.

    :param ti: the task instance that asks
    """
    if hasattr(ti, "get_task_states"):
        states = ti.get_task_states(
            dag_id=dag_id, map_index=None if map_index < 0 else map_index, task_ids=[task_id], run_ids=[run_id]
        )
        return list(states.get(run_id, {}).values())
    # Airflow 2 has no such method; there a task may read the database.
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415  # not for tasks of Airflow 3
    from airflow.utils.session import create_session  # noqa: PLC0415  # as above

    model: Any = TaskInstance
    with create_session() as session:
        rows = session.query(model.state).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
        return [state for (state,) in rows]
