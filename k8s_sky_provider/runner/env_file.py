"""The dotenv files of a task, ``env_file`` and ``secret_file``: one reader, and one place that they lie in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dotenv
from dotenv.variables import Variable, parse_variables

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read(field: str, path: str | None) -> list[tuple[str, str]]:
    """Return the variables of a dotenv file, none without a path.

    :param field: the operator's argument
    :param path: on the volume; a relative one starts from ``~/sky_workdir``
    :raises ActionFailedError: if there is no such file, or it has a line that is not ``NAME=value``, or names a
        variable that is not its own
    """
    if path is None:
        return []
    file = Path.home() / "sky_workdir" / Path(path).expanduser()
    if not file.is_file():
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{field}: {path!r} does not exist on the volume")
    try:
        values = dotenv.dotenv_values(file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{field}: {path!r} cannot be read: {error}") from error
    empty = [name for name, value in values.items() if value is None]
    if empty:
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG, f"{field}: {path!r} has lines that are not NAME=value: {', '.join(empty)}"
        )
    whole: dict[str, str] = {}
    for name, value in values.items():
        whole[name] = _interpolated(f"{field}: {path!r}: {name}", value or "", whole)
    return list(whole.items())


def _interpolated(where: str, value: str, before: Mapping[str, str]) -> str:
    """Return a value with those of the lines before it; dotenv's own way would put the pod's variables in, too."""
    atoms = list(parse_variables(value))
    for atom in atoms:
        if isinstance(atom, Variable) and atom.default is None and atom.name not in before:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"{where} takes ${{{atom.name}}}, which no line before it sets, and a variable of the pod is not for "
                f"jobs: set it in the file, or write ${{{atom.name}:-}} for nothing",
            )
    return "".join(atom.resolve(before) for atom in atoms)
