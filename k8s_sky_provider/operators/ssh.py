"""Operator that runs a command on a cluster's machines."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    from k8s_sky_provider.protocol import SkyResult

EXIT_KEY = "ssh_exit"
"""XCom key of the command's exit code."""


class SkySSHOperator(SkyBaseOperator):
    """Run a command on a cluster's machines, beside its jobs. Returns what the command wrote to its standard output.

    Wraps ``CommandRunner.run`` of SkyPilot, which is ssh, and ``kubectl exec`` on Kubernetes. The command runs in
    bash, in the home directory, with its output in the task's log line by line. Its exit code is the XCom
    ``ssh_exit``, of a failed task too; one that is not 0 fails the task as a failed job does. The output has no line
    end at its end. Of several machines, output and exit code are lists by rank. An output that is too long for an
    XCom is cut there, and of several machines fails the task. All of it is then on the volume, where the task's log
    says: of each machine the first 8 MiB, with a word at the end where there was more.

    A killed task ends the command with all processes that it started. A command that goes on when the task is over
    is one that was started in the background, as ``nohup ... > log 2>&1 &``.

    :param cluster_name: a cluster that is up, for example ``launch.output`` (templated)
    :param command: the command, or a list of a program and its arguments (templated)
    :param environment: environment variables of the command; not for secrets (templated)
    :param get_pty: give the command a terminal; errors are then among the output (templated)
    :param conn_timeout: seconds that connecting may take; SkyPilot's own by default (templated)
    :param cmd_timeout: seconds that the command may take, then it is ended and the task fails; by default there is no
        limit but ``execution_timeout`` (templated)
    :param nodes: the machines: ``head``, ``all``, or a list of ranks, where 0 is the head (templated)
    :param working_dir: directory on the machine to start in (templated)
    """

    action: ClassVar[str] = "ssh"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "cluster_name",
        "command",
        "environment",
        "get_pty",
        "conn_timeout",
        "cmd_timeout",
        "nodes",
        "working_dir",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SkyBaseOperator.template_fields_renderers,
        "command": "bash",
        "environment": "json",
    }

    def __init__(
        self,
        *,
        cluster_name: str | XComArg,
        command: str | Sequence[str] | XComArg,
        environment: Mapping[str, str] | None = None,
        get_pty: bool | str | XComArg = False,
        conn_timeout: int | str | XComArg | None = None,
        cmd_timeout: float | str | XComArg | None = None,
        nodes: str | Sequence[int] | XComArg = "head",
        working_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        if "sky_ssh_hook" in kwargs:
            raise SkyRequestError(
                "sky_ssh_hook: there is no such hook here, SkyPilot knows how to reach its clusters: "
                "leave it out and give cluster_name"
            )
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.command = command
        self.environment = environment
        self.get_pty = get_pty
        self.conn_timeout = conn_timeout
        self.cmd_timeout = cmd_timeout
        self.nodes = nodes
        self.working_dir = working_dir
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "cluster_name": read.cluster,
            "command": _command_line,
            "environment": read.variables,
            "get_pty": read.flag,
            "conn_timeout": read.optional(lambda name, value: int(read.number(name, value))),
            "cmd_timeout": read.optional(read.number),
            "nodes": read.nodes,
            "working_dir": read.optional(read.path),
        }

    @property
    def default_on_cancel(self) -> OnCancel:
        """End the command; the cluster is somebody else's."""
        return OnCancel.CANCEL

    def push_more(self, context: Context, result: SkyResult) -> None:
        """Push the command's exit code, or those of several machines by rank."""
        codes = result.job_exit_codes
        if codes:
            context["ti"].xcom_push(key=EXIT_KEY, value=codes[0] if self.nodes == "head" else codes)


def _command_line(name: str, value: object) -> str:
    """Read a command, or a list of its words, as the text that bash reads."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(word, str) for word in value):
        return shlex.join(value)
    if not isinstance(value, str):
        raise SkyRequestError(f"{name}: must be a text or a list of texts, not {read.shown(value)}")
    if not value.strip():
        raise SkyRequestError(f"{name}: is empty; give the command to run")
    return value
