"""A folder beside the DAG is where the job runs: its package and data are there, what is ignored is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import wait_until
from local_airflow import without_noise

if TYPE_CHECKING:
    from local_airflow import Kubectl, LocalAirflow

DAG_ID = "e2e_local_files"
TIMEOUT = 1500
FILES = "adder/__init__.py adder/__main__.py data/numbers.txt task.yaml"


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id, timeout=TIMEOUT)
    return run_id


def test_the_run_succeeds(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.run_state(DAG_ID, run_id) == "success"


@pytest.mark.parametrize(
    ("task_id", "verb"), [("launch", "launch"), ("exec", "exec"), ("managed", "a managed job")], ids=lambda text: text
)
def test_the_job_has_all_but_what_is_ignored(airflow: LocalAirflow, run_id: str, task_id: str, verb: str) -> None:
    log = without_noise(airflow.log(DAG_ID, run_id, task_id))
    assert f"files: {FILES}\n" in f"{log}\n"
    assert f"total: 42 by {verb}" in log


def test_file_mounts_are_where_they_should_be(airflow: LocalAirflow, run_id: str) -> None:
    assert "39" in without_noise(airflow.log(DAG_ID, run_id, "exec")).split()


def test_the_secrets_go_with_the_pods(airflow: LocalAirflow, kubectl: Kubectl, run_id: str) -> None:
    pods = {airflow.xcom(DAG_ID, run_id, task_id, "pod_name") for task_id in ("launch", "exec", "managed")}
    assert len(pods) == 3

    def left() -> list[str]:
        owners = {
            secret["metadata"]["name"]: {owner["name"] for owner in secret["metadata"].get("ownerReferences", [])}
            for secret in kubectl.get("secrets")["items"]
        }
        return [name for name, names in owners.items() if names & pods]

    wait_until("Kubernetes has deleted the Secrets of the pods", lambda: not left(), 120)
