"""The Airflow image: its entry point, its cleaning of logs, what it asks of its base, and what Apache's chart calls."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from apache_chart import AIRFLOW_HOME, CONTAINERS, GROUP, TASK, USER

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGE = REPOSITORY / "images" / "airflow"
DOCKERFILE = (IMAGE / "Dockerfile").read_text()

# Say which program ran with which arguments, instead of running it.
RECORDER = '#!/bin/sh\necho "$(basename "$0") $* umask=$(umask) HOME=$HOME USER=${USER:-}"\n'
AIRFLOW = """#!/bin/sh
if [ "$1 $2" = "db check" ]; then
  echo asked >> "$CALLS"
  [ "$(wc -l < "$CALLS")" -gt "${REFUSALS:-0}" ] || { echo "no such host" >&2; exit 1; }
elif [ "$1 $2" = "users create" ]; then
  shift 2
  echo "users create $*, then: $(paste -sd' ')"
else
  echo "airflow $*"
fi
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Give a directory of programs for an entry point that runs as the image's user."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("bash", "python"):
        write(directory / name, RECORDER)
    write(directory / "airflow", AIRFLOW)
    write(directory / "whoami", "#!/bin/sh\necho airflow\n")
    write(directory / "id", "#!/bin/sh\ncase $1 in -u) echo 50000 ;; -g) echo 0 ;; esac\n")
    return directory


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def entrypoint(programs: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", IMAGE / "entrypoint", *arguments],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": "/home/airflow",
            "CALLS": str(programs / "calls"),
            "CONNECTION_CHECK_SLEEP_TIME": "0",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        (["bash", "-c", "exec airflow scheduler"], "bash -c exec airflow scheduler"),
        (["python", "-m", "airflow"], "python -m airflow"),
        (["airflow", "db", "migrate"], "airflow db migrate"),
        (["api-server", "--port", "8080"], "airflow api-server --port 8080"),
        (["airflow"], "airflow"),
        ([], "airflow"),
    ],
)
def test_programs_run_and_all_else_is_a_subcommand_of_airflow(programs: Path, arguments: list[str], ran: str) -> None:
    done = entrypoint(programs, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" umask=")[0].strip() == ran


def test_it_waits_for_the_database_first(programs: Path) -> None:
    assert entrypoint(programs, "bash", REFUSALS="3").returncode == 0
    assert (programs / "calls").read_text().count("asked") == 4


def test_it_says_what_the_database_said_when_it_gives_up(programs: Path) -> None:
    done = entrypoint(programs, "bash", REFUSALS="3", CONNECTION_CHECK_MAX_COUNT="2")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the database did not answer 2 times (CONNECTION_CHECK_MAX_COUNT)" in done.stderr
    assert "no such host" in done.stderr


def test_it_asks_nobody_when_told_so(programs: Path) -> None:
    for command in ("bash", "scheduler", "celery"):
        assert entrypoint(programs, command, REFUSALS="9", CONNECTION_CHECK_MAX_COUNT="0").returncode == 0
    assert not (programs / "calls").exists()


@pytest.mark.parametrize("command", ["scheduler", "celery"])
def test_what_needs_celerys_broker_waits_for_it(programs: Path, command: str) -> None:
    write(programs / "python", "#!/bin/sh\necho 'Connection refused'\nexit 1\n")
    done = entrypoint(programs, "airflow", command, CONNECTION_CHECK_MAX_COUNT="1")
    assert done.returncode == 1
    assert "Celery's broker did not answer" in done.stderr
    assert "Connection refused" in done.stderr
    assert entrypoint(programs, "airflow", "triggerer", CONNECTION_CHECK_MAX_COUNT="1").returncode == 0


def test_tables_and_a_user_on_request(programs: Path) -> None:
    user = {"_AIRFLOW_WWW_USER_USERNAME": "ada", "_AIRFLOW_WWW_USER_PASSWORD": "a b"}
    done = entrypoint(programs, "version", _AIRFLOW_DB_MIGRATE="true", _AIRFLOW_WWW_USER_CREATE="true", **user)
    assert done.returncode == 0, done.stderr
    migrate, create, version = done.stdout.splitlines()
    assert (migrate, version) == ("airflow db migrate", "airflow version")
    assert create == (
        "users create --username ada --firstname Airflow --lastname Admin --email airflowadmin@example.com"
        " --role Admin, then: a b a b"
    )


def test_the_password_can_be_what_a_command_prints(programs: Path) -> None:
    command = {"_AIRFLOW_WWW_USER_PASSWORD_CMD": "printf %s secret"}
    done = entrypoint(programs, "version", _AIRFLOW_WWW_USER_CREATE="true", **command)
    assert "then: secret secret" in done.stdout


def test_a_user_without_a_password_is_refused(programs: Path) -> None:
    done = entrypoint(programs, "version", _AIRFLOW_WWW_USER_CREATE="true")
    assert done.returncode == 1
    assert "set _AIRFLOW_WWW_USER_PASSWORD or _AIRFLOW_WWW_USER_PASSWORD_CMD" in done.stderr


def test_files_are_made_writable_for_the_group(programs: Path) -> None:
    assert " umask=0002 " in entrypoint(programs, "bash").stdout


def test_any_user_of_group_0_has_a_name_and_a_home(programs: Path) -> None:
    write(programs / "whoami", "#!/bin/sh\nexit 1\n")
    write(programs / "id", "#!/bin/sh\ncase $1 in -u) echo 1234567 ;; -g) echo 0 ;; esac\n")
    assert "HOME=/home/airflow USER=airflow" in entrypoint(programs, "bash", HOME="/").stdout


def test_any_user_of_another_group_is_refused(programs: Path) -> None:
    write(programs / "id", "#!/bin/sh\ncase $1 in -u) echo 1234567 ;; -g) echo 1000 ;; esac\n")
    done = entrypoint(programs, "bash")
    assert done.returncode == 1
    assert "user 1234567 is of group 1000" in done.stderr
    assert "runAsGroup: 0" in done.stderr


def log(directory: Path, name: str, *, minutes: float, size: int = 1) -> Path:
    path = directory / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    made = time.time() - minutes * 60
    os.utime(path, (made, made))
    return path


def clean_logs(directory: Path, **environment: str) -> str:
    """Let it clean once, and end it as Kubernetes does."""
    process = subprocess.Popen(
        ["/bin/bash", IMAGE / "clean-logs"],
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(directory), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        resting = [Path(f"/proc/{child}/comm") for child in children.read_text().split()]
        if any(path.read_text().strip() == "sleep" for path in resting if path.exists()):
            break
        time.sleep(0.05)
    process.terminate()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    return output


def test_logs_older_than_the_days_go(tmp_path: Path) -> None:
    old = log(tmp_path, "dag_id=a/old.log", minutes=2 * 24 * 60 + 1)
    young = log(tmp_path, "dag_id=a/young.log", minutes=2 * 24 * 60 - 1)
    other = log(tmp_path, "dag_id=a/notes.txt", minutes=99 * 24 * 60)
    lost = log(tmp_path, "lost+found/old.log", minutes=99 * 24 * 60)
    clean_logs(tmp_path, AIRFLOW__LOG_RETENTION_DAYS="2")
    assert [path.exists() for path in (old, young, other, lost)] == [False, True, True, True]


def test_minutes_come_before_days(tmp_path: Path) -> None:
    old, young = log(tmp_path, "old.log", minutes=7), log(tmp_path, "young.log", minutes=3)
    clean_logs(tmp_path, AIRFLOW__LOG_RETENTION_DAYS="2", AIRFLOW__LOG_RETENTION_MINUTES="5")
    assert not old.exists()
    assert young.exists()


def test_the_oldest_go_while_there_is_too_much(tmp_path: Path) -> None:
    logs = [log(tmp_path, f"a file {age}.log", minutes=age, size=100) for age in (1, 2, 3, 4)]
    clean_logs(tmp_path, AIRFLOW__LOG_MAX_SIZE_BYTES="250")
    assert [path.exists() for path in logs] == [True, True, False, False]


def test_without_logs_it_goes_on(tmp_path: Path) -> None:
    assert "trying again in 15 minutes" in clean_logs(tmp_path)


def package(directory: Path, name: str, version: str, *requirements: str) -> None:
    metadata = directory / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requirements)]
    metadata.write_text("Metadata-Version: 2.4\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("base", "error"),
    [
        ({"apache-airflow": "3.0.0", "cncf": "10.20.0rc1"}, "cncf>=10.20.0 is needed, it has 10.20.0rc1"),
        ({"apache-airflow": "3.0.0", "cncf": "10.4.0"}, "cncf>=10.20.0 is needed, it has 10.4.0"),
        ({"apache-airflow": "3.0.0"}, 'RUN pip install "cncf>=10.20.0"'),
        ({"apache-airflow": "3.1.0rc1", "cncf": "10.20.0"}, None),
    ],
)
def test_a_base_that_is_too_old_is_named_with_the_way_out(
    tmp_path: Path, base: dict[str, str], error: str | None
) -> None:
    package(tmp_path, "airflow-provider-skypilot-k8s", "1", "apache-airflow>=2.11", "cncf>=10.20.0")
    for name, version in base.items():
        package(tmp_path, name, version)
    # the real package and its requirements come after the directory of this test
    done = subprocess.run(
        [sys.executable, IMAGE / "check_requirements.py"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, error is None) in {(0, True), (1, False)}, done.stderr
    assert (error or "") in done.stderr


def test_its_user_and_its_entry_point_are_those_of_apaches_chart() -> None:
    assert f"\nUSER {USER}:{GROUP}\n" in DOCKERFILE
    assert f"useradd --uid {USER} --gid {GROUP} " in DOCKERFILE
    assert f"AIRFLOW_HOME={AIRFLOW_HOME} " in DOCKERFILE
    assert DOCKERFILE.rstrip().endswith('ENTRYPOINT ["/usr/bin/dumb-init", "--", "/entrypoint"]')


def test_the_files_that_the_chart_calls_are_made_where_it_calls_them() -> None:
    called = {
        path
        for container in CONTAINERS
        for argument in (*container.args, *(container.exec_probe or ()))
        for path in re.findall(r"(?:^|\s)/([a-z-]+)(?=\s|$)", argument)
    }
    assert called == {"entrypoint", "clean-logs"}
    for name in called:
        assert (IMAGE / name).stat().st_mode & 0o111
        assert f"/opt/k8s-sky/{name}" in DOCKERFILE


def test_a_tasks_pod_runs_what_the_executor_sets() -> None:
    workload = PodGenerator.__module__
    source = Path(sys.modules[workload].__file__ or "").read_text()
    assert all(f'"{argument}"' in source for argument in TASK.args)


def test_its_base_has_the_airflow_of_the_lock() -> None:
    (tag,) = re.findall(
        r"^ARG AIRFLOW_BASE_IMAGE=docker.io/apache/airflow:(\S+)-python3\.11$", DOCKERFILE, re.MULTILINE
    )
    assert f"\napache-airflow[statsd]=={tag}\n" in (REPOSITORY / "requirements" / "airflow-3.3.in").read_text()


@pytest.mark.parametrize("minor", ["2.11", "3.1", "3.3"])
@pytest.mark.parametrize("package_name", ["apache-airflow-providers-fab", "apache-airflow-providers-celery", "statsd"])
def test_a_base_without_airflow_gets_what_the_chart_configures(package_name: str, minor: str) -> None:
    assert f"\n{package_name}==" in (REPOSITORY / "requirements" / f"airflow-{minor}.txt").read_text()
