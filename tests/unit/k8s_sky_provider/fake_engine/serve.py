"""Services and pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue

ENDPOINT = "http://10.0.0.1:30001"


class FakeServices(Recorder):
    """Services and pools by name; a new one goes through :attr:`service_goes`, one status with each look."""

    def __init__(self) -> None:
        super().__init__()
        self.service_rows: dict[tuple[str, bool], dict[str, JsonValue]] = {}
        self.service_goes = ["REPLICA_INIT", "READY"]
        self.service_ends_as: str | None = None
        self.service_stays = False
        self._to_come: dict[tuple[str, bool], list[str]] = {}

    def add_service(self, name: str, status: str = "READY", *, pool: bool = False, version: int = 1) -> None:
        """Let there be a service or a pool."""
        row = {"name": name, "status": status, "version": version, "active_versions": [version]}
        replica = {"id": 1, "status": status, "version": version, "endpoint": None}
        self.service_rows[name, pool] = (
            {**row, "workers": [replica]} if pool else {**row, "endpoint": ENDPOINT, "replicas": [replica]}
        )

    def service_up(self, task: Any, name: str) -> str:
        self._change(name, pool=False)
        self._do("service_up", name)
        return ENDPOINT

    def service_update(self, task: Any, name: str, mode: str) -> None:
        self._change(name, pool=False)
        self._do("service_update", name, mode)

    def pool_apply(self, task: Any | None, name: str, *, workers: int | None, mode: str) -> None:
        self._change(name, pool=True)
        self._do("pool_apply", name, mode, *([f"workers={workers}"] if workers else []))

    def services(self, names: list[str] | None, *, pool: bool) -> list[dict[str, JsonValue]]:
        self._do("services", *(["pool"] if pool else []))
        chosen = [key for key in self.service_rows if key[1] is pool and (names is None or key[0] in names)]
        rows = [dict(self.service_rows[key]) for key in chosen]
        for key in chosen:
            self._service_goes_on(key)
        return rows

    def services_down(self, names: list[str], *, purge: bool, pool: bool) -> None:
        self._do("services_down", *names, *(["pool"] if pool else []), *(["purge"] if purge else []))
        for name in names:
            self.service_rows[name, pool]["status"] = "SHUTTING_DOWN"
            self._to_come[name, pool] = [] if self.service_ends_as is None else [self.service_ends_as]

    def print_service_log(self, name: str, *, target: str, replica: int | None, follow: bool, tail: int | None) -> None:
        self._do("print_service_log", name, target, replica, *(["follow"] if follow else []), *([tail] if tail else []))

    def _change(self, name: str, *, pool: bool) -> None:
        before = self.service_rows.get((name, pool))
        version = 1 if before is None else before["version"] + 1
        self.add_service(name, "CONTROLLER_INIT", pool=pool, version=version)
        if before is not None:
            # Until the new version is ready, the old one serves.
            self.service_rows[name, pool].update(status="READY", active_versions=before["active_versions"])
        self._to_come[name, pool] = list(self.service_goes)

    def _service_goes_on(self, key: tuple[str, bool]) -> None:
        row = self.service_rows[key]
        if key not in self._to_come:
            return
        if self._to_come[key]:
            row["status"] = self._to_come[key].pop(0)
            if not self._to_come[key]:
                row["active_versions"] = [row["version"]]
        elif row["status"] == "SHUTTING_DOWN" and not self.service_stays:
            del self.service_rows[key]
