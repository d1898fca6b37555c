"""Links to SkyPilot's dashboard and to the endpoints of services."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from k8s_sky_provider.protocol import SkyResult

LINKS_KEY = "links"
"""XCom key of what :func:`links_of` returns."""

DASHBOARD, JOB, ENDPOINT = "dashboard", "job", "endpoint"


def links_of(result: SkyResult, dashboard: str | None) -> dict[str, str]:
    """Return the URLs that belong to a result; what it has no URL for is left out.

    :param result: what the runner reported
    :param dashboard: URL of SkyPilot's dashboard, without a slash at its end
    """
    links = {}
    is_managed = result.action.startswith("jobs_")
    if dashboard and is_managed:
        links[DASHBOARD] = links[JOB] = f"{dashboard}/jobs" + (f"/{result.job_id}" if result.job_id else "")
    elif dashboard and result.cluster_name:
        links[DASHBOARD] = f"{dashboard}/clusters/{quote(result.cluster_name, safe='')}"
        if result.job_id is not None:
            links[JOB] = f"{links[DASHBOARD]}/{result.job_id}"
    elif dashboard:
        links[DASHBOARD] = f"{dashboard}/clusters"
    return links


class _SkyLink(BaseOperatorLink):
    """A link that the operator pushed when its pod had ended."""

    key: str

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL; empty when there is nothing to show."""
        links = XCom.get_value(ti_key=ti_key, key=LINKS_KEY)
        return str(links.get(self.key, "")) if isinstance(links, dict) else ""


class SkyPilotDashboardLink(_SkyLink):
    """The cluster's page, or the managed job's, in SkyPilot's dashboard."""

    name = "SkyPilot dashboard"
    key = DASHBOARD


class SkyJobLogLink(_SkyLink):
    """The page of the job, with its log, in SkyPilot's dashboard."""

    name = "SkyPilot job log"
    key = JOB


class SkyServeEndpointLink(_SkyLink):
    """Where the service answers."""

    name = "Service endpoint"
    key = ENDPOINT
