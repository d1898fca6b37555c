"""The operators as clients of a SkyPilot API server, which checks their token."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from api_server import PORT, ApiServer, start_other_version
from conftest import names_of_pods, pods_of_clusters, wait_until
from local_airflow import Kubectl, LocalAirflow, without_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults import FaultTable

pytestmark = pytest.mark.slow

DAG_ID = "e2e_api_server"
OTHER_VERSION = "e2e-sky-api-old"
SECONDS_TO_BEGIN = 300
SECONDS_TO_END = 240


def connection(name: str, host: str, secret: str) -> dict[str, Any]:
    extra = {"state_mode": "api_server", "api_server_token_secret": secret}
    return {"connection_id": name, "conn_type": "skypilot", "host": host, "extra": json.dumps(extra)}


@pytest.fixture(scope="module")
def server(airflow: LocalAirflow, kubectl: Kubectl) -> Iterator[ApiServer]:
    server = ApiServer(kubectl)
    token = f"{server.name}/token"
    wrong = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e2e-sky-api-wrong"}}
    connections = [
        connection("sky_api", server.endpoint, token),
        connection("sky_api_wrong_token", server.endpoint, "e2e-sky-api-wrong/token"),
        connection("sky_api_away", "http://e2e-no-such-server:46580", token),
        connection("sky_api_other_version", f"http://{OTHER_VERSION}:{PORT}", token),
    ]
    try:
        server.start()
        kubectl.apply({**wrong, "stringData": {"token": "sky_wrong-token"}})
        start_other_version(kubectl, OTHER_VERSION)
        for one in connections:
            with contextlib.suppress(RuntimeError):
                airflow.request("DELETE", f"/connections/{one['connection_id']}")
            airflow.request("POST", "/connections", one)
        yield server
    finally:
        for one in connections:
            with contextlib.suppress(RuntimeError):
                airflow.request("DELETE", f"/connections/{one['connection_id']}")
        server.stop()
        kubectl("delete", "secret", "e2e-sky-api-wrong", "--ignore-not-found")
        kubectl("delete", f"pod/{OTHER_VERSION}", f"service/{OTHER_VERSION}", "--ignore-not-found", "--grace-period=1")


@pytest.mark.parametrize(
    ("dag_id", "exit_code", "text"),
    [
        ("e2e_api_server_away", 75, "the SkyPilot API server is out of reach"),
        ("e2e_api_server_wrong_token", 77, "does not accept the token"),
        ("e2e_api_server_other_version", 78, "has version 0.9.0 and the image has SkyPilot "),
    ],
)
def test_a_server_that_cannot_be_used_is_named(
    airflow: LocalAirflow, server: ApiServer, dag_id: str, exit_code: int, text: str
) -> None:
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id) == "failed", server
    result = airflow.xcom(dag_id, run_id, "status", "result")
    assert result["exit_code"] == exit_code
    assert text in result["reason"]


class TestCluster:
    """Everything that one does with a cluster, and with jobs on it."""

    @pytest.fixture(scope="class")
    def run_id(self, airflow: LocalAirflow, server: ApiServer) -> str:
        run_id = airflow.trigger(DAG_ID)
        airflow.wait_for_run(DAG_ID, run_id, timeout=1500)
        assert (server.clusters(), server.requests_under_way()) == ([], [])
        return run_id

    def test_all_but_the_wrong_ones_succeed(self, airflow: LocalAirflow, run_id: str) -> None:
        states = airflow.task_states(DAG_ID, run_id)
        assert {name for name, state in states.items() if state != "success"} == {"failing", "wrong"}

    @pytest.mark.parametrize(
        ("task_id", "exit_code", "text"),
        [("failing", 65, "exit codes by node: [7]"), ("wrong", 64, "nowhere")],
    )
    def test_what_failed_says_why(
        self, airflow: LocalAirflow, run_id: str, task_id: str, exit_code: int, text: str
    ) -> None:
        result = airflow.xcom(DAG_ID, run_id, task_id, "result")
        assert result["exit_code"] == exit_code
        assert text in result["reason"]

    @pytest.mark.parametrize(
        ("task_id", "lines"),
        [("launch", ["line 1", "line 2", "line 3"]), ("exec", ["from exec"]), ("logs", ["line 1", "line 3"])],
    )
    def test_what_jobs_write_is_in_the_log_once(
        self, airflow: LocalAirflow, run_id: str, task_id: str, lines: list[str]
    ) -> None:
        log = without_noise(airflow.log(DAG_ID, run_id, task_id))
        assert [log.count(f") {line}\n") + log.endswith(f") {line}") for line in lines] == [1] * len(lines)

    def test_the_queue_knows_how_each_job_ended(self, airflow: LocalAirflow, run_id: str) -> None:
        statuses = {row["job_id"]: row["status"] for row in airflow.xcom(DAG_ID, run_id, "queue")}
        assert statuses == {1: "SUCCEEDED", 2: "SUCCEEDED", 3: "CANCELLED", 4: "FAILED"}

    def test_a_command_runs_on_its_machine(self, airflow: LocalAirflow, run_id: str) -> None:
        assert airflow.xcom(DAG_ID, run_id, "ssh") == "on sky"

    def test_the_status_is_the_servers(self, airflow: LocalAirflow, run_id: str) -> None:
        rows = airflow.xcom(DAG_ID, run_id, "status")
        assert [(row["name"], row["status"]) for row in rows] == [("e2e-api-server", "UP")]

    def test_the_token_is_shown_nowhere(
        self, airflow: LocalAirflow, kubectl: Kubectl, server: ApiServer, run_id: str
    ) -> None:
        token = kubectl.secret(server.name, "token")
        for task_id in airflow.task_states(DAG_ID, run_id):
            shown = [airflow.log(DAG_ID, run_id, task_id), airflow.xcom(DAG_ID, run_id, task_id, "result")]
            assert token not in json.dumps(shown)


def test_a_launch_that_is_killed_goes_on_nowhere(
    airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, server: ApiServer, faults: FaultTable
) -> None:
    dag_id = "e2e_api_server_killed"
    run_id = airflow.trigger(dag_id)
    wait_until("a pod of the cluster", lambda: pods_of_clusters(clusters, "e2e-api-killed"), SECONDS_TO_BEGIN)
    airflow.set_task_state(dag_id, run_id, "launch", "failed")
    wait_until(
        "the operator's pod gone",
        lambda: not names_of_pods(kubectl, f"kubernetes_pod_operator=True,dag_id={dag_id}"),
        SECONDS_TO_END,
    )
    wait_until("the cluster's pods gone", lambda: not pods_of_clusters(clusters, "e2e-api-killed"), SECONDS_TO_END)
    state = airflow.wait_for_run(dag_id, run_id, timeout=60)
    faults.record(
        "a task is marked failed",
        "while a SkyPilot API server launches its cluster",
        times=1,
        lost=0,
        doubled=0,
        leaked=len(server.clusters()) + len(server.requests_under_way()),
        falsely_green=int(state != "failed"),
    )


def test_a_managed_job(airflow: LocalAirflow, clusters: Kubectl, server: ApiServer) -> None:
    dag_id = "e2e_api_server_job"
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, run_id, timeout=1200) == "success", server
    assert "from a managed job" in without_noise(airflow.log(dag_id, run_id, "job"))
    # Its controller is the server, which is stopped after this.
    wait_until("no cluster of the job", lambda: not pods_of_clusters(clusters), 180)
