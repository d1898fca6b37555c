"""Clusters (``sky.execution``, ``sky.core``)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sky import core, exceptions, execution, global_user_state
from sky.skylet import autostop_lib
from sky.utils import common, status_lib, subprocess_utils

from k8s_sky_provider.runner.sky import minors
from k8s_sky_provider.runner.sky.errors import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    import sky
    from sky.schemas.api import responses

    from k8s_sky_provider.protocol import JsonValue

ALL_DAYS = 365 * 100
"""SkyPilot takes None for 30 days."""


class SkyClusters:
    """See :class:`k8s_sky_provider.runner.engine_interface.Clusters`."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""
        with explained():
            return bool(global_user_state.cluster_with_name_exists(cluster_name))

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""
        with explained():
            return bool(global_user_state.get_clusters_from_history(cluster_names=[cluster_name]))

    def await_submissions(self, cluster_name: str) -> None:
        """Do nothing: what a lost pod was launching here ended with it."""

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
        """Bring a cluster up and submit the task (``sky.execution.launch``)."""
        return self._submit(
            lambda: execution.launch(
                task,
                cluster_name,
                retry_until_up=retry_until_up,
                no_setup=no_setup,
                fast=fast,
                **minors.resize_option(resize=resize),
                clone_disk_from=clone_disk_from,
                dryrun=dryrun,
            ),
            retry_until_up=retry_until_up,
        )

    def exec(self, task: sky.Task, cluster_name: str) -> int | None:
        """Submit a task to a cluster that is up (``sky.execution.exec``)."""
        return self._submit(lambda: execution.exec(task, cluster_name), retry_until_up=False)

    def _submit(self, submit: Callable[[], tuple[int | None, Any]], *, retry_until_up: bool) -> int | None:
        with explained():
            while True:
                try:
                    return submit()[0]
                except exceptions.ExecutionRetryableError as error:
                    # The API server would schedule the request again; here it is for us to do.
                    if not retry_until_up:
                        raise
                    print(f"{error}; trying again in {error.retry_wait_seconds} s")
                    time.sleep(error.retry_wait_seconds)

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
        """Start a stopped cluster (``sky.core.start``)."""
        self._submit(
            lambda: (
                None,
                core.start(
                    cluster_name,
                    idle_minutes_to_autostop=idle_minutes_to_autostop,
                    wait_for=wait_for_mode(wait_for),
                    retry_until_up=retry_until_up,
                    down=down,
                    force=force,
                ),
            ),
            retry_until_up=retry_until_up,
        )

    def stop(self, cluster_name: str, *, graceful: bool = False, graceful_timeout: int | None = None) -> None:
        """Stop a cluster (``sky.core.stop``)."""
        with explained():
            core.stop(cluster_name, graceful=graceful, graceful_timeout=graceful_timeout)

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
        """Set or, below 0, cancel a cluster's autostop (``sky.core.autostop``)."""
        with explained():
            core.autostop(
                cluster_name, idle_minutes, wait_for_mode(wait_for), down=down, hook=hook, hook_timeout=hook_timeout
            )

    def down(
        self,
        cluster_name: str,
        *,
        purge: bool = False,
        graceful: bool = False,
        graceful_timeout: int | None = None,
    ) -> None:
        """Take a cluster down (``sky.core.down``)."""
        with explained():
            # A launch that was interrupted may still have children at work on this very cluster.
            subprocess_utils.kill_children_processes()
            try:
                core.down(cluster_name, purge=purge, graceful=graceful, graceful_timeout=graceful_timeout)
            except exceptions.ClusterDoesNotExist:
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
        """List clusters (``sky.core.status``)."""
        mode = common.StatusRefreshMode.FORCE if refresh else common.StatusRefreshMode.NONE
        with explained():
            rows = core.status(cluster_names, refresh=mode, all_users=all_users, include_handle=ip)
            return [
                cluster_row(row, ip=ip, endpoints=core.endpoints if endpoints else None, user=all_users) for row in rows
            ]

    def cost_report(self, days: int | None) -> list[dict[str, JsonValue]]:
        """List what clusters cost, the newest first (``sky.core.cost_report``)."""
        with explained():
            reports = core.cost_report(ALL_DAYS if days is None else days)
        return [cost_row(report) for report in reports]


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
