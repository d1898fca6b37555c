"""Operator that runs a command on a cluster's machines."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.arguments import (
    as_flag,
    as_nodes,
    as_number,
    check_cluster_name,
    check_flags,
    check_nodes,
    check_number,
    rendered_cluster_name,
    rendered_envs,
    rendered_path,
)
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
        check_cluster_name(cluster_name)
        if isinstance(command, (str, list, tuple)):
            _command_line(command)
        check_flags(get_pty=get_pty)
        check_nodes(nodes)
        check_number("conn_timeout", conn_timeout)
        check_number("cmd_timeout", cmd_timeout)
        self.cluster_name = cluster_name
        self.command = command
        self.environment = environment
        self.get_pty = get_pty
        self.conn_timeout = conn_timeout
        self.cmd_timeout = cmd_timeout
        self.nodes = nodes
        self.working_dir = working_dir

    @property
    def default_on_cancel(self) -> OnCancel:
        """End the command; the cluster is somebody else's."""
        return OnCancel.CANCEL

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``ssh``."""
        return {
            "cluster_name": rendered_cluster_name(self.cluster_name),
            "command": _command_line(self.command),
            "environment": rendered_envs(self.environment, "environment"),
            "get_pty": as_flag("get_pty", self.get_pty),
            "conn_timeout": None if self.conn_timeout is None else int(as_number("conn_timeout", self.conn_timeout)),
            "cmd_timeout": None if self.cmd_timeout is None else as_number("cmd_timeout", self.cmd_timeout),
            "nodes": as_nodes(self.nodes),
            "working_dir": None if self.working_dir is None else rendered_path("working_dir", self.working_dir),
        }

    def push_more(self, context: Context, result: SkyResult) -> None:
        """Push the command's exit code, or those of several machines by rank."""
        codes = result.job_exit_codes
        if codes:
            context["ti"].xcom_push(key=EXIT_KEY, value=codes[0] if as_nodes(self.nodes) == "head" else codes)


def _command_line(command: object) -> str:
    """Return a command as the text that bash reads.

    :raises SkyRequestError: if it is empty, or neither a text nor a list of texts
    """
    if isinstance(command, (list, tuple)) and command and all(isinstance(word, str) for word in command):
        return shlex.join(command)
    if not isinstance(command, str):
        raise SkyRequestError(f"command: must be a text or a list of texts, not {command!r}")
    if not command.strip():
        raise SkyRequestError("command: is empty; give the command to run")
    return command
