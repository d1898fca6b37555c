"""Finds a task, reads it and checks it before a pod exists.

The check knows SkyPilot's keys with their types, and the numbers and flags below them, so that a typing error fails
at once and what Jinja has rendered has its type. All else, and a task that only exists on the volume, is checked by
SkyPilot itself in the pod.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.local_files import LocalFiles
from k8s_sky_provider.protocol import REQUEST_LIMIT, YAML_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Task = dict[str, Any] | list[dict[str, Any]]
"""A task, or the tasks of a pipeline or job group."""

Kinds = tuple[Any, ...]
"""Types that a value may have; a mapping with those of its keys stands for dict, a list of one for a list of them."""

_DOCKER_PASSWORD = "SKYPILOT_DOCKER_PASSWORD"  # noqa: S105  # its name
_NUMBER = (int, float)
_NUMBER_OR_TEXT = (int, float, str)
_REST: dict[str, Kinds] = {"*": (object,)}
"""Other keys, which SkyPilot checks."""


def _numbers(*keys: str) -> dict[str, Kinds]:
    return dict.fromkeys(keys, _NUMBER)


def _whole_numbers(*keys: str) -> dict[str, Kinds]:
    return dict.fromkeys(keys, (int,))


_POOL: dict[str, Kinds] = {
    **_whole_numbers("workers", "min_workers", "max_workers", "queue_length_threshold"),
    **_numbers("upscale_delay_seconds", "downscale_delay_seconds"),
    **_REST,
}
_SERVICE: dict[str, Kinds] = {
    **_whole_numbers("replicas", "workers", "ports"),
    "load_balancer": ({**_numbers("stream_timeout_seconds"), **_REST},),
    "pool": (_POOL,),
    "readiness_probe": (
        str,
        {
            **_numbers("initial_delay_seconds", "timeout_seconds", "endpoint_probe_interval_seconds"),
            **_numbers("consecutive_failure_threshold_timeout"),
            **_REST,
        },
    ),
    "replica_policy": (
        {
            **_whole_numbers("min_replicas", "max_replicas", "num_overprovision", "base_ondemand_fallback_replicas"),
            **_numbers("upscale_delay_seconds", "downscale_delay_seconds"),
            "target_qps_per_replica": (int, float, {"*": _NUMBER}),
            "dynamic_ondemand_fallback": (bool,),
            **_REST,
        },
    ),
    **_REST,
}
_OPTION: dict[str, Kinds] = {
    "cloud": (str,),
    "region": (str,),
    "zone": (str,),
    "infra": (str,),
    "cpus": _NUMBER_OR_TEXT,
    "memory": _NUMBER_OR_TEXT,
    "instance_type": (str,),
    "use_spot": (bool,),
    "job_recovery": (str, {"max_restarts_on_errors": (int,), **_REST}),
    "volumes": ([{"auto_delete": (bool,), **_REST}],),
    "disk_size": (int, str),
    "ephemeral_storage": (int, str),
    "disk_tier": (str,),
    "network_tier": (str,),
    "local_disk": (str,),
    "max_hourly_cost": _NUMBER,
    "ports": (int, str, list),
    "labels": (dict,),
    "accelerator_args": ({"tpu_vm": (bool,), "gcp_queued_resource": (bool,), **_REST},),
    "image_id": (str, dict),
    "autostop": (bool, int, str, {"idle_minutes": (int,), "down": (bool,), "hook_timeout": (int,), **_REST}),
    "priority": (int,),
    "priority_class": (str,),
    "accelerators": (str, {"*": _NUMBER}, list),
}

RESOURCES_KEYS: dict[str, Kinds] = {**_OPTION, "any_of": ([_OPTION],), "ordered": ([_OPTION],)}
"""The keys of ``resources`` in a SkyPilot 0.14 task."""

TASK_KEYS: dict[str, Kinds] = {
    "name": (str,),
    "workdir": (str, dict),
    "event_callback": (str,),
    "num_nodes": (int,),
    "resources": (RESOURCES_KEYS,),
    "file_mounts": ({"*": (str, {"persistent": (bool,), **_REST})},),
    "service": (_SERVICE,),
    "pool": (_POOL,),
    "setup": (str,),
    "run": (str,),
    "envs": (dict,),
    "secrets": (dict, list),
    "managed_secrets": (list,),
    "inputs": ({"*": _NUMBER},),
    "outputs": ({"*": _NUMBER},),
    "file_mounts_mapping": (dict,),
    "config": (dict,),
    "volumes": (dict,),
    "volume_mounts": (list,),
    "api_server_access": (bool,),
}
"""The keys of a SkyPilot 0.14 task and the types each may have."""

VOLUME_KEYS: dict[str, Kinds] = {
    **dict.fromkeys(("name", "type", "infra", "size"), (str,)),
    "labels": (dict,),
    "use_existing": (bool,),
    "config": (dict,),
}
"""The same of a SkyPilot 0.14 volume."""


def task_path(name: str, value: object) -> str:
    """Read the path of a YAML file."""
    if not isinstance(value, str):
        raise SkyRequestError(f"{name}: must be a path or a mapping, not {_type_name(value)}")
    if not value.strip():
        raise SkyRequestError(f"{name}: is empty; give a path or a dict")
    if value.lstrip().startswith(("{", "[")):
        raise SkyRequestError(
            f"{name}: {read.shown(value)} is the text of a dict or a list, as Jinja writes one: give the output of the "
            "task that it comes from, or the DAG render_template_as_native_obj=True"
        )
    return value


def read_documents(
    source: object, field: str, dag_folder: Path | None, bundle_root: Path | None = None
) -> str | list[Any]:
    """Return the YAML documents of a file beside the DAG file, or the path where the pod finds the file.

    :param field: the operator's argument
    :param bundle_root: the root of the DAG bundle, below which absolute paths are read too; by default that folder
    :raises SkyRequestError: if it is no path or leaves the DAG bundle, or the file is missing or no YAML
    """
    source = task_path(field, source)
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
    """Return the task as a plain dict, its numbers and flags with their types.

    :param source: named in the errors: the file or the argument the task came from
    :raises SkyRequestError: if it is no mapping, has an unknown key, or a value of a wrong type
    """
    checked = _section(task, TASK_KEYS, source)
    check_has_no_secret(checked, source)
    if isinstance(checked.get("envs"), Mapping):
        # As SkyPilot does; YAML reads 2026-01-01 as a date, which JSON does not know.
        checked["envs"] = {
            str(name): value
            if value is None or value is read.UNKNOWN
            else read.as_text(f"{source}: envs.{name}", value)
            for name, value in checked["envs"].items()
        }
    if read.is_given(checked.get("name")):
        read.job_name(f"{source}: name", checked["name"])
    _check_can_be_sent(checked, source)
    return checked


def check_volume(volume: object, source: str) -> dict[str, Any]:
    """Return a volume as a plain dict, its flag with its type.

    :param source: named in the errors: the file or the argument that it came from
    :raises SkyRequestError: if it is no mapping, has an unknown key, or a value of a wrong type
    """
    checked = _section(volume, VOLUME_KEYS, source, what="volume")
    _check_can_be_sent(checked, source)
    return checked


def _check_can_be_sent(content: Mapping[str, Any], source: str) -> None:
    for key, value in content.items():
        try:
            json.dumps(value, default=_to_be_known)
        except (TypeError, ValueError, RecursionError) as error:
            raise SkyRequestError(f"{source}: {key} has a value that cannot be sent to the pod: {error}") from error


def header_of(documents: Sequence[object]) -> dict[str, Any] | None:
    """Return the first of several documents if it is the pipeline's or job group's own: a name, and how to run them."""
    head = documents[0] if len(documents) > 1 else None
    return dict(head) if isinstance(head, Mapping) and (set(head) == {"name"} or "execution" in head) else None


def over_each(task: Task, file_mounts: Mapping[str, Any], accelerators: object) -> Task:
    """Return a task, or each of a pipeline's, with these file mounts besides its own, and instead of its accelerators.

    :param accelerators: None for its own
    """
    if isinstance(task, list):
        head = [] if header_of(task) is None else task[:1]
        return [*head, *(_over(one, file_mounts, accelerators) for one in task[len(head) :])]
    return _over(task, file_mounts, accelerators)


def _over(task: dict[str, Any], file_mounts: Mapping[str, Any], accelerators: object) -> dict[str, Any]:
    changed = dict(task)
    if file_mounts:
        changed["file_mounts"] = {**(task.get("file_mounts") or {}), **file_mounts}
    if accelerators is not None:
        resources = task.get("resources") or {}
        options = {
            key: [
                {name: value for name, value in option.items() if name != "accelerators"} for option in resources[key]
            ]
            for key in ("any_of", "ordered")
            if resources.get(key)
        }
        changed["resources"] = {**resources, **options, "accelerators": accelerators}
    return changed


def _section(
    data: object, keys: Mapping[str, Kinds], source: str, place: str = "", what: str = "task"
) -> dict[str, Any]:
    """Return a mapping of a task or volume, with its values in their types."""
    if not isinstance(data, Mapping):
        name = place.rstrip(".") or f"the {what}"
        raise SkyRequestError(f"{source}: {name} must be a mapping, not {_type_name(data)}")
    checked = {}
    for key, value in data.items():
        kinds = (object,) if str(key).startswith("_") else keys.get(key) or keys.get("*")
        if kinds is None:
            close = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys are: {', '.join(keys)}"
            raise SkyRequestError(f"{source}: {place}{key} is not a key of a SkyPilot {what}; {hint}")
        checked[key] = _value(value, kinds, source, f"{place}{key}")
    return checked


def _value(value: object, kinds: Kinds, source: str, place: str) -> Any:
    if value is None or value is read.UNKNOWN:
        return value
    types = tuple(kind if isinstance(kind, type) else type(kind) for kind in kinds)
    value = _of_text(value, types)
    if not (isinstance(value, types) and (not isinstance(value, bool) or bool in types or object in types)):
        wanted = " or ".join(kind.__name__ for kind in types)
        raise SkyRequestError(
            f"{source}: {place} must be of type {wanted}, not {_type_name(value)} ({read.shown(value)})"
        )
    for kind in kinds:
        if isinstance(kind, Mapping) and isinstance(value, Mapping):
            return _section(value, kind, source, f"{place}.")
        if isinstance(kind, list) and isinstance(value, list):
            return [_section(item, kind[0], source, f"{place}.") for item in value]
    return value


def _of_text(value: object, types: tuple[type, ...]) -> object:
    """Return a text, as Jinja leaves numbers and flags, with the type that is wanted; anything else as it is."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if bool in types and word in ({"true", "false"} if str in types else read.FLAGS):
        return read.FLAGS[word]
    if str in types:
        return value
    if int in types and (whole := read.whole(word)) is not None:
        return whole
    return float(word) if float in types and re.fullmatch(r"[0-9]{0,99}\.[0-9]{1,99}", word) else value


def _to_be_known(value: object) -> None:
    if value is not read.UNKNOWN:
        raise TypeError(f"{read.shown(value)} is of type {_type_name(value)}")


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


def _type_name(value: object) -> str:
    return "empty" if value is None else type(value).__name__
