"""SkyPilot at its API server: only what is not the same there as in this process.

Where the server is and the token for it are in the environment; SkyPilot's client reads both there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sky.utils import annotations as sky_annotations
from sky.volumes.client import sdk as volumes_sdk

from k8s_sky_provider.runner.sky import Engine
from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.at_server.caller import AtServer
from k8s_sky_provider.runner.sky.at_server.cluster_jobs import ClusterJobsAtServer
from k8s_sky_provider.runner.sky.at_server.clusters import ClustersAtServer
from k8s_sky_provider.runner.sky.at_server.infra import InfraAtServer
from k8s_sky_provider.runner.sky.at_server.machines import MachinesAtServer

if TYPE_CHECKING:
    from sky.volumes import volume as sky_volume


class EngineAtServer(ClustersAtServer, ClusterJobsAtServer, MachinesAtServer, InfraAtServer, Engine):
    """All of SkyPilot that the actions use, at an API server."""

    call = AtServer()

    def __init__(self) -> None:
        # Otherwise spinners print encoded lines that only SkyPilot's own client understands.
        sky_annotations.is_on_api_server = False
        server.check_server()

    def _apply(self, wanted: sky_volume.Volume) -> None:
        server.order(lambda: volumes_sdk.apply(wanted))

    def _may_have_a_controller(self) -> bool:
        """Leave it to the server to say that there is none."""
        return True
