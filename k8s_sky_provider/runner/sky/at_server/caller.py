"""Calls, for a function of SkyPilot's, the one of its client that has the API server do the same."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Concatenate

from sky import catalog, core, execution
from sky.client import sdk
from sky.jobs.client import sdk as jobs_sdk
from sky.jobs.server import core as jobs
from sky.serve.client import sdk as serve_sdk
from sky.serve.server import core as serve
from sky.server import common
from sky.volumes.client import sdk as volumes_sdk
from sky.volumes.server import core as volumes

from k8s_sky_provider.runner.sky import minors
from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.caller import P, T, none_without_a_controller

if TYPE_CHECKING:
    from collections.abc import Callable

    import sky

SUBMISSIONS = {"sky.launch", "sky.exec"}
"""Names of the requests that submit a job to a cluster."""

NEWEST_REQUESTS = 50
"""How many of a cluster's requests are looked at, to find one."""


def _status(cluster_names: list[str] | None, *, include_handle: bool, **options: Any) -> common.RequestId[Any]:
    # The server always sends the handles.
    del include_handle
    return sdk.status(cluster_names, **options)


def _queue(*, statuses: list[str] | None, **options: Any) -> common.RequestId[Any]:
    request_id: common.RequestId[Any] = jobs_sdk.queue_v2(**options, **minors.statuses_option(statuses))
    return request_id


_OF_THE_CLIENT: dict[Callable[..., Any], Callable[..., Any]] = {
    execution.launch: sdk.launch,
    execution.exec: sdk.exec,
    core.start: sdk.start,
    core.stop: sdk.stop,
    core.autostop: sdk.autostop,
    core.down: sdk.down,
    core.status: _status,
    core.endpoints: sdk.endpoints,
    core.cost_report: sdk.cost_report,
    core.job_status: sdk.job_status,
    core.queue: sdk.queue,
    core.cancel: sdk.cancel,
    core.tail_logs: sdk.tail_logs,
    core.download_logs: sdk.download_logs,
    core.storage_ls: sdk.storage_ls,
    core.storage_delete: sdk.storage_delete,
    catalog.list_accelerators: sdk.list_accelerators,
    volumes.volume_list: volumes_sdk.ls,
    volumes.volume_delete: volumes_sdk.delete,
    jobs.launch: jobs_sdk.launch,
    jobs.queue_v2: _queue,
    jobs.cancel: jobs_sdk.cancel,
    jobs.tail_logs: jobs_sdk.tail_logs,
    jobs.pool_apply: jobs_sdk.pool_apply,
    jobs.pool_status: jobs_sdk.pool_status,
    jobs.pool_down: jobs_sdk.pool_down,
    serve.up: serve_sdk.up,
    serve.update: serve_sdk.update,
    serve.status: serve_sdk.status,
    serve.down: serve_sdk.down,
    serve.tail_logs: serve_sdk.tail_logs,
}
"""What the server runs -> what of the client asks it to, with the same arguments."""


class AtServer:
    """See :class:`k8s_sky_provider.runner.sky.caller.Caller`."""

    def ask(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what changes nothing."""
        return server.ask(_of_the_client(function, *args, **options))

    def ask_controller(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
        """Call what asks a controller; None where there is no controller."""
        make_request = _of_the_client(function, *args, **options)
        with server.explained_by_the_server():
            return none_without_a_controller(lambda: sdk.get(make_request()))

    def order(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what changes something, and print what the server says on the way."""
        return server.order(_of_the_client(function, *args, **options))

    def submit(
        self,
        function: Callable[Concatenate[sky.Task, str, P], tuple[int | None, Any]],
        task: sky.Task,
        cluster_name: str,
        *args: P.args,
        **options: P.kwargs,
    ) -> int | None:
        """Call what submits a task to a cluster; return the job's id, None for a task without commands."""
        make_request = _of_the_client(function, task, cluster_name, *args, **options)
        job_id: int | None = server.order(make_request, lambda: _submission_of(task.name, cluster_name))[0]
        return job_id

    def show(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what prints a log, or brings one: no request of it has an id."""
        with server.explained_by_the_server():
            shown: T = _OF_THE_CLIENT[function](*args, **options)
            return shown


def _of_the_client(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> Callable[[], common.RequestId[T]]:
    return functools.partial(_OF_THE_CLIENT[function], *args, **options)


def _submission_of(job_name: str | None, cluster_name: str) -> common.RequestId[Any] | None:
    """Return the id of the request that has a job's unique name in it; the server shows that to its own user."""
    if job_name is None:
        return None
    named = re.compile(rf"{re.escape(job_name)}(?!\d)")
    for request in sdk.api_status(all_status=True, limit=NEWEST_REQUESTS, cluster_name=cluster_name):
        if request.name in SUBMISSIONS and named.search(str(request.request_body)):
            return common.RequestId(request.request_id)
    return None
