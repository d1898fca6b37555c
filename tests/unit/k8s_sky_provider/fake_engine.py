"""A SkyPilot in memory: the one thing that the runner's tests fake.

:class:`FakeEngine` implements ``k8s_sky_provider.runner.actions.Engine``. It has clusters and jobs; a
launch makes a cluster and a job, which has the status :attr:`FakeEngine.job_ends_as`.

* :attr:`FakeEngine.failures` maps a method's name to the errors that its next calls raise.
* :attr:`FakeEngine.told_to_stop_in` names a method: SIGTERM arrives when it is under way.
* :attr:`FakeEngine.calls` has what was done, in order, as text: ``down sky-demo``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue

JOB_ID = 7


class FakeEngine:
    """See the top of this file."""

    def __init__(self, *clusters: str, gone: tuple[str, ...] = ()) -> None:
        self.clusters = set(clusters)
        self.history = {*clusters, *gone}
        self.job_ends_as = "SUCCEEDED"
        self.exit_codes: list[int] = []
        self.has_commands = True
        self.failures: dict[str, list[ActionFailedError]] = {}
        self.told_to_stop_in: str | None = None
        self.calls: list[str] = []
        self.tasks: list[dict[str, Any]] = []
        self.launches: list[dict[str, Any]] = []

    def load_task(
        self,
        task: str | dict[str, Any],
        *,
        resources: dict[str, Any],
        default_image_id: str | None,
        num_nodes: int | None,
        envs: dict[str, str],
    ) -> dict[str, Any]:
        loaded = {
            "task": task,
            "resources": resources,
            "default_image_id": default_image_id,
            "num_nodes": num_nodes,
            "envs": envs,
        }
        self.tasks.append(loaded)
        self._do("load_task")
        return loaded

    def cluster_exists(self, cluster_name: str) -> bool:
        return cluster_name in self.clusters

    def cluster_existed(self, cluster_name: str) -> bool:
        return cluster_name in self.history

    def launch(
        self, task: Any, cluster_name: str, *, idle_minutes_to_autostop: int | None, down: bool, retry_until_up: bool
    ) -> int | None:
        self.launches.append(
            {
                "idle_minutes_to_autostop": idle_minutes_to_autostop,
                "down": down,
                "retry_until_up": retry_until_up,
            }
        )
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

    def fail(self, method: str, *, times: int = 1, exit_code: ExitCode = ExitCode.TRY_AGAIN) -> None:
        """Let the next calls of a method fail."""
        self.failures[method] = [ActionFailedError(exit_code, f"{method} failed", "FakeError")] * times

    def _do(self, method: str, *arguments: object) -> None:
        self.calls.append(" ".join(map(str, (method, *arguments))))
        if self.told_to_stop_in == method:
            raise CancelledActionError
        if self.failures.get(method):
            raise self.failures[method].pop(0)
