"""The machines of a cluster, by ssh: for pods of Kubernetes through the API server (``sky.client.cli``'s own way)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sky import clouds, exceptions
from sky.client import sdk
from sky.server import common as server_common
from sky.utils import cluster_utils, command_runner, common, directory_utils, status_lib

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky import rsync
from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.errors import explained
from k8s_sky_provider.runner.sky.machines import Machines

if TYPE_CHECKING:
    from sky.schemas.api import responses

_SSH_OPTIONS = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentitiesOnly=yes"


class MachinesAtServer(Machines):
    """The machines are reached in another way; what is done on them is the same."""

    def machines(self, cluster_name: str) -> list[command_runner.CommandRunner]:
        """Return the machines of a cluster that is up, by rank."""
        record = _record(cluster_name, refresh=False)
        handle, credentials = record.handle, record.credentials
        if handle is None or not credentials or not handle.cached_external_ips:
            raise ActionFailedError(
                ExitCode.TRY_AGAIN, f"the SkyPilot API server does not say how cluster {cluster_name} is reached"
            )
        user = handle.ssh_user or credentials["ssh_user"]
        for name in filter(None, (user, handle.docker_user)):
            # A machine said it to the server, and SkyPilot has a shell read it.
            if not rsync.USER.fullmatch(name):
                raise ActionFailedError(
                    ExitCode.REQUEST_WRONG,
                    f"cluster {cluster_name} says that its user is {name!r}, which ssh cannot take",
                )
        with explained():
            key = Path(cluster_utils.SSHConfigHelper.generate_local_key_file(cluster_name, credentials)).expanduser()
            proxy = _proxy(handle, user, key) or credentials.get("ssh_proxy_command")
            return [
                command_runner.SSHCommandRunner(
                    (ip, port),
                    user,
                    str(key),
                    ssh_control_name=cluster_name,
                    ssh_proxy_command=proxy,
                    docker_user=handle.docker_user,
                )
                for ip, port in zip(handle.cached_external_ips, handle.cached_external_ssh_ports, strict=True)
            ]

    def check_cluster_up(self, cluster_name: str) -> None:
        """Ask the cloud about a cluster; raise what it is if it is not up."""
        _record(cluster_name, refresh=True)

    def run_on_head(self, cluster_name: str, command: str) -> tuple[int, str, str]:
        """Run a command on the first machine; return its exit code, output and complaints."""
        head = self.machines(cluster_name)[0]
        with explained():
            exit_code, output, complaint = head.run(
                command, require_outputs=True, separate_stderr=True, stream_logs=False
            )
        return exit_code, output, complaint


def _record(cluster_name: str, *, refresh: bool) -> responses.StatusResponse:
    mode = common.StatusRefreshMode.FORCE if refresh else common.StatusRefreshMode.NONE
    records = server.ask(
        lambda: sdk.status([cluster_name], refresh=mode, all_users=True, _include_credentials=not refresh)
    )
    with explained():
        # The same errors as in the other modes.
        if not records:
            raise exceptions.ClusterDoesNotExist(f"Cluster {cluster_name!r} does not exist.")
        if records[0].status is not status_lib.ClusterStatus.UP:
            if not refresh:
                return _record(cluster_name, refresh=True)
            raise exceptions.ClusterNotUpError(
                f"Cluster {cluster_name!r} is not up: its status is {records[0].status.value}."
            )
    return records[0]


def _proxy(handle: Any, user: str, key: Path) -> str | None:
    """Return how ssh comes to a pod of Kubernetes: to the first by the API server, and to the others by the first."""
    cloud = handle.launched_resources.cloud
    to_server = shlex.join(
        [
            sys.executable,
            f"{directory_utils.get_sky_dir()}/templates/websocket_proxy.py",
            server_common.get_server_url(),
            handle.cluster_name,
        ]
    )
    if isinstance(cloud, clouds.Slurm):
        raise ActionFailedError(
            ExitCode.REQUEST_WRONG,
            f"cluster {handle.cluster_name} is one of Slurm, whose machines are not reached by way of an API server; "
            "run the command as a job (SkyExecOperator)",
        )
    if not isinstance(cloud, clouds.Kubernetes):
        return None
    return (
        f"ssh -tt -i {shlex.quote(str(key))} {_SSH_OPTIONS} -W '[%h]:%p' {user}@127.0.0.1 "
        f'-o ProxyCommand="{to_server} kubernetes-pod-ssh-proxy"'
    )
