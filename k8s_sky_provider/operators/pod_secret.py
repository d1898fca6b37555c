"""The Secret with the files of Airflow connections: made for one pod, and deleted by Kubernetes with it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from k8s_sky_provider.exceptions import SkyDeploymentError, SkyTransientError
from k8s_sky_provider.protocol import SECRETS_DIRECTORY, STATE_SECRETS
from k8s_sky_provider.refusals import REFUSED, api_message, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubernetes.client import CoreV1Api

    from k8s_sky_provider.credentials import CredentialFiles

_VOLUME = STATE_SECRETS[-1]
_MASKED = "masked"


def mount_connections(pod: k8s.V1Pod, container_name: str, connections: Sequence[CredentialFiles]) -> dict[str, str]:
    """Add the mounts of connections to a pod, of a Secret that is yet to be made; return what that will hold.

    The mounts are not optional ones: the pod starts when the Secret is there.

    :raises SkyDeploymentError: if something else is mounted at the same place
    """
    # A name of its own for every pod: the Secret of an earlier pod of the same name may be about to go.
    name = f"{pod.metadata.name}-{secrets.token_hex(4)}"
    container = next(container for container in pod.spec.containers if container.name == container_name)
    pod.spec.volumes = pod.spec.volumes or []
    container.volume_mounts = container.volume_mounts or []
    data = {}
    for index, connection in enumerate(connections):
        if connection.directory in {mount.mount_path for mount in container.volume_mounts}:
            raise SkyDeploymentError(
                f"credentials: connection {connection.connection!r} is for {connection.directory}, where something "
                "else is mounted already; give one of them"
            )
        volume = f"{_VOLUME}-{index}"
        items = []
        for file, content in connection.files.items():
            data[f"{index}.{file}"] = content
            items.append(k8s.V1KeyToPath(key=f"{index}.{file}", path=file))
        source = k8s.V1SecretVolumeSource(secret_name=name, items=items, default_mode=0o440)
        pod.spec.volumes.append(k8s.V1Volume(name=volume, secret=source))
        container.volume_mounts.append(k8s.V1VolumeMount(name=volume, mount_path=connection.directory, read_only=True))
    if connections:
        # The triggerer, which logs for a deferred task, knows no secret of this process: the runner masks them itself.
        data[_MASKED] = "\n".join(sorted({value for connection in connections for value in connection.secrets}))
        source = k8s.V1SecretVolumeSource(
            secret_name=name, items=[k8s.V1KeyToPath(key=_MASKED, path=_MASKED)], default_mode=0o440
        )
        pod.spec.volumes.append(k8s.V1Volume(name=f"{_VOLUME}-{_MASKED}", secret=source))
        container.volume_mounts.append(
            k8s.V1VolumeMount(name=f"{_VOLUME}-{_MASKED}", mount_path=f"{SECRETS_DIRECTORY}/{_VOLUME}", read_only=True)
        )
    return data


def create_for_pod(client: CoreV1Api, pod: k8s.V1Pod, data: dict[str, str], *, is_new: bool) -> None:
    """Create the Secret that a pod waits for; a new pod that does not get it is deleted.

    :param pod: the pod as it was asked for, or as it was found when the task met its earlier pod again
    :param data: what :func:`mount_connections` returned
    :param is_new: whether the pod was created just now
    :raises SkyDeploymentError: if Kubernetes refuses the Secret for good
    :raises SkyTransientError: if it fails in another way
    """
    name, namespace = pod.metadata.name, pod.metadata.namespace
    secret_name = next(
        (volume.secret.secret_name for volume in pod.spec.volumes or [] if volume.name == f"{_VOLUME}-0"), None
    )
    if secret_name is None or not (is_new or pod.status.phase == "Pending"):
        # An earlier pod that has started has its Secret, or never wanted one.
        return
    try:
        uid = client.read_namespaced_pod(name, namespace).metadata.uid
        owner = k8s.V1OwnerReference(api_version="v1", kind="Pod", name=name, uid=uid)
        metadata = k8s.V1ObjectMeta(name=secret_name, namespace=namespace, owner_references=[owner])
        secret = k8s.V1Secret(
            api_version="v1", kind="Secret", metadata=metadata, string_data=data, immutable=True, type="Opaque"
        )
        client.create_namespaced_secret(namespace, secret)
    except ApiException as error:
        if error.status == 409:
            return
        if is_new:
            _delete(client, name, namespace)
        message = api_message(error)
        if error.status == 403 and "forbidden: User" in message:
            raise SkyDeploymentError(
                f"Airflow may not create the Secret for the credentials' connections: {message}. Grant the worker's "
                f"ServiceAccount the right to create secrets in namespace {namespace!r} (connectionCredentials.enabled "
                "in the chart), or use Secrets as credentials (docs/credentials.md)"
            ) from None
        # Not found is the pod, deleted meanwhile.
        if error.status in REFUSED - {404}:
            raise refused(error, f"the Secret for the credentials' connections in namespace {namespace!r}") from None
        raise SkyTransientError(
            f"The Secret for the credentials' connections could not be created: {message}"
        ) from error
    except BaseException:
        if is_new:
            _delete(client, name, namespace)
        raise


def _delete(client: CoreV1Api, name: str, namespace: str) -> None:
    try:
        client.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
    except ApiException as error:
        if error.status != 404:
            raise
