"""What a DAG author writes around functions and blocks: ``@task.sky`` and ``sky_cluster``."""

from __future__ import annotations

from k8s_sky_provider.decorators.cluster import sky_cluster
from k8s_sky_provider.decorators.sky import sky_task

__all__ = ["sky_cluster", "sky_task"]
