"""Commands and files on a cluster's machine, a volume, and what SkyPilot can use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from local_airflow import without_noise
from local_pods import pod_of, run_together, settings

from k8s_sky_provider.operators import SkyStatusOperator

if TYPE_CHECKING:
    from local_airflow import Kubectl, LocalAirflow

DAG_ID = "e2e_machine"
HOSTILE = "e2e-hostile-machine"


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    return run_id


def test_files_come_to_the_machine_where_a_command_reads_them(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "up") == airflow.xcom(DAG_ID, run_id, "launch")
    assert airflow.xcom(DAG_ID, run_id, "reads") == run_id
    assert airflow.xcom(DAG_ID, run_id, "reads", "ssh_exit") == 0
    assert "it's me" in without_noise(airflow.log(DAG_ID, run_id, "reads"))


def test_files_come_back_to_the_volume(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "look") == run_id


def test_a_command_that_fails_has_its_exit_code_in_xcom(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "fails")["state"] == "failed"
    assert airflow.xcom(DAG_ID, run_id, "fails", "ssh_exit") == 7
    assert "SkyJobFailedFastError" in airflow.log(DAG_ID, run_id, "fails")


def test_a_command_that_takes_too_long_is_ended(airflow: LocalAirflow, run_id: str) -> None:
    assert "cmd_timeout: the command took longer than 5.0 s" in airflow.log(DAG_ID, run_id, "late")
    assert airflow.xcom(DAG_ID, run_id, "late", "ssh_exit") == [143]
    assert airflow.xcom(DAG_ID, run_id, "processes") == "none"


def test_output_that_is_too_long_is_cut_and_kept_whole_on_the_volume(airflow: LocalAirflow, run_id: str) -> None:
    output = airflow.xcom(DAG_ID, run_id, "prints_much")
    assert output.startswith("1\n2\n3\n")
    assert len(output) < len("\n".join(map(str, range(1, 5001))))
    assert airflow.xcom(DAG_ID, run_id, "prints_much", "result")["truncated"]
    assert "the whole is on the volume" in airflow.log(DAG_ID, run_id, "prints_much")


def test_the_values_of_a_secret_file_reach_the_job_and_not_the_log(airflow: LocalAirflow, run_id: str) -> None:
    log = airflow.log(DAG_ID, run_id, "secrets")
    assert "has 19 characters" in without_noise(log)
    assert [value for value in ("e2e-commented-value", "e2e-second-line") if value in log] == []


def test_a_volume_is_made_listed_and_deleted(airflow: LocalAirflow, clusters: Kubectl, run_id: str) -> None:
    assert airflow.xcom(DAG_ID, run_id, "volume_apply") == "e2e-volume"
    (row,) = airflow.xcom(DAG_ID, run_id, "volume_list")
    assert (row["name"], row["type"], row["size"]) == ("e2e-volume", "k8s-pvc", "1")
    assert airflow.xcom(DAG_ID, run_id, "volume_delete") == ["e2e-volume"]
    claims = [claim["metadata"]["name"] for claim in clusters.get("persistentvolumeclaims")["items"]]
    assert not [name for name in claims if name.startswith("e2e-volume")]


def test_there_are_no_buckets(airflow: LocalAirflow, run_id: str) -> None:
    assert airflow.task(DAG_ID, run_id, "storage_list")["state"] == "success"
    assert airflow.xcom(DAG_ID, run_id, "storage_list") == []


def test_kubernetes_can_be_used_and_aws_cannot(airflow: LocalAirflow, run_id: str) -> None:
    (row,) = airflow.xcom(DAG_ID, run_id, "check")
    assert (row["cloud"], row["enabled"], row["capabilities"]) == ("kubernetes", True, ["compute"])
    task = airflow.task(DAG_ID, run_id, "check_fails")
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert "require: SkyPilot cannot use aws" in airflow.log(DAG_ID, run_id, "check_fails")


def test_a_machine_that_means_ill_runs_and_overwrites_nothing_here(kubectl: Kubectl) -> None:
    with settings(kubectl):
        pod = pod_of(SkyStatusOperator(task_id=HOSTILE, kubernetes_conn_id=None), HOSTILE)
    program = Path(__file__).with_name("hostile_machine.py").read_text()
    pod["spec"]["containers"][0] |= {"command": ["python"], "args": ["-c", program.replace("$", "$$")]}
    (ended,) = run_together(kubectl, [pod], 600).values()
    assert ended.log.splitlines()[-1] == "all is well", ended.log
