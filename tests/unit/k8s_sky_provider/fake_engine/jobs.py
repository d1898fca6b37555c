"""Managed jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8s_sky_provider.protocol import JsonValue, TaskOverrides

ENDED = {"SUCCEEDED", "FAILED", "FAILED_SETUP", "FAILED_NO_RESOURCE", "FAILED_CONTROLLER", "CANCELLED"}


class FakeManagedJobs(Recorder):
    """A controller with a row for each task of a job; a followed job ends as :attr:`managed_job_ends_as`."""

    def __init__(self) -> None:
        super().__init__()
        self.job_rows: list[dict[str, JsonValue]] = []
        self.managed_job_ends_as: list[str] = ["SUCCEEDED"]
        self.loaded_jobs: list[tuple[Any, TaskOverrides, str]] = []
        self.looks_until_cancelled = 1

    def add_job(self, job_id: int, status: str = "RUNNING", *, name: str = "train", **row: Any) -> None:
        """Let the controller have a job of one more task."""
        self.job_rows.append(
            {
                "job_id": job_id,
                "task_id": sum(other["job_id"] == job_id for other in self.job_rows),
                "job_name": name,
                "task_name": name,
                "status": status,
                "submitted_at": time.time(),
                "pool": None,
                "is_primary_in_job_group": None,
                "failure_reason": None,
                **row,
            }
        )

    def load_job(
        self,
        task: str | dict[str, Any] | list[dict[str, Any]],
        overrides: TaskOverrides,
        job_name: str,
        mask: Callable[[Iterable[str]], None],
    ) -> Any:
        del mask
        self.loaded_jobs.append((task, overrides, job_name))
        self._do("load_job")
        return job_name

    def launch_managed_job(self, job: Any, *, pool: str | None, num_jobs: int | None) -> list[int]:
        first = max([0, *(row["job_id"] for row in self.job_rows)]) + 1
        job_ids = list(range(first, first + (num_jobs or 1)))
        for job_id in job_ids:
            for _ in self.managed_job_ends_as:
                self.add_job(job_id, name=job, pool=pool)
        # SkyPilot has the job before it has said its id.
        self._do("launch_managed_job", job, *([f"pool={pool}"] if pool else []))
        return job_ids

    def managed_jobs(
        self,
        *,
        job_ids: list[int] | None = None,
        skip_finished: bool = False,
        statuses: list[str] | None = None,
        all_users: bool = False,
    ) -> list[dict[str, JsonValue]]:
        self._do("managed_jobs", *(["all_users"] if all_users else []))
        self._jobs_go_on()
        return [
            row
            for row in self.job_rows
            if (job_ids is None or row["job_id"] in job_ids)
            and not (skip_finished and row["status"] in ENDED)
            and (statuses is None or row["status"] in statuses)
        ]

    def follow_managed_job(self, job_id: int, *, tail: int | None = None) -> list[dict[str, JsonValue]]:
        self._do("follow_managed_job", job_id, *([f"tail={tail}"] if tail else []))
        rows = [row for row in self.job_rows if row["job_id"] == job_id]
        for row, status in zip(rows, self.managed_job_ends_as, strict=True):
            row["status"] = status
        return rows

    def print_managed_job_log(self, job_id: int, *, controller: bool, tail: int | None) -> None:
        self._do("print_managed_job_log", job_id, *(["controller"] if controller else []), *([tail] if tail else []))

    def cancel_managed_jobs(self, job_ids: list[int]) -> None:
        self._do("cancel_managed_jobs", *job_ids)
        for row in self.job_rows:
            if row["job_id"] in job_ids and row["status"] not in ENDED:
                row["status"] = "CANCELLING"

    def _jobs_go_on(self) -> None:
        cancelling = [row for row in self.job_rows if row["status"] == "CANCELLING"]
        if cancelling:
            self.looks_until_cancelled -= 1
            for row in cancelling if self.looks_until_cancelled < 0 else ():
                row["status"] = "CANCELLED"
