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


_PAGES = {"jobs": "jobs", "pool": "jobs", "volume": "volumes", "check": "infra", "gpus": "infra"}
"""First word of an action -> its page in the dashboard of SkyPilot 0.14; the others are about clusters."""

_WITHOUT_PAGE = {"serve", "storage"}


def links_of(result: SkyResult, dashboard: str | None) -> dict[str, str]:
    """Return the URLs that belong to a result; what it has no URL for is left out.

    :param result: what the runner reported
    :param dashboard: URL of SkyPilot's dashboard, without a slash at its end
    """
    group = result.action.partition("_")[0]
    if result.action in {"serve_up", "serve_update"} and isinstance(result.return_value, str):
        endpoint = result.return_value if "://" in result.return_value else f"http://{result.return_value}"
        # Airflow's pages link to whatever it is.
        return {ENDPOINT: endpoint} if endpoint.startswith(("http://", "https://")) else {}
    if dashboard is None or group in _WITHOUT_PAGE:
        return {}
    page = f"{dashboard}/{_PAGES.get(group, 'clusters')}"
    if group not in _PAGES and result.cluster_name:
        page = f"{page}/{quote(result.cluster_name, safe='')}"
        return {DASHBOARD: page, **({JOB: f"{page}/{result.job_id}"} if result.job_id is not None else {})}
    if group == "jobs" and result.job_id is not None:
        return {DASHBOARD: f"{page}/{result.job_id}", JOB: f"{page}/{result.job_id}"}
    return {DASHBOARD: page}


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
