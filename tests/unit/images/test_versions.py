"""The images, their locks and each other agree on versions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def dockerfile(image: str) -> str:
    return (REPOSITORY / "images" / image / "Dockerfile").read_text()


def pinned(lock: str, package: str) -> str:
    match = re.search(rf"^{package}==(\S+)", (REPOSITORY / "requirements" / lock).read_text(), re.MULTILINE)
    assert match, f"{package} is not in {lock}"
    return match[1]


@pytest.mark.parametrize("lock", ["skypilot.txt", "skypilot-cluster.txt"])
@pytest.mark.parametrize("image", ["skypilot", "skypilot-cluster"])
def test_default_skypilot_version_is_the_locked_one(image: str, lock: str) -> None:
    assert f"ARG SKYPILOT_VERSION={pinned(lock, 'skypilot')}\n" in dockerfile(image)


def test_sqlalchemy_of_skypilot_is_older_than_2_1() -> None:
    assert pinned("skypilot.txt", "sqlalchemy").startswith("2.0.")


def test_development_uses_the_airflow_of_the_image() -> None:
    for package in ("apache-airflow", "apache-airflow-core", "apache-airflow-providers-cncf-kubernetes"):
        assert pinned("dev.txt", package) == pinned("airflow.txt", package)


@pytest.mark.parametrize("image", ["skypilot-cluster", "airflow"])
def test_build_tools_are_one_shared_stage(image: str) -> None:
    """A stage that differs in one character is built once for each image."""

    def tools_stage(name: str) -> str:
        return dockerfile(name).split("FROM ${BASE_IMAGE} AS tools\n")[1].split("\n\n")[0].rstrip()

    assert tools_stage(image) == tools_stage("skypilot")


@pytest.mark.parametrize("lock", sorted(path.name for path in (REPOSITORY / "requirements").glob("*.txt")))
def test_locks_name_no_index(lock: str) -> None:
    assert not re.search(r"://|--(extra-)?index|--find-links", (REPOSITORY / "requirements" / lock).read_text())
