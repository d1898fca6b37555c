"""Operators for clusters as a whole: status, down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.arguments import check_cluster_name, rendered_cluster_name
from k8s_sky_provider.operators.base import SkyBaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg


class SkyDownOperator(SkyBaseOperator):
    """Take a cluster down, with its disks and its jobs. Returns the cluster's name.

    Wraps ``sky.down``. A cluster that is gone already is fine; a name that SkyPilot never had is an error,
    for behind a typing error a cluster would go on costing money.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param purge: forget the cluster even when the cloud could not end it; you then look after it yourself
    """

    action: ClassVar[str] = "down"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name")

    def __init__(self, *, cluster_name: str | XComArg, purge: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_cluster_name(cluster_name)
        self.cluster_name = cluster_name
        self.purge = purge

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``down``."""
        return {"cluster_name": rendered_cluster_name(self.cluster_name), "purge": self.purge}


class SkyStatusOperator(SkyBaseOperator):
    """List clusters. Returns a list of dicts with the keys name, status, nodes, resources, launched_at and autostop.

    Wraps ``sky.status``.

    :param cluster_names: the clusters to list; all of this deployment by default (templated)
    :param refresh: ask the clouds, instead of what SkyPilot noted last
    """

    action: ClassVar[str] = "status"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_names")

    def __init__(
        self,
        *,
        cluster_names: Sequence[str | XComArg] | str | XComArg | None = None,
        refresh: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_names = cluster_names
        self.refresh = refresh

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``status``."""
        names: Any = self.cluster_names
        if isinstance(names, str):
            names = [names]
        if names is not None and not (
            isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
        ):
            raise SkyRequestError(f"cluster_names: must be a name or a list of names, not {names!r}")
        return {"cluster_names": names, "refresh": self.refresh}
