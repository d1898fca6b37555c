"""What is known of clusters at the server."""

from __future__ import annotations

from sky.client import sdk
from sky.server import common

from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.sky.at_server import server
from k8s_sky_provider.runner.sky.at_server.caller import SUBMISSIONS
from k8s_sky_provider.runner.sky.clusters import ALL_DAYS, Clusters


class ClustersAtServer(Clusters):
    """What is known of a cluster is at the server, not on a volume."""

    def cluster_exists(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot has a cluster of that name."""
        return bool(server.ask(lambda: sdk.status([cluster_name], all_users=True)))

    def cluster_existed(self, cluster_name: str) -> bool:
        """Tell whether SkyPilot ever had a cluster of that name."""
        return any(report["name"] == cluster_name for report in server.ask(lambda: sdk.cost_report(ALL_DAYS)))

    def await_submissions(self, cluster_name: str) -> None:
        """Wait until no launch or exec on a cluster is under way at the server: those of a lost pod go on there."""
        with server.explained_by_the_server():
            under_way = [
                request
                for request in sdk.api_status(cluster_name=cluster_name)
                # An older server tells of all requests.
                if request.name in SUBMISSIONS and request.cluster_name == cluster_name
            ]
        for request in under_way:
            print(f"Request {request.request_id} ({request.name}) on cluster {cluster_name} is under way: awaiting it")
            try:
                server.wait_for(common.RequestId(request.request_id))
            except ActionFailedError as failure:
                print(f"It failed: {failure.reason}")
