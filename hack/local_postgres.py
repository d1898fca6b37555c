"""A PostgreSQL in a pod, of images/postgres. As a script, which hack/deploy runs: the one of the local Airflow."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from local_airflow import AIRFLOW_NAME, BUILD, RESTRICTED_CONTAINER, RESTRICTED_POD, Kubectl, read_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = f"{AIRFLOW_NAME}-postgres"
"""The database of the local Airflow: its objects, and the Secret that ``airflow.database.existingSecret`` names."""

SECONDS_TO_START = 300
USER = 5432


def make_secret(kubectl: Kubectl, name: str, **values: str) -> None:
    """Make a Secret: by ``create``, for ``apply`` would note its values beside it."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    kubectl("create", "-f", "-", stdin=json.dumps(secret))


def service(name: str) -> dict[str, Any]:
    """Return the Service in front of the pod with the label ``app=NAME``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 5432, "protocol": "TCP"}]},
    }


def pod_spec(secret: str, **data: Any) -> dict[str, Any]:
    """Return the spec of a pod that passes Pod Security "restricted".

    :param secret: the Secret whose key ``password`` the user ``postgres`` gets
    :param data: the volume of its data, as in a pod; none: a claim of the StatefulSet's is called ``data``
    """
    container = {
        "name": "postgres",
        "image": read_env_file(BUILD / "images.env")["POSTGRES_IMAGE"],
        "env": [
            {"name": "PGDATA", "value": "/data/main"},
            {"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {**RESTRICTED_CONTAINER, "readOnlyRootFilesystem": True},
    }
    return {
        "containers": [container],
        "volumes": [{"name": "data", **data}] if data else [],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            **RESTRICTED_POD,
            "runAsUser": USER,
            "fsGroup": USER,
            # PostgreSQL refuses data whose mode has been changed
            "fsGroupChangePolicy": "OnRootMismatch",
        },
    }


def stateful_set(name: str) -> dict[str, Any]:
    """Return a PostgreSQL that has its data still when its pod is another one."""
    labels = {"app": name}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(name)},
            "volumeClaimTemplates": [claim],
        },
    }


def start_for_airflow(kubectl: Kubectl) -> None:
    """Start the local Airflow's database and wait until it answers; where it runs nothing changes."""
    if not kubectl("get", "secret", NAME, "--ignore-not-found", "-o", "name"):
        make_secret(kubectl, NAME, **credentials(secrets.token_urlsafe(24)))
    kubectl.apply(service(NAME), stateful_set(NAME))
    kubectl("rollout", "status", f"statefulset/{NAME}", f"--timeout={SECONDS_TO_START}s")


def credentials(password: str) -> Mapping[str, str]:
    """Return the keys of the local Airflow's Secret: one for the database, one for the chart."""
    return {"password": password, "connection": f"postgresql+psycopg2://postgres:{password}@{NAME}:5432/postgres"}


if __name__ == "__main__":
    try:
        start_for_airflow(Kubectl())
    except RuntimeError as error:
        raise SystemExit(f"error: {error}") from None
