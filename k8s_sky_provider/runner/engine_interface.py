"""What the actions need of SkyPilot; :class:`k8s_sky_provider.runner.engine.SkyEngine` is the real thing.

One protocol for each group of verbs. Every method raises
:class:`~k8s_sky_provider.runner.failure.ActionFailedError` when SkyPilot fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue, TaskOverrides


class Tasks(Protocol):
    """Task YAMLs."""

    def load_task(self, task: str | dict[str, Any], overrides: TaskOverrides) -> Any:
        """Read, check and override a task, given by content or by path."""


class Clusters(Protocol):
    """Clusters and what is launched on them."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""

    def launch(
        self, task: Any, cluster_name: str, *, idle_minutes_to_autostop: int | None, down: bool, retry_until_up: bool
    ) -> int | None:
        """Bring a cluster up and submit the task; return the job's id, None for a task without commands."""

    def exec(self, task: Any, cluster_name: str) -> int | None:
        """Submit a task to a cluster that is up; return the job's id."""

    def down(self, cluster_name: str, *, purge: bool = False) -> None:
        """Take a cluster down."""

    def stop(self, cluster_name: str) -> None:
        """Stop a cluster."""

    def status(self, cluster_names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        """List clusters."""


class ClusterJobs(Protocol):
    """The jobs in a cluster's queue."""

    def follow_job(self, cluster_name: str, job_id: int) -> str:
        """Print a job's output until it ends; return its last status, as SkyPilot names it."""

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        """Return a job's own exit codes, one for each node."""

    def cancel_job(self, cluster_name: str, job_id: int) -> None:
        """Cancel a job."""


class Engine(Tasks, Clusters, ClusterJobs, Protocol):
    """All of SkyPilot that the actions use."""
