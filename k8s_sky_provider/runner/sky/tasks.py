"""Task YAMLs (``sky.Task``)."""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sky
from sky import skypilot_config
from sky.utils import infra_utils, registry

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import env_file, state, yaml_file
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.caller import Group
from k8s_sky_provider.runner.sky.errors import explain

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable

    from k8s_sky_provider.protocol import TaskOverrides

_WHERE = ("infra", "cloud", "region", "zone", "instance_type")


class Tasks(Group):
    """Task YAMLs."""

    _configured: contextlib.AbstractContextManager[None]

    def load_task(
        self, task: str | dict[str, Any], overrides: TaskOverrides, mask: Callable[[Iterable[str]], None]
    ) -> sky.Task:
        """Read, check and override a task, given by content or by path.

        From here on the process is in the directory that the task's relative paths start from, and has the
        configuration of ``overrides``: it serves this one task.

        :param mask: is told the values of the task's secrets before anything is done with them
        """
        given = _read_task_file(task) if isinstance(task, str) else task
        # SkyPilot fails of an empty `envs:`.
        content = {key: value for key, value in given.items() if value is not None}
        secrets = [
            *env_file.read("secret_file", overrides.secret_file),
            *_secrets_of_the_pod(content, overrides.secrets),
        ]
        mask([*(value for _, value in secrets), *_inline_secrets(content), *_userinfo(content)])
        try:
            os.chdir(Path(task).expanduser().parent if isinstance(task, str) else _work_directory())
            # Kept, because the configuration is the old one again when this is no more.
            self._configured = skypilot_config.override_skypilot_config(overrides.config)
            self._configured.__enter__()
            loaded = sky.Task.from_yaml_config(
                _with_default_resources(content, overrides),
                env_overrides=[*env_file.read("env_file", overrides.env_file), *overrides.envs.items()],
                secrets_overrides=secrets,
            )
            loaded.set_resources_override(_resources_override(overrides.resources))
            if overrides.num_nodes is not None:
                loaded.num_nodes = overrides.num_nodes
            if overrides.job_name is not None:
                loaded.name = overrides.job_name
            if overrides.job_suffix is not None:
                loaded.name = f"{loaded.name or 'task'}-{overrides.job_suffix}"
            if overrides.workdir is not None:
                loaded.workdir = overrides.workdir
            loaded.update_envs_and_secrets_from_workdir()
            if overrides.file_mounts:
                loaded.update_file_mounts(overrides.file_mounts)
        except ActionFailedError:
            raise
        except Exception as error:
            failure = explain(error)
            if failure.exit_code is ExitCode.TRY_AGAIN:
                raise failure from error
            # Whatever else SkyPilot dislikes about a task, nothing has been started and only the author can mend it.
            raise ActionFailedError(ExitCode.REQUEST_WRONG, failure.reason, failure.error) from error
        return loaded

    def keep_autostop(self, task: sky.Task) -> None:
        """Take out of a task what it says of autostop, so that a cluster keeps the one that it has."""
        task.set_resources_override({"autostop": None})


def _work_directory() -> Path:
    directory = Path.home() / "sky_workdir"
    directory.mkdir(exist_ok=True)
    return directory


def _read_task_file(path: str) -> dict[str, Any]:
    documents = yaml_file.read("sky_task_yaml", path)
    if len(documents) > 1:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"sky_task_yaml: {path!r} has {len(documents)} YAML documents, a pipeline of tasks or a job group: "
            "SkyJobLaunchOperator takes those",
        )
    if not documents or not isinstance(documents[0], dict):
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"sky_task_yaml: {path!r} must be one YAML mapping")
    return documents[0]


def _with_default_resources(content: dict[str, Any], overrides: TaskOverrides) -> dict[str, Any]:
    """Return the task with the defaults where it says nothing."""
    resources = content.get("resources") or {}
    said = {**resources, **overrides.resources}
    for option in [*(resources.get("any_of") or []), *(resources.get("ordered") or [])]:
        said.update(option)
    # What says where in one way leaves no room for a default that says it in another.
    taken = {*said, *(_WHERE if said.keys() & set(_WHERE) else ())}
    defaults = {name: value for name, value in overrides.default_resources.items() if name not in taken}
    return {**content, "resources": {**defaults, **resources}} if defaults else content


def _resources_override(resources: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Resources.copy``, which knows a cloud as an object and no ``infra``."""
    override = dict(resources)
    infra = override.pop("infra", None)
    if infra is not None:
        where = infra_utils.InfraInfo.from_str(infra)
        override["cloud"] = registry.CLOUD_REGISTRY.from_str(where.cloud)
        override["region"], override["zone"] = where.region, where.zone
    return override


def _secrets_of_the_pod(task: dict[str, Any], more: list[str]) -> list[tuple[str, str]]:
    """Return the values of the secrets that are only named, from the Secrets that are the pod's environment.

    No other variable of the pod is given: a task would get at SkyPilot's state with some.

    :raises ActionFailedError: if there is no value for one that the operator names
    """
    secrets = task.get("secrets") or []
    names = [name for name, value in secrets.items() if value is None] if isinstance(secrets, dict) else secrets
    known = state.names_for_jobs() & os.environ.keys()
    missing = [name for name in more if name not in known]
    if missing:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"job_secrets: {', '.join(missing)} is not a key of a Kubernetes Secret that the pod has in its "
            'environment: give that Secret with credentials=[{"secret": ..., "env": True}]',
        )
    return [(str(name), os.environ[str(name)]) for name in [*names, *more] if str(name) in known]


def _userinfo(task: dict[str, Any]) -> list[str]:
    """Return the name and the password in the URL of a task's repository: SkyPilot says it when it has no access."""
    workdir = task.get("workdir")
    url = str(workdir.get("url")) if isinstance(workdir, dict) else ""
    userinfo = urllib.parse.urlsplit(url).netloc.rpartition("@")[0]
    return [userinfo, *userinfo.split(":")[1:]] if url.startswith("http") else []


def _inline_secrets(task: dict[str, Any]) -> list[str]:
    """Return the values of secrets that stand in the task itself: one on the volume may have them."""
    secrets = task.get("secrets")
    return [str(value) for value in secrets.values() if value is not None] if isinstance(secrets, dict) else []
