"""Volumes and buckets (``sky.volumes.server.core``, ``sky.core``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sky import core
from sky.utils import volume as volume_utils
from sky.volumes import volume as sky_volume
from sky.volumes.server import core as volumes

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import yaml_file
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.caller import Group
from k8s_sky_provider.runner.sky.errors import explain, explained

if TYPE_CHECKING:
    from sky.schemas.api import responses

    from k8s_sky_provider.protocol import JsonValue


class Storage(Group):
    """SkyPilot's volumes, and the buckets that it made."""

    def apply_volume(self, volume: str | dict[str, Any], overrides: dict[str, Any]) -> str:
        """Make or register a volume, given by content or by path, unless it is there; return its name."""
        wanted = wanted_volume(volume, overrides)
        self._apply(wanted)
        return str(wanted.name)

    def _apply(self, wanted: sky_volume.Volume) -> None:
        with explained():
            config = dict(wanted.config)
            if wanted.type == volume_utils.VolumeType.PVC.value:
                # Otherwise the API server does it.
                config.setdefault("access_mode", volume_utils.VolumeAccessMode.READ_WRITE_ONCE.value)
            volumes.volume_apply(
                name=str(wanted.name),
                volume_type=str(wanted.type),
                cloud=str(wanted.cloud),
                region=wanted.region,
                zone=wanted.zone,
                size=wanted.size,
                config={**config, "use_existing": wanted.use_existing},
                labels=wanted.labels,
                use_existing=wanted.use_existing,
            )

    def list_volumes(self, names: list[str] | None, *, refresh: bool) -> list[dict[str, JsonValue]]:
        """List volumes."""
        rows = self.call.ask(volumes.volume_list, refresh=refresh)
        return [volume_row(row) for row in rows if names is None or row.name in names]

    def delete_volume(self, name: str, *, purge: bool) -> None:
        """Delete a volume with what is on it."""
        self.call.order(volumes.volume_delete, [name], purge=purge)

    def list_storage(self) -> list[dict[str, JsonValue]]:
        """List buckets."""
        return [storage_row(row) for row in self.call.ask(core.storage_ls)]

    def delete_storage(self, name: str) -> None:
        """Delete a bucket with what is in it."""
        self.call.order(core.storage_delete, name)


def wanted_volume(volume: str | dict[str, Any], overrides: dict[str, Any]) -> sky_volume.Volume:
    """Read and check a volume, given by content or by path."""
    content = _read_volume_file(volume) if isinstance(volume, str) else volume
    try:
        wanted = sky_volume.Volume.from_yaml_config({**content, **overrides})
        wanted.validate()
    except Exception as error:
        # Whatever SkyPilot dislikes about it here, nothing has been made and only the author can mend it.
        raise ActionFailedError(ExitCode.REQUEST_WRONG, explain(error).reason, type(error).__name__) from error
    return wanted


def volume_row(row: responses.VolumeRecord) -> dict[str, JsonValue]:
    """Return what a list has of a volume."""
    return {
        "name": row.name,
        "type": row.type,
        "status": row.status,
        "size": row.size,
        "infra": "/".join(filter(None, [row.cloud, row.region, row.zone])),
        "name_on_cloud": row.name_on_cloud,
        "used_by": row.usedby_clusters,
        "error": row.error_message,
    }


def storage_row(row: responses.StorageRecord) -> dict[str, JsonValue]:
    """Return what a list has of a bucket."""
    return {
        "name": row.name,
        "status": row.status.value,
        "stores": [store.value for store in row.store],
        "launched_at": row.launched_at,
    }


def _read_volume_file(path: str) -> dict[str, Any]:
    documents = yaml_file.read("volume", path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ActionFailedError(ExitCode.REQUEST_WRONG, f"volume: {path!r} must be one YAML mapping")
    content: dict[str, Any] = documents[0]
    return content
