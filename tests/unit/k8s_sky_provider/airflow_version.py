"""The versions that the tests run on, and what has another place or name in each.

A test of what a version lacks is skipped there: ``pytest.mark.skipif(AIRFLOW < (3, 3), reason="what is lacking")``.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from airflow import __version__


def _major_and_minor(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


AIRFLOW = _major_and_minor(__version__)
KUBERNETES_PROVIDER = _major_and_minor(version("apache-airflow-providers-cncf-kubernetes"))

if AIRFLOW >= (3, 2):
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization
else:
    from airflow.models.dagbag import DagBag
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

FAIL_FAST = "fail_fast" if AIRFLOW >= (3, 0) else "fail_stop"
"""The argument of a DAG that ends it with its first task that fails."""


def serialized(dag: Any) -> Any:
    """Return what Airflow's scheduler reads of a DAG."""
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def create_connections() -> None:
    """Create the table in which the tasks of an Airflow 2 look for connections; it is empty."""
    from airflow import settings
    from airflow.models import Connection

    Connection.metadata.create_all(settings.engine, tables=[Connection.__table__])


__all__ = ["AIRFLOW", "FAIL_FAST", "KUBERNETES_PROVIDER", "DagBag", "create_connections", "serialized"]
