"""SkyPilot at its API server, instead of in this process.

Where the server is and the token for it are in the environment; SkyPilot's client reads both there.
"""

from __future__ import annotations

from sky.utils import annotations as sky_annotations

from k8s_sky_provider.runner.sky.at_server.cluster_jobs import ClientClusterJobs
from k8s_sky_provider.runner.sky.at_server.clusters import ClientClusters
from k8s_sky_provider.runner.sky.at_server.files import ClientFiles
from k8s_sky_provider.runner.sky.at_server.infra import ClientInfra
from k8s_sky_provider.runner.sky.at_server.jobs import ClientManagedJobs
from k8s_sky_provider.runner.sky.at_server.machines import ClientMachines
from k8s_sky_provider.runner.sky.at_server.serve import ClientServices
from k8s_sky_provider.runner.sky.at_server.server import check_server
from k8s_sky_provider.runner.sky.at_server.storage import ClientStorage
from k8s_sky_provider.runner.sky.tasks import SkyTasks


class SkyClientEngine(
    ClientManagedJobs,
    ClientServices,
    SkyTasks,
    ClientClusters,
    ClientClusterJobs,
    ClientMachines,
    ClientStorage,
    ClientInfra,
    ClientFiles,
):
    """SkyPilot's client, as the actions need it; see :class:`k8s_sky_provider.runner.engine_interface.Engine`."""

    def __init__(self) -> None:
        # Otherwise spinners print encoded lines that only SkyPilot's own client understands.
        sky_annotations.is_on_api_server = False
        check_server()
