"""What every sky pod is given: the shared volume, SkyPilot's configuration, credentials and an identity."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from kubernetes.client import models as k8s

from k8s_sky_provider.exceptions import SkyDeploymentError
from k8s_sky_provider.protocol import SECRETS_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Sequence

HOME = PurePosixPath("/home/sky")
"""The same in every pod: SkyPilot stores absolute paths of keys in its database."""

CONFIG_DIRECTORY = "/etc/k8s-sky/config"
CONFIG_FILE = "config.yaml"
STATE_VOLUME = "sky-state"
STATE_DIRECTORIES = {
    "sky": HOME / ".sky",
    "ssh": HOME / ".ssh",
    "workdir": HOME / "sky_workdir",
    "logs": HOME / "sky_logs",
}
"""Directory on the volume -> where the pod sees it."""

POD_LOCAL_DIRECTORIES = {"sky-api-server": HOME / ".sky" / "api_server"}
"""Volume name -> a place that pods must not share: SkyPilot wipes it whenever an API server starts."""

RUNNER_USER_ID = 1000
DEPLOYMENT_LABEL = "k8s-sky/deployment"
_DEPLOYMENT_PATTERN = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,46}[a-zA-Z0-9])?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credential:
    """A reference to a Kubernetes Secret that holds cloud credentials.

    :param secret: name of the Secret
    :param path: directory, relative to the home directory, in which its keys become files (``.aws``)
    :param env: whether its keys become environment variables instead
    """

    secret: str
    path: str | None = None
    env: bool = False

    @classmethod
    def parse(cls, data: Any) -> Credential:
        """Read one entry of ``credentials``.

        :raises SkyDeploymentError: if it is not ``{"secret": ..., "path": ...}`` or ``{"secret": ..., "env": true}``
        """
        example = '{"secret": "aws-credentials", "path": ".aws"} or {"secret": "lambda-key", "env": true}'
        if isinstance(data, Credential):
            return data
        if not isinstance(data, dict) or not isinstance(data.get("secret"), str) or not data["secret"]:
            raise SkyDeploymentError(f"credentials: {data!r} names no Secret; an entry is {example}")
        if set(data) - {"secret", "path", "env"} or ("path" in data) == bool(data.get("env")):
            raise SkyDeploymentError(
                f"credentials: Secret {data['secret']!r} needs either path or env; an entry is {example}"
            )
        path = data.get("path")
        if path is not None and (
            not isinstance(path, str) or not path or path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts
        ):
            raise SkyDeploymentError(
                f"credentials: path {path!r} of Secret {data['secret']!r} must lie below the home, such as .aws"
            )
        return cls(**data)

    @property
    def directory(self) -> str:
        """Where the pod mounts the Secret."""
        return str(HOME / self.path) if self.path else f"{SECRETS_DIRECTORY}/{self.secret}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a sky pod runs and what it mounts.

    An argument of the operator beats the option of the same name in Airflow's ``[skypilot]`` section.

    :param deployment: name of this Airflow deployment: owner of its clusters in SkyPilot and a label of its pods
    :param image: SkyPilot image with the runner
    :param image_pull_policy: as in Kubernetes
    :param image_pull_secrets: names of Secrets for the registry
    :param namespace: where the pods run
    :param service_account_name: ServiceAccount of the pods
    :param volume_claim: PersistentVolumeClaim with SkyPilot's state
    :param config_map: ConfigMap whose key ``config.yaml`` is SkyPilot's configuration
    :param credentials: Secrets that the pods mount
    :param default_image_id: image of launched clusters whose task names none
    :param allow_network_file_system: trust SQLite on a network file system
    """

    deployment: str
    image: str
    image_pull_policy: str | None
    image_pull_secrets: tuple[str, ...]
    namespace: str | None
    service_account_name: str | None
    volume_claim: str
    config_map: str | None
    credentials: tuple[Credential, ...]
    default_image_id: str | None
    allow_network_file_system: bool

    @classmethod
    def resolve(
        cls,
        *,
        deployment: str | None = None,
        image: str | None = None,
        image_pull_policy: str | None = None,
        namespace: str | None = None,
        service_account_name: str | None = None,
        volume_claim: str | None = None,
        config_map: str | None = None,
        credentials: Sequence[Any] | None = None,
    ) -> Workspace:
        """Join the operator's arguments with the ``[skypilot]`` options.

        :raises SkyDeploymentError: if image or volume_claim is set nowhere, or a value is malformed
        """
        deployment = deployment or _option("deployment") or "airflow"
        if not _DEPLOYMENT_PATTERN.fullmatch(deployment):
            raise SkyDeploymentError(
                f"deployment: {deployment!r} must have 1 to 48 letters, digits and dashes, and no dash at either end"
            )
        entries = _json_option("credentials") if credentials is None else credentials
        if not isinstance(entries, (list, tuple)):
            raise SkyDeploymentError(f"credentials: must be a list, not {entries!r}")
        return cls(
            deployment=deployment,
            image=image or _required_option("image", "the SkyPilot image that has the runner (see docs/images.md)"),
            image_pull_policy=image_pull_policy or _option("image_pull_policy"),
            image_pull_secrets=tuple(
                name.strip() for name in (_option("image_pull_secrets") or "").split(",") if name.strip()
            ),
            namespace=namespace or _option("namespace"),
            service_account_name=service_account_name or _option("service_account_name"),
            volume_claim=volume_claim
            or _required_option("volume_claim", "the PersistentVolumeClaim with SkyPilot's state"),
            config_map=config_map or _option("config_map"),
            credentials=tuple(Credential.parse(entry) for entry in entries),
            default_image_id=_option("default_image_id"),
            allow_network_file_system=conf.getboolean("skypilot", "allow_network_file_system", fallback=False),
        )

    @property
    def volumes(self) -> list[k8s.V1Volume]:
        """The pod's volumes. Secrets and the ConfigMap are optional ones: the runner says clearly which is missing."""
        volumes = [
            k8s.V1Volume(
                name=STATE_VOLUME,
                persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=self.volume_claim),
            ),
            *(k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource()) for name in POD_LOCAL_DIRECTORIES),
        ]
        if self.config_map:
            volumes.append(
                k8s.V1Volume(
                    name="sky-config", config_map=k8s.V1ConfigMapVolumeSource(name=self.config_map, optional=True)
                )
            )
        volumes.extend(
            k8s.V1Volume(
                name=f"sky-credential-{index}",
                secret=k8s.V1SecretVolumeSource(secret_name=credential.secret, optional=True, default_mode=0o440),
            )
            for index, credential in enumerate(self.credentials)
        )
        return volumes

    @property
    def volume_mounts(self) -> list[k8s.V1VolumeMount]:
        """Where the container sees :attr:`volumes`."""
        mounts = [
            k8s.V1VolumeMount(name=STATE_VOLUME, mount_path=str(path), sub_path=sub_path)
            for sub_path, path in STATE_DIRECTORIES.items()
        ]
        mounts.extend(
            k8s.V1VolumeMount(name=name, mount_path=str(path)) for name, path in POD_LOCAL_DIRECTORIES.items()
        )
        if self.config_map:
            mounts.append(k8s.V1VolumeMount(name="sky-config", mount_path=CONFIG_DIRECTORY, read_only=True))
        mounts.extend(
            k8s.V1VolumeMount(name=f"sky-credential-{index}", mount_path=credential.directory, read_only=True)
            for index, credential in enumerate(self.credentials)
        )
        return mounts

    @property
    def expected_mounts(self) -> dict[str, str]:
        """Path -> what must be mounted there, for the runner to check."""
        expected = {credential.directory: f"Secret {credential.secret!r}" for credential in self.credentials}
        if self.config_map:
            expected[f"{CONFIG_DIRECTORY}/{CONFIG_FILE}"] = f"key {CONFIG_FILE!r} of ConfigMap {self.config_map!r}"
        return expected

    @property
    def env(self) -> list[k8s.V1EnvVar]:
        """The environment that SkyPilot needs to share one state between pods."""
        values = {
            "HOME": str(HOME),
            "SKYPILOT_USER_ID": self.deployment,
            "SKYPILOT_USER": "airflow",
            "SKYPILOT_DISABLE_LOCAL_API_SERVER": "1",
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "PYTHONUNBUFFERED": "1",
        }
        if self.config_map:
            values["SKYPILOT_GLOBAL_CONFIG"] = f"{CONFIG_DIRECTORY}/{CONFIG_FILE}"
        return [k8s.V1EnvVar(name=name, value=value) for name, value in values.items()]

    @property
    def env_from(self) -> list[k8s.V1EnvFromSource]:
        """Secrets whose keys become environment variables."""
        return [
            k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=credential.secret, optional=True))
            for credential in self.credentials
            if credential.env
        ]

    @property
    def container_resources(self) -> k8s.V1ResourceRequirements:
        """What one SkyPilot process asks for: it has peaks of 250 MB."""
        return k8s.V1ResourceRequirements(requests={"cpu": "100m", "memory": "512Mi"})

    @property
    def security_context(self) -> k8s.V1PodSecurityContext:
        """The unprivileged user of the image, which also gets to write to the volume."""
        return k8s.V1PodSecurityContext(
            run_as_user=RUNNER_USER_ID,
            run_as_group=RUNNER_USER_ID,
            run_as_non_root=True,
            fs_group=RUNNER_USER_ID,
            # Changing every file's mode at each start would make ssh refuse its keys.
            fs_group_change_policy="OnRootMismatch",
        )


def _option(name: str) -> str | None:
    value = conf.get("skypilot", name, fallback=None)
    return value.strip() or None if isinstance(value, str) else None


def _required_option(name: str, meaning: str) -> str:
    value = _option(name)
    if value is None:
        raise SkyDeploymentError(
            f"{name} is not set: {meaning}. Set it on the operator, in default_args, "
            f"or as {name} in the [skypilot] section of airflow.cfg (AIRFLOW__SKYPILOT__{name.upper()})"
        )
    return value


def _json_option(name: str) -> Any:
    value = _option(name)
    if value is None:
        return []
    try:
        return json.loads(value)
    except ValueError as error:
        raise SkyDeploymentError(f"[skypilot] {name} is not JSON: {error}") from error
