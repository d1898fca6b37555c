"""Airflow finds the provider: its metadata follows Airflow's schema and is about this distribution."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.resources
import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import k8s_sky_provider
from k8s_sky_provider.provider_info import get_provider_info
from k8s_sky_provider.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[3]
OPTIONS: dict[str, Any] = get_provider_info()["config"]["skypilot"]["options"]


@pytest.fixture
def project() -> dict[str, Any]:
    metadata: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return metadata


def test_the_metadata_follows_airflows_schema() -> None:
    schema = json.loads(importlib.resources.files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_package_name_is_the_distributions(project: dict[str, Any]) -> None:
    assert get_provider_info()["package-name"] == project["name"]


def test_the_entry_point_leads_to_the_metadata(project: dict[str, Any]) -> None:
    module, _, name = project["entry-points"]["apache_airflow_provider"]["provider_info"].partition(":")
    assert getattr(importlib.import_module(module), name) is get_provider_info


def test_the_listed_modules_exist() -> None:
    for integration in get_provider_info()["operators"]:
        for module in integration["python-modules"]:
            importlib.import_module(module)


def test_every_option_that_the_workspace_reads_is_documented_and_none_besides() -> None:
    assert set(OPTIONS) == {field.name for field in dataclasses.fields(Workspace)}


@pytest.mark.parametrize("name", sorted(set(inspect.signature(Workspace.resolve).parameters) - {"connection"}))
def test_every_argument_with_a_default_for_the_deployment_is_an_option(name: str) -> None:
    assert name in OPTIONS


def test_the_version_is_a_release() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", k8s_sky_provider.__version__)
