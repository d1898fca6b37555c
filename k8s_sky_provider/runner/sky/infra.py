"""Clouds and what they offer (``sky.check``, ``sky.catalog``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sky import catalog, check, global_user_state, skypilot_config
from sky.utils import infra_utils, registry

from k8s_sky_provider.runner.console import without_terminal_codes
from k8s_sky_provider.runner.sky.caller import Group
from k8s_sky_provider.runner.sky.errors import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_sky_provider.protocol import JsonValue


class Infra(Group):
    """Clouds and what they offer."""

    def check_infra(self, names: list[str] | None) -> list[dict[str, JsonValue]]:
        """Look which clouds can be used, all of them for None; the names of the rows are those that were asked for."""
        with explained():
            workspace = skypilot_config.get_active_workspace()
            enabled = check.check(clouds=names, workspace=workspace)[workspace]
            results = global_user_state.get_cached_check_results(workspace)
            asked = {name: cloud_name(name) for name in names} if names is not None else {key: key for key in results}
        return [
            {
                "cloud": name,
                "enabled": bool(enabled.get(cloud)),
                "capabilities": sorted(enabled.get(cloud, [])),
                "reason": _reason(results.get(cloud, {})),
            }
            for name, cloud in asked.items()
        ]

    def list_gpus(self, name: str | None, *, count: int | None, infra: str | None) -> list[dict[str, JsonValue]]:
        """List accelerators that clouds offer, the cheapest offer of each."""
        with explained():
            where = infra_utils.InfraInfo.from_str(infra)
        found = self.call.ask(
            catalog.list_accelerators,
            gpus_only=True,
            name_filter=name,
            region_filter=where.region,
            quantity_filter=count,
            clouds=where.cloud.lower() if where.cloud else None,
            case_sensitive=False,
        )
        return offer_rows(found)


def cloud_name(name: str) -> str:
    """Return SkyPilot's own name of a cloud; those that only store have none in its registry."""
    try:
        return repr(registry.CLOUD_REGISTRY.from_str(name))
    except ValueError:
        return next((known for known in check.STORAGE_ONLY_CLOUDS if name.lower().startswith(known.lower())), name)


def offer_rows(found: Mapping[str, list[Any]]) -> list[dict[str, JsonValue]]:
    """Return what SkyPilot's catalog says of accelerators."""
    return [
        {
            "accelerator": offer.accelerator_name,
            "count": offer.accelerator_count,
            "cloud": offer.cloud,
            "instance_type": offer.instance_type,
            "price": None if math.isnan(offer.price) else offer.price,
            "spot_price": None if math.isnan(offer.spot_price) else offer.spot_price,
        }
        for offers in found.values()
        for offer in offers
    ]


def _reason(contexts: dict[str, dict[str, JsonValue]]) -> str:
    """Return what SkyPilot says of a cloud; Kubernetes has something to say of each of its contexts."""
    texts = [f"{name}: {result['reason']}" if name else str(result["reason"]) for name, result in contexts.items()]
    return without_terminal_codes(" ".join("; ".join(texts).split()))
