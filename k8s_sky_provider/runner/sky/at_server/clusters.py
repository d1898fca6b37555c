"""Clusters (``sky.client.sdk``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sky import exceptions
from sky.client import sdk
from sky.utils import common

from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky import minors
from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.clusters import ALL_DAYS, cluster_row, cost_row, wait_for_mode

if TYPE_CHECKING:
    from collections.abc import Callable

    import sky

    from k8s_sky_provider.protocol import JsonValue

SUBMISSIONS = {"sky.launch", "sky.exec"}
"""Names of the requests that submit a job to a cluster."""


NEWEST_REQUESTS = 50
"""How many of a cluster's requests are looked at, to find one."""


class ClientClusters:
    """See :class:`k8s_sky_provider.runner.engine_interface.Clusters`."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name (``sky.status``)."""
        return bool(server.ask(lambda: sdk.status([cluster_name], all_users=True)))

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name (``sky.cost_report``)."""
        return any(report["name"] == cluster_name for report in server.ask(lambda: sdk.cost_report(ALL_DAYS)))

    def await_submissions(self, cluster_name: str) -> None:
        """Wait until no launch or exec on a cluster is under way at the server: those of a lost pod go on there."""
        with server.explained_by_the_server():
            under_way = [
                request
                for request in sdk.api_status(cluster_name=cluster_name)
                # An older server tells of all requests.
                if request.name in SUBMISSIONS and request.cluster_name == cluster_name
            ]
        for request in under_way:
            print(f"Request {request.request_id} ({request.name}) on cluster {cluster_name} is under way: awaiting it")
            try:
                server.wait_for(request.request_id)
            except ActionFailedError as failure:
                print(f"It failed: {failure.reason}")

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
        """Bring a cluster up and submit the task (``sky.launch``)."""
        return _job_of(
            task,
            cluster_name,
            lambda: sdk.launch(
                task,
                cluster_name,
                retry_until_up=retry_until_up,
                no_setup=no_setup,
                fast=fast,
                **minors.resize_option(resize=resize),
                clone_disk_from=clone_disk_from,
                dryrun=dryrun,
            ),
        )

    def exec(self, task: sky.Task, cluster_name: str) -> int | None:
        """Submit a task to a cluster that is up (``sky.exec``)."""
        return _job_of(task, cluster_name, lambda: sdk.exec(task, cluster_name))

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
        """Start a stopped cluster (``sky.start``)."""
        server.order(
            lambda: sdk.start(
                cluster_name,
                idle_minutes_to_autostop=idle_minutes_to_autostop,
                wait_for=wait_for_mode(wait_for),
                retry_until_up=retry_until_up,
                down=down,
                force=force,
            )
        )

    def stop(self, cluster_name: str, *, graceful: bool = False, graceful_timeout: int | None = None) -> None:
        """Stop a cluster (``sky.stop``)."""
        server.order(lambda: sdk.stop(cluster_name, graceful=graceful, graceful_timeout=graceful_timeout))

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
        """Set or, below 0, cancel a cluster's autostop (``sky.autostop``)."""
        server.order(
            lambda: sdk.autostop(
                cluster_name,
                idle_minutes,
                wait_for=wait_for_mode(wait_for),
                down=down,
                hook=hook,
                hook_timeout=hook_timeout,
            )
        )

    def down(
        self,
        cluster_name: str,
        *,
        purge: bool = False,
        graceful: bool = False,
        graceful_timeout: int | None = None,
    ) -> None:
        """Take a cluster down (``sky.down``)."""
        try:
            server.order(
                lambda: sdk.down(cluster_name, purge=purge, graceful=graceful, graceful_timeout=graceful_timeout)
            )
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
        """List clusters (``sky.status``)."""
        mode = common.StatusRefreshMode.FORCE if refresh else common.StatusRefreshMode.NONE
        rows = server.ask(lambda: sdk.status(cluster_names, refresh=mode, all_users=all_users))
        return [
            cluster_row(
                row,
                ip=ip,
                endpoints=(lambda name: server.ask(lambda: sdk.endpoints(name))) if endpoints else None,
                user=all_users,
            )
            for row in rows
        ]

    def cost_report(self, days: int | None) -> list[dict[str, JsonValue]]:
        """List what clusters cost, the newest first (``sky.cost_report``)."""
        return [cost_row(report) for report in server.ask(lambda: sdk.cost_report(ALL_DAYS if days is None else days))]


def _job_of(task: sky.Task, cluster_name: str, submit: Callable[[], str]) -> int | None:
    job_id: int | None = server.order(submit, lambda: _submission_of(task.name, cluster_name))[0]
    return job_id


def _submission_of(job_name: str, cluster_name: str) -> str | None:
    """Return the id of the request that has a job's unique name in it; the server shows that to its own user."""
    named = re.compile(rf"{re.escape(job_name)}(?!\d)")
    for request in sdk.api_status(all_status=True, limit=NEWEST_REQUESTS, cluster_name=cluster_name):
        if request.name in SUBMISSIONS and named.search(str(request.request_body)):
            return str(request.request_id)
    return None
