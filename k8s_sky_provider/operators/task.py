"""Finds a task, reads it and checks it before a pod exists.

A typing error fails at once, and what Jinja has rendered has its type (sections.py). All else, and a task that only
exists on the volume, is checked by SkyPilot itself in the pod.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read, sections, task_url
from k8s_sky_provider.operators.local_files import LocalFiles
from k8s_sky_provider.operators.sections import read_section, type_name
from k8s_sky_provider.protocol import REQUEST_LIMIT, YAML_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Task = dict[str, Any] | list[dict[str, Any]]
"""A task, or the tasks of a pipeline or job group."""

_DOCKER_PASSWORD = "SKYPILOT_DOCKER_PASSWORD"  # noqa: S105  # its name


def task_path(name: str, value: object) -> str:
    """Read the path or URL of a YAML file."""
    if not isinstance(value, str):
        raise SkyRequestError(f"{name}: must be a path or a mapping, not {type_name(value)}")
    if not value.strip():
        raise SkyRequestError(f"{name}: is empty; give a path or a dict")
    # Not shown: it may have a secret in it.
    if re.match(rf"\s*({'|'.join([*sections.TASK, *sections.VOLUME])})\s*:(\s|$)", value) or "\n" in value.strip():
        raise SkyRequestError(f"{name}: is the text of a YAML; give it as a dict, or the path or URL of its file")
    if value.lstrip().startswith(("{", "[")):
        raise SkyRequestError(
            f"{name}: is the text of a dict or a list, as Jinja writes one: give the output of the task that it comes "
            "from, or the DAG render_template_as_native_obj=True"
        )
    return value


def read_documents(
    source: object, field: str, dag_folder: Path | None, bundle_root: Path | None = None
) -> str | list[Any]:
    """Return the YAML documents of a file beside the DAG file or at a URL, or the path where the pod finds the file.

    :param field: the operator's argument
    :param bundle_root: the root of the DAG bundle, below which absolute paths are read too; by default that folder
    :raises SkyRequestError: if it is neither a path nor an https URL, leaves the DAG bundle, or has no YAML or too much
    :raises SkyTransientError: if the URL's server cannot be reached
    """
    source = task_path(field, source)
    if task_url.is_url(source):
        return _documents(field, task_url.shown(source), task_url.read(field, source))
    path = None
    if not source.startswith("~"):
        path = LocalFiles(folder=dag_folder, root=bundle_root).in_bundle(field, source)
    if path is None:
        return source
    try:
        with path.open() as file:
            text = file.read(YAML_LIMIT + 1)
    except FileNotFoundError as error:
        raise SkyRequestError(
            f"{field}: {str(path)!r} does not exist beside the DAG file. "
            "Ship it with the DAGs, or give a path on the volume such as '~/sky_workdir/task.yaml'"
        ) from error
    except (OSError, ValueError) as error:
        raise SkyRequestError(f"{field}: {str(path)!r} cannot be read: {error}") from error
    return _documents(field, str(path), text)


def _documents(field: str, source: str, text: str) -> list[Any]:
    if len(text) > YAML_LIMIT:
        raise SkyRequestError(
            f"{field}: {source!r} has more than {YAML_LIMIT} characters, which a YAML file may not have: ship what is "
            "long as a file of its own (file_mounts, workdir)"
        )
    try:
        documents = list(yaml.safe_load_all(text))
        size = _size(documents, {})
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        # PyYAML leaves a date such as 2026-13-45, or too many brackets, to what it builds on.
        raise SkyRequestError(f"{field}: {source!r} cannot be read: {error}") from error
    if size > REQUEST_LIMIT:
        raise SkyRequestError(
            f"{field}: {source!r} has more than {REQUEST_LIMIT} characters when its aliases are written out, which "
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
    checked = read_section(task, sections.TASK, source, "task")
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
    checked = read_section(volume, sections.VOLUME, source, "volume")
    _check_can_be_sent(checked, source)
    return checked


def _check_can_be_sent(content: Mapping[str, Any], source: str) -> None:
    for key, value in content.items():
        try:
            json.dumps({key: value}, default=_to_be_known)
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


def _to_be_known(value: object) -> None:
    if value is not read.UNKNOWN:
        raise TypeError(f"{read.shown(value)} is of type {type_name(value)}")


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
        # An empty one comes later, as in SkyPilot.
        if value is not None and value != "":
            raise SkyRequestError(
                f"{source}: secrets.{name} has its value in the task. Give the name alone (secrets: [{name}]) and the "
                f'value as key {name} of a Kubernetes Secret: credentials=[{{"secret": ..., "env": True}}]'
            )
