"""What the actions need of SkyPilot.

:class:`k8s_sky_provider.runner.sky.SkyEngine` does it in this process,
:class:`k8s_sky_provider.runner.sky.at_server.SkyClientEngine` by a SkyPilot API server. One protocol for each group of
verbs. Every method raises :class:`~k8s_sky_provider.runner.failure.ActionFailedError` when SkyPilot fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from k8s_sky_provider.protocol import JsonValue, TaskOverrides
    from k8s_sky_provider.runner.remote_shell import CommandOutput


class Tasks(Protocol):
    """Task YAMLs."""

    def load_task(
        self, task: str | dict[str, Any], overrides: TaskOverrides, mask: Callable[[Iterable[str]], None]
    ) -> Any:
        """Read, check and override a task, given by content or by path.

        :param mask: is told the values of the task's secrets before anything is done with them
        """

    def keep_autostop(self, task: Any) -> None:
        """Take out of a task what it says of autostop, so that a cluster keeps the one that it has."""


class Clusters(Protocol):
    """Clusters and what is launched on them."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""

    def await_submissions(self, cluster_name: str) -> None:
        """Wait until no launch or exec on a cluster is under way that outlived the pod which asked for it."""

    def launch(
        self,
        task: Any,
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

    def exec(self, task: Any, cluster_name: str) -> int | None:
        """Submit a task to a cluster that is up; return the job's id."""

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

    def stop(self, cluster_name: str, *, graceful: bool = False, graceful_timeout: int | None = None) -> None:
        """Stop a cluster."""

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

    def down(
        self,
        cluster_name: str,
        *,
        purge: bool = False,
        graceful: bool = False,
        graceful_timeout: int | None = None,
    ) -> None:
        """Take a cluster down."""

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

    def cost_report(self, days: int | None) -> list[dict[str, JsonValue]]:
        """List what clusters cost that were used in the last days, or ever; the newest first."""


class ClusterJobs(Protocol):
    """The jobs in a cluster's queue."""

    def job_statuses(self, cluster_name: str, job_ids: list[int] | None) -> dict[int, str]:
        """Return the status of those of the jobs that the cluster has; None is for its last job."""

    def cluster_queue(self, cluster_name: str, *, skip_finished: bool, all_users: bool) -> list[dict[str, JsonValue]]:
        """List a cluster's jobs, the newest first."""

    def follow_job(
        self, cluster_name: str, job_id: int, *, tail: int = 0, on_status: Callable[[str], None] | None = None
    ) -> str:
        """Print a job's output, or only its last lines, until it ends; return its last status, as SkyPilot names it.

        :param on_status: gets the job's status as it changes
        """

    def print_job_log(self, cluster_name: str, job_id: int, *, tail: int = 0) -> None:
        """Print what a job has written until now, or the last lines of it."""

    def download_job_log(self, cluster_name: str, job_id: int) -> str:
        """Copy a job's log files to the volume; return their directory."""

    def provision_log(self, cluster_name: str, worker: int | None) -> str:
        """Return the log of a cluster's last provisioning, or of one node's; empty where there is none."""

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        """Return a job's own exit codes, one for each node."""

    def cancel_jobs(self, cluster_name: str, job_ids: list[int] | None, *, all_users: bool = False) -> None:
        """Cancel jobs, or all of them."""


class Machines(Protocol):
    """The machines of a cluster: commands and files."""

    def machines(self, cluster_name: str) -> list[Any]:
        """Return the machines of a cluster that is up, by rank: the head is the first."""

    def check_cluster_up(self, cluster_name: str) -> None:
        """Ask the cloud about a cluster that cannot be reached; raise what it is if it is not up."""

    def run_command(
        self,
        machines: Mapping[int, Any],
        script: str,
        *,
        mark: str,
        connect_timeout: int | None,
        timeout: float | None,
    ) -> dict[int, CommandOutput]:
        """Run a script of ``remote_shell.command`` on machines at the same time; end it after ``timeout`` seconds."""

    def end_command(self, machines: Mapping[int, Any], mark: str) -> None:
        """End a command's processes on machines."""

    def find_on_machine(self, machine: Any, path: str) -> list[str]:
        """Return the absolute paths of what a path, wildcards included, stands for on a machine."""

    def upload(self, machine: Any, source: str, target: str, *, into: str) -> None:
        """Copy a file, or what is in a directory, to a machine; the directory ``into`` is made first."""

    def download(self, machine: Any, source: str, target: str) -> None:
        """Copy a file or a directory from a machine, as rsync does."""


class Storage(Protocol):
    """SkyPilot's volumes, and the buckets that it made."""

    def apply_volume(self, volume: str | dict[str, Any], overrides: dict[str, Any]) -> str:
        """Make or register a volume, given by content or by path, unless it is there; return its name."""

    def list_volumes(self, names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        """List volumes."""

    def delete_volume(self, name: str, *, purge: bool) -> None:
        """Delete a volume with what is on it."""

    def list_storage(self) -> list[dict[str, JsonValue]]:
        """List buckets."""

    def delete_storage(self, name: str) -> None:
        """Delete a bucket with what is in it."""


class Infra(Protocol):
    """Clouds and what they offer."""

    def check_infra(self, names: list[str] | None) -> list[dict[str, JsonValue]]:
        """Look which clouds can be used; all of them for None."""

    def list_gpus(self, name: str | None, *, count: int | None, infra: str | None) -> list[dict[str, JsonValue]]:
        """List accelerators that clouds offer."""


class Files(Protocol):
    """Files on a cluster's first node."""

    def read_file(self, cluster_name: str, path: str, *, limit: int) -> bytes | None:
        """Return a file's first bytes, None if there is none; a relative path is one in the home directory."""


class ManagedJobs(Protocol):
    """Jobs that SkyPilot's jobs controller looks after. A job has one row for each of its tasks."""

    def load_job(
        self,
        task: str | dict[str, Any] | list[dict[str, Any]],
        overrides: TaskOverrides,
        job_name: str,
        mask: Callable[[Iterable[str]], None],
    ) -> Any:
        """Read, check and override all the tasks of a job; ``mask`` as in :meth:`Tasks.load_task`."""

    def launch_managed_job(self, job: Any, *, pool: str | None, num_jobs: int | None) -> list[int]:
        """Bring the controller up if it is not, and submit a job as often as asked; return the ids."""

    def managed_jobs(
        self,
        *,
        job_ids: list[int] | None = None,
        skip_finished: bool = False,
        statuses: list[str] | None = None,
        all_users: bool = False,
    ) -> list[dict[str, JsonValue]]:
        """List the tasks of managed jobs, the newest job first; none without a controller."""

    def follow_managed_job(self, job_id: int, *, tail: int | None = None) -> list[dict[str, JsonValue]]:
        """Print a job's output, or only its last lines, until it ends; list its tasks then."""

    def print_managed_job_log(self, job_id: int, *, controller: bool, tail: int | None) -> None:
        """Print what a job, or the controller about it, has written until now."""

    def cancel_managed_jobs(self, job_ids: list[int]) -> None:
        """Ask the controller to cancel jobs."""


class Services(Protocol):
    """Services, and pools of workers for managed jobs."""

    def service_up(self, task: Any, name: str) -> str:
        """Bring a service up, with its controller if that is not up; return the endpoint."""

    def service_update(self, task: Any, name: str, mode: str) -> None:
        """Give a service another task."""

    def pool_apply(self, task: Any | None, name: str, *, workers: int | None, mode: str) -> None:
        """Make or change a pool, with its controller if that is not up."""

    def services(self, names: list[str] | None, *, pool: bool) -> list[dict[str, JsonValue]]:
        """List services or pools, all of them or some by name; none without a controller."""

    def services_down(self, names: list[str], *, purge: bool, pool: bool) -> None:
        """Ask the controller to take services or pools down."""

    def print_service_log(
        self, name: str, *, target: str, replica: int | None, follow: bool, tail: int | None, pool: bool
    ) -> None:
        """Print the log of a replica, the controller or the load balancer."""


class Engine(Tasks, Clusters, ClusterJobs, Machines, Storage, Infra, Files, ManagedJobs, Services, Protocol):
    """All of SkyPilot that the actions use."""
