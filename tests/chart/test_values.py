"""values.yaml, its schema and the notes after an installation."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from .conftest import AIRFLOW, CHART, NAMESPACE, RELEASE, RenderError, merge, render_text, run_helm

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"imagee": {}}, "imagee"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"image": {"repository": "r/s:tag"}}, "/image/repository"),
        ({"image": {"tag": 1}}, "/image/tag"),
        ({"image": {"digest": "abc"}}, "/image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"imagePullSecrets": [{"name": "x"}]}, "/imagePullSecrets/0"),
        ({"volume": {"size": "ten"}}, "/volume/size"),
        ({"volume": {"accessModes": ["RWO"]}}, "/volume/accessModes/0"),
        ({"volume": {"accessModes": []}}, "/volume/accessModes"),
        ({"volume": {"keep": "yes"}}, "/volume/keep"),
        ({"deploymentName": "my deployment"}, "/deploymentName"),
        ({"credentials": [{"secret": "x"}]}, "secret"),
        ({"credentials": [{"path": ".aws"}]}, "secretName"),
        ({"credentials": [{"secretName": "x", "path": "/etc"}]}, "/credentials/0/path"),
        ({"credentials": [{"secretName": "x", "path": "../x"}]}, "/credentials/0/path"),
        ({"credentials": [{"secretName": "x", "env": False}]}, "/credentials/0/env"),
        ({"credentials": [{"secretName": "x", "value": "AKIA"}]}, "value"),
        ({"config": "kubernetes: {}"}, "/config"),
        ({"skyKubernetes": {"provisionTimeout": "10m"}}, "/skyKubernetes/provisionTimeout"),
        ({"skyKubernetes": {"namespace": "my.clusters"}}, "/skyKubernetes/namespace"),
        ({"skyKubernetes": {"formerNamespaces": [""]}}, "/skyKubernetes/formerNamespaces/0"),
        ({"skyKubernetes": {"extraRules": [{"resources": ["pods"]}]}}, "/skyKubernetes/extraRules/0"),
        ({"airflowServiceAccounts": [{"name": "airflow-worker"}]}, "namespace"),
        ({"airflowServiceAccounts": ["airflow-worker"]}, "/airflowServiceAccounts/0"),
        ({"serviceAccounts": {"runner": {"name": "Not A Name"}}}, "/serviceAccounts/runner/name"),
        ({"airflow": {"enabled": "true"}}, "/airflow/enabled"),
        ({"airflow": {"database": {"uri": "airflow.db"}}}, "/airflow/database/uri"),
        ({"airflow": {"dags": {"files": {"../b.py": ""}}}}, "../b.py"),
        ({"airflow": {"dags": {"files": {"a/..data": ""}}}}, "a/..data"),
        ({"airflow": {"dags": {"files": {"/b.py": ""}}}}, "/b.py"),
        ({"localFiles": {"limitMb": 0}}, "/localFiles/limitMb"),
        ({"localFiles": {"limitMb": 1.5}}, "/localFiles/limitMb"),
        ({"airflow": {"service": {"port": 0}}}, "/airflow/service/port"),
        ({"airflow": {"extraEnv": {"A": "b"}}}, "/airflow/extraEnv"),
        ({"airflow": {"extraEnv": [{"name": "A", "value": 1}]}}, "/airflow/extraEnv/0/value"),
        ({"airflow": {"admin": {"password": "x"}}}, "password"),
    ],
)
def test_a_bad_value_is_refused_by_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(RenderError) as error:
        render_text(values)
    message = str(error.value)
    assert "values don't meet the specifications of the schema" in message
    assert field in message


def objects_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all parts of a schema that describe objects with named properties."""
    found = [schema] if "properties" in schema else []
    for value in schema.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                found += objects_of(part)
    return found


def test_the_schema_is_closed() -> None:
    schemas = objects_of(SCHEMA)
    assert len(schemas) > 15
    assert all(schema.get("additionalProperties") is False for schema in schemas)


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> set[str]:
    """Return the paths of values that the schema names, and fail on others."""
    found = set()
    for key, value in values.items():
        part = schema["properties"][key]
        if "$ref" in part:
            part = SCHEMA["definitions"][part["$ref"].removeprefix("#/definitions/")]
        name = f"{path}{key}"
        if "properties" in part and part.get("additionalProperties") is False and isinstance(value, dict):
            assert set(part["properties"]) >= set(value), name
            found |= leaves(value, part, f"{name}.")
        else:
            found.add(name)
    return found


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    assert len(leaves(VALUES, SCHEMA)) > 40
    assert set(SCHEMA["properties"]) == set(VALUES) | {"global"}


def test_every_block_of_values_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    unexplained = [
        line
        for previous, line in zip(["", *lines], lines, strict=False)
        if re.match(r"[a-zA-Z]", line) and not previous.startswith("#") and not line.startswith("serviceAccounts:")
    ]
    assert unexplained == []


def notes(values: dict[str, Any]) -> str:
    output = run_helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", values=values)
    return output.partition("\nNOTES:\n")[2]


def test_notes_without_an_airflow_say_how_to_go_on() -> None:
    text = notes({})
    assert "airflowServiceAccounts:" in text
    assert "airflow.enabled=true" in text
    assert "No SkyPilot image is set" in text
    assert "No cloud credentials are set" in text


def test_notes_for_an_existing_airflow_name_the_configmap() -> None:
    text = notes({"airflowServiceAccounts": [{"name": "airflow-worker", "namespace": "airflow"}]})
    assert "configMapRef: {name: sky-provider}" in text
    assert "an Airflow image that has the provider: hack/build-images airflow" in text


@pytest.mark.parametrize(("database", "warned"), [({}, True), ({"existingSecret": "db"}, False)])
def test_notes_say_that_sqlite_is_for_trying_out(database: dict[str, str], warned: bool) -> None:
    text = notes(merge(AIRFLOW, {"airflow": {"database": database}}))
    assert ("It is for trying out: its SQLite database" in text) is warned


def test_notes_for_our_airflow_tell_address_and_password() -> None:
    text = notes(merge(AIRFLOW, {"image": {"repository": "r/s"}}))
    assert "port-forward service/sky-airflow 8080:8080" in text
    assert "get secret sky-airflow -o jsonpath='{.data.admin-password}' | base64 -d" in text
    assert "No SkyPilot image is set" not in text


@pytest.mark.parametrize(
    ("volume", "warned"),
    [({}, True), ({"accessModes": ["ReadWriteMany"]}, False), ({"existingClaim": "mine"}, False)],
)
def test_notes_warn_of_a_volume_for_one_node(volume: dict[str, Any], warned: bool) -> None:
    assert ("Multi-Attach" in notes({"volume": volume})) is warned


@pytest.mark.parametrize(
    ("former", "told"),
    [([], False), (["k8s-sky", "old"], True)],
)
def test_notes_tell_where_the_clusters_are(former: list[str], told: bool) -> None:
    text = notes({"skyKubernetes": {"namespace": "clusters", "formerNamespaces": former}})
    assert "SkyPilot makes its clusters in namespace clusters." in text
    assert ("Clusters from before are still served in k8s-sky, old." in text) is told


def test_notes_without_any_cloud_say_so() -> None:
    assert "SkyPilot has no cloud to launch on" in notes({"skyKubernetes": {"enabled": False}})
