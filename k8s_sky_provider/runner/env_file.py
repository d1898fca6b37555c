"""The dotenv files of a task, ``env_file`` and ``secret_file``: one reader, and one place that they lie in."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import dotenv

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE_LIMIT = 128 * 1024
"""Bytes of a file, and characters of its values: Linux takes no longer variable, and dotenv's parser its time."""

# dotenv's own pattern looks for the end of a variable from each place that one may begin at; this one takes what began
# and has no end for text, together with all that begins in it.
_VARIABLE = re.compile(r"\$\{([^}:]*+)(?::-([^}]*+))?+(\})?+")


def read(field: str, path: str | None) -> list[tuple[str, str]]:
    """Return the variables of a dotenv file, none without a path.

    :param field: the operator's argument
    :param path: on the volume; a relative one starts from ``~/sky_workdir``
    :raises ActionFailedError: if there is no such file, or it is longer than :data:`SIZE_LIMIT`, has a line that is not
        ``NAME=value``, or names a variable that is not its own
    """
    if path is None:
        return []
    file = Path.home() / "sky_workdir" / Path(path).expanduser()
    if not file.is_file():
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{field}: {path!r} does not exist on the volume")
    try:
        with file.open(encoding="utf-8") as stream:
            text = stream.read(SIZE_LIMIT + 1)
        if len(text) > SIZE_LIMIT:
            raise _too_long(field, path, f"is {file.stat().st_size} bytes long")
        values = dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{field}: {path!r} cannot be read: {error}") from error
    empty = [name for name, value in values.items() if value is None]
    if empty:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"{field}: {path!r} has lines that are not NAME=value: {', '.join(empty)}"
        )
    whole: dict[str, str] = {}
    left = SIZE_LIMIT
    for name, value in values.items():
        parts = _interpolated(f"{field}: {path!r}: {name}", value or "", whole)
        # Before they are put together: each line may double what the one before it has.
        left -= sum(map(len, parts))
        if left < 0:
            raise _too_long(field, path, f"has at {name} more than that with its variables put in")
        whole[name] = "".join(parts)
    return list(whole.items())


def _too_long(field: str, path: str, what: str) -> ActionFailedError:
    return ActionFailedError(
        ExitCode.REQUEST_WRONG,
        f"{field}: {path!r} {what}, and such a file may have {SIZE_LIMIT} characters: bring what is long as a file "
        "(file_mounts)",
    )


def _interpolated(where: str, value: str, before: Mapping[str, str]) -> list[str]:
    """Return the parts of a value with those of the lines before it; dotenv's own way puts the pod's variables in, too.

    :param where: what the error begins with
    """
    parts = []
    at = 0
    for found in _VARIABLE.finditer(value):
        name, default, is_variable = found.groups()
        if not is_variable:
            continue
        if default is None and name not in before:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"{where} takes ${{{name}}}, which no line before it sets, and a variable of the pod is not for "
                f"jobs: set it in the file, or write ${{{name}:-}} for nothing",
            )
        parts += [value[at : found.start()], before.get(name, default)]
        at = found.end()
    return [*parts, value[at:]]
