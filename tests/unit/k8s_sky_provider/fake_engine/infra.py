"""Clouds and what they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unit.k8s_sky_provider.fake_engine.recorder import Recorder

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue


class FakeInfra(Recorder):
    """Clouds by name, with the reason why they cannot be used, and offers of accelerators."""

    def __init__(self) -> None:
        super().__init__()
        self.clouds: dict[str, str] = {"aws": "no credentials", "kubernetes": ""}
        self.offers: list[dict[str, JsonValue]] = []

    def check_infra(self, names: list[str] | None) -> list[dict[str, JsonValue]]:
        self._do("check_infra", *(names or []))
        return [
            {"cloud": name, "enabled": not reason, "capabilities": [] if reason else ["compute"], "reason": reason}
            for name, reason in self.clouds.items()
            if names is None or name in names
        ]

    def list_gpus(self, name: str | None, *, count: int | None, infra: str | None) -> list[dict[str, JsonValue]]:
        self._do("list_gpus", name, count, infra)
        return list(self.offers)
