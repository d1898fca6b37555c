"""The jobs in a cluster's queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.protocol import JsonValue


class FakeClusterJobs(Recorder):
    """The jobs of every cluster are :attr:`jobs`, id -> status, the last one last; followed, they end as it says."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = {1: "SUCCEEDED", 2: "RUNNING"}
        self.job_names: dict[int, str] = {}
        self.job_ends_as = "SUCCEEDED"
        self.exit_codes: list[int] = []
        self.provision_logs = {"demo": "line 1\nline 2\nline 3\n"}

    def job_statuses(self, cluster_name: str, job_ids: list[int] | None) -> dict[int, str]:
        self._do("job_statuses", cluster_name)
        wanted = list(self.jobs)[-1:] if job_ids is None else job_ids
        return {job_id: self.jobs[job_id] for job_id in wanted if job_id in self.jobs}

    def cluster_queue(self, cluster_name: str, **options: Any) -> list[dict[str, JsonValue]]:
        self._do("cluster_queue", cluster_name, *(name for name, value in options.items() if value))
        return [
            {"job_id": job_id, "status": self.jobs[job_id]}
            | ({"job_name": self.job_names[job_id]} if job_id in self.job_names else {})
            for job_id in sorted(self.jobs, reverse=True)
        ]

    def follow_job(
        self, cluster_name: str, job_id: int, *, tail: int = 0, on_status: Callable[[str], None] | None = None
    ) -> str:
        self._do("follow_job", cluster_name, job_id, *([f"tail={tail}"] if tail else []))
        if on_status:
            on_status(self.job_ends_as)
        return self.job_ends_as

    def print_job_log(self, cluster_name: str, job_id: int, *, tail: int = 0) -> None:
        self._do("print_job_log", cluster_name, job_id, f"tail={tail}")

    def download_job_log(self, cluster_name: str, job_id: int) -> str:
        self._do("download_job_log", cluster_name, job_id)
        return f"/home/sky/sky_logs/{cluster_name}/{job_id}"

    def provision_log(self, cluster_name: str, worker: int | None) -> str:
        self._do("provision_log", cluster_name, worker)
        return self.provision_logs.get(cluster_name, "")

    def job_exit_codes(self, cluster_name: str, job_id: int) -> list[int]:
        return self.exit_codes

    def cancel_jobs(self, cluster_name: str, job_ids: list[int] | None, *, all_users: bool = False) -> None:
        self._do("cancel_jobs", cluster_name, job_ids or "all", *(["all_users"] if all_users else []))
