"""The machines of a cluster: commands and files (``sky.utils.command_runner``)."""

from __future__ import annotations

import concurrent.futures
import os
from typing import TYPE_CHECKING

from sky import backends, global_user_state
from sky.backends import backend_utils
from sky.utils import command_runner, status_lib

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import remote_shell
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.remote_shell import CommandOutput
from k8s_sky_provider.runner.sky import minors, outputs
from k8s_sky_provider.runner.sky.caller import Group
from k8s_sky_provider.runner.sky.errors import explain, explained

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS_TO_COLLECT = 30
"""How long a command that was ended may take to say so."""

# kubectl exec says so whenever it was the command that failed, and not the way to it.
_COMMAND_FAILED = "command terminated with exit code"
_SSH_FAILED = 255


class Machines(Group):
    """The machines of a cluster: commands and files."""

    def machines(self, cluster_name: str) -> list[command_runner.CommandRunner]:
        """Return the machines of a cluster that is up, by rank: the head is the first."""
        with explained():
            record = global_user_state.get_cluster_from_name(cluster_name, include_user_info=False)
            if record is None or record["status"] != status_lib.ClusterStatus.UP:
                self.check_cluster_up(cluster_name)
            # To ask the cloud first would take ten seconds of each command; who cannot be reached is asked about then.
            handle = global_user_state.get_handle_from_cluster_name(cluster_name)
            return list(handle.get_command_runners())

    def check_cluster_up(self, cluster_name: str) -> None:
        """Ask the cloud about a cluster that cannot be reached; raise what it is if it is not up."""
        with explained():
            backend_utils.check_cluster_available(cluster_name, operation="reaching its machines")

    def run_on_head(self, cluster_name: str, command: str) -> tuple[int, str, str]:
        """Run a command on the first machine; return its exit code, output and complaints."""
        with explained():
            handle = global_user_state.get_handle_from_cluster_name(cluster_name)
            answer: tuple[int, str, str] = backends.CloudVmRayBackend().run_on_head(
                handle, command, require_outputs=True, separate_stderr=True
            )
            return answer

    def run_command(
        self,
        machines: Mapping[int, command_runner.CommandRunner],
        script: str,
        *,
        mark: str,
        connect_timeout: int | None,
        timeout: float | None,
    ) -> dict[int, CommandOutput]:
        """Run a script of ``remote_shell.command`` on machines at the same time, with its output in the log.

        It is ended after ``timeout`` seconds.
        """
        for runner in machines.values():
            if minors.is_too_long(runner, script):
                raise ActionFailedError(
                    ExitCode.REQUEST_WRONG,
                    f"command: is too long for this cluster ({len(script)} characters): write it to a file on the "
                    "volume, bring that up with SkyRsyncUpOperator and run it there",
                )
        pool = concurrent.futures.ThreadPoolExecutor(max_workers=len(machines))
        futures = {
            rank: pool.submit(
                runner.run,
                script,
                require_outputs=True,
                separate_stderr=True,
                connect_timeout=connect_timeout,
                streaming_prefix=f"(rank {rank}) " if len(machines) > 1 else None,
            )
            for rank, runner in machines.items()
        }
        # Not a with: that would wait for the commands when this process is told to stop.
        pool.shutdown(wait=False)
        with explained():
            late = concurrent.futures.wait(futures.values(), timeout).not_done
            if late:
                self.end_command(machines, mark)
                concurrent.futures.wait(late, SECONDS_TO_COLLECT)
            outputs = {}
            for rank, future in futures.items():
                if not future.done():
                    outputs[rank] = CommandOutput(exit_code=_SSH_FAILED, output="", timed_out=True)
                    continue
                exit_code, output, complaint = future.result()
                if future not in late and _was_cut_off(machines[rank], exit_code, complaint):
                    self.end_command(machines, mark)
                    raise ActionFailedError(
                        ExitCode.TRY_AGAIN, f"machine {rank} is out of reach: {' '.join(complaint.split())[-300:]}"
                    )
                outputs[rank] = CommandOutput(exit_code=exit_code, output=output, timed_out=future in late)
            return outputs

    def end_command(self, machines: Mapping[int, command_runner.CommandRunner], mark: str) -> None:
        """End the processes of a command: those that the connection started do not end with it."""
        with explained(), concurrent.futures.ThreadPoolExecutor() as pool:
            codes = pool.map(lambda runner: runner.run(remote_shell.end(mark), stream_logs=False), machines.values())
            lost = [rank for rank, code in zip(machines, codes, strict=True) if code != 0]
            if lost:
                raise ActionFailedError(
                    ExitCode.TRY_AGAIN, f"machine {lost} is out of reach: the command may still run there"
                )

    def find_on_machine(self, machine: command_runner.CommandRunner, path: str) -> list[str]:
        """Return the absolute paths of what a path, wildcards included, stands for on a machine."""
        with explained():
            asked = self._absolute(machine, path)
            exit_code, output, complaint = machine.run(
                remote_shell.find(asked),
                require_outputs=True,
                separate_stderr=True,
                stream_logs=False,
            )
            if exit_code != 0:
                raise ActionFailedError(ExitCode.TRY_AGAIN, f"the machine is out of reach: {complaint.strip()[-300:]}")
        if outputs.is_cut(output):
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG, f"source: {asked!r} stands for too many files on machine {machine.node_id}"
            )
        try:
            paths = remote_shell.found(output)
        except ValueError as error:
            raise ActionFailedError(
                ExitCode.TRY_AGAIN, f"machine {machine.node_id} does not say what is at {asked!r}: {error}"
            ) from error
        for found in paths:
            if not remote_shell.is_answer(found, asked):
                raise ActionFailedError(
                    ExitCode.REQUEST_WRONG,
                    f"machine {machine.node_id} was asked for {asked!r} and has {found!r} for it",
                )
        return paths

    def upload(self, machine: command_runner.CommandRunner, source: str, target: str, *, into: str) -> None:
        """Copy a file, or what is in a directory, to a machine; the directory ``into`` is made first."""
        with explained():
            exit_code, _, complaint = machine.run(
                remote_shell.make_directory(self._absolute(machine, into)),
                require_outputs=True,
                separate_stderr=True,
                stream_logs=False,
            )
            if exit_code != 0:
                raise ActionFailedError(
                    ExitCode.REQUEST_WRONG, f"target: {into!r} cannot be made on the machine: {complaint.strip()}"
                )
            _rsync_as_given()
            machine.rsync(source, self._absolute(machine, target), up=True)

    def download(self, machine: command_runner.CommandRunner, source: str, target: str) -> None:
        """Copy a file or a directory from a machine, as rsync does."""
        with explained():
            _rsync_as_given()
            machine.rsync(source, target, up=False)

    def _absolute(self, machine: command_runner.CommandRunner, path: str) -> str:
        """Return a path of the machine as it is there; what is not absolute is below its home."""
        if path.startswith("/"):
            return path
        try:
            home = machine.get_remote_home_dir()
        except ValueError as error:
            failure = explain(error)
            raise ActionFailedError(
                failure.exit_code, f"machine {machine.node_id} does not say well where its home is: {failure.reason}"
            ) from error
        return f"{home.rstrip('/')}/{path.removeprefix('~').lstrip('/')}"


def _rsync_as_given() -> None:
    """Have rsync send paths by its own protocol: it escapes them for a remote shell, which kubectl exec has not."""
    os.environ["RSYNC_PROTECT_ARGS"] = "1"


def _was_cut_off(machine: command_runner.CommandRunner, exit_code: int, complaint: str) -> bool:
    """Tell whether it was the connection that failed, and not the command."""
    if isinstance(machine, command_runner.KubernetesCommandRunner):
        return exit_code != 0 and _COMMAND_FAILED not in complaint
    return exit_code == _SSH_FAILED
