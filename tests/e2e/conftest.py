"""End-to-end tests: real DAGs on the local cluster that ``hack/deploy tests/e2e/dags`` has brought up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from faults import FaultTable
from ledger import Ledger
from local_airflow import CLUSTERS_NAMESPACE, ROOT, Kubectl, LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS_TO_TIDY_UP = 120


@pytest.fixture(scope="session")
def airflow() -> Iterator[LocalAirflow]:
    with LocalAirflow() as airflow:
        yield airflow


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """kubectl where Airflow and the operators' pods are."""
    return Kubectl()


@pytest.fixture(scope="session")
def clusters() -> Kubectl:
    """kubectl where SkyPilot's clusters are."""
    return Kubectl(CLUSTERS_NAMESPACE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-table",
        action="store_true",
        help="write what the tests that count faults have counted into docs/reliability.md",
    )


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "faults" in item.fixturenames:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Iterator[FaultTable]:
    table = FaultTable(f"`{request.path.name}::{request.function.__name__}`")
    yield table
    # After each test: a run of hours may be stopped.
    if request.config.getoption("--fault-table"):
        table.write(ROOT / "docs" / "reliability.md")


@pytest.fixture(scope="session")
def ledger(clusters: Kubectl) -> Iterator[Ledger]:
    ledger = Ledger(clusters)
    ledger.start()
    yield ledger
    ledger.stop()


def wait_until(what: str, is_so: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(1)


def names_of_pods(kubectl: Kubectl, selector: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in kubectl.get("pods", "-l", selector)["items"]]


def pods_of_clusters(clusters: Kubectl, part_of_name: str = "") -> list[str]:
    """Return the pods of SkyPilot's clusters, or of those with this in their names."""
    return [name for name in names_of_pods(clusters, "parent=skypilot") if part_of_name in name]


def pods_left(kubectl: Kubectl, clusters: Kubectl) -> list[str]:
    """Pods of operators, of KubernetesExecutor and of SkyPilot clusters."""
    selectors = ("kubernetes_pod_operator=True", "kubernetes_executor=True", "parent=skypilot")
    here = [name for selector in selectors for name in names_of_pods(kubectl, selector)]
    return here + pods_of_clusters(clusters)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_running(kubectl: Kubectl, clusters: Kubectl) -> Iterator[None]:
    """Every module ends as it began: with no pod of ours and no cluster."""
    assert pods_left(kubectl, clusters) == []
    yield
    deadline = time.monotonic() + SECONDS_TO_TIDY_UP
    while left := pods_left(kubectl, clusters):
        assert time.monotonic() < deadline, f"still there after the tests: {left}"
        time.sleep(1)
