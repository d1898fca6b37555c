"""YAML files on the volume: one reader for tasks, jobs and volumes of SkyPilot's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from k8s_sky_provider.protocol import YAML_LIMIT, ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError


def read(field: str, path: str) -> list[Any]:
    """Return the documents of a YAML file.

    :param field: the operator's argument
    :param path: on the volume
    :raises ActionFailedError: if there is no such file, or it is longer than ``YAML_LIMIT``, or no YAML
    """
    file = Path(path).expanduser()
    try:
        with file.open() as stream:
            text = stream.read(YAML_LIMIT + 1)
        if len(text) <= YAML_LIMIT:
            return list(yaml.safe_load_all(text))
        size = file.stat().st_size
    except FileNotFoundError as error:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"{field}: {path!r} does not exist on the volume; write it there, or ship it beside the DAG file",
        ) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # PyYAML leaves a date such as 2026-13-45, or too many brackets, to what it builds on.
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{field}: {path!r} cannot be read: {error}") from error
    raise ActionFailedError(
        ExitCode.REQUEST_WRONG,
        f"{field}: {path!r} is {size} bytes long, and a YAML file may have {YAML_LIMIT} characters: put what is long "
        "into a file of its own (file_mounts, workdir)",
    )
