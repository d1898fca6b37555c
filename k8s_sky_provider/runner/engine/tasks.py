"""Task YAMLs (``sky.Task``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sky
import yaml
from sky.utils import infra_utils, registry

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.engine.errors import explain
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import TaskOverrides


class SkyTasks:
    """See :class:`k8s_sky_provider.runner.engine_interface.Tasks`."""

    def load_task(self, task: str | dict[str, Any], overrides: TaskOverrides) -> sky.Task:
        """Read, check and override a task, given by content or by path."""
        content = _read_task_file(task) if isinstance(task, str) else task
        try:
            loaded = sky.Task.from_yaml_config(
                content,
                env_overrides=list(overrides.envs.items()),
                secrets_overrides=_secrets_of_the_pod(content),
            )
            loaded.set_resources_override(_resources_override(overrides.resources))
            if overrides.default_image_id and not any(_has_image(option) for option in loaded.resources):
                loaded.set_resources_override({"image_id": overrides.default_image_id})
            if overrides.num_nodes is not None:
                loaded.num_nodes = overrides.num_nodes
        except Exception as error:
            # Whatever SkyPilot dislikes about a task here, nothing has been started and only the author can mend it.
            raise ActionFailedError(ExitCode.REQUEST_WRONG, explain(error).reason, type(error).__name__) from error
        return loaded


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
