"""Operators that copy files between the volume and a cluster's machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import XComArg


class _SkyRsyncOperator(SkyBaseOperator):
    """What both directions have in common."""

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "cluster_name", "source", "target", "nodes")

    def __init__(
        self,
        *,
        cluster_name: str | XComArg,
        source: str | XComArg,
        target: str | XComArg,
        nodes: str | Sequence[int] | XComArg = "head",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.source = source
        self.target = target
        self.nodes = nodes
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"cluster_name": read.cluster, "source": read.path, "target": read.path, "nodes": read.nodes}


class SkyRsyncUpOperator(_SkyRsyncOperator):
    """Copy files and directories from the volume to a cluster's machines. Returns the cluster's name.

    Wraps ``CommandRunner.rsync`` of SkyPilot, which leaves out what a ``.skyignore`` or else a ``.gitignore`` in the
    source says. As with rsync, ``data/`` is what is in the directory and ``data`` is the directory itself. What the
    target has besides stays.

    :param cluster_name: a cluster that is up, for example ``launch.output`` (templated)
    :param source: file, directory or pattern (``out/*.csv``) on the volume; a relative path is below
        ``~/sky_workdir`` (templated)
    :param target: path on the machines, where ``~`` is the home directory there and relative paths start; of a
        pattern, a directory (templated)
    :param nodes: the machines: ``head``, ``all``, or a list of ranks, where 0 is the head (templated)
    """

    action: ClassVar[str] = "rsync_up"


class SkyRsyncDownOperator(_SkyRsyncOperator):
    """Copy files and directories from a cluster's machines to the volume. Returns the cluster's name.

    Wraps ``CommandRunner.rsync`` of SkyPilot, which leaves out what a ``.gitignore`` in the source says. As with
    rsync, ``data/`` is what is in the directory and ``data`` is the directory itself. What the target has besides
    stays.

    :param cluster_name: a cluster that is up, for example ``launch.output`` (templated)
    :param source: file, directory or pattern (``out/*.csv``) on the machines, where ``~`` is the home directory there
        and relative paths start (templated)
    :param target: path on the volume; a relative path is below ``~/sky_workdir``, and one that is not on the volume
        is refused: it would be gone with the pod (templated)
    :param nodes: the machines: ``head``, ``all``, or a list of ranks, where 0 is the head; unless it is ``head``, each
        machine gets a directory of its own in the target, named by its rank (templated)
    """

    action: ClassVar[str] = "rsync_down"
