"""Each command that Apache's chart calls runs in the Airflow image, as the chart's user."""

from __future__ import annotations

import socket
import time
import urllib.request
from typing import TYPE_CHECKING

import apache_chart
import pytest
from apache_chart import BROKER, CONFIGURATION, DATABASE, GROUP, LOG_GROOMER, TASK, USER

from .conftest import Container, Tool, container

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


def free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


@pytest.fixture(scope="module")
def airflow(tool: Tool, airflow_image: str) -> Iterator[Container]:
    """Give a container with an empty database, as the chart's user."""
    environment = {
        **CONFIGURATION,
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__API__PORT": free_port(),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
        "AIRFLOW__API__SECRET_KEY": "not-secret",
        "AIRFLOW__API_AUTH__JWT_SECRET": "not-secret-but-long-enough-for-sha-512-which-wants-64-bytes-of-it",
    }
    with container(tool, airflow_image, f"{USER}:{GROUP}", environment) as running:
        yield running


@pytest.fixture(scope="module")
def migrated(airflow: Container) -> Container:
    done = airflow.run(*apache_chart.MIGRATE.args, timeout=300)
    assert done.returncode == 0, done.stdout
    return airflow


def wait(done: Path, process: subprocess.Popen[str], condition: str) -> None:
    """Wait until a component's output has a text."""
    deadline = time.monotonic() + 180
    while condition not in done.read_text():
        assert process.poll() is None, done.read_text()
        assert time.monotonic() < deadline, done.read_text()
        time.sleep(1)


def passes(running: Container, probe: tuple[str, ...], process: subprocess.Popen[str], log: Path) -> None:
    """Ask a probe until it succeeds, as a startup probe does."""
    deadline = time.monotonic() + 180
    while (done := running.exec(*probe)).returncode != 0:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"{done.stdout}\n{log.read_text()}"
        time.sleep(2)


def test_it_waits_for_the_tables(airflow: Container) -> None:
    """They are not there yet: it says so and does not wait longer than it is told."""
    *command, _ = apache_chart.WAIT_FOR_MIGRATIONS.args
    done = airflow.run(*command, "--migration-wait-timeout=1")
    assert done.returncode != 0
    assert "unapplied migrations" in done.stdout


def test_it_makes_the_tables_and_a_user(migrated: Container) -> None:
    done = migrated.run(*apache_chart.WAIT_FOR_MIGRATIONS.args)
    assert done.returncode == 0, done.stdout
    done = migrated.run(*apache_chart.CREATE_USER.args)
    assert done.returncode == 0, done.stdout
    assert "admin" in migrated.run("airflow", "users", "list").stdout


def test_the_entry_point_makes_a_user_too(migrated: Container) -> None:
    user = {"_AIRFLOW_WWW_USER_CREATE": "true", "_AIRFLOW_WWW_USER_USERNAME": "ada", "_AIRFLOW_WWW_USER_PASSWORD": "x"}
    done = migrated.run("users", "list", environment=user)
    assert done.returncode == 0, done.stdout
    _, table = done.stdout.split("username")
    assert "ada" in table


@pytest.mark.parametrize(
    "component", [apache_chart.SCHEDULER, apache_chart.DAG_PROCESSOR, apache_chart.TRIGGERER], ids=lambda one: one.name
)
def test_a_component_runs_and_passes_its_probe(
    migrated: Container, tmp_path: Path, component: apache_chart.Container
) -> None:
    log = tmp_path / "log"
    assert component.exec_probe is not None
    assert migrated.exec(*component.exec_probe).returncode != 0
    with migrated.running(*component.args, log=log) as process:
        passes(migrated, component.exec_probe, process, log)


def test_the_api_server_answers_its_probe(migrated: Container, tmp_path: Path) -> None:
    log = tmp_path / "log"
    address = f"http://127.0.0.1:{migrated.environment['AIRFLOW__API__PORT']}{apache_chart.API_SERVER.http_probe}"
    with migrated.running(*apache_chart.API_SERVER.args, log=log) as process:
        wait(log, process, "Application startup complete")
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.status == 200


def test_a_celery_worker_starts_and_lacks_nothing_but_a_broker(migrated: Container, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {
        **apache_chart.WORKER.environment,
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": BROKER,
        "CONNECTION_CHECK_MAX_COUNT": "0",
    }
    with migrated.running(*apache_chart.WORKER.args, log=log, environment=environment) as process:
        wait(log, process, "Cannot connect to redis://")
    assert apache_chart.WORKER.exec_probe is not None
    done = migrated.exec(*apache_chart.WORKER.exec_probe, environment=environment)
    assert done.returncode != 0
    assert "Connection refused" in done.stdout


@pytest.mark.parametrize(
    ("setting", "value", "who"),
    [
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", DATABASE, "the database"),
        ("AIRFLOW__CELERY__BROKER_URL", BROKER, "Celery's broker"),
    ],
)
def test_the_entry_point_has_the_drivers_and_gives_up(migrated: Container, setting: str, value: str, who: str) -> None:
    environment = {"AIRFLOW__CORE__EXECUTOR": "CeleryExecutor", setting: value, "CONNECTION_CHECK_MAX_COUNT": "1"}
    done = migrated.run("airflow", "celery", "worker", environment=environment)
    assert done.returncode == 1
    assert f"{who} did not answer 1 times" in done.stdout
    assert "Connection refused" in done.stdout


def test_a_task_of_the_kubernetes_executor_reads_its_workload(migrated: Container) -> None:
    done = migrated.run(*TASK.args, "no workload", environment={"CONNECTION_CHECK_MAX_COUNT": "0"})
    assert done.returncode != 0
    assert "Invalid JSON" in done.stdout


@pytest.mark.parametrize("user", [f"{USER}:{GROUP}", "1234567:0"])
def test_old_logs_are_removed(migrated: Container, tmp_path: Path, user: str) -> None:
    folder = f"{apache_chart.LOGS_MOUNT}/{user.partition(':')[0]}"
    make = f"mkdir {folder} && touch -d '16 days ago' {folder}/old.log && touch -d '14 days ago' {folder}/young.log"
    assert migrated.exec("sh", "-c", make, user=user).returncode == 0
    command = ("timeout", "--preserve-status", "10", *LOG_GROOMER.args)
    done = migrated.exec(*command, user=user, environment=LOG_GROOMER.environment)
    assert done.returncode == 0, done.stdout
    assert migrated.exec("ls", folder).stdout.split() == ["young.log"]


def test_any_user_of_group_0_writes_for_the_next(migrated: Container) -> None:
    script = (
        f"whoami; touch {apache_chart.AIRFLOW_HOME}/dags/new && stat -c '%a %g' {apache_chart.AIRFLOW_HOME}/dags/new"
    )
    done = migrated.run("bash", "-c", script, user="1234567:0")
    assert done.stdout.splitlines()[-1] == "664 0"
    done = migrated.run("version", user="1234567:0")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("mount", sorted({mount for one in apache_chart.CONTAINERS for mount in one.mounts}))
def test_the_chart_can_mount_on_it(airflow: Container, mount: str) -> None:
    """A file goes over no directory and a directory over no file; what is missing the container runtime makes."""
    kind = "-d" if mount == apache_chart.LOGS_MOUNT else "-f"
    assert airflow.exec("sh", "-c", f"[ ! -e {mount} ] || [ {kind} {mount} ]").returncode == 0


def test_the_provider_is_there(airflow: Container) -> None:
    assert "airflow-provider-skypilot-k8s" in airflow.run("providers", "list").stdout


def test_what_is_installed_fits_together(airflow: Container) -> None:
    done = airflow.run("python", "-m", "pip", "check")
    assert done.returncode == 0, done.stdout
