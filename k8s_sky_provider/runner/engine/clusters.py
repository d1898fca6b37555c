"""Clusters (``sky.execution``, ``sky.core``)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sky import core, exceptions, execution, global_user_state
from sky.utils import common, subprocess_utils

from k8s_sky_provider.runner.engine.errors import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    import sky

    from k8s_sky_provider.protocol import JsonValue


class SkyClusters:
    """See :class:`k8s_sky_provider.runner.engine_interface.Clusters`."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""
        with explained():
            return bool(global_user_state.cluster_with_name_exists(cluster_name))

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""
        with explained():
            return any(row["name"] == cluster_name for row in global_user_state.get_clusters_from_history())

    def launch(
        self,
        task: sky.Task,
        cluster_name: str,
        *,
        idle_minutes_to_autostop: int | None,
        down: bool,
        retry_until_up: bool,
    ) -> int | None:
        """Bring a cluster up and submit the task (``sky.execution.launch``)."""
        return self._submit(
            lambda: execution.launch(
                task,
                cluster_name,
                idle_minutes_to_autostop=idle_minutes_to_autostop,
                down=down,
                retry_until_up=retry_until_up,
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

    def down(self, cluster_name: str, *, purge: bool = False) -> None:
        """Take a cluster down (``sky.core.down``)."""
        with explained():
            # A launch that was interrupted may still have children at work on this very cluster.
            subprocess_utils.kill_children_processes()
            try:
                core.down(cluster_name, purge=purge)
            except exceptions.ClusterDoesNotExist:
                print(f"Cluster {cluster_name} is gone already")

    def stop(self, cluster_name: str) -> None:
        """Stop a cluster (``sky.core.stop``)."""
        with explained():
            core.stop(cluster_name)

    def status(self, cluster_names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        """List clusters (``sky.core.status``)."""
        mode = common.StatusRefreshMode.FORCE if refresh else common.StatusRefreshMode.NONE
        with explained():
            rows = core.status(cluster_names, refresh=mode, include_handle=False)
        return [
            {
                "name": row.name,
                "status": row.status.value,
                "nodes": row.nodes,
                "resources": row.resources_str,
                "launched_at": row.launched_at,
                "autostop": row.autostop,
                "to_down": row.to_down,
            }
            for row in rows
        ]
