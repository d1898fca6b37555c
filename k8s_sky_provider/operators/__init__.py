"""The Sky operators. Each is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k8s_sky_provider.operators.base import SkyBaseOperator
    from k8s_sky_provider.operators.cluster import SkyDownOperator, SkyStatusOperator
    from k8s_sky_provider.operators.launch import SkyExecOperator, SkyLaunchOperator

_MODULES = {
    "SkyBaseOperator": "base",
    "SkyDownOperator": "cluster",
    "SkyExecOperator": "launch",
    "SkyLaunchOperator": "launch",
    "SkyStatusOperator": "cluster",
}

__all__ = [
    "SkyBaseOperator",
    "SkyDownOperator",
    "SkyExecOperator",
    "SkyLaunchOperator",
    "SkyStatusOperator",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
