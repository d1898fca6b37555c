"""Operator that runs a shell command where the volume is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import XComArg


class SkyBashOperator(SkyBaseOperator):
    """Run a shell command in a pod that has the shared volume. Returns the last line of its output.

    Wraps ``bash``. For what prepares the files of the other tasks in ``~/sky_workdir``: it is Airflow's BashOperator,
    but where SkyPilot's state and files are. The command starts in ``~/sky_workdir``, with its output in the task's
    log; an exit code that is not 0 fails the task as a failed job does. The image has bash, git and rsync.

    :param bash_command: the command, or a script of several lines (templated)
    :param env: environment variables of the command, besides those of the pod; not for secrets (templated)
    """

    action: ClassVar[str] = "bash"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "bash_command", "env")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SkyBaseOperator.template_fields_renderers,
        "bash_command": "bash",
        "env": "json",
    }

    def __init__(
        self, *, bash_command: str | XComArg, env: Mapping[str, str] | XComArg | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.bash_command = bash_command
        self.env = env
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"bash_command": _command, "env": read.variables}


def _command(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SkyRequestError(f"{name}: {read.shown(value)} is no command")
    return value
