"""Bad input: one clear error that names the thing and the way out, as early as it can be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from said_once import assert_said_once

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

DAG_ID = "e2e_bad_input"


@pytest.fixture(scope="module")
def run_id(airflow: LocalAirflow) -> str:
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_for_run(DAG_ID, run_id)
    return run_id


@pytest.mark.parametrize(
    ("task_id", "error", "texts"),
    [
        ("unknown_key", "SkyRequestError", ["runn", "did you mean 'run'"]),
        ("wrong_type", "SkyRequestError", ["num_nodes", "'two'"]),
        ("missing_file", "SkyRequestError", ["no_such_task.yaml", "does not exist beside the DAG file"]),
        ("bad_name", "SkyRequestError", ["cluster_name", "1-starts-with-a-digit"]),
        ("missing_workdir", "SkyRequestError", ["e2e_workdir.yaml: workdir: ", "does not exist where the task starts"]),
        ("no_flag", "SkyRequestError", ["purge: 'perhaps' is no flag"]),
        ("missing_volume", "SkyDeploymentError", ["PersistentVolumeClaim 'no-such-claim' does not exist"]),
        ("missing_service_account", "SkyDeploymentError", ["no-such-account"]),
    ],
)
def test_what_is_known_at_task_start_fails_before_a_pod_exists(
    airflow: LocalAirflow, run_id: str, task_id: str, error: str, texts: list[str]
) -> None:
    assert_failed_once(airflow, run_id, task_id, error, texts)
    assert airflow.xcom(DAG_ID, run_id, task_id, "pod_name") is None


@pytest.mark.parametrize(
    ("task_id", "exit_code", "error", "texts"),
    [
        ("missing_on_volume", 64, "SkyRequestError", ["no_such_task.yaml", "does not exist on the volume"]),
        ("bad_resources", 64, "SkyRequestError", ["many"]),
        ("missing_cluster", 64, "SkyRequestError", ["no-such-cluster"]),
        ("missing_secret", 77, "SkyCredentialsError", ["Secret 'no-such-secret'"]),
        ("missing_config_map", 78, "SkyDeploymentError", ["ConfigMap 'no-such-config'"]),
    ],
)
def test_what_is_known_in_the_pod_ends_it_with_the_right_exit_code(
    airflow: LocalAirflow, run_id: str, task_id: str, exit_code: int, error: str, texts: list[str]
) -> None:
    assert_failed_once(airflow, run_id, task_id, error, texts)
    assert airflow.xcom(DAG_ID, run_id, task_id, "result")["exit_code"] == exit_code


@pytest.mark.parametrize(
    ("task_id", "error", "texts"),
    [
        ("image_without_runner", "SkyDeploymentError", ["cannot run the runner", "images/skypilot"]),
        ("image_without_runner_deferred", "SkyDeploymentError", ["cannot run the runner", "images/skypilot"]),
        ("other_protocol", "SkyDeploymentError", ["protocol version", "same version"]),
        ("missing_image", "SkyPodFailedError", ["cannot be pulled", "no-such-image"]),
        ("missing_image_deferred", "SkyPodFailedError", ["cannot be pulled", "no-such-image"]),
    ],
)
def test_what_is_known_from_the_pod_fails_at_once(
    airflow: LocalAirflow, run_id: str, task_id: str, error: str, texts: list[str]
) -> None:
    assert_failed_once(airflow, run_id, task_id, error, texts)
    assert airflow.task(DAG_ID, run_id, task_id)["duration"] < 200


def assert_failed_once(airflow: LocalAirflow, run_id: str, task_id: str, error: str, texts: list[str]) -> None:
    task = airflow.task(DAG_ID, run_id, task_id)
    assert (task["state"], task["try_number"]) == ("failed", 1)
    log = airflow.log(DAG_ID, run_id, task_id)
    assert_said_once(log, error)
    assert [text for text in texts if text not in log] == []
