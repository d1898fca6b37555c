"""The only module that imports ``sky``: it calls SkyPilot in this process, without an API server.

SkyPilot has no official switch for that; what it needs is noted where it is done. A SkyPilot error
becomes an :class:`ActionFailedError` with the exit code of the design, a warning or a spinner does not.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sky
import sqlalchemy.exc
import yaml
from filelock import Timeout as LockTimeout
from sky import core, exceptions, execution, global_user_state, models
from sky.skylet import job_lib
from sky.utils import annotations as sky_annotations
from sky.utils import common, infra_utils, registry, subprocess_utils

from k8s_sky_provider.protocol import ExitCode, JsonValue
from k8s_sky_provider.runner.console import without_terminal_codes
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS_BETWEEN_LOOKS = 10.0
"""How often a job is looked at while its log cannot be followed."""

ATTEMPTS_TO_REACH = 6
"""How often in a row a cluster may be out of reach while one of its jobs is followed."""

EXIT_CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    ((exceptions.KubeAPIUnreachableError, exceptions.ExecutionRetryableError), ExitCode.TRY_AGAIN),
    (
        (
            exceptions.ResourcesUnavailableError,
            exceptions.ProvisionPrechecksError,
            exceptions.ProvisionUnsupportedError,
        ),
        ExitCode.RESOURCES_UNAVAILABLE,
    ),
    (
        (
            exceptions.NoCloudAccessError,
            exceptions.InvalidCloudCredentials,
            exceptions.InvalidCloudConfigs,
            exceptions.CloudUserIdentityError,
            exceptions.ClusterOwnerIdentityMismatchError,
            exceptions.PermissionDeniedError,
        ),
        ExitCode.CREDENTIALS_REFUSED,
    ),
    ((exceptions.InvalidSkyPilotConfigError,), ExitCode.DEPLOYMENT_WRONG),
    (
        (
            exceptions.NetworkError,
            exceptions.FetchClusterInfoError,
            exceptions.ClusterStatusFetchingError,
            exceptions.ClusterNotUpError,
            exceptions.CommandError,
            sqlalchemy.exc.OperationalError,
            LockTimeout,
            ConnectionError,
        ),
        ExitCode.TRY_AGAIN,
    ),
    (
        (
            exceptions.InvalidClusterNameError,
            exceptions.NotSupportedError,
            exceptions.ResourcesMismatchError,
            exceptions.KubernetesValidationError,
            exceptions.StorageSpecError,
            ValueError,
        ),
        ExitCode.REQUEST_WRONG,
    ),
)
"""The first row that an error belongs to decides; one that is in none is an internal error."""


def explain(error: Exception) -> ActionFailedError:
    """Return what a SkyPilot error means for the task."""
    exit_code = next((code for kinds, code in EXIT_CODES if isinstance(error, kinds)), ExitCode.INTERNAL_ERROR)
    name = type(error).__name__
    text = " ".join(without_terminal_codes(str(error)).split()) or name
    return ActionFailedError(exit_code, f"{name}: {text}", name)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ActionFailedError:
        raise
    except Exception as error:
        raise explain(error) from error


class SkyEngine:
    """SkyPilot's functions, as the actions need them; see :class:`k8s_sky_provider.runner.actions.Engine`."""

    def __init__(self) -> None:
        # Otherwise spinners print encoded lines that only SkyPilot's own client understands.
        sky_annotations.is_on_api_server = False
        for handler in logging.getLogger("sky").handlers:
            handler.addFilter(_is_worth_showing)
        # Normally the API server does it; without it core.status() returns no clusters at all.
        global_user_state.add_or_update_user(models.User.get_current_user())

    def load_task(
        self,
        task: str | dict[str, Any],
        *,
        resources: dict[str, Any],
        default_image_id: str | None,
        num_nodes: int | None,
        envs: dict[str, str],
    ) -> sky.Task:
        """Read, check and override a task, given by content or by path."""
        content = _read_task_file(task) if isinstance(task, str) else task
        try:
            loaded = sky.Task.from_yaml_config(
                content, env_overrides=list(envs.items()), secrets_overrides=_secrets_of_the_pod(content)
            )
            loaded.set_resources_override(_resources_override(resources))
            if default_image_id and not any(_has_image(option) for option in loaded.resources):
                loaded.set_resources_override({"image_id": default_image_id})
            if num_nodes is not None:
                loaded.num_nodes = num_nodes
        except Exception as error:
            # Whatever SkyPilot dislikes about a task here, nothing has been started and only the author can mend it.
            raise ActionFailedError(ExitCode.REQUEST_WRONG, explain(error).reason, type(error).__name__) from error
        return loaded

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""
        with _explained():
            return bool(global_user_state.cluster_with_name_exists(cluster_name))

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""
        with _explained():
            return any(row["name"] == cluster_name for row in global_user_state.get_clusters_from_history())

    def launch(
        self,
        task: sky.Task,
        cluster_name: str,
        *,
        idle_minutes_to_autostop: int | None,
        down: bool,
        retry_until_up: bool,
    ) -> int | None:
        """Bring a cluster up and submit the task (``sky.execution.launch``)."""
        return self._submit(
            lambda: execution.launch(
                task,
                cluster_name,
                idle_minutes_to_autostop=idle_minutes_to_autostop,
                down=down,
                retry_until_up=retry_until_up,
            ),
            retry_until_up=retry_until_up,
        )

    def exec(self, task: sky.Task, cluster_name: str) -> int | None:
        """Submit a task to a cluster that is up (``sky.execution.exec``)."""
        return self._submit(lambda: execution.exec(task, cluster_name), retry_until_up=False)

    def _submit(self, submit: Callable[[], tuple[int | None, Any]], *, retry_until_up: bool) -> int | None:
        with _explained():
            while True:
                try:
                    return submit()[0]
                except exceptions.ExecutionRetryableError as error:
                    # The API server would schedule the request again; here it is for us to do.
                    if not retry_until_up:
                        raise
                    print(f"{error}; trying again in {error.retry_wait_seconds} s")
                    time.sleep(error.retry_wait_seconds)

    def follow_job(self, cluster_name: str, job_id: int) -> str:
        """Print a job's output until it ends (``sky.core.tail_logs``), over breaks of the connection."""
        failures = 0
        followed = False
        while True:
            try:
                with _explained():
                    if not followed:
                        core.tail_logs(cluster_name, job_id, follow=True)
                        followed = True
                    status = core.job_status(cluster_name, [job_id]).get(job_id)
                    if status is None:
                        raise ActionFailedError(ExitCode.INTERNAL_ERROR, f"cluster {cluster_name} has no job {job_id}")
                    if status.is_terminal():
                        return str(status.value)
                failures = 0
            except ActionFailedError as failure:
                failures += 1
                if failure.exit_code != ExitCode.TRY_AGAIN or failures == ATTEMPTS_TO_REACH:
                    raise
                print(f"Cluster {cluster_name} is out of reach, looking again: {failure.reason}")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        """Return a job's own exit codes, one for each node; none if the cluster does not tell."""
        with _explained():
            handle = global_user_state.get_handle_from_cluster_name(cluster_name)
            code = job_lib.JobLibCodeGen.get_job_exit_codes(job_id)
            return_code, output, _ = sky.backends.CloudVmRayBackend().run_on_head(handle, code, require_outputs=True)
        return _parse_exit_codes(output) if return_code == 0 else []

    def cancel_job(self, cluster_name: str, job_id: int) -> None:
        """Cancel a job (``sky.core.cancel``)."""
        with _explained():
            core.cancel(cluster_name, job_ids=[job_id])

    def down(self, cluster_name: str, *, purge: bool = False) -> None:
        """Take a cluster down (``sky.core.down``)."""
        with _explained():
            # A launch that was interrupted may still have children at work on this very cluster.
            subprocess_utils.kill_children_processes()
            try:
                core.down(cluster_name, purge=purge)
            except exceptions.ClusterDoesNotExist:
                print(f"Cluster {cluster_name} is gone already")

    def stop(self, cluster_name: str) -> None:
        """Stop a cluster (``sky.core.stop``)."""
        with _explained():
            core.stop(cluster_name)

    def status(self, cluster_names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        """List clusters (``sky.core.status``)."""
        mode = common.StatusRefreshMode.FORCE if refresh else common.StatusRefreshMode.NONE
        with _explained():
            rows = core.status(cluster_names, refresh=mode, include_handle=False)
        return [
            {
                "name": row.name,
                "status": row.status.value,
                "nodes": row.nodes,
                "resources": row.resources_str,
                "launched_at": row.launched_at,
                "autostop": row.autostop,
                "to_down": row.to_down,
            }
            for row in rows
        ]


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Drop what Kubernetes before 1.24 answers to a deletion of many services; SkyPilot then deletes one by one."""
    return "MethodNotAllowed" not in record.getMessage()


def _read_task_file(path: str) -> dict[str, Any]:
    file = Path(path).expanduser()
    try:
        documents = list(yaml.safe_load_all(file.read_text()))
    except FileNotFoundError as error:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"sky_task_yaml: {path!r} does not exist on the volume; write it there, or ship it beside the DAG file",
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"sky_task_yaml: {path!r} cannot be read: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"sky_task_yaml: {path!r} must be one YAML mapping; it has {len(documents)} documents",
        )
    return documents[0]


def _resources_override(resources: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Resources.copy``, which knows a cloud as an object and no ``infra``."""
    override = dict(resources)
    infra = override.pop("infra", None)
    if infra is not None:
        where = infra_utils.InfraInfo.from_str(infra)
        override["cloud"] = registry.CLOUD_REGISTRY.from_str(where.cloud)
        override["region"], override["zone"] = where.region, where.zone
    return override


def _secrets_of_the_pod(task: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the values of the secrets that the task only names, from the pod's environment."""
    secrets = task.get("secrets") or []
    names = [name for name, value in secrets.items() if value is None] if isinstance(secrets, dict) else secrets
    return [(str(name), os.environ[str(name)]) for name in names if str(name) in os.environ]


def _has_image(resources: sky.Resources) -> bool:
    return bool(resources.image_id or resources.extract_docker_image())


def _parse_exit_codes(output: str) -> list[int]:
    """Read the last line of the cluster's answer: a Python list, or a dict by node."""
    try:
        codes = ast.literal_eval(output.strip().splitlines()[-1])
    except (ValueError, SyntaxError, IndexError):
        return []
    return [int(code) for code in (codes.values() if isinstance(codes, dict) else codes or [])]
