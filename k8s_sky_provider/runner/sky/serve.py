"""Services (``sky.serve``) and pools (``sky.jobs.pool_*``): their controller is a cluster of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sky.jobs.server import core as jobs
from sky.serve import serve_utils
from sky.serve.server import core as serve
from sky.utils import resources_utils

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.caller import Group
from k8s_sky_provider.runner.sky.errors import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sky

    from k8s_sky_provider.protocol import JsonValue


class Services(Group):
    """Services, and pools of workers for managed jobs."""

    def service_up(self, task: sky.Task, name: str) -> str:
        """Bring a service up, with its controller if that is not up; return the endpoint."""
        with explained():
            service = with_port(task)
        _, endpoint = self.call.order(serve.up, service, name)
        return str(endpoint)

    def service_update(self, task: sky.Task, name: str, mode: str) -> None:
        """Give a service another task."""
        with explained():
            service, how = with_port(task), serve_utils.UpdateMode(mode)
        self.call.order(serve.update, service, name, how)

    def pool_apply(self, task: sky.Task | None, name: str, *, workers: int | None, mode: str) -> None:
        """Make or change a pool, with its controller if that is not up."""
        # SkyPilot takes none for more or fewer workers of the same; its types do not say so.
        changed: Any = task
        with explained():
            how = serve_utils.UpdateMode(mode)
        self.call.order(jobs.pool_apply, changed, name, how, workers)

    def services(self, names: list[str] | None, *, pool: bool) -> list[dict[str, JsonValue]]:
        """List services or pools, all of them or some by name; none without a controller."""
        records = self.call.ask_controller(jobs.pool_status if pool else serve.status, names)
        return [service_row(record, pool=pool) for record in records or []]

    def services_down(self, names: list[str], *, purge: bool, pool: bool) -> None:
        """Ask the controller to take services or pools down."""
        self.call.order(jobs.pool_down if pool else serve.down, names, purge=purge)

    def print_service_log(self, name: str, *, target: str, replica: int | None, follow: bool, tail: int | None) -> None:
        """Print the log of a replica, the controller or the load balancer."""
        self.call.show(serve.tail_logs, name, target=target, replica_id=replica, follow=follow, tail=tail)


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
