"""Tasks, clusters and their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue, TaskOverrides

JOB_ID = 7


class FakeClusters(Recorder):
    """Clusters by name; a launch makes one and a job, which ends as :attr:`job_ends_as`."""

    def __init__(self, *clusters: str, gone: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.clusters = set(clusters)
        self.history = {*clusters, *gone}
        self.job_ends_as = "SUCCEEDED"
        self.exit_codes: list[int] = []
        self.has_commands = True
        self.tasks: list[tuple[str | dict[str, Any], TaskOverrides]] = []
        self.launches: list[dict[str, Any]] = []

    def load_task(self, task: str | dict[str, Any], overrides: TaskOverrides) -> str | dict[str, Any]:
        self.tasks.append((task, overrides))
        self._do("load_task")
        return task

    def cluster_exists(self, cluster_name: str) -> bool:
        return cluster_name in self.clusters

    def cluster_existed(self, cluster_name: str) -> bool:
        return cluster_name in self.history

    def launch(self, task: Any, cluster_name: str, *, dryrun: bool, **options: Any) -> int | None:
        self.launches.append(options)
        if dryrun:
            self._do("dry launch", cluster_name)
            return None
        # A launch that fails half-way leaves a cluster behind.
        self.clusters.add(cluster_name)
        self.history.add(cluster_name)
        self._do("launch", cluster_name)
        return JOB_ID if self.has_commands else None

    def exec(self, task: Any, cluster_name: str) -> int | None:
        self._do("exec", cluster_name)
        return JOB_ID if self.has_commands else None

    def follow_job(self, cluster_name: str, job_id: int) -> str:
        self._do("follow_job", cluster_name, job_id)
        return self.job_ends_as

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        return self.exit_codes

    def cancel_job(self, cluster_name: str, job_id: int) -> None:
        self._do("cancel_job", cluster_name, job_id)

    def down(self, cluster_name: str, *, purge: bool = False) -> None:
        self._do("down", cluster_name, *(["purge"] if purge else []))
        self.clusters.discard(cluster_name)

    def stop(self, cluster_name: str) -> None:
        self._do("stop", cluster_name)

    def status(self, cluster_names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        self._do("status", *(["refresh"] if refresh else []))
        shown = self.clusters if cluster_names is None else self.clusters & set(cluster_names)
        return [{"name": name, "status": "UP"} for name in sorted(shown)]
