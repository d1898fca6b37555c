"""What a sky pod is given, and from where: the operator's argument, or else the option in [skypilot]."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pytest
from kubernetes.client import ApiClient

from k8s_sky_provider.exceptions import SkyDeploymentError
from k8s_sky_provider.operators import sections
from k8s_sky_provider.workspace import RESOURCES, ConnectionSettings, Credential, Workspace

CREDENTIALS = '[{"secret": "aws", "path": ".aws"}, {"secret": "tokens", "env": true}]'


def set_options(monkeypatch: pytest.MonkeyPatch, **options: str) -> None:
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__SKYPILOT__{name.upper()}", value)


def as_yaml(models: Any) -> Any:
    """Return Kubernetes models as a manifest has them."""
    return ApiClient().sanitize_for_serialization(models)


@pytest.mark.parametrize(
    "option",
    ["deployment", "image", "image_pull_policy", "namespace", "service_account_name", "volume_claim", "config_map"],
)
def test_an_argument_beats_the_option_and_the_option_beats_the_default(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_options(monkeypatch, image="image", volume_claim="claim")
    assert getattr(Workspace.resolve(), option) in {None, "airflow", "image", "claim"}
    set_options(monkeypatch, **{option: "from-config"})
    assert getattr(Workspace.resolve(), option) == "from-config"
    argument: dict[str, Any] = {option: "from-argument"}
    assert getattr(Workspace.resolve(**argument), option) == "from-argument"


POD_ACCESS = {
    "name": "sky-pod",
    "projected": {
        "defaultMode": 0o440,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    "optional": True,
                }
            },
        ],
    },
}
"""By which a pod reads its own annotations: not where SkyPilot looks for a Kubernetes that it may use."""


def test_credentials_of_the_operator_replace_those_of_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_options(monkeypatch, image="image", volume_claim="claim", credentials=CREDENTIALS)
    assert [entry.secret for entry in Workspace.resolve().credentials] == ["aws", "tokens"]
    assert [entry.secret for entry in Workspace.resolve(credentials=[{"secret": "gcp", "path": ".g"}]).credentials] == [
        "gcp"
    ]
    assert Workspace.resolve(credentials=[]).credentials == ()


def test_options_without_an_argument_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    set_options(
        monkeypatch,
        image="image",
        volume_claim="claim",
        image_pull_secrets="registry, other ,",
        default_image_id="docker:nodes",
        allow_network_file_system="True",
        local_files_limit_mb="5",
    )
    workspace = Workspace.resolve()
    assert workspace.image_pull_secrets == ("registry", "other")
    assert workspace.default_image_id == "docker:nodes"
    assert workspace.allow_network_file_system is True
    assert workspace.local_files_limit_mb == 5


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "1 MB", "10000", "many"])
def test_a_limit_of_local_files_that_is_none_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_options(monkeypatch, image="image", volume_claim="claim")
    assert Workspace.resolve().local_files_limit_mb == 1
    set_options(monkeypatch, local_files_limit_mb=limit)
    with pytest.raises(SkyDeploymentError, match=f"local_files_limit_mb: '{limit}' must be a whole number"):
        Workspace.resolve()


@pytest.mark.parametrize("option", ["image", "volume_claim"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_set_nowhere_is_named_with_the_ways_to_set_it(
    option: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_options(monkeypatch, image="image", volume_claim="claim")
    if value is None:
        monkeypatch.delenv(f"AIRFLOW__SKYPILOT__{option.upper()}")
    else:
        set_options(monkeypatch, **{option: value})
    with pytest.raises(SkyDeploymentError) as caught:
        Workspace.resolve()
    text = str(caught.value)
    assert text.startswith(f"{option} is not set: ")
    for way_out in (
        "on the operator",
        "default_args",
        "the SkyPilot connection",
        "[skypilot]",
        f"AIRFLOW__SKYPILOT__{option.upper()}",
    ):
        assert way_out in text


@pytest.mark.parametrize("name", ["-team", "team-", "team_a", "a" * 49, "ä", "team a"])
def test_a_deployment_that_is_no_label_is_refused(name: str) -> None:
    with pytest.raises(SkyDeploymentError, match=r"deployment: .*letters, digits and dashes"):
        Workspace.resolve(image="image", volume_claim="claim", deployment=name)


@pytest.mark.parametrize("name", ["a", "Team-1", "a" * 48])
def test_a_deployment_that_is_a_label_is_taken(name: str) -> None:
    assert Workspace.resolve(image="image", volume_claim="claim", deployment=name).deployment == name


WRONG_ENV: list[tuple[dict[str, Any], str]] = [
    ({"env": True}, "env of connection 'a' must be variables with the fields that they get"),
    ({"env": {}}, "must be variables with the fields that they get"),
    ({"env": {"A B": "password"}}, "'A B' is not the name of an environment variable"),
    ({"env": {"A": "passwort"}}, "A: 'passwort' is not a field; fields are login, password"),
    ({"env": {"A": "extra."}}, "A: 'extra.' is not a field"),
    ({"env": {"A": 1}}, "A: 1 is not a field"),
    ({"env": {"A": "login"}, "cloud": "aws"}, "a connection is for a cloud or for variables"),
]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param("aws", "credentials: 'aws' names no Secret", id="text"),
        pytest.param({}, "credentials: {} names no Secret", id="empty"),
        pytest.param({"secret": ""}, "names no Secret", id="empty name"),
        pytest.param({"secret": 3, "path": ".aws"}, "names no Secret", id="name of a wrong type"),
        pytest.param({"path": ".aws"}, "names no Secret", id="no name"),
        pytest.param({"secret": "aws"}, "Secret 'aws' needs either path or env", id="neither path nor env"),
        pytest.param({"secret": "aws", "path": ".aws", "env": True}, "needs either path or env", id="path and env"),
        pytest.param({"secret": "aws", "env": False}, "needs either path or env", id="env is false"),
        pytest.param({"secret": "aws", "env": "False"}, "env of Secret 'aws' must be true or false", id="env is text"),
        pytest.param({"secret": "aws", "path": ".aws", "mode": 1}, "needs either path or env", id="unknown key"),
        pytest.param({"secret": "aws", "path": "/root/.aws"}, "path '/root/.aws' of Secret 'aws'", id="absolute path"),
        pytest.param({"secret": "aws", "path": "~/.aws"}, "must lie below the home", id="tilde"),
        pytest.param({"secret": "aws", "path": "../x"}, "must lie below the home", id="path out of the home"),
        pytest.param({"connection": ""}, "connection '' takes no more than a cloud", id="empty connection"),
        pytest.param({"connection": 3}, "connection 3 takes no more than a cloud", id="connection of a wrong type"),
        pytest.param({"connection": "a", "path": ".a"}, "takes no more than a cloud", id="connection with a path"),
        pytest.param({"connection": "a", "secret": "a"}, "takes no more than a cloud", id="connection and Secret"),
        *(
            pytest.param({"connection": "a", **entry}, message, id=f"connection: {entry}")
            for entry, message in WRONG_ENV
        ),
        pytest.param({"secret": "aws", "path": ""}, "must lie below the home", id="empty path"),
        pytest.param({"secret": "aws", "path": 3}, "must lie below the home", id="path of a wrong type"),
    ],
)
def test_a_malformed_credential_is_refused_with_its_name(entry: Any, message: str) -> None:
    with pytest.raises(SkyDeploymentError, match=re.escape(message)):
        Credential.parse(entry)


@pytest.mark.parametrize(
    ("value", "message"),
    [("[", "[skypilot] credentials is not JSON"), ('{"secret": "aws"}', "credentials: must be a list")],
)
def test_a_malformed_credentials_option_is_refused(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_options(monkeypatch, image="image", volume_claim="claim", credentials=value)
    with pytest.raises(SkyDeploymentError, match=re.escape(message)):
        Workspace.resolve()


def test_the_pod_gets_one_home_from_the_volume_and_sockets_of_its_own() -> None:
    workspace = Workspace.resolve(image="image", volume_claim="claim")
    assert as_yaml(workspace.volumes) == [
        {"name": "sky-state", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "sky-api-server", "emptyDir": {}},
        POD_ACCESS,
    ]
    assert as_yaml(workspace.volume_mounts) == [
        {"name": "sky-state", "mountPath": "/home/sky/.sky", "subPath": "sky"},
        {"name": "sky-state", "mountPath": "/home/sky/.ssh", "subPath": "ssh"},
        {"name": "sky-state", "mountPath": "/home/sky/sky_workdir", "subPath": "workdir"},
        {"name": "sky-state", "mountPath": "/home/sky/sky_logs", "subPath": "logs"},
        {"name": "sky-api-server", "mountPath": "/home/sky/.sky/api_server"},
        {"name": "sky-pod", "mountPath": "/etc/k8s-sky/pod", "readOnly": True},
    ]
    assert workspace.expected_mounts == {}


def test_the_config_map_and_the_secrets_are_mounted_by_reference_and_expected() -> None:
    workspace = Workspace.resolve(
        image="image",
        volume_claim="claim",
        config_map="sky-config-map",
        credentials=[{"secret": "aws", "path": ".aws"}, {"secret": "tokens", "env": True}],
    )
    assert as_yaml(workspace.volumes)[3:] == [
        {"name": "sky-config", "configMap": {"name": "sky-config-map", "optional": True}},
        {"name": "sky-credential-0", "secret": {"secretName": "aws", "optional": True, "defaultMode": 0o440}},
        {"name": "sky-credential-1", "secret": {"secretName": "tokens", "optional": True, "defaultMode": 0o440}},
    ]
    assert as_yaml(workspace.volume_mounts)[6:] == [
        {"name": "sky-config", "mountPath": "/etc/k8s-sky/config", "readOnly": True},
        {"name": "sky-credential-0", "mountPath": "/home/sky/.aws", "readOnly": True},
        {"name": "sky-credential-1", "mountPath": "/etc/k8s-sky/secrets/tokens", "readOnly": True},
    ]
    assert as_yaml(workspace.env_from) == [{"secretRef": {"name": "tokens", "optional": True}}]
    assert workspace.expected_mounts == {
        "/home/sky/.aws": "Secret 'aws'",
        "/etc/k8s-sky/secrets/tokens": "Secret 'tokens'",
        "/etc/k8s-sky/config/config.yaml": "key 'config.yaml' of ConfigMap 'sky-config-map'",
    }


def test_the_environment_shares_one_skypilot_user_and_starts_no_api_server() -> None:
    workspace = Workspace.resolve(image="image", volume_claim="claim", deployment="team-a", config_map="conf")
    env = {entry.name: entry.value for entry in workspace.env}
    assert env["HOME"] == "/home/sky"
    assert env["SKYPILOT_USER_ID"] == "team-a"
    assert env["SKYPILOT_DISABLE_LOCAL_API_SERVER"] == "1"
    assert env["SKYPILOT_GLOBAL_CONFIG"] == "/etc/k8s-sky/config/config.yaml"
    without = Workspace.resolve(image="image", volume_claim="claim")
    assert "SKYPILOT_GLOBAL_CONFIG" not in {entry.name for entry in without.env}


def test_what_is_gone_with_the_pod_is_on_volumes_of_its_own() -> None:
    with_claim = Workspace.resolve(image="image", volume_claim="claim")
    assert as_yaml(with_claim.scratch_volumes) == [
        {"name": "sky-home", "emptyDir": {}},
        {"name": "sky-tmp", "emptyDir": {}},
    ]
    assert as_yaml(with_claim.scratch_mounts) == [
        {"name": "sky-home", "mountPath": "/home/sky"},
        {"name": "sky-tmp", "mountPath": "/tmp"},  # noqa: S108  # the pod's
    ]
    values = {"image": "image", "state_mode": "database", "database_secret": "db/uri"}
    without = Workspace.resolve(connection=ConnectionSettings(conn_id="team_a", values=values))
    assert as_yaml(without.scratch_volumes)[2:] == [{"name": "sky-state", "emptyDir": {}}]
    # Where the claim would be.
    assert as_yaml(without.scratch_mounts)[2:] == as_yaml(with_claim.volume_mounts)[:4]


def test_nothing_is_mounted_over_a_secret() -> None:
    values = {"image": "image", "state_mode": "database", "database_secret": "db/uri"}
    settings = ConnectionSettings(conn_id="team_a", values={**values, "credentials": [{"secret": "a", "path": ".ssh"}]})
    workspace = Workspace.resolve(connection=settings)
    paths = [mount.mount_path for mount in [*workspace.volume_mounts, *workspace.scratch_mounts]]
    assert paths.count("/home/sky/.ssh") == 1


def connection(**values: Any) -> ConnectionSettings:
    return ConnectionSettings(
        conn_id="team_a", values={"image": "image", "volume_claim": "claim", "credentials": "[]", **values}
    )


@pytest.mark.parametrize(
    "name", ["deployment", "image", "namespace", "service_account_name", "volume_claim", "config_map"]
)
def test_the_connection_stands_between_argument_and_option(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_options(monkeypatch, **{name: "from-config"})
    settings = connection(**{name: "from-connection"})
    assert getattr(Workspace.resolve(connection=settings), name) == "from-connection"
    argument: dict[str, Any] = {name: "from-argument"}
    assert getattr(Workspace.resolve(connection=settings, **argument), name) == "from-argument"


def test_an_option_is_taken_where_the_connection_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    set_options(monkeypatch, namespace="from-config", default_resources='{"infra": "aws"}')
    workspace = Workspace.resolve(connection=connection(default_image_id="docker:mine"))
    assert workspace.namespace == "from-config"
    assert workspace.default_image_id == "docker:mine"
    assert workspace.default_resources == {"infra": "aws"}


@pytest.mark.parametrize("value", ['{"infra": "aws", "cpus": 4}', {"infra": "aws", "cpus": 4}])
def test_json_may_be_text_or_json(value: Any) -> None:
    assert Workspace.resolve(connection=connection(default_resources=value)).default_resources == {
        "infra": "aws",
        "cpus": 4,
    }


def test_every_resource_with_a_default_is_one_of_a_task() -> None:
    assert set(sections.RESOURCES) >= RESOURCES


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"credentials": "["}, "credentials is not JSON"),
        ({"credentials": {"secret": "aws"}}, "credentials: must be a list"),
        ({"credentials": [{"secret": "aws"}]}, "credentials: Secret 'aws' needs either path or env"),
        ({"default_resources": "[1]"}, "default_resources: must be a JSON object"),
        (
            {"default_resources": {"any_of": []}},
            "default_resources: any_of cannot have a default; known are accelerators",
        ),
        ({"image": 3}, "image: 3 must be text"),
        ({"deployment": "a b"}, "deployment: 'a b' must have 1 to 48 letters"),
        ({"state_mode": "nfs"}, "state_mode: 'nfs' is not one of volume, database, api_server"),
        ({"database_secret": "uri"}, "database_secret: 'uri' is no reference to a Secret; write its name and the key"),
        ({"database_secret": "a/b/c"}, "database_secret: 'a/b/c' is no reference"),
        ({"api_server_token_secret": "T/x"}, "api_server_token_secret: 'T/x' is no reference"),
        ({"api_server_endpoint": "sky"}, "api_server_endpoint: 'sky' is no URL"),
        ({"dashboard_url": "javascript:x"}, "dashboard_url: 'javascript:x' is no URL"),
        (
            {"api_server_endpoint": "https://airflow:secret-pw@sky.example.com"},
            "api_server_endpoint: must be a URL without a name and a password in it; give the URL with them as api_",
        ),
        ({"api_server_endpoint": "me:secret-pw@sky"}, "api_server_endpoint: '***@sky' is no URL"),
        (
            {"dashboard_url": "https://secret-pw@sky.example.com"},
            "dashboard_url: must be a URL without a name and a password in it",
        ),
        ({"api_server_endpoint_secret": "url"}, "api_server_endpoint_secret: 'url' is no reference"),
    ],
)
def test_a_malformed_field_of_a_connection_is_named_with_it(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SkyDeploymentError, match=re.escape(f"connection 'team_a': {message}")):
        Workspace.resolve(connection=connection(**values))


@pytest.mark.parametrize(
    ("values", "dashboard"),
    [
        ({}, None),
        ({"api_server_endpoint": "https://sky.example.com/"}, "https://sky.example.com/dashboard"),
        ({"api_server_endpoint": "https://a", "dashboard_url": "https://b/dashboard/"}, "https://b/dashboard"),
    ],
)
def test_the_dashboard(values: dict[str, str], dashboard: str | None) -> None:
    assert Workspace.resolve(connection=connection(**values)).dashboard == dashboard


class TestDatabase:
    """State in PostgreSQL, where SkyPilot needs no volume."""

    def resolve(self, **values: Any) -> Workspace:
        return Workspace.resolve(
            connection=connection(state_mode="database", database_secret="db/uri", **values)  # noqa: S106  # a reference
        )

    def test_the_uri_comes_by_reference(self) -> None:
        workspace = self.resolve(config_map="conf")
        env = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in as_yaml(workspace.env)}
        assert env["IS_SKYPILOT_SERVER"] == "true"
        assert env["SKYPILOT_DB_CONNECTION_URI"] == {"secretKeyRef": {"name": "db", "key": "uri", "optional": True}}
        # With a database SkyPilot refuses a configuration file of the other name.
        assert env["SKYPILOT_CONFIG"] == "/etc/k8s-sky/config/config.yaml"
        assert "SKYPILOT_GLOBAL_CONFIG" not in env

    def test_a_missing_secret_is_noticed_and_the_uri_masked(self) -> None:
        workspace = self.resolve()
        assert as_yaml(workspace.volumes)[-1] == {
            "name": "sky-database",
            "secret": {
                "secretName": "db",
                "items": [{"key": "uri", "path": "uri"}],
                "optional": True,
                "defaultMode": 0o440,
            },
        }
        assert as_yaml(workspace.volume_mounts)[-1]["mountPath"] == "/etc/k8s-sky/secrets/sky-database"
        assert workspace.expected_mounts == {"/etc/k8s-sky/secrets/sky-database/uri": "Secret 'db' with the key 'uri'"}

    def test_the_volume_is_optional_and_may_be_a_network_file_system(self) -> None:
        assert self.resolve().allow_network_file_system
        values = {"image": "image", "state_mode": "database", "database_secret": "db/uri"}
        without = Workspace.resolve(connection=ConnectionSettings(conn_id="team_a", values=values))
        assert [volume["name"] for volume in as_yaml(without.volumes)] == ["sky-api-server", "sky-pod", "sky-database"]
        assert not [mount for mount in as_yaml(without.volume_mounts) if mount["name"] == "sky-state"]

    def test_the_database_must_be_named(self) -> None:
        with pytest.raises(
            SkyDeploymentError, match=r"database_secret is not set: .*AIRFLOW__SKYPILOT__DATABASE_SECRET"
        ):
            Workspace.resolve(connection=connection(state_mode="database"))


class TestApiServer:
    """State at a SkyPilot API server: the pod has an address and a token, and needs no volume."""

    VALUES: ClassVar[dict[str, Any]] = {
        "image": "image",
        "state_mode": "api_server",
        "api_server_endpoint": "http://sky:46580/",
        "api_server_token_secret": "sky-token/token",
    }

    def resolve(self, **values: Any) -> Workspace:
        return Workspace.resolve(
            connection=ConnectionSettings(conn_id="team_a", values={**self.VALUES, "credentials": "[]", **values})
        )

    def test_the_token_comes_by_reference(self) -> None:
        env = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in as_yaml(self.resolve().env)}
        assert env["SKYPILOT_API_SERVER_ENDPOINT"] == "http://sky:46580"
        assert env["SKYPILOT_SERVICE_ACCOUNT_TOKEN"] == {
            "secretKeyRef": {"name": "sky-token", "key": "token", "optional": True}
        }
        assert "IS_SKYPILOT_SERVER" not in env

    def test_a_missing_secret_is_noticed_and_the_token_masked(self) -> None:
        workspace = self.resolve()
        path = "/etc/k8s-sky/secrets/sky-api-token"
        assert as_yaml(workspace.volume_mounts)[-1] == {"name": "sky-api-token", "mountPath": path, "readOnly": True}
        assert as_yaml(workspace.volumes)[-1]["secret"]["secretName"] == "sky-token"
        assert workspace.expected_mounts == {f"{path}/token": "Secret 'sky-token' with the key 'token'"}

    def test_the_volume_is_optional_and_may_be_a_network_file_system(self) -> None:
        without = self.resolve()
        assert [volume["name"] for volume in as_yaml(without.volumes)] == ["sky-api-server", "sky-pod", "sky-api-token"]
        assert without.allow_network_file_system
        assert as_yaml(self.resolve(volume_claim="files").volumes)[0]["persistentVolumeClaim"]["claimName"] == "files"

    def test_a_url_with_a_password_comes_by_reference_too(self) -> None:
        workspace = self.resolve(api_server_endpoint_secret="sky-url/url")  # noqa: S106  # a reference
        env = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in as_yaml(workspace.env)}
        assert env["SKYPILOT_API_SERVER_ENDPOINT"] == {
            "secretKeyRef": {"name": "sky-url", "key": "url", "optional": True}
        }
        assert "SKYPILOT_SERVICE_ACCOUNT_TOKEN" in env
        path = "/etc/k8s-sky/secrets/sky-api-endpoint"
        assert {"name": "sky-api-endpoint", "mountPath": path, "readOnly": True} in as_yaml(workspace.volume_mounts)
        assert workspace.expected_mounts[f"{path}/url"] == "Secret 'sky-url' with the key 'url'"
        assert workspace.dashboard == "http://sky:46580/dashboard"

    def test_a_server_without_tokens_needs_none(self) -> None:
        workspace = Workspace.resolve(
            connection=ConnectionSettings(
                conn_id="team_a",
                values={name: value for name, value in self.VALUES.items() if name != "api_server_token_secret"},
            )
        )
        assert "SKYPILOT_SERVICE_ACCOUNT_TOKEN" not in {entry.name for entry in workspace.env}
        assert workspace.expected_mounts == {}

    def test_the_server_must_be_named(self) -> None:
        with pytest.raises(
            SkyDeploymentError, match=r"api_server_endpoint is not set: .*AIRFLOW__SKYPILOT__API_SERVER_ENDPOINT"
        ):
            Workspace.resolve(connection=connection(state_mode="api_server"))

    @pytest.mark.parametrize("mode", ["volume", "database"])
    def test_in_the_other_modes_the_server_is_for_links_alone(self, mode: str) -> None:
        workspace = self.resolve(state_mode=mode, volume_claim="claim", database_secret="db/uri")  # noqa: S106  # a reference
        names = {entry.name for entry in workspace.env}
        assert not names & {"SKYPILOT_API_SERVER_ENDPOINT", "SKYPILOT_SERVICE_ACCOUNT_TOKEN"}
        assert workspace.dashboard == "http://sky:46580/dashboard"
