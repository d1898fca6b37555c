"""An Airflow connection becomes the files in which SkyPilot looks for a cloud's credentials."""

from __future__ import annotations

import base64
import configparser
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from k8s_sky_provider import credentials
from k8s_sky_provider.credentials import _TOKEN_FILES, read_connection
from k8s_sky_provider.exceptions import SkyCredentialsError
from k8s_sky_provider.workspace import Credential
from unit.k8s_sky_provider.airflow_version import about_its_extra
from unit.k8s_sky_provider.connections import set_connection

if TYPE_CHECKING:
    from pathlib import Path

KEY = {"type": "service_account", "project_id": "p", "client_email": "sky@p", "private_key": "-----BEGIN KEY-----\nx\n"}


@pytest.fixture(autouse=True)
def masked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what logs are told to hide."""
    texts: list[str] = []
    monkeypatch.setattr(credentials, "mask_secret", texts.append)
    return texts


def ini(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


@pytest.mark.parametrize(
    ("fields", "files"),
    [
        pytest.param(
            {"login": "AKIA", "password": "se%cret/+="},
            {"credentials": {"default": {"aws_access_key_id": "AKIA", "aws_secret_access_key": "se%cret/+="}}},
            id="login and password",
        ),
        pytest.param(
            {
                "extra": {
                    "aws_access_key_id": "AKIA",
                    "aws_secret_access_key": "secret",
                    "aws_session_token": "session",
                    "region_name": "eu-west-1",
                }
            },
            {
                "credentials": {
                    "default": {
                        "aws_access_key_id": "AKIA",
                        "aws_secret_access_key": "secret",
                        "aws_session_token": "session",
                    }
                },
                "config": {"default": {"region": "eu-west-1"}},
            },
            id="extra with session and region",
        ),
        pytest.param(
            {
                "login": "AKIA",
                "password": "secret",
                "extra": {"role_arn": "arn:aws:iam::1:role/sky", "assume_role_kwargs": {"ExternalId": "42"}},
            },
            {
                "credentials": {"airflow": {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"}},
                "config": {
                    "default": {
                        "role_arn": "arn:aws:iam::1:role/sky",
                        "source_profile": "airflow",
                        "external_id": "42",
                    }
                },
            },
            id="role",
        ),
    ],
)
def test_aws(fields: dict[str, Any], files: dict[str, Any], monkeypatch: pytest.MonkeyPatch, masked: list[str]) -> None:
    set_connection(monkeypatch, "aws_default", "aws", **fields)
    read = read_connection(Credential(connection="aws_default"))
    assert read.directory == "/home/sky/.aws"
    assert {name: ini(content) for name, content in read.files.items()} == files
    assert {"secret", "se%cret/+="} & set(masked)
    assert ("session" in masked) == ("aws_session_token" in fields.get("extra", {}))
    assert base64.b64encode(read.files["credentials"].encode()).decode() in masked
    assert "secret" not in repr(read)


@pytest.mark.parametrize(
    "extra",
    [
        {"keyfile_dict": KEY},
        {"keyfile_dict": json.dumps(KEY)},
        {"extra__google_cloud_platform__keyfile_dict": json.dumps(KEY)},
        {"keyfile_json": json.dumps(KEY)},
        {"key_path": "key.json"},
    ],
)
def test_gcp(extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch, masked: list[str], tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps(KEY))
    monkeypatch.chdir(tmp_path)
    set_connection(monkeypatch, "gcp", "google_cloud_platform", extra=extra)
    read = read_connection(Credential(connection="gcp"))
    assert read.directory == "/home/sky/.config/gcloud"
    assert {name: json.loads(content) for name, content in read.files.items()} == {
        "application_default_credentials.json": KEY
    }
    assert KEY["private_key"] in masked


READERS: dict[str, Any] = {
    "do": lambda text: yaml.safe_load(text)["access-token"],
    "lambda": lambda text: dict(line.split(" = ") for line in text.splitlines())["api_key"],
    "paperspace": lambda text: json.loads(text)["apiKey"],
    "primeintellect": lambda text: json.loads(text)["api_key"],
    "runpod": lambda text: tomllib.loads(text)["default"]["api_key"],
    "seeweb": lambda text: configparser_default(text)["api_key"],
}


def configparser_default(text: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return parser["DEFAULT"]


@pytest.mark.parametrize("cloud", sorted(_TOKEN_FILES))
def test_clouds_with_one_key(cloud: str, monkeypatch: pytest.MonkeyPatch, masked: list[str]) -> None:
    key = 'k#e:y"\\='
    set_connection(monkeypatch, "key", "generic", password=key)
    read = read_connection(Credential(connection="key", cloud=cloud))
    (content,) = read.files.values()
    assert READERS.get(cloud, str)(content) == key
    assert key in masked


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("login", "me"),
        ("password", "p w\nd"),
        ("host", "db.example.com"),
        ("port", "5432"),
        ("schema", "train"),
        ("extra.token", "t-1"),
        ("extra.scopes", '["a", "b"]'),
        ("extra.with.dots", "d"),
    ],
)
def test_a_field_becomes_a_variable(field: str, value: str, monkeypatch: pytest.MonkeyPatch, masked: list[str]) -> None:
    extra = {"token": "t-1", "scopes": ["a", "b"], "with.dots": "d"}
    fields: dict[str, Any] = {
        "password": "p w\nd",
        "host": "db.example.com",
        "port": 5432,
        "schema": "train",
        "extra": extra,
    }
    set_connection(monkeypatch, "mine", "generic", login="me", **fields)
    read = read_connection(Credential(connection="mine", env={"MINE": field}))
    assert read.files == {"MINE": value}
    assert read.are_variables
    assert value in masked
    assert value in read.secrets


@pytest.mark.parametrize("field", ["login", "password", "host", "port", "schema", "extra.token"])
def test_a_field_without_a_value_is_named(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, "mine", "generic", extra={"token": ""})
    with pytest.raises(SkyCredentialsError, match=rf"connection 'mine' has no {field}, which is to be MINE"):
        read_connection(Credential(connection="mine", env={"MINE": field}))


SERVICE_ACCOUNT = {"type": "service_account"}


@pytest.mark.parametrize(
    ("conn_type", "fields", "cloud", "message"),
    [
        ("aws", {}, None, "has no access key and secret key"),
        ("aws", {"login": "A", "password": "a b"}, None, "aws_secret_access_key must be text without white space"),
        ("aws", {"login": "A", "password": "s\nrole_arn=x"}, None, "must be text without white space"),
        ("aws", {"login": "A", "password": "s", "extra": "{"}, None, about_its_extra("extra is not JSON")),
        ("google_cloud_platform", {}, None, "has none of keyfile_dict and key_path"),
        ("google_cloud_platform", {"extra": {"key_path": "/none"}}, None, "key_path cannot be read on the worker"),
        ("google_cloud_platform", {"extra": {"keyfile_dict": "{"}}, None, "is not JSON"),
        ("google_cloud_platform", {"extra": {"keyfile_dict": SERVICE_ACCOUNT}}, None, "not that of a service account"),
        ("azure", {"login": "id", "password": "s"}, None, "give it with the path .azure"),
        ("generic", {"password": "s"}, None, 'Add "cloud" to the entry: one of do, fluidstack'),
        ("generic", {"password": "s"}, "oci", "cloud 'oci' is not one of aws, do"),
        ("generic", {}, "lambda", "has no password, which is to be the API key for lambda"),
        ("generic", {"password": "s\nx"}, "lambda", "has white space"),
    ],
)
def test_what_cannot_become_files_is_refused_without_its_secrets(
    conn_type: str, fields: dict[str, Any], cloud: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, "mine", conn_type, **fields)
    with pytest.raises(SkyCredentialsError, match=re.escape(message)) as caught:
        read_connection(Credential(connection="mine", cloud=cloud))
    assert "credentials: connection 'mine'" in str(caught.value)
    assert "role_arn" not in str(caught.value)


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(SkyCredentialsError, match="credentials: connection 'nowhere' does not exist"):
        read_connection(Credential(connection="nowhere"))


@pytest.mark.parametrize(
    ("conn_type", "fields", "cloud", "secrets"),
    [
        pytest.param(
            "aws",
            {
                "login": "AKIA",
                "password": "short-secret12",
                "extra": {"aws_session_token": "session-token", "region_name": "eu"},
            },
            None,
            {"AKIA", "short-secret12", "session-token"},
            id="aws",
        ),
        pytest.param(
            "google_cloud_platform",
            {"extra": {"keyfile_dict": {**KEY, "project_id": "training-of-models-2026"}}},
            None,
            {KEY["private_key"]},
            id="gcp",
        ),
        pytest.param(
            "generic",
            {"password": "correct\"horse'battery,staple"},
            "lambda",
            {"correct\"horse'battery,staple", "correct\\\"horse'battery,staple"},
            id="token",
        ),
    ],
)
def test_what_is_secret_is_what_the_connection_says_is(
    monkeypatch: pytest.MonkeyPatch,
    masked: list[str],
    conn_type: str,
    fields: dict[str, Any],
    cloud: str | None,
    secrets: set[str],
) -> None:
    set_connection(monkeypatch, "c", conn_type, **fields)
    files = read_connection(Credential(connection="c", cloud=cloud))
    assert set(files.secrets) == secrets
    assert secrets <= set(masked)
    assert not [secret for secret in secrets if secret in repr(files)]
