"""The versions that the tests run on, and what has another place or name in each.

A test of what a version lacks is skipped there: ``pytest.mark.skipif(AIRFLOW < (3, 3), reason="what is lacking")``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

from airflow import __version__


def _major_and_minor(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


AIRFLOW = _major_and_minor(__version__)
KUBERNETES_PROVIDER = _major_and_minor(version("apache-airflow-providers-cncf-kubernetes"))

DagBag: Any = import_module("airflow.dag_processing.dagbag" if AIRFLOW >= (3, 2) else "airflow.models.dagbag").DagBag
_SERIALIZATION: Any = getattr(
    import_module("airflow.serialization.serialized_objects"),
    "DagSerialization" if AIRFLOW >= (3, 2) else "SerializedDAG",
)

FAIL_FAST: dict[str, Any] = {"fail_fast" if AIRFLOW >= (3, 0) else "fail_stop": True}
"""The argument of a DAG that ends with its first task that fails."""


def serialized(dag: Any) -> Any:
    """Return what Airflow's scheduler reads of a DAG."""
    return _SERIALIZATION.from_dict(_SERIALIZATION.to_dict(dag))


def about_its_extra(message: str) -> str:
    """Return what is said of a connection whose extra is no JSON object; to Airflow 3.0 and 3.1 it is missing."""
    return "does not exist" if (3, 0) <= AIRFLOW < (3, 2) else message


def create_tables() -> None:
    """Create the tables into which a task of an Airflow 2 looks: connections, runs, task instances: there are none."""
    from airflow import settings
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.tasklog import LogTemplate
    from airflow.providers.common.compat.sdk import Connection

    models: list[Any] = [Connection, LogTemplate, DagRun, TaskInstance]
    models[0].metadata.create_all(settings.engine, tables=[model.__table__ for model in models])
