from __future__ import annotations

from typing import Any

from airflow.models import DagModel, DagRun, TaskInstance
from airflow.models.connection import Connection
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagcode import DagCode
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session


def _clear(*models: Any) -> None:
    with create_session() as session:
        for model in models:
            session.query(model).delete()


def clear_db_dags() -> None:
    _clear(XComModel, TaskInstance, DagRun, DagCode, SerializedDagModel, DagVersion, DagModel)


def clear_db_runs() -> None:
    _clear(XComModel, TaskInstance, DagRun)


def clear_db_dag_bundles() -> None:
    _clear(DagBundleModel)


def clear_test_connections(add_default_connections_back: bool = False) -> None:
    _clear(Connection)
