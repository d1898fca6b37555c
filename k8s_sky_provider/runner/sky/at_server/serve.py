"""Services (``sky.serve.client.sdk``) and pools (``sky.jobs.client.sdk``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sky.client import sdk
from sky.jobs.client import sdk as jobs
from sky.serve import serve_utils
from sky.serve.client import sdk as serve

from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.controllers import ask_controller
from k8s_sky_provider.runner.sky.serve import service_row, with_port

if TYPE_CHECKING:
    import sky

    from k8s_sky_provider.protocol import JsonValue


class ClientServices:
    """See :class:`k8s_sky_provider.runner.engine_interface.Services`."""

    def service_up(self, task: sky.Task, name: str) -> str:
        """Bring a service up (``sky.serve.up``), with its controller if that is not up; return the endpoint."""
        service = with_port(task)
        _, endpoint = server.order(lambda: serve.up(service, name))
        return str(endpoint)

    def service_update(self, task: sky.Task, name: str, mode: str) -> None:
        """Give a service another task (``sky.serve.update``)."""
        service = with_port(task)
        server.order(lambda: serve.update(service, name, serve_utils.UpdateMode(mode)))

    def pool_apply(self, task: sky.Task | None, name: str, *, workers: int | None, mode: str) -> None:
        """Make or change a pool (``sky.jobs.pool_apply``), with its controller if that is not up."""
        server.order(lambda: jobs.pool_apply(task, name, serve_utils.UpdateMode(mode), workers))

    def services(self, names: list[str] | None, *, pool: bool) -> list[dict[str, JsonValue]]:
        """List services (``sky.serve.status``) or pools (``sky.jobs.pool_status``); none without a controller."""
        with server.explained_by_the_server():
            records = ask_controller(lambda: sdk.get(jobs.pool_status(names) if pool else serve.status(names)))
        return [service_row(record, pool=pool) for record in records]

    def services_down(self, names: list[str], *, purge: bool, pool: bool) -> None:
        """Ask the controller to take services (``sky.serve.down``) or pools (``sky.jobs.pool_down``) down."""
        server.order(lambda: (jobs.pool_down if pool else serve.down)(names, purge=purge))

    def print_service_log(
        self, name: str, *, target: str, replica: int | None, follow: bool, tail: int | None, pool: bool
    ) -> None:
        """Print the log of a replica, the controller or the load balancer (``sky.serve.tail_logs``)."""
        with server.explained_by_the_server():
            if pool:
                jobs.pool_tail_logs(name, target=target, worker_id=replica, follow=follow, tail=tail)
            else:
                serve.tail_logs(name, target=target, replica_id=replica, follow=follow, tail=tail)
