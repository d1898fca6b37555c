"""What every sky pod is given: the shared volume, SkyPilot's configuration, credentials and an identity."""

from __future__ import annotations

import dataclasses
import enum
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from kubernetes.client import models as k8s

from k8s_sky_provider.exceptions import SkyDeploymentError
from k8s_sky_provider.protocol import (
    POD_ACCESS_DIRECTORY,
    POD_NAME,
    POD_NAMESPACE,
    SECRETS_DIRECTORY,
    STATE_SECRETS,
    read_json,
)

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

SCRATCH_DIRECTORIES = {"sky-home": HOME, "sky-tmp": PurePosixPath("/tmp")}  # noqa: S108  # the pod's own
"""Volume name -> a place that programs write to, and that is gone with the pod."""

RESOURCES = frozenset(
    {
        *("infra", "accelerators", "cpus", "memory", "instance_type", "use_spot"),
        *("disk_size", "disk_tier", "network_tier", "image_id", "labels"),
    }
)
"""The keys of a task's resources that can have a default; other keys are those of one task."""

LOCAL_FILES_LIMIT_MB = 1
"""Megabytes of packed files that travel with a task, unless the deployment says otherwise: etcd has them meanwhile."""

DEPLOYMENT_LABEL = "k8s-sky/deployment"
_DEPLOYMENT_PATTERN = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,46}[a-zA-Z0-9])?")


DATABASE_DIRECTORY = f"{SECRETS_DIRECTORY}/{STATE_SECRETS[0]}"
"""Where the pod mounts the key with the database's URI, so that the runner finds it missing and masks it in logs."""

TOKEN_DIRECTORY = f"{SECRETS_DIRECTORY}/{STATE_SECRETS[1]}"
"""The same for the token of a SkyPilot API server."""

ENDPOINT_DIRECTORY = f"{SECRETS_DIRECTORY}/{STATE_SECRETS[2]}"
"""The same for the URL of one, where it has a password in it."""


POD_ACCESS_VOLUME = "sky-pod"


class StateMode(enum.StrEnum):
    """Where SkyPilot's state lives."""

    VOLUME = "volume"
    DATABASE = "database"
    API_SERVER = "api_server"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecretKey:
    """A reference to one key of a Kubernetes Secret.

    :param secret: name of the Secret
    :param key: the key in it
    """

    secret: str
    key: str

    @classmethod
    def parse(cls, text: Any, where: str) -> SecretKey:
        """Read ``name/key``.

        :param where: what the error calls the setting
        :raises SkyDeploymentError: if it is anything else
        """
        if not isinstance(text, str) or not re.fullmatch(r"[-.a-z0-9]+/[-._a-zA-Z0-9]+", text):
            raise SkyDeploymentError(
                f"{where}: {text!r} is no reference to a Secret; write its name and the key, as sky-database/uri"
            )
        secret, _, key = text.partition("/")
        return cls(secret=secret, key=key)


CONNECTION_FIELDS = ("login", "password", "host", "port", "schema")
"""Fields of an Airflow connection that can be a variable, besides ``extra.<key>``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credential:
    """Cloud credentials: a reference to a Kubernetes Secret, or to an Airflow connection.

    :param secret: name of the Secret
    :param path: directory, relative to the home directory, in which the Secret's keys become files (``.aws``)
    :param env: whether the Secret's keys become environment variables instead; of a connection, which: variable ->
        its field (``login``, ``password``, ``host``, ``port``, ``schema``, ``extra.<key>``)
    :param connection: id of the Airflow connection, instead of ``secret``
    :param cloud: the connection's cloud, where its type does not say it (:mod:`k8s_sky_provider.credentials`)
    """

    secret: str = ""
    path: str | None = None
    env: bool | Mapping[str, str] = False
    connection: str | None = None
    cloud: str | None = None

    @classmethod
    def parse(cls, data: Any, where: str = "credentials") -> Credential:
        """Read one entry of ``credentials``.

        :param where: what the error calls the setting
        :raises SkyDeploymentError: if it is not ``{"secret": ..., "path": ...}``, ``{"secret": ..., "env": true}``,
            ``{"connection": ...}`` or ``{"connection": ..., "env": {"VARIABLE": "field"}}``
        """
        example = (
            '{"secret": "aws-credentials", "path": ".aws"}, {"secret": "lambda-key", "env": true}, '
            '{"connection": "aws_default"} or {"connection": "wandb", "env": {"WANDB_API_KEY": "password"}}'
        )
        if isinstance(data, Credential):
            return data
        if isinstance(data, dict) and "connection" in data:
            texts = [value for key, value in data.items() if key != "env"]
            if set(data) - {"connection", "cloud", "env"} or not all(isinstance(v, str) and v for v in texts):
                raise SkyDeploymentError(
                    f"{where}: connection {data['connection']!r} takes no more than a cloud or env; "
                    f"an entry is {example}"
                )
            if "env" in data:
                _check_variables(where, data)
            return cls(**data)
        if not isinstance(data, dict) or not isinstance(data.get("secret"), str) or not data["secret"]:
            raise SkyDeploymentError(f"{where}: {data!r} names no Secret; an entry is {example}")
        if not isinstance(data.get("env", False), bool):
            raise SkyDeploymentError(
                f"{where}: env of Secret {data['secret']!r} must be true or false, not {data['env']!r}"
            )
        if set(data) - {"secret", "path", "env"} or ("path" in data) == bool(data.get("env")):
            raise SkyDeploymentError(
                f"{where}: Secret {data['secret']!r} needs either path or env; an entry is {example}"
            )
        path = data.get("path")
        if path is not None and (
            not isinstance(path, str) or not path or path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts
        ):
            raise SkyDeploymentError(
                f"{where}: path {path!r} of Secret {data['secret']!r} must lie below the home, such as .aws"
            )
        return cls(**data)

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables that a connection is for, with its fields."""
        return self.env if isinstance(self.env, Mapping) else {}

    @property
    def directory(self) -> str:
        """Where the pod mounts the Secret."""
        return str(HOME / self.path) if self.path else f"{SECRETS_DIRECTORY}/{self.secret}"


def _check_variables(where: str, entry: Mapping[str, Any]) -> None:
    which = f"{where}: env of connection {entry['connection']!r}"
    if "cloud" in entry:
        raise SkyDeploymentError(f"{which}: a connection is for a cloud or for variables; make two entries of it")
    if not isinstance(entry["env"], Mapping) or not entry["env"]:
        raise SkyDeploymentError(
            f'{which} must be variables with the fields that they get, as {{"WANDB_API_KEY": "password"}}, '
            f"not {entry['env']!r}"
        )
    for variable, field in entry["env"].items():
        if not isinstance(variable, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,252}", variable):
            raise SkyDeploymentError(f"{which}: {variable!r} is not the name of an environment variable")
        if field not in CONNECTION_FIELDS and not (isinstance(field, str) and re.fullmatch(r"extra\..+", field)):
            raise SkyDeploymentError(
                f"{which}: {variable}: {field!r} is not a field; fields are {', '.join(CONNECTION_FIELDS)}, extra.<key>"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """What an Airflow connection of type ``skypilot`` says.

    :param conn_id: the connection's id, for errors
    :param values: option -> value, as text or, from hand-written JSON, as a list or dict; empty ones left out
    """

    conn_id: str
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Setting:
    """A value and what an error calls the place that it comes from."""

    value: Any
    where: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a sky pod runs and what it mounts.

    An argument of the operator beats the field of the same name in the SkyPilot connection, and that beats
    the option in Airflow's ``[skypilot]`` section.

    :param deployment: name of this Airflow deployment: owner of its clusters in SkyPilot and a label of its pods
    :param image: SkyPilot image with the runner
    :param image_pull_policy: as in Kubernetes
    :param image_pull_secrets: names of Secrets for the registry
    :param namespace: where the pods run
    :param service_account_name: ServiceAccount of the pods
    :param state_mode: where SkyPilot's state lives
    :param volume_claim: PersistentVolumeClaim with SkyPilot's state; in the other modes there may be none
    :param database_secret: where the URI of SkyPilot's database is, in ``database`` mode
    :param api_server_endpoint: URL of the SkyPilot API server, in ``api_server`` mode; the tasks link to its dashboard
    :param api_server_endpoint_secret: where that URL with a name and a password in it is, if the server wants them
    :param api_server_token_secret: where the token for that server is, if it wants one
    :param dashboard_url: URL of SkyPilot's dashboard, if it is not the API server's
    :param config_map: ConfigMap whose key ``config.yaml`` is SkyPilot's configuration
    :param credentials: Secrets and connections that the pods get files and environment from
    :param default_image_id: image of launched clusters whose task names none
    :param default_resources: resources of launched clusters where neither argument nor task says them
    :param allow_network_file_system: trust SQLite on a network file system
    :param local_files_limit_mb: megabytes that the packed files beside a DAG may have which travel with a task
    """

    deployment: str
    image: str
    image_pull_policy: str | None
    image_pull_secrets: tuple[str, ...]
    namespace: str | None
    service_account_name: str | None
    state_mode: StateMode
    volume_claim: str | None
    database_secret: SecretKey | None
    api_server_endpoint: str | None
    api_server_endpoint_secret: SecretKey | None
    api_server_token_secret: SecretKey | None
    dashboard_url: str | None
    config_map: str | None
    credentials: tuple[Credential, ...]
    default_image_id: str | None
    default_resources: Mapping[str, Any]
    allow_network_file_system: bool
    local_files_limit_mb: int

    @classmethod
    def resolve(
        cls,
        *,
        connection: ConnectionSettings | None = None,
        deployment: str | None = None,
        image: str | None = None,
        image_pull_policy: str | None = None,
        namespace: str | None = None,
        service_account_name: str | None = None,
        volume_claim: str | None = None,
        config_map: str | None = None,
        credentials: Sequence[Any] | None = None,
    ) -> Workspace:
        """Join the operator's arguments with the connection's fields and the ``[skypilot]`` options.

        :raises SkyDeploymentError: if something needed is set nowhere, or a value is malformed
        """

        def text(name: str, argument: str | None = None) -> str | None:
            return _text(_look_up(name, argument or None, connection))

        def secret_key(name: str) -> SecretKey | None:
            setting = _look_up(name, None, connection)
            return None if setting is None else SecretKey.parse(setting.value, setting.where)

        state_mode = _state_mode(_look_up("state_mode", None, connection))
        database_secret = secret_key("database_secret")
        if state_mode is StateMode.DATABASE and database_secret is None:
            raise _not_set("database_secret", "the Secret and key, as name/key, with the URI of SkyPilot's PostgreSQL")
        api_server_endpoint = _url(_look_up("api_server_endpoint", None, connection))
        if state_mode is StateMode.API_SERVER and api_server_endpoint is None:
            raise _not_set("api_server_endpoint", "the URL of the SkyPilot API server")
        volume_claim = text("volume_claim", volume_claim)
        if state_mode is StateMode.VOLUME and volume_claim is None:
            raise _not_set("volume_claim", "the PersistentVolumeClaim with SkyPilot's state")
        image = text("image", image)
        if image is None:
            raise _not_set("image", "the SkyPilot image that has the runner (see docs/images.md)")
        return cls(
            deployment=_deployment(_look_up("deployment", deployment or None, connection)),
            image=image,
            image_pull_policy=image_pull_policy or _option("image_pull_policy"),
            image_pull_secrets=tuple(
                name.strip() for name in (_option("image_pull_secrets") or "").split(",") if name.strip()
            ),
            namespace=text("namespace", namespace),
            service_account_name=text("service_account_name", service_account_name),
            state_mode=state_mode,
            volume_claim=volume_claim,
            database_secret=database_secret,
            api_server_endpoint=api_server_endpoint,
            api_server_endpoint_secret=secret_key("api_server_endpoint_secret"),
            api_server_token_secret=secret_key("api_server_token_secret"),
            dashboard_url=_url(_look_up("dashboard_url", None, connection)),
            config_map=text("config_map", config_map),
            credentials=_credentials(_look_up("credentials", credentials, connection)),
            default_image_id=text("default_image_id"),
            default_resources=_default_resources(_look_up("default_resources", None, connection)),
            # In the other modes, no SQLite is on the volume.
            allow_network_file_system=state_mode is not StateMode.VOLUME
            or conf.getboolean("skypilot", "allow_network_file_system", fallback=False),
            local_files_limit_mb=_local_files_limit_mb(_option("local_files_limit_mb")),
        )

    @property
    def secrets(self) -> tuple[Credential, ...]:
        """The credentials that are Kubernetes Secrets."""
        return tuple(credential for credential in self.credentials if credential.connection is None)

    @property
    def connections(self) -> tuple[Credential, ...]:
        """The credentials that are Airflow connections."""
        return tuple(credential for credential in self.credentials if credential.connection is not None)

    @property
    def dashboard(self) -> str | None:
        """URL of SkyPilot's dashboard, without a slash at its end."""
        if self.dashboard_url:
            return self.dashboard_url
        return f"{self.api_server_endpoint}/dashboard" if self.api_server_endpoint else None

    @property
    def uses_database(self) -> SecretKey | None:
        """Where the database's URI is, in ``database`` mode; None in the others."""
        return self.database_secret if self.state_mode is StateMode.DATABASE else None

    @property
    def uses_api_server(self) -> str | None:
        """The API server's URL, in ``api_server`` mode; None in the others."""
        return self.api_server_endpoint if self.state_mode is StateMode.API_SERVER else None

    @property
    def state_secrets(self) -> list[tuple[str, str, SecretKey]]:
        """What it takes to get at SkyPilot's state: environment variable, directory of the mount, and Secret."""
        of_the_server = [
            ("SKYPILOT_API_SERVER_ENDPOINT", ENDPOINT_DIRECTORY, self.api_server_endpoint_secret),
            ("SKYPILOT_SERVICE_ACCOUNT_TOKEN", TOKEN_DIRECTORY, self.api_server_token_secret),
        ]
        all_of_them = [
            ("SKYPILOT_DB_CONNECTION_URI", DATABASE_DIRECTORY, self.uses_database),
            *(of_the_server if self.uses_api_server else []),
        ]
        return [(name, directory, secret) for name, directory, secret in all_of_them if secret]

    def check_keeps_notes(self, name: str) -> None:
        """Check that the runner's notes outlive its pod: who made which cluster is only told there.

        :param name: the argument that needs them
        :raises SkyDeploymentError: if they do not
        """
        if self.uses_api_server and not self.volume_claim:
            raise SkyDeploymentError(
                f"{name}: who made which cluster is noted on a volume, and with state_mode api_server there is none "
                "unless volume_claim names one (docs/api_server.md)"
            )

    @property
    def volumes(self) -> list[k8s.V1Volume]:
        """The pod's volumes. Secrets and the ConfigMap are optional ones: the runner says clearly which is missing."""
        volumes = [k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource()) for name in POD_LOCAL_DIRECTORIES]
        volumes.append(_pod_access())
        if self.volume_claim:
            claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=self.volume_claim)
            volumes.insert(0, k8s.V1Volume(name=STATE_VOLUME, persistent_volume_claim=claim))
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
            for index, credential in enumerate(self.secrets)
        )
        volumes.extend(
            k8s.V1Volume(
                name=PurePosixPath(directory).name,
                secret=k8s.V1SecretVolumeSource(
                    secret_name=reference.secret,
                    items=[k8s.V1KeyToPath(key=reference.key, path=reference.key)],
                    optional=True,
                    default_mode=0o440,
                ),
            )
            for _, directory, reference in self.state_secrets
        )
        return volumes

    @property
    def volume_mounts(self) -> list[k8s.V1VolumeMount]:
        """Where the container sees :attr:`volumes`."""
        mounts = _state_mounts() if self.volume_claim else []
        mounts.extend(
            k8s.V1VolumeMount(name=name, mount_path=str(path)) for name, path in POD_LOCAL_DIRECTORIES.items()
        )
        mounts.append(k8s.V1VolumeMount(name=POD_ACCESS_VOLUME, mount_path=POD_ACCESS_DIRECTORY, read_only=True))
        if self.config_map:
            mounts.append(k8s.V1VolumeMount(name="sky-config", mount_path=CONFIG_DIRECTORY, read_only=True))
        mounts.extend(
            k8s.V1VolumeMount(name=f"sky-credential-{index}", mount_path=credential.directory, read_only=True)
            for index, credential in enumerate(self.secrets)
        )
        mounts.extend(
            k8s.V1VolumeMount(name=PurePosixPath(directory).name, mount_path=directory, read_only=True)
            for _, directory, _ in self.state_secrets
        )
        return mounts

    @property
    def scratch_volumes(self) -> list[k8s.V1Volume]:
        """The volumes of a pod that cannot write to the image's file system: they are gone with it."""
        names = [*SCRATCH_DIRECTORIES, *([] if self.volume_claim else [STATE_VOLUME])]
        return [k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource()) for name in names]

    @property
    def scratch_mounts(self) -> list[k8s.V1VolumeMount]:
        """Where the container sees :attr:`scratch_volumes`: where nothing of :attr:`volume_mounts` is."""
        mounts = [k8s.V1VolumeMount(name=name, mount_path=str(path)) for name, path in SCRATCH_DIRECTORIES.items()]
        if not self.volume_claim:
            # Above a mount of something else, the container runtime would make these directories itself, as root.
            mounts.extend(_state_mounts())
        taken = {mount.mount_path for mount in self.volume_mounts}
        return [mount for mount in mounts if mount.mount_path not in taken]

    @property
    def expected_mounts(self) -> dict[str, str]:
        """Path -> what must be mounted there, for the runner to check."""
        expected = {credential.directory: f"Secret {credential.secret!r}" for credential in self.secrets}
        for _, directory, reference in self.state_secrets:
            expected[f"{directory}/{reference.key}"] = f"Secret {reference.secret!r} with the key {reference.key!r}"
        if self.config_map:
            expected[f"{CONFIG_DIRECTORY}/{CONFIG_FILE}"] = f"key {CONFIG_FILE!r} of ConfigMap {self.config_map!r}"
        return expected

    @property
    def env(self) -> list[k8s.V1EnvVar]:
        """The environment that SkyPilot needs to share one state between pods, or to find the server that has it."""
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
            # With a database SkyPilot takes no other configuration from a file than that which replaces all.
            name = "SKYPILOT_CONFIG" if self.uses_database else "SKYPILOT_GLOBAL_CONFIG"
            values[name] = f"{CONFIG_DIRECTORY}/{CONFIG_FILE}"
        if self.uses_database:
            # Without it SkyPilot ignores the database.
            values["IS_SKYPILOT_SERVER"] = "true"
        if self.uses_api_server and not self.api_server_endpoint_secret:
            values["SKYPILOT_API_SERVER_ENDPOINT"] = self.uses_api_server
        env = [k8s.V1EnvVar(name=name, value=value) for name, value in values.items()]
        env += [_of_the_pod(POD_NAME, "metadata.name"), _of_the_pod(POD_NAMESPACE, "metadata.namespace")]
        for name, _, reference in self.state_secrets:
            selector = k8s.V1SecretKeySelector(name=reference.secret, key=reference.key, optional=True)
            env.append(k8s.V1EnvVar(name=name, value_from=k8s.V1EnvVarSource(secret_key_ref=selector)))
        return env

    @property
    def env_from(self) -> list[k8s.V1EnvFromSource]:
        """Secrets whose keys become environment variables."""
        return [
            k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=credential.secret, optional=True))
            for credential in self.secrets
            if credential.env
        ]

    @property
    def container_resources(self) -> k8s.V1ResourceRequirements:
        """What one SkyPilot process asks for: it has peaks of 250 MB."""
        return k8s.V1ResourceRequirements(requests={"cpu": "100m", "memory": "512Mi"})


def _of_the_pod(variable: str, field: str) -> k8s.V1EnvVar:
    selector = k8s.V1ObjectFieldSelector(field_path=field)
    return k8s.V1EnvVar(name=variable, value_from=k8s.V1EnvVarSource(field_ref=selector))


def _pod_access() -> k8s.V1Volume:
    """Return the volume by which a runner reads its own pod.

    Not where Kubernetes puts a ServiceAccount's token: SkyPilot takes that for a cloud that it may use.
    """
    token = k8s.V1ServiceAccountTokenProjection(path="token", expiration_seconds=3600)
    authority = k8s.V1ConfigMapProjection(
        name="kube-root-ca.crt", items=[k8s.V1KeyToPath(key="ca.crt", path="ca.crt")], optional=True
    )
    sources = [
        k8s.V1VolumeProjection(service_account_token=token),
        k8s.V1VolumeProjection(config_map=authority),
    ]
    return k8s.V1Volume(
        name=POD_ACCESS_VOLUME, projected=k8s.V1ProjectedVolumeSource(sources=sources, default_mode=0o440)
    )


def _state_mounts() -> list[k8s.V1VolumeMount]:
    return [
        k8s.V1VolumeMount(name=STATE_VOLUME, mount_path=str(path), sub_path=sub_path)
        for sub_path, path in STATE_DIRECTORIES.items()
    ]


def _option(name: str) -> str | None:
    value = conf.get("skypilot", name, fallback=None)
    return value.strip() or None if isinstance(value, str) else None


def _local_files_limit_mb(text: str | None) -> int:
    if text is None:
        return LOCAL_FILES_LIMIT_MB
    if not re.fullmatch(r"0*[1-9][0-9]{0,3}", text):
        raise SkyDeploymentError(f"[skypilot] local_files_limit_mb: {text!r} must be a whole number from 1 to 9999")
    return int(text)


def _look_up(name: str, argument: Any, connection: ConnectionSettings | None) -> _Setting | None:
    """Return the first of argument, connection and option that is set."""
    if argument is not None:
        return _Setting(value=argument, where=name)
    if connection is not None and name in connection.values:
        return _Setting(value=connection.values[name], where=f"connection {connection.conn_id!r}: {name}")
    value = _option(name)
    return None if value is None else _Setting(value=value, where=f"[skypilot] {name}")


def _not_set(name: str, meaning: str) -> SkyDeploymentError:
    operator = "" if name in {"database_secret", "api_server_endpoint"} else "on the operator, in default_args, "
    return SkyDeploymentError(
        f"{name} is not set: {meaning}. Set it {operator}in the SkyPilot connection, "
        f"or as {name} in the [skypilot] section of airflow.cfg (AIRFLOW__SKYPILOT__{name.upper()})"
    )


def _text(setting: _Setting | None) -> str | None:
    if setting is None:
        return None
    if not isinstance(setting.value, str):
        raise SkyDeploymentError(f"{setting.where}: {setting.value!r} must be text")
    return setting.value


def _url(setting: _Setting | None) -> str | None:
    text = _text(setting)
    if setting is not None and text is not None and not re.fullmatch(r"https?://[^\s/]++\S*+", text):
        shown = re.sub(r"(?<![^/@\s])[^/@\s]*@", "***@", text)
        raise SkyDeploymentError(f"{setting.where}: {shown!r} is no URL; write it as https://sky.example.com")
    if setting is not None and text is not None and "@" in urllib.parse.urlsplit(text).netloc:
        # Not shown: it may be a password.
        way_out = "; give the URL with them as api_server_endpoint_secret" if "endpoint" in setting.where else ""
        raise SkyDeploymentError(f"{setting.where}: must be a URL without a name and a password in it{way_out}")
    return text.rstrip("/") if text else None


def _deployment(setting: _Setting | None) -> str:
    name = _text(setting)
    if setting is None or name is None:
        return "airflow"
    if not _DEPLOYMENT_PATTERN.fullmatch(name):
        raise SkyDeploymentError(
            f"{setting.where}: {name!r} must have 1 to 48 letters, digits and dashes, and no dash at either end"
        )
    return name


def _state_mode(setting: _Setting | None) -> StateMode:
    if setting is None:
        return StateMode.VOLUME
    text = _text(setting)
    if text not in set(StateMode):
        raise SkyDeploymentError(f"{setting.where}: {text!r} is not one of {', '.join(StateMode)}")
    return StateMode(text)


def _credentials(setting: _Setting | None) -> tuple[Credential, ...]:
    if setting is None:
        return ()
    entries = _json(setting)
    if not isinstance(entries, (list, tuple)):
        raise SkyDeploymentError(f"{setting.where}: must be a list, not {entries!r}")
    return tuple(Credential.parse(entry, setting.where) for entry in entries)


def _default_resources(setting: _Setting | None) -> dict[str, Any]:
    if setting is None:
        return {}
    resources = _json(setting)
    if not isinstance(resources, dict):
        raise SkyDeploymentError(
            f'{setting.where}: must be a JSON object such as {{"infra": "aws", "cpus": "4+"}}, not {resources!r}'
        )
    if unknown := sorted(set(resources) - RESOURCES):
        raise SkyDeploymentError(
            f"{setting.where}: {', '.join(unknown)} cannot have a default; known are {', '.join(sorted(RESOURCES))}"
        )
    return resources


def _json(setting: _Setting) -> Any:
    """Return the value, decoded if it is text."""
    if not isinstance(setting.value, str):
        return setting.value
    try:
        return read_json(setting.value)
    except ValueError as error:
        raise SkyDeploymentError(f"{setting.where} is not JSON: {error}") from error
