"""The other package that imports ``sky``: it has a SkyPilot API server do what :mod:`..engine` does in this process.

Where the server is and the token for it are in the environment; SkyPilot's client reads both there.
"""

from __future__ import annotations

from sky.utils import annotations as sky_annotations

from k8s_sky_provider.runner.engine.tasks import SkyTasks
from k8s_sky_provider.runner.engine_client.cluster_jobs import ClientClusterJobs
from k8s_sky_provider.runner.engine_client.clusters import ClientClusters
from k8s_sky_provider.runner.engine_client.files import ClientFiles
from k8s_sky_provider.runner.engine_client.infra import ClientInfra
from k8s_sky_provider.runner.engine_client.jobs import ClientManagedJobs
from k8s_sky_provider.runner.engine_client.machines import ClientMachines
from k8s_sky_provider.runner.engine_client.serve import ClientServices
from k8s_sky_provider.runner.engine_client.server import check_server
from k8s_sky_provider.runner.engine_client.storage import ClientStorage


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
