from __future__ import annotations

from typing import Any

from airflow.models.dagbundle import DagBundleModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from airflow.utils.session import create_session


def create_scheduler_dag(dag: Any) -> SerializedDAG:
    if isinstance(dag, SerializedDAG):
        return dag
    return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))


def sync_dag_to_db(dag: Any, bundle_name: str = "testing", session: Any = None) -> SerializedDAG:
    if session is None:
        with create_session() as new:
            return sync_dag_to_db(dag, bundle_name, new)
    session.merge(DagBundleModel(name=bundle_name))
    session.flush()
    SerializedDAG.bulk_write_to_db(bundle_name, None, [dag], session=session)
    serialized = LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
    SerializedDagModel.write_dag(serialized, bundle_name, None, session=session)
    session.flush()
    return create_scheduler_dag(dag)
