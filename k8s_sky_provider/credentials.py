"""Airflow connections -> the files in which SkyPilot looks for a cloud's credentials, and variables for jobs.

Only fields of the connection are read: no Airflow provider of a cloud needs to be installed.
"""

from __future__ import annotations

import base64
import configparser
import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, mask_secret

from k8s_sky_provider.exceptions import SkyCredentialsError
from k8s_sky_provider.protocol import SECRETS_DIRECTORY, read_json
from k8s_sky_provider.workspace import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.providers.common.compat.sdk import Connection

    from k8s_sky_provider.workspace import Credential


@dataclasses.dataclass(frozen=True, kw_only=True)
class CredentialFiles:
    """What one connection becomes in the pod.

    :param connection: the connection's id
    :param directory: where the pod has the files
    :param files: name -> content
    :param secrets: what is secret in them: they have names of regions and projects too
    :param are_variables: whether each file is an environment variable, too
    """

    connection: str
    directory: str
    files: dict[str, str] = dataclasses.field(repr=False)
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    are_variables: bool = False


def read_connection(credential: Credential) -> CredentialFiles:
    """Read the connection that a credential names, and hide in logs what is secret in it.

    :raises SkyCredentialsError: if there is none, or SkyPilot could not use it as files
    """
    conn_id = credential.connection or ""
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise SkyCredentialsError(f"credentials: connection {conn_id!r} does not exist") from error
    if credential.variables:
        return _variables(connection, credential.variables)
    cloud = credential.cloud or _CLOUD_OF_TYPE.get(str(connection.conn_type))
    if cloud is None:
        raise SkyCredentialsError(
            f"credentials: connection {conn_id!r} is of type {connection.conn_type!r}, which says no cloud. "
            f'Add "cloud" to the entry: one of {", ".join(sorted(_TOKEN_FILES))}; or "env", where a job needs its '
            "password or another field; or use a Secret (docs/credentials.md)"
        )
    if cloud == "azure":
        raise SkyCredentialsError(
            f"credentials: connection {conn_id!r}: SkyPilot takes no service principal for Azure, only what "
            "`az login` leaves in ~/.azure. Make a Secret of these files and give it with the path .azure "
            "(docs/credentials.md)"
        )
    read = _READERS.get(cloud)
    if read is None and cloud not in _TOKEN_FILES:
        raise SkyCredentialsError(
            f"credentials: connection {conn_id!r}: cloud {cloud!r} is not one of "
            f"{', '.join(sorted({*_READERS, *_TOKEN_FILES}))}; use a Secret for others (docs/credentials.md)"
        )
    directory, files, secrets = read(connection) if read else _token_file(connection, cloud)
    for content in files.values():
        _mask(content)
    for secret in secrets:
        mask_secret(secret)
    return CredentialFiles(connection=conn_id, directory=str(HOME / directory), files=files, secrets=secrets)


def _variables(connection: Connection, variables: Mapping[str, str]) -> CredentialFiles:
    values = {name: _field(connection, name, field) for name, field in variables.items()}
    for value in values.values():
        _mask(value)
    return CredentialFiles(
        connection=connection.conn_id,
        # Where variables of Secrets are too: a job may have them. No Secret can have this name.
        directory=f"{SECRETS_DIRECTORY}/connection_{next(iter(values))}",
        files=values,
        secrets=tuple(values.values()),
        are_variables=True,
    )


def _field(connection: Connection, variable: str, field: str) -> str:
    value = _extra(connection).get(field.removeprefix("extra.")) if "." in field else getattr(connection, field)
    if value is None or value == "":
        raise SkyCredentialsError(
            f"credentials: connection {connection.conn_id!r} has no {field}, which is to be {variable}"
        )
    text = value if isinstance(value, str) else json.dumps(value)
    if "\0" in text:
        raise SkyCredentialsError(
            f"credentials: connection {connection.conn_id!r}: {field} has a NUL, which no variable can have"
        )
    return text


def _mask(content: str) -> None:
    """Hide a file's content in logs, also as the Kubernetes API writes it."""
    mask_secret(content)
    mask_secret(base64.b64encode(content.encode()).decode())


def _aws(connection: Connection) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """Return ``~/.aws``. With a role the keys are another profile's, as the AWS CLI has it."""
    extra = _extra(connection)
    key = connection.login or extra.get("aws_access_key_id")
    secret = connection.password or extra.get("aws_secret_access_key")
    if not key or not secret:
        raise SkyCredentialsError(
            f"credentials: connection {connection.conn_id!r} has no access key and secret key (login and password). "
            "For the role of the pod's own ServiceAccount no credentials entry is needed"
        )
    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    if token := extra.get("aws_session_token"):
        keys["aws_session_token"] = token
    settings = {"region": extra["region_name"]} if extra.get("region_name") else {}
    role = extra.get("role_arn")
    profile = "airflow" if role else "default"
    if role:
        settings |= {"role_arn": role, "source_profile": profile}
        external_id = (extra.get("assume_role_kwargs") or {}).get("ExternalId")
        if external_id:
            settings["external_id"] = external_id
    files = {"credentials": _ini(connection, {profile: keys})}
    if settings:
        files["config"] = _ini(connection, {"default": settings})
    return ".aws", files, tuple(keys.values())


def _gcp(connection: Connection) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """Return the service account's key, where SkyPilot and Google's libraries look for it."""
    extra = _extra(connection)
    key: Any = extra.get("keyfile_dict") or extra.get("keyfile_json")
    if not key and extra.get("key_path"):
        try:
            key = Path(extra["key_path"]).read_text()
        except OSError as error:
            raise SkyCredentialsError(
                f"credentials: connection {connection.conn_id!r}: key_path cannot be read on the worker: {error}"
            ) from error
    if not key:
        raise SkyCredentialsError(
            f"credentials: connection {connection.conn_id!r} has none of keyfile_dict and key_path. "
            "For workload identity of the pod's own ServiceAccount no credentials entry is needed"
        )
    try:
        key = read_json(key) if isinstance(key, str) else key
    except ValueError as error:
        raise SkyCredentialsError(
            f"credentials: connection {connection.conn_id!r}: the key of the service account is not JSON"
        ) from error
    if not isinstance(key, dict) or key.get("type") != "service_account" or not key.get("private_key"):
        raise SkyCredentialsError(
            f"credentials: connection {connection.conn_id!r}: the key is not that of a service account "
            '("type": "service_account" with a private_key)'
        )
    secrets = tuple(str(key[name]) for name in ("private_key", "private_key_id") if key.get(name))
    return ".config/gcloud", {"application_default_credentials.json": json.dumps(key, indent=2)}, secrets


def _token_file(connection: Connection, cloud: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    token = connection.password
    if not token:
        raise SkyCredentialsError(
            f"credentials: connection {connection.conn_id!r} has no password, which is to be the API key for {cloud}"
        )
    if any(character.isspace() for character in token):
        raise SkyCredentialsError(f"credentials: connection {connection.conn_id!r}: the API key has white space in it")
    directory, name, write = _TOKEN_FILES[cloud]
    # In some files it stands with escapes.
    return directory, {name: write(token)}, tuple({token, json.dumps(token)[1:-1]})


def _extra(connection: Connection) -> dict[str, Any]:
    """Return the connection's extra; older Airflows put a prefix before the fields of its form."""
    prefix = f"extra__{connection.conn_type}__"
    try:
        extra = read_json(connection.extra or "{}")
    except ValueError as error:
        raise SkyCredentialsError(f"credentials: connection {connection.conn_id!r}: extra is not JSON") from error
    return {name.removeprefix(prefix): value for name, value in extra.items()} if isinstance(extra, dict) else {}


def _ini(connection: Connection, sections: dict[str, dict[str, Any]]) -> str:
    for section in sections.values():
        for name, value in section.items():
            if not isinstance(value, str) or any(character.isspace() for character in value):
                raise SkyCredentialsError(
                    f"credentials: connection {connection.conn_id!r}: {name} must be text without white space"
                )
    parser = configparser.RawConfigParser()
    parser.read_dict(sections)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


_CLOUD_OF_TYPE = {"aws": "aws", "google_cloud_platform": "gcp", "azure": "azure", "azure_container_instance": "azure"}
_READERS: dict[str, Callable[[Connection], tuple[str, dict[str, str], tuple[str, ...]]]] = {"aws": _aws, "gcp": _gcp}
_TOKEN_FILES: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "do": (".config/doctl", "config.yaml", lambda token: f"access-token: {json.dumps(token)}\n"),
    "fluidstack": (".fluidstack", "api_key", str),
    "hyperbolic": (".hyperbolic", "api_key", str),
    "lambda": (".lambda_cloud", "lambda_keys", lambda token: f"api_key = {token}\n"),
    "paperspace": (".paperspace", "config.json", lambda token: json.dumps({"apiKey": token})),
    "primeintellect": (".prime", "config.json", lambda token: json.dumps({"api_key": token})),
    "runpod": (".runpod", "config.toml", lambda token: f"[default]\napi_key = {json.dumps(token)}\n"),
    "seeweb": (".seeweb_cloud", "seeweb_keys", lambda token: f"[DEFAULT]\napi_key = {token}\n"),
    "shadeform": (".shadeform", "api_key", str),
    "vast": (".config/vastai", "vast_api_key", str),
}
"""Cloud -> directory, file and content of what SkyPilot 0.14 reads its one API key from."""
