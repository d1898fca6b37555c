"""What SkyPilot's rsync may be given, and what it may leave here: it writes paths and names into a shell's line.

Machines have a say in those: where their home is, who their user is, what a link is called, where a log lies.

Before each copy to or from a pod SkyPilot makes a script of its own package executable, which fails on the read-only
file system of our pods. The image has the script so already, and the line is left out.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sky.backends import backend_utils
from sky.provision import docker_utils
from sky.provision.kubernetes import instance
from sky.utils import command_runner

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import downloads, remote_shell, state
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

USER = re.compile(r"\w[-+.@\w]*")

# What does not match is an error in SkyPilot, too.
_ANSWERS = (
    (command_runner, "_HOME_DIR_PATTERN", r"SKYPILOT_HOME_DIR: (/[-+.@\w/]*)(?=\s|$)"),
    (docker_utils, "_DOCKER_USER_PATTERN", rf"SKYPILOT_DOCKER_USER: ({USER.pattern})(?=\s|$)"),
    (instance, "_SSH_USER_PATTERN", rf"SKYPILOT_SSH_USER: ({USER.pattern})(?=\s|$)"),
)


def protect() -> None:
    """Have SkyPilot take plain answers from machines only, and check the paths of its rsync.

    :raises ActionFailedError: if this SkyPilot does not have what is to be replaced
    """
    try:
        for module, name, pattern in _ANSWERS:
            getattr(module, name)
            setattr(module, name, re.compile(pattern))
        runner: Any = command_runner.CommandRunner
        sizes: Any = backend_utils
        runner._rsync = _checked(runner._rsync)  # noqa: SLF001  # all of SkyPilot's copies go through it
        # It is called before a copy, and has a shell run rsync, too.
        sizes.path_size_megabytes = _sized(sizes.path_size_megabytes)
    except AttributeError as error:
        # To go on would let machines run commands here.
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG, f"the image's SkyPilot has another rsync: {error}; build it from images/skypilot"
        ) from error


def _checked(rsync: Callable[..., None]) -> Callable[..., None]:
    """Return SkyPilot's ``CommandRunner._rsync`` with checks of what it writes, and of what it brought."""

    @functools.wraps(rsync)
    def checked(machine: Any, source: str, target: str, *, up: bool, **options: Any) -> None:
        _leave_out_chmod(options)
        # As SkyPilot does it; what is resolved now leads nowhere else when it is used.
        if up:
            source = str(Path(source).expanduser().resolve())
        else:
            target = f"{Path(target).expanduser().resolve()}{'/' if target.endswith('/') else ''}"
        _check_quotable("source", source)
        _check_quotable("target", target)
        if up:
            rsync(machine, source, target, up=up, **options)
            return
        goal = Path(target)
        if not state.is_for_files(goal, Path.home()):
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"target: files of machine {machine.node_id} would go to {target!r}, which is not in ~/sky_workdir, "
                "~/sky_logs or a volume that you mounted",
            )
        try:
            rsync(machine, source, target, up=up, **options)
        finally:
            _tidy(source, target, goal)

    return checked


def _sized(size_of: Callable[[str], int]) -> Callable[[str], int]:
    """Return SkyPilot's ``path_size_megabytes`` with a check of the path that it writes."""

    @functools.wraps(size_of)
    def sized(path: str) -> int:
        _check_quotable("source", path)
        return size_of(path)

    return sized


def _check_quotable(field: str, path: str) -> None:
    if not remote_shell.is_quotable(path):
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"{field}: {path!r} has a quote, backslash or control character, which SkyPilot's rsync cannot take; "
            "rename it, or copy the directory that it is in",
        )


def _leave_out_chmod(options: dict[str, Any]) -> None:
    """Change the line that ``KubernetesCommandRunner.rsync`` is about to run, unless it has something to do."""
    script, line = options.get("rsh_option") or "", options.get("prefix_command") or ""
    chmod = f"chmod +x {script} && "
    if line.startswith(chmod) and os.access(shlex.split(script)[0], os.X_OK):
        options["prefix_command"] = line.removeprefix(chmod)


def _tidy(source: str, target: str, goal: Path) -> None:
    """Delete what leads out of the target, from what was copied."""
    name = PurePosixPath(source).name
    is_into = target.endswith("/") or (goal.is_dir() and not goal.is_symlink())
    # The machine's rsync takes a name with a wildcard for a pattern.
    is_one = not source.endswith(("/", "/.", "/..")) and not set("*?[") & set(name)
    if deleted := downloads.tidy(goal / name if is_into and is_one else goal, goal):
        print(downloads.describe(deleted))
