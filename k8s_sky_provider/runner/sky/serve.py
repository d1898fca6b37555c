"""Services (``sky.serve``) and pools (``sky.jobs.pool_*``), in this process: only their controller is elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sky.backends import backend_utils
from sky.jobs.server import core as jobs
from sky.serve import serve_utils
from sky.serve.server import core as serve
from sky.utils import resources_utils

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.controllers import ask_controller, starting_a_controller
from k8s_sky_provider.runner.sky.errors import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sky

    from k8s_sky_provider.protocol import JsonValue


class SkyServices:
    """See :class:`k8s_sky_provider.runner.engine_interface.Services`."""

    def service_up(self, task: sky.Task, name: str) -> str:
        """Bring a service up (``sky.serve.up``), with its controller if that is not up; return the endpoint."""
        with explained(), starting_a_controller():
            _, endpoint = serve.up(with_port(task), name)
        return str(endpoint)

    def service_update(self, task: sky.Task, name: str, mode: str) -> None:
        """Give a service another task (``sky.serve.update``)."""
        with explained():
            serve.update(with_port(task), name, serve_utils.UpdateMode(mode))

    def pool_apply(self, task: sky.Task | None, name: str, *, workers: int | None, mode: str) -> None:
        """Make or change a pool (``sky.jobs.pool_apply``), with its controller if that is not up."""
        with explained(), starting_a_controller():
            jobs.pool_apply(task, name, serve_utils.UpdateMode(mode), workers)

    def services(self, names: list[str] | None, *, pool: bool) -> list[dict[str, JsonValue]]:
        """List services (``sky.serve.status``) or pools (``sky.jobs.pool_status``); none without a controller."""
        # SkyPilot looks for two hosts of the internet first, and its controller may well be where there is none.
        setattr(backend_utils, "check_network_connection", lambda: None)  # noqa: B010  # mypy knows the name as a function
        with explained():
            records = ask_controller(lambda: jobs.pool_status(names) if pool else serve.status(names))
        return [service_row(record, pool=pool) for record in records]

    def services_down(self, names: list[str], *, purge: bool, pool: bool) -> None:
        """Ask the controller to take services (``sky.serve.down``) or pools (``sky.jobs.pool_down``) down."""
        with explained():
            (jobs.pool_down if pool else serve.down)(names, purge=purge)

    def print_service_log(
        self, name: str, *, target: str, replica: int | None, follow: bool, tail: int | None, pool: bool
    ) -> None:
        """Print the log of a replica, the controller or the load balancer (``sky.serve.tail_logs``)."""
        with explained():
            if pool:
                jobs.pool_tail_logs(name, target=target, worker_id=replica, follow=follow, tail=tail)
            else:
                serve.tail_logs(name, target=target, replica_id=replica, follow=follow, tail=tail)


def with_port(task: sky.Task) -> sky.Task:
    """Set the port that requests go to, as SkyPilot's command line does."""
    if task.service is None or task.service.pool:
        raise ActionFailedError(ExitCode.REQUEST_WRONG, "sky_task_yaml: a service needs a section `service`")
    if task.service.ports is None:
        ports = {port for option in task.resources for port in resources_utils.port_ranges_to_set(option.ports)}
        if len(ports) != 1:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"sky_task_yaml: a service needs one port for its requests, and resources.ports opens {len(ports)}: "
                "open one, or name the one that is meant as service.ports",
            )
        task.service.set_ports(str(ports.pop()))
    return task


def service_row(record: Mapping[str, Any], *, pool: bool) -> dict[str, JsonValue]:
    """Return what a status has of a service or a pool."""
    row = {
        "name": record["name"],
        "status": record["status"].value,
        "version": record.get("version"),
        "active_versions": record.get("active_versions") or [],
        "uptime": record.get("uptime"),
    }
    kind = "workers" if pool else "replicas"
    if not pool:
        row["endpoint"] = record.get("endpoint")
    row[kind] = [
        {
            "id": replica["replica_id"],
            "status": replica["status"].value,
            "version": replica.get("version"),
            "endpoint": replica.get("endpoint"),
        }
        for replica in record.get("replica_info") or []
    ]
    return row
