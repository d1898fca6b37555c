"""Tasks and clusters."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8s_sky_provider.protocol import JsonValue, TaskOverrides

JOB_ID = 7


class FakeClusters(Recorder):
    """Clusters by name; a launch makes one and a job, see :class:`FakeClusterJobs`."""

    def __init__(self, *clusters: str, gone: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.clusters = set(clusters)
        self.history = {*clusters, *gone}
        self.cluster_status = "UP"
        self.cluster_cells: dict[str, JsonValue] = {}  # what a status has of each cluster besides
        self.taken_down: set[str] = set()  # clusters that took themselves down, which SkyPilot has not seen yet
        self.has_commands = True
        self.under_way: set[str] = set()  # clusters that what outlived an earlier pod is launching
        self.tasks: list[tuple[str | dict[str, Any], TaskOverrides]] = []
        self.launches: list[dict[str, Any]] = []

    def load_task(
        self, task: str | dict[str, Any], overrides: TaskOverrides, mask: Callable[[Iterable[str]], None]
    ) -> Any:
        del mask
        self.tasks.append((task, overrides))
        self._do("load_task")
        return task

    def keep_autostop(self, task: Any) -> None:
        del task
        self._do("keep_autostop")

    def cluster_exists(self, cluster_name: str) -> bool:
        return cluster_name in self.clusters

    def cluster_existed(self, cluster_name: str) -> bool:
        return cluster_name in self.history

    def await_submissions(self, cluster_name: str) -> None:
        self.clusters |= self.under_way & {cluster_name}

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

    def start(self, cluster_name: str, **options: Any) -> None:
        self._do("start", cluster_name, *_said(options))

    def stop(self, cluster_name: str, **options: Any) -> None:
        self._do("stop", cluster_name, *_said(options))

    def autostop(self, cluster_name: str, **options: Any) -> None:
        self._do("autostop", cluster_name, *_said(options))

    def down(self, cluster_name: str, **options: Any) -> None:
        self._do("down", cluster_name, *_said(options))
        self.clusters.discard(cluster_name)

    def status(self, cluster_names: list[str] | None, *, refresh: bool, **options: Any) -> list[dict[str, JsonValue]]:
        self._do("status", *_said({"refresh": refresh, **options}))
        patterns = ["*"] if cluster_names is None else cluster_names
        if refresh:
            self.clusters -= self.taken_down
        # SkyPilot promises no order.
        return [
            {"name": name, "status": self.cluster_status, **self.cluster_cells}
            for name in sorted(self.clusters, reverse=True)
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        ]

    def cost_report(self, days: int | None) -> list[dict[str, JsonValue]]:
        self._do("cost_report", days)
        return [{"name": name, "total_cost": 1.5} for name in sorted(self.history)]


def _said(options: dict[str, Any]) -> list[str]:
    """Return the options that are not at their default, a flag by its name alone."""
    return [
        name if value is True else f"{name}={value}" for name, value in options.items() if value not in (None, False)
    ]
