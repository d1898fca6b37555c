"""Clouds that the server can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sky import skypilot_config
from sky.client import sdk
from sky.utils import registry

from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.infra import Infra, cloud_name

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import JsonValue

_REASON = "not enabled at the SkyPilot API server; the log says why"


class InfraAtServer(Infra):
    """Which clouds can be used is the server's to say."""

    def check_infra(self, names: list[str] | None) -> list[dict[str, JsonValue]]:
        """Look which clouds the server can use; the names of the rows are those that were asked for.

        Why one cannot be used, the server only says in words, which are printed.
        """
        workspace = skypilot_config.get_active_workspace()
        checked = server.order(lambda: sdk.check(None if names is None else tuple(names), verbose=False))
        enabled = {cloud.lower(): list(abilities) for cloud, abilities in (checked.get(workspace) or {}).items()}
        asked = (
            {name: cloud_name(name).lower() for name in names}
            if names is not None
            else {repr(cloud): repr(cloud).lower() for cloud in registry.CLOUD_REGISTRY.values()}
        )
        return [
            {
                "cloud": name,
                "enabled": cloud in enabled,
                "capabilities": sorted(enabled.get(cloud, [])),
                "reason": "" if cloud in enabled else _REASON,
            }
            for name, cloud in asked.items()
        ]
