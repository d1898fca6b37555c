"""The Sky operators. Each is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k8s_sky_provider.operators.base import SkyBaseOperator
    from k8s_sky_provider.operators.bash import SkyBashOperator
    from k8s_sky_provider.operators.cluster import (
        SkyAutostopOperator,
        SkyCostReportOperator,
        SkyDownOperator,
        SkyStartOperator,
        SkyStatusOperator,
        SkyStopOperator,
    )
    from k8s_sky_provider.operators.cluster_jobs import SkyCancelOperator, SkyLogsOperator, SkyQueueOperator
    from k8s_sky_provider.operators.infra import SkyCheckOperator, SkyGpusOperator
    from k8s_sky_provider.operators.jobs import (
        SkyJobCancelOperator,
        SkyJobLaunchOperator,
        SkyJobLogsOperator,
        SkyJobQueueOperator,
    )
    from k8s_sky_provider.operators.launch import SkyExecOperator, SkyLaunchOperator
    from k8s_sky_provider.operators.reap import SkyReapOperator
    from k8s_sky_provider.operators.rsync import SkyRsyncDownOperator, SkyRsyncUpOperator
    from k8s_sky_provider.operators.serve import (
        SkyPoolApplyOperator,
        SkyPoolDownOperator,
        SkyPoolStatusOperator,
        SkyServeDownOperator,
        SkyServeLogsOperator,
        SkyServeStatusOperator,
        SkyServeUpdateOperator,
        SkyServeUpOperator,
    )
    from k8s_sky_provider.operators.ssh import SkySSHOperator
    from k8s_sky_provider.operators.storage import (
        SkyStorageDeleteOperator,
        SkyStorageListOperator,
        SkyVolumeApplyOperator,
        SkyVolumeDeleteOperator,
        SkyVolumeListOperator,
    )

_MODULES = {
    "SkyAutostopOperator": "cluster",
    "SkyBaseOperator": "base",
    "SkyBashOperator": "bash",
    "SkyCancelOperator": "cluster_jobs",
    "SkyCheckOperator": "infra",
    "SkyCostReportOperator": "cluster",
    "SkyDownOperator": "cluster",
    "SkyExecOperator": "launch",
    "SkyGpusOperator": "infra",
    "SkyJobCancelOperator": "jobs",
    "SkyJobLaunchOperator": "jobs",
    "SkyJobLogsOperator": "jobs",
    "SkyJobQueueOperator": "jobs",
    "SkyLaunchOperator": "launch",
    "SkyLogsOperator": "cluster_jobs",
    "SkyPoolApplyOperator": "serve",
    "SkyPoolDownOperator": "serve",
    "SkyPoolStatusOperator": "serve",
    "SkyQueueOperator": "cluster_jobs",
    "SkyReapOperator": "reap",
    "SkyRsyncDownOperator": "rsync",
    "SkyRsyncUpOperator": "rsync",
    "SkySSHOperator": "ssh",
    "SkyServeDownOperator": "serve",
    "SkyServeLogsOperator": "serve",
    "SkyServeStatusOperator": "serve",
    "SkyServeUpOperator": "serve",
    "SkyServeUpdateOperator": "serve",
    "SkyStartOperator": "cluster",
    "SkyStatusOperator": "cluster",
    "SkyStopOperator": "cluster",
    "SkyStorageDeleteOperator": "storage",
    "SkyStorageListOperator": "storage",
    "SkyVolumeApplyOperator": "storage",
    "SkyVolumeDeleteOperator": "storage",
    "SkyVolumeListOperator": "storage",
}

__all__ = [
    "SkyAutostopOperator",
    "SkyBaseOperator",
    "SkyBashOperator",
    "SkyCancelOperator",
    "SkyCheckOperator",
    "SkyCostReportOperator",
    "SkyDownOperator",
    "SkyExecOperator",
    "SkyGpusOperator",
    "SkyJobCancelOperator",
    "SkyJobLaunchOperator",
    "SkyJobLogsOperator",
    "SkyJobQueueOperator",
    "SkyLaunchOperator",
    "SkyLogsOperator",
    "SkyPoolApplyOperator",
    "SkyPoolDownOperator",
    "SkyPoolStatusOperator",
    "SkyQueueOperator",
    "SkyReapOperator",
    "SkyRsyncDownOperator",
    "SkyRsyncUpOperator",
    "SkySSHOperator",
    "SkyServeDownOperator",
    "SkyServeLogsOperator",
    "SkyServeStatusOperator",
    "SkyServeUpOperator",
    "SkyServeUpdateOperator",
    "SkyStartOperator",
    "SkyStatusOperator",
    "SkyStopOperator",
    "SkyStorageDeleteOperator",
    "SkyStorageListOperator",
    "SkyVolumeApplyOperator",
    "SkyVolumeDeleteOperator",
    "SkyVolumeListOperator",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
