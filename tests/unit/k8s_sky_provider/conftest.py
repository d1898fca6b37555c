"""A deployment for the operators and a Kubernetes for their pods."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.common.compat.sdk import redact

from unit.k8s_sky_provider.airflow_version import AIRFLOW, create_tables
from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes


@pytest.fixture(scope="session", autouse=AIRFLOW < (3, 0))
def tables() -> None:
    """Give the tasks of an Airflow 2 the database that they look into."""
    create_tables()


@pytest.fixture(autouse=True)
def nothing_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Airflow forget the secrets of other tests: a request that has one in it is refused."""
    masker: Any = import_module(redact.__module__)._secrets_masker()
    monkeypatch.setattr(masker, "patterns", set())
    monkeypatch.setattr(masker, "replacer", None)


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> FakeKubernetes:
    """Return the Kubernetes that operators reach in this test; whoever waits, waits for what never comes."""

    def never(seconds: float) -> None:
        pytest.fail(f"somebody waits {seconds} s")

    fake = FakeKubernetes()
    monkeypatch.setattr(time, "sleep", never)
    monkeypatch.setattr(KubernetesHook, "core_v1_client", fake)
    monkeypatch.setattr(KubernetesHook, "is_in_cluster", True)
    return fake


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the options of [skypilot] that have no default."""
    monkeypatch.setenv("AIRFLOW__SKYPILOT__IMAGE", "registry.example.com/skypilot:1")
    monkeypatch.setenv("AIRFLOW__SKYPILOT__VOLUME_CLAIM", "sky-state")
    monkeypatch.setenv("AIRFLOW__SKYPILOT__NAMESPACE", "sky")
