"""What Kubernetes says when it refuses to create something, with the way out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8s_sky_provider.exceptions import SkyDeploymentError, SkyTransientError
from k8s_sky_provider.protocol import read_json

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException

    from k8s_sky_provider.exceptions import SkyPilotError

REFUSED = frozenset({400, 403, 404, 422})
"""HTTP status of what another attempt does not change."""

_WAYS_OUT = {
    "violates PodSecurity": "The namespace enforces Pod Security: set what it names in security_context, "
    "container_security_context or the pod template, for each container, or use a namespace that allows it "
    "(docs/operators.md#what-a-pod-may-do)",
    "forbidden: User ": "Grant Airflow's ServiceAccount that right in that namespace (airflowServiceAccounts in the "
    "chart's values)",
    "must specify|usage per (Container|Pod)|limit to request ratio": "The namespace's quota or limits ask for it: set "
    "container_resources",
    "error looking up service account": "Create the ServiceAccount, or name another one as service_account_name",
    "^namespaces .* not found": "Create the namespace, or name another one as namespace",
    "denied (the )?request": "A policy of the Kubernetes cluster says so: change what it names by arguments of the "
    "operator or a pod template, or ask whoever keeps the policy",
    "is invalid: ": "Change the field in the operator's arguments or its pod template",
}
"""What is in the API's message -> what to do."""


def refused(error: ApiException, what: str) -> SkyPilotError:
    """Return the error that says all there is to say, to be raised from None: ApiException's own text has no more.

    :param what: what was to be created, as ``the pod in namespace 'sky'``
    """
    message = api_message(error)
    if "exceeded quota" in message:
        return SkyTransientError(f"Kubernetes has no room for {what} now: {message}")
    return SkyDeploymentError(f"Kubernetes refuses {what}: {explained(error)}")


def refused_pod(error: ApiException, namespace: str) -> SkyPilotError | None:
    """Return the error of a pod that was not created; None where the API's own error is one to try again."""
    if error.status == 409:
        return SkyTransientError(
            f"Kubernetes did not create the pod: {api_message(error)}. If it is another task's pod that has the name, "
            "leave out random_name_suffix=False"
        )
    if error.status in REFUSED:
        return refused(error, f"the pod in namespace {namespace!r}")
    return None


def explained(error: ApiException) -> str:
    """Return why Kubernetes refuses something, with the fields and the way out."""
    message = api_message(error)
    fields = [field for field in _fields(error) if field not in message]
    if fields:
        message = f"{message} (fields: {', '.join(fields)})"
    way_out = next((way_out for pattern, way_out in _WAYS_OUT.items() if re.search(pattern, message)), "")
    return ". ".join(filter(None, [message.rstrip(". \n"), way_out]))


def api_message(error: ApiException) -> str:
    """Return what the Kubernetes API says in its body, which is more than the HTTP reason."""
    return str(_status(error).get("message") or error.reason)


def _fields(error: ApiException) -> list[str]:
    causes = (_status(error).get("details") or {}).get("causes") or []
    return [str(cause["field"]) for cause in causes if cause.get("field")]


def _status(error: ApiException) -> dict[str, Any]:
    try:
        status = read_json(error.body)
    except (TypeError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}
