"""Secrets that are made for one pod, and deleted by Kubernetes with it: files of connections, and of the DAG."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import secrets
from typing import TYPE_CHECKING

from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from k8s_sky_provider.exceptions import SkyDeploymentError, SkyPilotError, SkyTransientError
from k8s_sky_provider.protocol import LOCAL_FILES_MOUNT, SECRETS_DIRECTORY, STATE_SECRETS
from k8s_sky_provider.refusals import REFUSED, api_message, refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kubernetes.client import CoreV1Api

    from k8s_sky_provider.credentials import CredentialFiles

BYTES_OF_A_SECRET = 900_000
"""Kubernetes takes 1 MiB; with base64 and metadata, etcd's limit of 1.5 MiB is near."""

_VOLUME = STATE_SECRETS[-1]
_MASKED = "masked"
_FILES_VOLUME = "sky-files"
_PART = "part"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PodSecrets:
    """The Secrets that one volume of a pod waits for.

    :param volume: the volume
    :param what: what errors call them
    :param right: the chart's value that grants their creation
    :param way_out: what to do without that
    :param contents: key -> value of each of them
    """

    volume: str
    what: str
    right: str
    way_out: str
    contents: Sequence[Mapping[str, bytes]]

    def wanted_by(self, pod: k8s.V1Pod) -> list[tuple[str, Mapping[str, bytes]]]:
        """Return the name and the content of each Secret that a pod names.

        An earlier pod may name more of them than there are now: they are empty, and its runner says what is wrong.
        """
        empty = dict.fromkeys(self.contents[0], b"")
        names = next((_names(volume) for volume in pod.spec.volumes or [] if volume.name == self.volume), [])
        return list(zip(names, itertools.chain(self.contents, itertools.repeat(empty)), strict=False))


def _names(volume: k8s.V1Volume) -> list[str]:
    if volume.projected:
        return [source.secret.name for source in volume.projected.sources if source.secret]
    return [volume.secret.secret_name] if volume.secret else []


def mount_connections(pod: k8s.V1Pod, container_name: str, connections: Sequence[CredentialFiles]) -> list[PodSecrets]:
    """Add the mounts of connections to a pod, of a Secret that is yet to be made; return what that will hold.

    The mounts are not optional ones: the pod starts when the Secret is there.

    :raises SkyDeploymentError: if something else is mounted at the same place
    """
    if not connections:
        return []
    name = _new_name(pod)
    data = {}
    for index, connection in enumerate(connections):
        items = []
        for file, content in connection.files.items():
            data[f"{index}.{file}"] = content.encode()
            items.append(k8s.V1KeyToPath(key=f"{index}.{file}", path=file))
        source = k8s.V1SecretVolumeSource(secret_name=name, items=items, default_mode=0o440)
        _mount(
            pod,
            container_name,
            k8s.V1Volume(name=f"{_VOLUME}-{index}", secret=source),
            connection.directory,
            f"credentials: connection {connection.connection!r}",
        )
        if connection.are_variables:
            _add_variables(pod, container_name, name, {file: f"{index}.{file}" for file in connection.files})
    # The triggerer, which logs for a deferred task, knows no secret of this process: the runner masks them itself.
    masked = sorted({value for connection in connections for value in connection.secrets})
    data[_MASKED] = "\n".join(masked).encode()
    source = k8s.V1SecretVolumeSource(
        secret_name=name, items=[k8s.V1KeyToPath(key=_MASKED, path=_MASKED)], default_mode=0o440
    )
    volume = k8s.V1Volume(name=f"{_VOLUME}-{_MASKED}", secret=source)
    _mount(pod, container_name, volume, f"{SECRETS_DIRECTORY}/{_VOLUME}", "credentials: what is masked of connections")
    return [
        PodSecrets(
            volume=f"{_VOLUME}-0",
            what="the Secret for the credentials' connections",
            right="connectionCredentials.enabled",
            way_out="use Secrets as credentials (docs/credentials.md)",
            contents=[data],
        )
    ]


def mount_files(pod: k8s.V1Pod, container_name: str, archive: bytes | None) -> list[PodSecrets]:
    """Add the mount of the files that travel with a task to a pod, of Secrets that are yet to be made.

    :param archive: the files; None if there are none
    :raises SkyDeploymentError: if something else is mounted at the same place
    """
    if archive is None:
        return []
    name = _new_name(pod)
    parts = [archive[start : start + BYTES_OF_A_SECRET] for start in range(0, len(archive), BYTES_OF_A_SECRET)]
    sources = [
        k8s.V1VolumeProjection(
            secret=k8s.V1SecretProjection(
                name=f"{name}-{index}", items=[k8s.V1KeyToPath(key=_PART, path=f"{index:05}")]
            )
        )
        for index in range(len(parts))
    ]
    projected = k8s.V1ProjectedVolumeSource(sources=sources, default_mode=0o440)
    volume = k8s.V1Volume(name=_FILES_VOLUME, projected=projected)
    _mount(pod, container_name, volume, LOCAL_FILES_MOUNT, "workdir, file_mounts: the archive of local files")
    return [
        PodSecrets(
            volume=_FILES_VOLUME,
            what="the Secrets with the files that travel with the task",
            right="localFiles.enabled",
            way_out="give a repository, a folder on the volume or a bucket instead (docs/operators.md)",
            contents=[{_PART: part} for part in parts],
        )
    ]


def _new_name(pod: k8s.V1Pod) -> str:
    """Return a name of its own for every pod: the Secret of an earlier pod of the same name may be about to go."""
    return f"{pod.metadata.name}-{secrets.token_hex(4)}"


def _container(pod: k8s.V1Pod, name: str) -> k8s.V1Container:
    return next(container for container in pod.spec.containers if container.name == name)


def _mount(pod: k8s.V1Pod, container_name: str, volume: k8s.V1Volume, directory: str, what: str) -> None:
    container = _container(pod, container_name)
    if directory in {mount.mount_path for mount in container.volume_mounts or []}:
        raise SkyDeploymentError(
            f"{what} is for {directory}, where something else is mounted already; give one of them"
        )
    pod.spec.volumes = [*(pod.spec.volumes or []), volume]
    mount = k8s.V1VolumeMount(name=volume.name, mount_path=directory, read_only=True)
    container.volume_mounts = [*(container.volume_mounts or []), mount]


def _add_variables(pod: k8s.V1Pod, container_name: str, secret: str, keys: Mapping[str, str]) -> None:
    """Add environment variables that are keys of a Secret.

    :raises SkyDeploymentError: if the container has a variable of that name already
    """
    container = _container(pod, container_name)
    for name, key in keys.items():
        if any(variable.name == name for variable in container.env or []):
            raise SkyDeploymentError(
                f"credentials: {name}: the pod has another variable of that name already; give one of them"
            )
        source = k8s.V1EnvVarSource(secret_key_ref=k8s.V1SecretKeySelector(name=secret, key=key))
        container.env = [*(container.env or []), k8s.V1EnvVar(name=name, value_from=source)]


def create_for_pod(client: CoreV1Api, pod: k8s.V1Pod, all_of_them: Sequence[PodSecrets], *, is_new: bool) -> None:
    """Create the Secrets that a pod waits for; a new pod that does not get one is deleted.

    :param pod: the pod as it was asked for, or as it was found when the task met its earlier pod again
    :param all_of_them: what :func:`mount_connections` and :func:`mount_files` returned
    :param is_new: whether the pod was created just now
    :raises SkyDeploymentError: if Kubernetes refuses a Secret for good
    :raises SkyTransientError: if it fails in another way
    """
    owner = None
    for of_a_volume in all_of_them:
        for name, data in of_a_volume.wanted_by(pod):
            try:
                owner = owner or _owner(client, pod)
                _create(client, pod, name, data, owner)
            except ApiException as error:
                if error.status == 409:
                    continue
                if is_new:
                    _delete(client, pod)
                raise _explained(error, of_a_volume, pod.metadata.namespace) from error
            except BaseException:
                if is_new:
                    _delete(client, pod)
                raise


def _owner(client: CoreV1Api, pod: k8s.V1Pod) -> k8s.V1OwnerReference:
    uid = client.read_namespaced_pod(pod.metadata.name, pod.metadata.namespace).metadata.uid
    return k8s.V1OwnerReference(api_version="v1", kind="Pod", name=pod.metadata.name, uid=uid)


def _create(
    client: CoreV1Api, pod: k8s.V1Pod, name: str, data: Mapping[str, bytes], owner: k8s.V1OwnerReference
) -> None:
    namespace = pod.metadata.namespace
    secret = k8s.V1Secret(
        api_version="v1",
        kind="Secret",
        metadata=k8s.V1ObjectMeta(name=name, namespace=namespace, owner_references=[owner]),
        data={key: base64.b64encode(value).decode() for key, value in data.items()},
        immutable=True,
        type="Opaque",
    )
    client.create_namespaced_secret(namespace, secret)


def _explained(error: ApiException, of_a_volume: PodSecrets, namespace: str) -> SkyPilotError:
    message, what = api_message(error), of_a_volume.what
    if error.status == 403 and "forbidden: User" in message:
        return SkyDeploymentError(
            f"Airflow may not create {what}: {message}. Grant the worker's ServiceAccount the right to create secrets "
            f"in namespace {namespace!r} ({of_a_volume.right} in the chart), or {of_a_volume.way_out}"
        )
    # Not found is the pod, deleted meanwhile.
    if error.status in REFUSED - {404}:
        return refused(error, f"{what} in namespace {namespace!r}")
    return SkyTransientError(f"{what[0].upper()}{what[1:]} could not be created: {message}")


def _delete(client: CoreV1Api, pod: k8s.V1Pod) -> None:
    try:
        client.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0)
    except ApiException as error:
        if error.status != 404:
            raise
