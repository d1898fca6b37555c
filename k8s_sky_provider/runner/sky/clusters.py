"""Clusters (``sky.execution``, ``sky.core``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sky import core, exceptions, execution, global_user_state
from sky.skylet import autostop_lib
from sky.utils import common, status_lib

from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky import minors
from k8s_sky_provider.runner.sky.caller import Group
from k8s_sky_provider.runner.sky.errors import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    import sky
    from sky.schemas.api import responses

    from k8s_sky_provider.protocol import JsonValue

ALL_DAYS = 365 * 100
"""SkyPilot takes None for 30 days."""


class Clusters(Group):
    """Clusters and what is launched on them."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""
        with explained():
            return bool(global_user_state.cluster_with_name_exists(cluster_name))

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""
        with explained():
            return bool(global_user_state.get_clusters_from_history(cluster_names=[cluster_name]))

    def await_submissions(self, cluster_name: str) -> None:
        """Wait until no launch or exec on a cluster is under way that outlived the pod which asked for it.

        In this process there is none: what a lost pod was launching here ended with it.
        """

    def launch(
        self,
        task: sky.Task,
        cluster_name: str,
        *,
        retry_until_up: bool,
        no_setup: bool,
        fast: bool,
        resize: bool,
        clone_disk_from: str | None,
        dryrun: bool,
    ) -> int | None:
        """Bring a cluster up and submit the task; return the job's id, None for a task without commands."""
        return self.call.submit(
            execution.launch,
            task,
            cluster_name,
            retry_until_up=retry_until_up,
            no_setup=no_setup,
            fast=fast,
            **minors.resize_option(resize=resize),
            clone_disk_from=clone_disk_from,
            dryrun=dryrun,
        )

    def exec(self, task: sky.Task, cluster_name: str) -> int | None:
        """Submit a task to a cluster that is up; return the job's id."""
        return self.call.submit(execution.exec, task, cluster_name)

    def start(
        self,
        cluster_name: str,
        *,
        idle_minutes_to_autostop: int | None,
        wait_for: str | None,
        down: bool,
        retry_until_up: bool,
        force: bool,
    ) -> None:
        """Start a stopped cluster."""
        self.call.order(
            core.start,
            cluster_name,
            idle_minutes_to_autostop=idle_minutes_to_autostop,
            wait_for=wait_for_mode(wait_for),
            retry_until_up=retry_until_up,
            down=down,
            force=force,
        )

    def stop(self, cluster_name: str, *, graceful: bool = False, graceful_timeout: int | None = None) -> None:
        """Stop a cluster."""
        self.call.order(core.stop, cluster_name, graceful=graceful, graceful_timeout=graceful_timeout)

    def autostop(
        self,
        cluster_name: str,
        *,
        idle_minutes: int,
        wait_for: str | None,
        down: bool,
        hook: str | None,
        hook_timeout: int | None,
    ) -> None:
        """Set a cluster's autostop, or cancel it with minutes below 0."""
        self.call.order(
            core.autostop,
            cluster_name,
            idle_minutes,
            wait_for=wait_for_mode(wait_for),
            down=down,
            hook=hook,
            hook_timeout=hook_timeout,
        )

    def down(
        self,
        cluster_name: str,
        *,
        purge: bool = False,
        graceful: bool = False,
        graceful_timeout: int | None = None,
    ) -> None:
        """Take a cluster down."""
        try:
            self.call.order(core.down, cluster_name, purge=purge, graceful=graceful, graceful_timeout=graceful_timeout)
        except ActionFailedError as failure:
            if failure.error != exceptions.ClusterDoesNotExist.__name__:
                raise
            print(f"Cluster {cluster_name} is gone already")

    def status(
        self,
        cluster_names: list[str] | None,
        *,
        refresh: bool,
        ip: bool = False,
        endpoints: bool = False,
        all_users: bool = False,
    ) -> list[dict[str, JsonValue]]:
        """List clusters, all of them or those of some names and globs."""
        mode = common.StatusRefreshMode.FORCE if refresh else common.StatusRefreshMode.NONE
        rows = self.call.ask(core.status, cluster_names, refresh=mode, all_users=all_users, include_handle=ip)
        return [
            cluster_row(
                row,
                ip=ip,
                endpoints=(lambda name: self.call.ask(core.endpoints, name)) if endpoints else None,
                user=all_users,
            )
            for row in rows
        ]

    def cost_report(self, days: int | None) -> list[dict[str, JsonValue]]:
        """List what clusters cost that were used in the last days, or ever; the newest first."""
        return [cost_row(report) for report in self.call.ask(core.cost_report, ALL_DAYS if days is None else days)]


def wait_for_mode(mode: str | None) -> autostop_lib.AutostopWaitFor:
    """Return SkyPilot's name of what an autostop waits for."""
    return autostop_lib.DEFAULT_AUTOSTOP_WAIT_FOR if mode is None else autostop_lib.AutostopWaitFor.from_str(mode)


def cost_row(report: dict[str, Any]) -> dict[str, JsonValue]:
    """Return what a cost report has of a cluster."""
    return {
        "name": report["name"],
        "status": report["status"].value if report["status"] else "TERMINATED",
        "resources": report["resources_str"],
        "launched_at": report["launched_at"],
        "duration": report["duration"],
        "total_cost": round(report["total_cost"], 4),
    }


def cluster_row(
    row: responses.StatusResponse, *, ip: bool, endpoints: Callable[[str], Any] | None, user: bool
) -> dict[str, JsonValue]:
    """Return what a status has of a cluster; a key without a value is left out, for a result is small."""
    is_up = row.status is status_lib.ClusterStatus.UP
    cells = {
        "name": row.name,
        "status": row.status.value,
        "infra": "/".join(part for part in (row.cloud and row.cloud.lower(), row.region) if part),
        "nodes": row.nodes,
        "resources": row.resources_str,
        "launched_at": row.launched_at,
        "autostop": row.autostop if row.autostop >= 0 else None,
        "to_down": row.to_down or None,
        "user": row.user_name if user else None,
        "ip": getattr(row.handle, "head_ip", None) if ip else None,
        "endpoints": endpoints(row.name) if endpoints is not None and is_up else None,
    }
    return {name: cell for name, cell in cells.items() if cell is not None}
