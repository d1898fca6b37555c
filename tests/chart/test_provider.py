"""What the operators get: defaults, SkyPilot's configuration, the volume, credentials by reference."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from k8s_sky_provider.provider_info import get_provider_info
from k8s_sky_provider.workspace import Credential

from .conftest import (
    CLUSTERS_APART,
    CLUSTERS_NAMESPACE,
    NAMESPACE,
    Objects,
    RenderError,
    merge,
    render,
    render_all,
    render_text,
)

IMAGE = {"image": {"repository": "registry.example.com:5000/sky/skypilot", "tag": "1"}}
API_SERVER = {
    "endpoint": "https://sky.example.com",
    "endpointSecret": "sky-api-url",
    "existingSecret": "sky-api-token",
}
CONNECTIONS = [
    {"connection": "aws_default"},
    {"connection": "lambda", "cloud": "lambda"},
    {"connection": "wandb", "env": {"WANDB_API_KEY": "password"}},
]
EVERYTHING: dict[str, Any] = merge(
    IMAGE,
    {
        "imagePullSecrets": ["one", "two"],
        "volume": {"allowNetworkFileSystem": True},
        "credentials": [{"secretName": "aws", "path": ".aws"}, {"secretName": "runpod", "env": True}, *CONNECTIONS],
        "deploymentName": "prod",
        "database": {"existingSecret": "sky-database"},
        "defaultResources": {"infra": "aws", "cpus": "4+"},
        "dashboardUrl": "https://sky.example.com/dashboard",
        "defaultImageId": "docker:registry.example.com/sky/cluster:1",
        "localFiles": {"limitMb": 5},
    },
)


def defaults(values: dict[str, Any]) -> dict[str, str]:
    """Return the provider's defaults by option, without the prefix of the environment variables."""
    data = render(values)["ConfigMap", "sky-provider"]["data"]
    prefix = "AIRFLOW__SKYPILOT__"
    assert all(key.startswith(prefix) for key in data)
    return {key.removeprefix(prefix).lower(): value for key, value in data.items()}


def sky_config(objects: Objects) -> Any:
    return yaml.safe_load(objects["ConfigMap", "sky-config"]["data"]["config.yaml"])


def test_all_defaults() -> None:
    assert defaults(EVERYTHING) == {
        "namespace": NAMESPACE,
        "deployment": "prod",
        "image": "registry.example.com:5000/sky/skypilot:1",
        "image_pull_policy": "IfNotPresent",
        "image_pull_secrets": "one,two",
        "volume_claim": "sky-state",
        "allow_network_file_system": "True",
        "service_account_name": "sky-runner",
        "config_map": "sky-config",
        "default_image_id": "docker:registry.example.com/sky/cluster:1",
        "credentials": '[{"path":".aws","secret":"aws"},{"env":true,"secret":"runpod"},'
        '{"connection":"aws_default"},{"cloud":"lambda","connection":"lambda"},'
        '{"connection":"wandb","env":{"WANDB_API_KEY":"password"}}]',
        "state_mode": "database",
        "database_secret": "sky-database/uri",
        "default_resources": '{"cpus":"4+","infra":"aws"}',
        "dashboard_url": "https://sky.example.com/dashboard",
        "local_files_limit_mb": "5",
    }


def test_the_provider_knows_every_default() -> None:
    options = get_provider_info()["config"]["skypilot"]["options"]
    assert set(defaults(EVERYTHING)) | set(defaults({"apiServer": API_SERVER})) == set(options)


@pytest.mark.parametrize("place", [{"database": {"existingSecret": "db"}}, {"apiServer": API_SERVER}])
def test_a_state_elsewhere_needs_no_volume(place: dict[str, Any]) -> None:
    values = {"volume": {"enabled": False}, **place}
    assert not [name for kind, name in render(values) if kind == "PersistentVolumeClaim"]
    assert "volume_claim" not in defaults(values)


def test_a_state_must_be_somewhere() -> None:
    with pytest.raises(RenderError, match=r"volume\.enabled: SkyPilot's state needs a place"):
        render_text({"volume": {"enabled": False}})


def test_with_an_api_server_its_own_configuration_counts() -> None:
    values = {"apiServer": API_SERVER}
    set_here = defaults(values)
    assert set_here["state_mode"] == "api_server"
    assert set_here["api_server_endpoint"] == "https://sky.example.com"
    assert set_here["api_server_token_secret"] == "sky-api-token/token"
    assert set_here["api_server_endpoint_secret"] == "sky-api-url/url"
    assert "config_map" not in set_here
    given = {**values, "config": {"nvidia_gpus": {"disable_ecc": True}}}
    assert defaults(given)["config_map"] == "sky-config"
    assert sky_config(render(given)) == given["config"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"apiServer": {"endpoint": "sky.example.com"}}, "endpoint"),
        ({"apiServer": {"endpoint": "https://name:password@sky.example.com"}}, "endpoint"),
        ({"apiServer": API_SERVER, "database": {"existingSecret": "db"}}, "an API server has its own database"),
    ],
)
def test_an_api_server_is_a_url_and_the_only_state(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RenderError, match=message):
        render(values)


def test_what_is_not_set_is_left_to_the_provider() -> None:
    assert set(defaults({})) == {
        "namespace",
        "deployment",
        "image_pull_policy",
        "volume_claim",
        "service_account_name",
        "config_map",
        "local_files_limit_mb",
    }


def test_credentials_are_what_the_provider_parses() -> None:
    entries = json.loads(defaults(EVERYTHING)["credentials"])
    parsed = [Credential.parse(entry) for entry in entries]
    assert [(entry.secret, entry.path, entry.env, entry.connection, entry.cloud) for entry in parsed] == [
        ("aws", ".aws", False, None, None),
        ("runpod", None, True, None, None),
        ("", None, False, "aws_default", None),
        ("", None, False, "lambda", "lambda"),
        ("", None, {"WANDB_API_KEY": "password"}, "wandb", None),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"path": ".aws"},
        {"connection": ""},
        {"connection": "aws", "secretName": "aws"},
        {"connection": "aws", "path": ".aws"},
        {"secretName": "aws", "path": ".aws", "cloud": "aws"},
        {"connection": "aws", "env": {}},
        {"connection": "aws", "env": {"NO-NAME": "password"}},
        {"connection": "aws", "env": {"KEY": "passwort"}},
        {"connection": "aws", "cloud": "aws", "env": {"KEY": "password"}},
    ],
)
def test_a_credential_is_a_secret_or_a_connection(entry: dict[str, Any]) -> None:
    with pytest.raises(RenderError, match=r"/credentials/0|credentials.0"):
        render({"credentials": [entry]})


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({"repository": "r/s"}, "r/s:0.1.0"),
        ({"repository": "r/s", "tag": "x"}, "r/s:x"),
        ({"repository": "r/s", "tag": "x", "digest": "sha256:" + "0" * 64}, "r/s@sha256:" + "0" * 64),
        ({"repository": "localhost:5000/k8s-sky/skypilot", "tag": "abc"}, "localhost:5000/k8s-sky/skypilot:abc"),
    ],
)
def test_image_reference(image: dict[str, str], reference: str) -> None:
    assert defaults({"image": image})["image"] == reference


def test_defaults_name_the_parts_that_exist_already() -> None:
    values = {
        "volume": {"existingClaim": "mine"},
        "serviceAccounts": {"runner": {"create": False, "name": "my-runner"}},
    }
    found = defaults(values)
    assert (found["volume_claim"], found["service_account_name"]) == ("mine", "my-runner")


def test_an_airflow_elsewhere_finds_the_defaults_in_its_namespace() -> None:
    accounts = [{"name": name, "namespace": "airflow"} for name in ("airflow-worker", "airflow-triggerer")]
    copies = [
        o
        for o in render_all({"airflowServiceAccounts": accounts})
        if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "sky-provider"
    ]
    assert [copy["metadata"]["namespace"] for copy in copies] == [NAMESPACE, "airflow"]
    assert copies[0]["data"] == copies[1]["data"]


def controllers(account: str = "sky-controller") -> dict[str, Any]:
    """Return what the chart says of SkyPilot's controllers."""
    resources = {"_cluster_config_overrides": {"kubernetes": {"remote_identity": account}}}
    return {kind: {"controller": {"resources": resources}} for kind in ("jobs", "serve")}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(
            {},
            {"kubernetes": {"remote_identity": "sky-cluster", "provision_timeout": 600}, **controllers()},
            id="defaults",
        ),
        pytest.param({"skyKubernetes": {"enabled": False}}, {}, id="no-kubernetes"),
        pytest.param(
            {"skyKubernetes": {"enabled": False}, "config": {"aws": {"labels": {"a": "b"}}}},
            {"aws": {"labels": {"a": "b"}}},
            id="only-the-users",
        ),
        pytest.param(
            {
                "config": {
                    "kubernetes": {
                        "provision_timeout": 60,
                        "pod_config": {"spec": {"containers": [{"imagePullPolicy": "IfNotPresent"}]}},
                    },
                    "jobs": {"bucket": "s3://x"},
                }
            },
            {
                "kubernetes": {
                    "remote_identity": "sky-cluster",
                    "provision_timeout": 60,
                    "pod_config": {"spec": {"containers": [{"imagePullPolicy": "IfNotPresent"}]}},
                },
                **controllers(),
                "jobs": {"bucket": "s3://x", **controllers()["jobs"]},
            },
            id="users-wins-deeply",
        ),
        pytest.param(
            {"serviceAccounts": {"cluster": {"create": False, "name": "mine"}}},
            {"kubernetes": {"remote_identity": "mine", "provision_timeout": 600}, **controllers()},
            id="existing-cluster-account",
        ),
        pytest.param(
            {"serviceAccounts": {"controller": {"create": False, "name": "mine"}}},
            {"kubernetes": {"remote_identity": "sky-cluster", "provision_timeout": 600}, **controllers("mine")},
            id="existing-controller-account",
        ),
        pytest.param(
            CLUSTERS_APART,
            {
                "kubernetes": {
                    "namespace": CLUSTERS_NAMESPACE,
                    "remote_identity": "sky-cluster",
                    "provision_timeout": 600,
                },
                **controllers(),
            },
            id="clusters-apart",
        ),
    ],
)
def test_skypilot_configuration(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sky_config(render(values)) == expected


@pytest.mark.parametrize(
    ("volume", "spec"),
    [
        ({}, {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}),
        (
            {"size": "1Ti", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]},
            {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "fast",
                "resources": {"requests": {"storage": "1Ti"}},
            },
        ),
        (
            {"storageClassName": "-"},
            {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "10Gi"}}},
        ),
    ],
)
def test_volume_claim(volume: dict[str, Any], spec: dict[str, Any]) -> None:
    assert render({"volume": volume})["PersistentVolumeClaim", "sky-state"]["spec"] == spec


@pytest.mark.parametrize(
    ("volume", "annotations"),
    [
        ({}, {"helm.sh/resource-policy": "keep"}),
        ({"keep": False}, None),
        ({"annotations": {"a": "b"}}, {"helm.sh/resource-policy": "keep", "a": "b"}),
        ({"keep": False, "annotations": {"a": "b"}}, {"a": "b"}),
    ],
)
def test_uninstalling_keeps_the_state_unless_told(volume: dict[str, Any], annotations: dict[str, str] | None) -> None:
    claim = render({"volume": volume})["PersistentVolumeClaim", "sky-state"]
    assert claim["metadata"].get("annotations") == annotations


def test_only_airflow_brings_secrets() -> None:
    assert "kind: Secret" not in render_text(EVERYTHING)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"secretName": "aws"}, "credentials[0] (aws): say what becomes of the Secret"),
        ({"secretName": "aws", "path": ".aws", "env": True}, "credentials[0] (aws): give either path or env"),
        ({"secretName": "aws", "env": {"KEY": "password"}}, "credentials[0] (aws): env is true of a Secret"),
        ({"connection": "aws", "env": True}, "credentials[0] (aws): env is true of a Secret"),
    ],
)
def test_a_credential_is_files_or_environment(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(RenderError) as error:
        render({"credentials": [entry]})
    assert message in str(error.value)


def test_the_clusters_namespace_is_said_in_one_place() -> None:
    with pytest.raises(RenderError, match=r"config\.kubernetes\.namespace: say it as skyKubernetes\.namespace"):
        render({"config": {"kubernetes": {"namespace": "mine"}}})


def test_the_operators_pods_stay_in_the_releases_namespace() -> None:
    assert defaults(CLUSTERS_APART) == defaults({})
    assert defaults(CLUSTERS_APART)["namespace"] == NAMESPACE


def test_an_existing_service_account_needs_a_name() -> None:
    with pytest.raises(RenderError) as error:
        render({"serviceAccounts": {"runner": {"create": False}}})
    assert "serviceAccounts.runner.name: name the existing ServiceAccount" in str(error.value)
