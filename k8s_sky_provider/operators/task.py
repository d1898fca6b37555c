"""Finds a task, reads it and checks it before a pod exists.

The check knows SkyPilot's keys and their outer types, so that a typing error fails at once. What lies
deeper, and a task that only exists on the volume, is checked by SkyPilot itself in the pod.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml
from airflow.providers.common.compat.sdk import XComArg

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.local_files import LocalFiles
from k8s_sky_provider.protocol import REQUEST_LIMIT, YAML_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

TO_BE_RENDERED = re.compile(r"{[{%]")
"""A template that Jinja has yet to render."""

_DOCKER_PASSWORD = "SKYPILOT_DOCKER_PASSWORD"  # noqa: S105  # its name
_NUMBER_OR_TEXT = (int, float, str)
_ANY = (object,)

TASK_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "workdir": (str, dict),
    "event_callback": (str,),
    "num_nodes": (int,),
    "resources": (dict,),
    "file_mounts": (dict,),
    "service": (dict,),
    "pool": (dict,),
    "setup": (str,),
    "run": (str,),
    "envs": (dict,),
    "secrets": (dict, list),
    "managed_secrets": (list,),
    "inputs": (dict,),
    "outputs": (dict,),
    "file_mounts_mapping": (dict,),
    "config": (dict,),
    "volumes": (dict,),
    "volume_mounts": (list,),
    "api_server_access": (bool,),
}
"""The keys of a SkyPilot 0.14 task and the types each may have."""

RESOURCES_KEYS: dict[str, tuple[type, ...]] = {
    "cloud": (str,),
    "region": (str,),
    "zone": (str,),
    "infra": (str,),
    "cpus": _NUMBER_OR_TEXT,
    "memory": _NUMBER_OR_TEXT,
    "instance_type": (str,),
    "use_spot": (bool,),
    "job_recovery": (str, dict),
    "volumes": (list,),
    "disk_size": (int, str),
    "ephemeral_storage": (int, str),
    "disk_tier": (str,),
    "network_tier": (str,),
    "local_disk": (str,),
    "max_hourly_cost": (int, float),
    "ports": (int, str, list),
    "labels": (dict,),
    "accelerator_args": (dict,),
    "image_id": (str, dict),
    "autostop": (bool, int, str, dict),
    "priority": (int,),
    "priority_class": (str,),
    "accelerators": (str, dict, list),
    "any_of": (list,),
    "ordered": (list,),
}
"""The keys of ``resources`` in a SkyPilot 0.14 task."""


def read_task(task: object, dag_folder: Path | None, bundle_root: Path | None = None) -> str | dict[str, Any]:
    """Return a task as the request carries it: its content, or the path where the pod finds it.

    :param task: the content; or a path beside the DAG file (``tasks/train.yaml``, or an absolute path
        in the DAG bundle), which is read here; or a path on the volume (``~/sky_workdir/train.yaml``)
    :param dag_folder: the folder of the DAG file
    :param bundle_root: the root of the DAG bundle; by default that folder
    :return: the checked content, or the path on the volume
    :raises SkyRequestError: if it is neither a path nor a mapping, if a file beside the DAG is missing or
        is no YAML mapping, or if a key is wrong
    """
    if isinstance(task, Mapping):
        return check_task(task, "sky_task_yaml")
    documents = read_documents(task, "sky_task_yaml", dag_folder, bundle_root)
    if isinstance(documents, str):
        return documents
    if len(documents) > 1:
        raise SkyRequestError(
            f"sky_task_yaml: {task!r} has {len(documents)} YAML documents, a pipeline of tasks or a job group: "
            "SkyJobLaunchOperator takes those"
        )
    return check_task(documents[0] if documents else None, str(task))


def read_documents(
    source: object, field: str, dag_folder: Path | None, bundle_root: Path | None = None
) -> str | list[Any]:
    """Return the YAML documents of a file beside the DAG file, or the path where the pod finds the file.

    :param field: the operator's argument
    :param bundle_root: the root of the DAG bundle, below which absolute paths are read too; by default that folder
    :raises SkyRequestError: if it is no path or leaves the DAG bundle, or the file is missing or no YAML
    """
    if not isinstance(source, str):
        raise SkyRequestError(f"{field}: must be a path or a mapping, not {_type_name(source)}")
    path = None
    if not source.startswith("~"):
        path = LocalFiles(folder=dag_folder, root=bundle_root).in_bundle(field, source)
    if path is None:
        return source
    try:
        with path.open() as file:
            text = file.read(YAML_LIMIT + 1)
        if len(text) > YAML_LIMIT:
            raise SkyRequestError(
                f"{field}: {str(path)!r} is {path.stat().st_size} bytes long, and a YAML file may have {YAML_LIMIT} "
                "characters: ship what is long as a file of its own (file_mounts, workdir)"
            )
        documents = list(yaml.safe_load_all(text))
        size = _size(documents, {})
    except FileNotFoundError as error:
        raise SkyRequestError(
            f"{field}: {str(path)!r} does not exist beside the DAG file. "
            "Ship it with the DAGs, or give a path on the volume such as '~/sky_workdir/task.yaml'"
        ) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # PyYAML leaves a date such as 2026-13-45, or too many brackets, to what it builds on.
        raise SkyRequestError(f"{field}: {str(path)!r} cannot be read: {error}") from error
    if size > REQUEST_LIMIT:
        raise SkyRequestError(
            f"{field}: {str(path)!r} has more than {REQUEST_LIMIT} characters when its aliases are written out, which "
            "no pod's argument can have: put it on the volume and give its path there"
        )
    return documents


def _size(value: object, sizes: dict[int, int]) -> int:
    """Return about how long a value is as text; what aliases stand for is counted each time and looked at once."""
    if not isinstance(value, (dict, list)):
        return len(value) if isinstance(value, str) else 1
    if id(value) not in sizes:
        # One that has itself in it is refused later.
        sizes[id(value)] = 0
        items = value if isinstance(value, list) else [*value.keys(), *value.values()]
        sizes[id(value)] = 1 + sum(_size(item, sizes) for item in items)
    return sizes[id(value)]


def check_task(task: object, source: str) -> dict[str, Any]:
    """Return the task as a plain dict. A value that is still to be rendered or comes from another task passes.

    :param source: named in the errors: the file or the argument the task came from
    :raises SkyRequestError: if it is no mapping, has an unknown key, or a value of a wrong type
    """
    checked = _check_keys(task, source, "", TASK_KEYS)
    check_has_no_secret(checked, source)
    if isinstance(checked.get("envs"), Mapping):
        # As SkyPilot does; YAML reads 2026-01-01 as a date, which JSON does not know.
        checked["envs"] = {
            str(name): value if value is None or isinstance(value, XComArg) else str(value)
            for name, value in checked["envs"].items()
        }
    for key, value in checked.items():
        try:
            json.dumps(value, default=_to_be_known)
        except (TypeError, ValueError, RecursionError) as error:
            raise SkyRequestError(f"{source}: {key} has a value that cannot be sent to the pod: {error}") from error
    resources = checked.get("resources")
    if isinstance(resources, Mapping):
        _check_keys(resources, source, "resources.", RESOURCES_KEYS)
    return checked


def _check_keys(data: object, source: str, prefix: str, keys: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    place = prefix.rstrip(".") or "the task"
    if not isinstance(data, Mapping):
        raise SkyRequestError(f"{source}: {place} must be a mapping, not {_type_name(data)}")
    for key, value in data.items():
        if key not in keys and not str(key).startswith("_"):
            close = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys are: {', '.join(keys)}"
            raise SkyRequestError(f"{source}: {prefix}{key} is not a key of a SkyPilot task; {hint}")
        if value is not None and not _is_of(value, keys.get(key, _ANY)):
            wanted = " or ".join(kind.__name__ for kind in keys[key])
            raise SkyRequestError(
                f"{source}: {prefix}{key} must be of type {wanted}, not {_type_name(value)} ({value!r})"
            )
    return dict(data)


def _to_be_known(value: object) -> str:
    if isinstance(value, XComArg):
        return ""
    raise TypeError(f"{value!r} is of type {_type_name(value)}")


def check_has_no_secret(task: Mapping[str, Any], source: str) -> None:
    """Refuse the value of a secret: with the task it would stand in the pod's arguments for all to read.

    :raises SkyRequestError: if a task, or the header of a job group, has one
    """
    _check_secrets(task.get("secrets"), source)
    envs, workdir = task.get("envs"), task.get("workdir")
    check_no_password(f"{source}: envs", envs)
    if isinstance(workdir, Mapping):
        check_git_url(f"{source}: workdir.url", workdir.get("url"))


def check_no_password(field: str, envs: object) -> None:
    """Check that the password of SkyPilot's login to an image registry is not among environment variables.

    :raises SkyRequestError: if it is
    """
    if isinstance(envs, Mapping) and envs.get(_DOCKER_PASSWORD) is not None:
        raise SkyRequestError(
            f"{field}: {_DOCKER_PASSWORD} is a secret: name it as one, together with SKYPILOT_DOCKER_USERNAME and "
            "SKYPILOT_DOCKER_SERVER (job_secrets), and give the Kubernetes Secret that has the three as keys: "
            'credentials=[{"secret": ..., "env": True}]'
        )


def check_git_url(field: str, url: object) -> None:
    """Check that the URL of a repository has no password in it.

    :raises SkyRequestError: if it has
    """
    userinfo = re.match(r"(\w+)://([^/?#]*)@", url) if isinstance(url, str) else None
    if userinfo and (userinfo[1].startswith("http") or ":" in userinfo[2]):
        raise SkyRequestError(
            f"{field}: has a name or a password in it, which everybody who may read pods could read. Leave it out, and "
            "give the token as key GIT_TOKEN of a Kubernetes Secret, which SkyPilot takes: "
            'credentials=[{"secret": ..., "env": True}]'
        )


def _check_secrets(secrets: object, source: str) -> None:
    for name, value in secrets.items() if isinstance(secrets, Mapping) else ():
        if value is not None:
            raise SkyRequestError(
                f"{source}: secrets.{name} has its value in the task. Give the name alone (secrets: [{name}]) and the "
                f'value as key {name} of a Kubernetes Secret: credentials=[{{"secret": ..., "env": True}}]'
            )


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, XComArg) or (isinstance(value, str) and TO_BE_RENDERED.search(value)):
        return True
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    return isinstance(value, kinds)


def _type_name(value: object) -> str:
    return "empty" if value is None else type(value).__name__
