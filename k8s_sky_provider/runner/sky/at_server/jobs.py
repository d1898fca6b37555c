"""Managed jobs (``sky.jobs.client.sdk``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sky.client import sdk
from sky.jobs.client import sdk as jobs

from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.controllers import ask_controller
from k8s_sky_provider.runner.sky.jobs import FIELDS, SkyManagedJobs, ids_of, job_row

if TYPE_CHECKING:
    import sky

    from k8s_sky_provider.protocol import JsonValue


class ClientManagedJobs(SkyManagedJobs):
    """See :class:`k8s_sky_provider.runner.engine_interface.ManagedJobs`; reading and following jobs is the same."""

    def launch_managed_job(self, job: sky.Dag, *, pool: str | None, num_jobs: int | None) -> list[int]:
        """Submit a job (``sky.jobs.launch``); return the ids."""
        return ids_of(server.order(lambda: jobs.launch(job, name=job.name, pool=pool, num_jobs=num_jobs)))

    def managed_jobs(
        self,
        *,
        job_ids: list[int] | None = None,
        skip_finished: bool = False,
        statuses: list[str] | None = None,
        all_users: bool = False,
    ) -> list[dict[str, JsonValue]]:
        """List the tasks of managed jobs (``sky.jobs.queue``), the newest job first; none without a controller."""
        with server.explained_by_the_server():
            rows = ask_controller(
                lambda: sdk.get(
                    jobs.queue_v2(
                        refresh=True,
                        job_ids=job_ids,
                        skip_finished=skip_finished,
                        statuses=statuses,
                        all_users=all_users,
                        fields=list(FIELDS),
                    )
                )[0]
            )
        return [job_row(row) for row in rows]

    def _tail(self, job_id: int, *, follow: bool, controller: bool, tail: int | None) -> int | None:
        with server.explained_by_the_server():
            end: int | None = jobs.tail_logs(
                job_id=job_id, follow=follow, controller=controller, refresh=True, tail=tail
            )
        return end

    def cancel_managed_jobs(self, job_ids: list[int]) -> None:
        """Ask the controller to cancel jobs (``sky.jobs.cancel``); it takes their clusters down."""
        server.order(lambda: jobs.cancel(job_ids=job_ids))
