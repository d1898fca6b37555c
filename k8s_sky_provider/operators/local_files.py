"""Finds what a task has beside its DAG, which travels with it, and writes where the pod will have it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.packing import Source, pack
from k8s_sky_provider.protocol import LOCAL_FILES_DIRECTORY

# SkyPilot's own (sky/task.py: _fill_in_env_vars).
_VARIABLE = re.compile(r"\$\{?\b([a-zA-Z_][a-zA-Z0-9_]*)\b\}?")


class LocalFiles:
    """The files and folders that travel with one task.

    :param folder: the folder of the DAG file, where relative paths of a DAG start
    :param root: the root of the DAG bundle, which nothing of it leaves
    """

    def __init__(self, *, folder: Path | None, root: Path | None) -> None:
        self._folder = folder
        self._root = root or folder
        self._sources: dict[Path, Source] = {}

    def pack(self, limit: int) -> bytes | None:
        """Return the archive of all that was found; None if that is nothing.

        :param limit: bytes that it may have
        :raises SkyRequestError: if something is missing, or cannot be sent
        """
        return pack(list(self._sources.values()), limit) if self._sources else None

    def path_in_pod(
        self,
        field: str,
        path: object,
        *,
        beside: Path | None = None,
        envs: Mapping[str, str] | None = None,
        is_folder: bool = False,
    ) -> Any:
        """Return where the pod has what a path names; a path on the volume or in the pod, or a URL, as it is.

        :param field: what errors call it
        :param beside: the folder that a relative path starts from; by default that of the DAG file
        :param envs: variables that are filled in, as SkyPilot does
        :param is_folder: whether a file would be wrong
        :raises SkyRequestError: if the path leaves the DAG bundle
        """
        if not isinstance(path, str) or not path.strip():
            return path
        filled = str(fill_in(path, envs or {}))
        # A variable that is not known here may be in the pod.
        if filled.startswith("~") or "://" in filled or _VARIABLE.search(filled):
            return path
        whole = self.in_bundle(field, filled, beside=beside)
        if whole is None:
            return path
        known = self._sources.get(whole)
        if known is None or (is_folder and not known.is_folder):
            name = known.name if known else f"{len(self._sources)}/{whole.name or 'files'}"
            known = self._sources[whole] = Source(field=field, path=whole, name=name, is_folder=is_folder)
        return f"{LOCAL_FILES_DIRECTORY}/{known.name}"

    def task_in_pod(
        self,
        task: Mapping[str, Any],
        where: str,
        *,
        beside: Path | None,
        envs: Mapping[str, str],
        has_workdir: bool,
        mounted: Collection[str],
    ) -> dict[str, Any]:
        """Return a task with the paths that it has in the pod.

        :param where: what errors call the task
        :param beside: the folder that its relative paths start from
        :param envs: variables over those of the task
        :param has_workdir: whether an argument says another workdir
        :param mounted: paths on the cluster for which an argument says another source
        """
        known = {**variables_of(task), **envs}

        def in_pod(key: str, path: object, *, is_folder: bool = False) -> Any:
            return self.path_in_pod(f"{where}: {key}", path, beside=beside, envs=known, is_folder=is_folder)

        changed = dict(task)
        if not has_workdir and isinstance(task.get("workdir"), str):
            changed["workdir"] = in_pod("workdir", task["workdir"], is_folder=True)
        mounts, service = task.get("file_mounts"), task.get("service")
        if isinstance(mounts, Mapping):
            changed["file_mounts"] = {
                target: mount if target in mounted else mount_in_pod(f"file_mounts.{target}", mount, in_pod)
                for target, mount in mounts.items()
            }
        if isinstance(service, Mapping) and isinstance(service.get("tls"), Mapping):
            tls = {key: in_pod(f"service.tls.{key}", path) for key, path in service["tls"].items()}
            changed["service"] = {**service, "tls": tls}
        return changed

    def in_bundle(self, field: str, path: str, *, beside: Path | None = None) -> Path | None:
        """Return the absolute path of what is in the DAG bundle; None if it is a path in the pod.

        :param field: what errors call it
        :param beside: the folder that a relative path starts from; by default that of the DAG file
        :raises SkyRequestError: if it is no path, or leaves the DAG bundle
        """
        beside = beside or self._folder
        if "\0" in path or not _is_encodable(path):
            raise SkyRequestError(f"{field}: {path!r} is not a path")
        if Path(path).is_absolute():
            whole = Path(os.path.normpath(path))
            if self._root is None or not whole.is_relative_to(self._root):
                return None
        elif beside is None:
            raise SkyRequestError(f"{field}: {path!r} is relative, and the folder of the DAG file is not known")
        else:
            whole = Path(os.path.normpath(beside / path))
        if not self._is_in_the_bundle(whole):
            raise SkyRequestError(
                f"{field}: {path!r} leaves the DAG bundle {str(self._root)!r}, and nothing outside of it travels with "
                "a task. Put it beside the DAG, or give a path on the volume (~/sky_workdir/...)"
            )
        return whole

    def _is_in_the_bundle(self, path: Path) -> bool:
        if self._root is None or not path.is_relative_to(self._root):
            return False
        # The bundle, or the folder in it, may be a link itself; one that leads elsewhere does not count.
        places = {os.path.realpath(place) for place in (self._root, self._folder) if place is not None}
        return any(Path(os.path.realpath(path)).is_relative_to(place) for place in places)


def fill_in(value: Any, envs: Mapping[str, str]) -> Any:
    """Return a value with the variables in its texts filled in, as SkyPilot does; those that are not known stay."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: envs.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [fill_in(item, envs) for item in value]
    return {key: fill_in(item, envs) for key, item in value.items()} if isinstance(value, Mapping) else value


def variables_of(task: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that a task has itself."""
    envs = task.get("envs")
    known = envs.items() if isinstance(envs, Mapping) else ()
    return {str(name): str(value) for name, value in known if value is not None}


def mount_in_pod(key: str, mount: object, in_pod: Callable[[str, Any], Any]) -> Any:
    """Return the source of a mount, or a storage that has one or several, with the paths in the pod."""
    if not isinstance(mount, Mapping):
        return in_pod(key, mount)
    source = mount.get("source")
    if source is None:
        return mount
    several = [in_pod(f"{key}.source", path) for path in source] if isinstance(source, list) else None
    return {**mount, "source": in_pod(f"{key}.source", source) if several is None else several}


def _is_encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True
