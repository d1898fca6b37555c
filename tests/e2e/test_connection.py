"""A connection of type skypilot, and cloud credentials from another connection."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from local_airflow import Kubectl, LocalAirflow, without_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

DAG_ID = "e2e_connection"
KEY = "e2e/secret+access-key-of-40-characters00"
FIELD = "a-field-of-another-connection"
OF_A_FIELD = {"connection": "e2e_field", "env": {"E2E_FIELD": "extra.token"}}
CONNECTIONS = [
    {"connection_id": "e2e_field", "conn_type": "generic", "extra": json.dumps({"token": FIELD})},
    {"connection_id": "e2e_aws", "conn_type": "aws", "login": "AKIAE2E", "password": KEY},
    {
        "connection_id": "e2e_sky",
        "conn_type": "skypilot",
        "extra": json.dumps({"credentials": json.dumps([{"connection": "e2e_aws"}, OF_A_FIELD])}),
    },
]


def delete_connections(airflow: LocalAirflow) -> None:
    for connection in CONNECTIONS:
        with contextlib.suppress(RuntimeError):
            airflow.request("DELETE", f"/connections/{connection['connection_id']}")


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> Iterator[str]:
    delete_connections(airflow)
    for connection in CONNECTIONS:
        airflow.request("POST", "/connections", connection)
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    yield run_id
    delete_connections(airflow)


@pytest.mark.parametrize("task_id", ["synchronous", "deferred"])
def test_credentials_of_a_connection_are_files_in_the_pod_and_shown_nowhere(
    airflow: LocalAirflow, run_id: str, task_id: str
) -> None:
    task = airflow.task(DAG_ID, run_id, task_id)
    log = without_noise(airflow.log(DAG_ID, run_id, task_id))
    assert task["state"] == "success"
    assert "440 root" in log
    assert "aws_access_key_id = ***" in log
    assert "aws_secret_access_key = ***" in log
    assert f"a variable of {len(FIELD)} characters: ***" in log
    assert FIELD not in log
    assert KEY not in json.dumps([log, task, airflow.xcom(DAG_ID, run_id, task_id, "result")])


def test_their_secret_is_gone_with_the_pod(kubectl: Kubectl, run_id: str) -> None:
    names = kubectl("get", "secrets", "-o", "name")
    assert names
    assert not [task for task in ("synchronous", "deferred") if task in names], run_id


def test_a_connection_that_does_not_exist_is_named(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "missing")["state"] == "failed"
    assert "connection 'e2e_no_such_connection' does not exist" in airflow.log(DAG_ID, run_id, "missing")
