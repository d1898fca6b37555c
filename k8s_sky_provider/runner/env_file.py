"""The dotenv files of a task, ``env_file`` and ``secret_file``: one reader, and one place that they lie in."""

from __future__ import annotations

from pathlib import Path

import dotenv

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError


def read(field: str, path: str | None) -> list[tuple[str, str]]:
    """Return the variables of a dotenv file, none without a path.

    :param field: the operator's argument
    :param path: on the volume; a relative one starts from ``~/sky_workdir``
    :raises ActionFailedError: if there is no such file, or it has a line that is not ``NAME=value``
    """
    if path is None:
        return []
    file = Path.home() / "sky_workdir" / Path(path).expanduser()
    if not file.is_file():
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{field}: {path!r} does not exist on the volume")
    try:
        values = dotenv.dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{field}: {path!r} cannot be read: {error}") from error
    empty = [name for name, value in values.items() if value is None]
    if empty:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"{field}: {path!r} has lines that are not NAME=value: {', '.join(empty)}"
        )
    return [(name, value) for name, value in values.items() if value is not None]
