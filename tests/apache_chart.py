"""What Apache's chart has its pods run in the Airflow image: chart 1.22.0, its default values, airflowVersion 3.3.2.

Written down by hand from its templates and values, with executor CeleryExecutor (its default) and KubernetesExecutor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CELERY, KUBERNETES = "CeleryExecutor", "KubernetesExecutor"

# The pod's securityContext is {runAsUser: 50000, fsGroup: 0}; the group is what the image says of the user.
USER, GROUP = 50000, 0
AIRFLOW_HOME = "/opt/airflow"

# The sections of its airflow.cfg that ask something of the image.
CONFIGURATION = {
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    "AIRFLOW__METRICS__STATSD_ON": "True",
    "AIRFLOW__METRICS__STATSD_PORT": "9125",
    "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
}
# Its PostgreSQL and its Redis, by addresses where nobody answers. Celery's results go to the same database.
DATABASE = "postgresql://postgres:postgres@localhost:1/postgres?sslmode=disable"
BROKER = "redis://:password@localhost:1/0"

CONFIG_MOUNT = f"{AIRFLOW_HOME}/airflow.cfg"
LOGS_MOUNT = f"{AIRFLOW_HOME}/logs"
POD_TEMPLATE_MOUNT = f"{AIRFLOW_HOME}/pod_templates/pod_template_file.yaml"


def check(command: str) -> tuple[str, ...]:
    """Give the command of a probe, which goes past the image's entry point and so names it."""
    return "sh", "-c", command


def jobs_check(arguments: str) -> tuple[str, ...]:
    return check(
        "CONNECTION_CHECK_MAX_COUNT=0 AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR exec /entrypoint \\\n"
        f"airflow jobs check {arguments}\n"
    )


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container of the chart: none sets a command, so that its arguments go to the image's entry point."""

    name: str
    args: tuple[str, ...]
    executors: tuple[str, ...] = (CELERY, KUBERNETES)
    environment: dict[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = (CONFIG_MOUNT, LOGS_MOUNT)
    exec_probe: tuple[str, ...] | None = None
    http_probe: str | None = None


WAIT_FOR_MIGRATIONS = Container(
    name="wait-for-airflow-migrations", args=("airflow", "db", "check-migrations", "--migration-wait-timeout=60")
)
MIGRATE = Container(
    name="run-airflow-migrations", args=("bash", "-c", "exec \\\nairflow db migrate"), mounts=(CONFIG_MOUNT,)
)
CREATE_USER = Container(
    name="create-user",
    args=(
        *("bash", "-c", 'exec \\\nairflow users create "$@"', "--"),
        *("-r", "Admin", "-u", "admin", "-e", "admin@example.com", "-f", "admin", "-l", "user", "-p", "admin"),
    ),
    mounts=(CONFIG_MOUNT,),
)
API_SERVER = Container(
    name="api-server",
    args=("bash", "-c", "exec airflow api-server"),
    mounts=(CONFIG_MOUNT,),
    http_probe="/api/v2/monitor/health",
)
SCHEDULER = Container(
    name="scheduler",
    args=("bash", "-c", "exec airflow scheduler"),
    mounts=(CONFIG_MOUNT, LOGS_MOUNT, POD_TEMPLATE_MOUNT),
    exec_probe=jobs_check("--job-type SchedulerJob --local"),
)
DAG_PROCESSOR = Container(
    name="dag-processor",
    args=("bash", "-c", "exec airflow dag-processor"),
    exec_probe=jobs_check("--local --job-type DagProcessorJob"),
)
TRIGGERER = Container(
    name="triggerer",
    args=("bash", "-c", "exec airflow triggerer"),
    exec_probe=jobs_check("--job-type TriggererJob --local"),
)
WORKER = Container(
    name="worker",
    args=("bash", "-c", "exec \\\nairflow celery worker"),
    executors=(CELERY,),
    environment={"DUMB_INIT_SETSID": "0"},
    exec_probe=check(
        "CONNECTION_CHECK_MAX_COUNT=0 exec /entrypoint python -m celery --app "
        "airflow.providers.celery.executors.celery_executor.app inspect ping -d celery@$(hostname)"
    ),
)
LOG_GROOMER = Container(
    name="log-groomer",
    args=("bash", "/clean-logs"),
    environment={
        "AIRFLOW_HOME": AIRFLOW_HOME,
        "AIRFLOW__LOG_RETENTION_DAYS": "15",
        "AIRFLOW__LOG_CLEANUP_FREQUENCY_MINUTES": "15",
    },
    mounts=(LOGS_MOUNT,),
)
# The pod template has no arguments: the executor sets these, and the workload behind them.
TASK = Container(
    name="base",
    args=("python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string"),
    executors=(KUBERNETES,),
)

CONTAINERS = (
    WAIT_FOR_MIGRATIONS,
    MIGRATE,
    CREATE_USER,
    API_SERVER,
    SCHEDULER,
    DAG_PROCESSOR,
    TRIGGERER,
    WORKER,
    LOG_GROOMER,
    TASK,
)
