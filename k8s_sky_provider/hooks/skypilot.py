"""The connection type ``skypilot``: where sky pods run and what they mount, kept in Airflow instead of airflow.cfg."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from k8s_sky_provider.exceptions import SkyDeploymentError
from k8s_sky_provider.pod_security import SecurityContexts
from k8s_sky_provider.protocol import read_json
from k8s_sky_provider.provider_info import get_provider_info
from k8s_sky_provider.refusals import api_message, explained
from k8s_sky_provider.workspace import ConnectionSettings, Workspace

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from kubernetes.client import CoreV1Api

_TYPE = get_provider_info()["connection-types"][0]


class SkyPilotHook(BaseHook):
    """Read a SkyPilot connection.

    :param skypilot_conn_id: id of the connection
    """

    conn_name_attr = "skypilot_conn_id"
    default_conn_name = "skypilot_default"
    conn_type = "skypilot"
    hook_name = "SkyPilot"

    def __init__(self, skypilot_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.skypilot_conn_id = skypilot_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the connection's form, for Airflow before 3.2."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        return {
            name: StringField(
                lazy_gettext(field["label"]), description=field["description"], widget=BS3TextFieldWidget()
            )
            for name, field in _TYPE["conn-fields"].items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how that form differs from the usual one, for Airflow before 3.2."""
        return {key.replace("-", "_"): value for key, value in _TYPE["ui-field-behaviour"].items()}

    def get_conn(self) -> ConnectionSettings:
        """Return what the connection says.

        :raises SkyDeploymentError: if there is no such connection, or it has unknown or malformed fields
        """
        settings = self.find_settings()
        if settings is None:
            raise SkyDeploymentError(_missing(self.skypilot_conn_id))
        return settings

    def find_settings(self) -> ConnectionSettings | None:
        """Return what the connection says; None if there is none and its id is the default one.

        :raises SkyDeploymentError: if a connection of another id is missing, or it has unknown or malformed fields
        """
        try:
            connection = self.get_connection(self.skypilot_conn_id)
        except AirflowNotFoundException as error:
            if self.skypilot_conn_id == self.default_conn_name:
                return None
            raise SkyDeploymentError(_missing(self.skypilot_conn_id)) from error
        return _settings_of(connection, self.skypilot_conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether a task with this connection could create its pod, and what is wrong if not.

        Kubernetes is asked whether it would take such a pod, and Secret where a connection's credentials need one;
        nothing is created, no image is pulled and no cloud is asked.
        """
        try:
            workspace = Workspace.resolve(connection=self.get_conn())
            hook = KubernetesHook()
            namespace = workspace.namespace or hook.get_namespace() or "default"
            _check_kubernetes(workspace, namespace, hook.core_v1_client)
        except SkyDeploymentError as error:
            return False, error.reason
        except Exception as error:  # noqa: BLE001  # the button shows a text, whatever went wrong
            return False, f"Kubernetes cannot be asked: {error}"
        state = f"volume {workspace.volume_claim}" if workspace.volume_claim else "a database"
        if workspace.uses_api_server:
            state = f"the SkyPilot API server {workspace.uses_api_server}"
        return True, f"Sky pods can run in namespace {namespace} with image {workspace.image} and {state}"


def _missing(conn_id: str) -> str:
    return (
        f"connection {conn_id!r} does not exist: create it with the type SkyPilot, "
        f"or name another one as skypilot_conn_id"
    )


def _settings_of(connection: Connection, conn_id: str) -> ConnectionSettings:
    if connection.conn_type != SkyPilotHook.conn_type:
        raise SkyDeploymentError(f"connection {conn_id!r}: its type is {connection.conn_type!r}, not skypilot")
    try:
        extra = read_json(connection.extra or "{}")
    except ValueError as error:
        raise SkyDeploymentError(f"connection {conn_id!r}: extra is not JSON: {error}") from error
    if not isinstance(extra, dict):
        raise SkyDeploymentError(f"connection {conn_id!r}: extra must be a JSON object, not {type(extra).__name__}")
    known = set(_TYPE["conn-fields"])
    if unknown := sorted(set(extra) - known):
        raise SkyDeploymentError(
            f"connection {conn_id!r}: has unknown fields: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    values = {**extra, "api_server_endpoint": connection.host}
    stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
    return ConnectionSettings(
        conn_id=conn_id, values={name: value for name, value in stripped.items() if value not in (None, "")}
    )


def _check_kubernetes(workspace: Workspace, namespace: str, client: CoreV1Api) -> None:
    """Ask Kubernetes what it would say to a task's pod.

    :raises SkyDeploymentError: with its answer, if that is no
    """
    if workspace.volume_claim:
        _ask(
            f"get persistentvolumeclaims in namespace {namespace}",
            f"PersistentVolumeClaim {workspace.volume_claim!r} does not exist in namespace {namespace!r}",
            client.read_namespaced_persistent_volume_claim,
            workspace.volume_claim,
            namespace,
        )
    metadata = k8s.V1ObjectMeta(name="skypilot-connection-test", namespace=namespace)
    contexts = SecurityContexts.resolve()
    pod = k8s.V1Pod(
        api_version="v1",
        kind="Pod",
        metadata=metadata,
        spec=k8s.V1PodSpec(
            containers=[
                k8s.V1Container(
                    name="base",
                    image=workspace.image,
                    env=workspace.env,
                    volume_mounts=[*workspace.volume_mounts, *workspace.scratch_mounts],
                    resources=workspace.container_resources,
                    security_context=contexts.container,
                )
            ],
            volumes=[*workspace.volumes, *workspace.scratch_volumes],
            service_account_name=workspace.service_account_name,
            security_context=contexts.pod,
        ),
    )
    missing = f"namespace {namespace!r} or something that the pod names does not exist"
    right = f"create pods in namespace {namespace}"
    # As a dictionary, as KubernetesPodOperator sends it.
    body = client.api_client.sanitize_for_serialization(pod)
    _ask(right, missing, client.create_namespaced_pod, body=body, namespace=namespace, dry_run="All")
    if workspace.connections:
        secret = k8s.V1Secret(api_version="v1", kind="Secret", metadata=metadata)
        right = f"create secrets in namespace {namespace}"
        _ask(right, missing, client.create_namespaced_secret, namespace, secret, dry_run="All")


def _ask(right: str, missing: str, call: Any, *arguments: Any, **options: Any) -> None:
    try:
        call(*arguments, **options)
    except ApiException as error:
        message = api_message(error)
        if error.status == 404:
            raise SkyDeploymentError(f"{missing}: {message}") from error
        if error.status == 403 and "forbidden: User" in message:
            raise SkyDeploymentError(
                f"Airflow's API server may not {right}: {message}. Bind its ServiceAccount to the chart's launcher "
                "role (airflowServiceAccounts in its values); tasks need that right on their own ServiceAccount"
            ) from error
        raise SkyDeploymentError(f"Kubernetes would refuse the pod: {explained(error)}") from error
