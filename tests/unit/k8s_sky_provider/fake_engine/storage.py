"""Volumes and buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue


class FakeStorage(Recorder):
    """Volumes and buckets by name."""

    def __init__(self) -> None:
        super().__init__()
        self.volumes: list[str] = []
        self.buckets: list[str] = []
        self.applied: list[tuple[str | dict[str, Any], dict[str, Any]]] = []

    def apply_volume(self, volume: str | dict[str, Any], overrides: dict[str, Any]) -> str:
        self.applied.append((volume, overrides))
        self._do("apply_volume")
        return "data"

    def list_volumes(self, names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        self._do("list_volumes", *(["refresh"] if refresh else []))
        return [{"name": name, "status": "READY"} for name in self.volumes if names is None or name in names]

    def delete_volume(self, name: str, *, purge: bool) -> None:
        self._do("delete_volume", name, *(["purge"] if purge else []))
        self.volumes.remove(name)

    def list_storage(self) -> list[dict[str, JsonValue]]:
        self._do("list_storage")
        return [{"name": name, "status": "READY"} for name in self.buckets]

    def delete_storage(self, name: str) -> None:
        self._do("delete_storage", name)
        self.buckets.remove(name)
