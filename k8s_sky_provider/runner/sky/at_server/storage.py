"""Volumes and buckets (``sky.volumes.client.sdk``, ``sky.client.sdk``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sky.client import sdk
from sky.volumes.client import sdk as volumes

from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.storage import storage_row, volume_row, wanted_volume

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue


class ClientStorage:
    """See :class:`k8s_sky_provider.runner.engine_interface.Storage`."""

    def apply_volume(self, volume: str | dict[str, Any], overrides: dict[str, Any]) -> str:
        """Make or register a volume unless it is there (``sky.volumes.apply``)."""
        wanted = wanted_volume(volume, overrides)
        server.order(lambda: volumes.apply(wanted))
        return str(wanted.name)

    def list_volumes(self, names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        """List volumes (``sky.volumes.ls``)."""
        rows = server.ask(lambda: volumes.ls(refresh=refresh))
        return [volume_row(row) for row in rows if names is None or row.name in names]

    def delete_volume(self, name: str, *, purge: bool) -> None:
        """Delete a volume (``sky.volumes.delete``)."""
        server.order(lambda: volumes.delete([name], purge=purge))

    def list_storage(self) -> list[dict[str, JsonValue]]:
        """List buckets (``sky.storage_ls``)."""
        return [storage_row(row) for row in server.ask(sdk.storage_ls)]

    def delete_storage(self, name: str) -> None:
        """Delete a bucket (``sky.storage_delete``)."""
        server.order(lambda: sdk.storage_delete(name))
