"""The images, their locks and each other agree on versions."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from k8s_sky_provider.runner import skypilot_version

REPOSITORY = Path(__file__).resolve().parents[3]


def dockerfile(image: str) -> str:
    return (REPOSITORY / "images" / image / "Dockerfile").read_text()


def pinned(lock: str, package: str) -> str:
    match = re.search(rf"^{package}(?:\[\w+\])?==(\S+)", (REPOSITORY / "requirements" / lock).read_text(), re.MULTILINE)
    assert match, f"{package} is not in {lock}"
    return match[1]


MINORS = [".".join(map(str, minor)) for minor in skypilot_version.MINORS]


def test_there_are_locks_for_the_minors_that_the_runner_works_with_and_no_others() -> None:
    for image in ("skypilot", "skypilot-cluster"):
        locks = (REPOSITORY / "requirements").glob(f"{image}-[0-9]*.txt")
        assert sorted(path.stem.removeprefix(f"{image}-") for path in locks) == MINORS


@pytest.mark.parametrize("image", ["skypilot", "skypilot-cluster"])
def test_the_default_skypilot_is_the_newest(image: str) -> None:
    assert set(re.findall(r"^ARG SKYPILOT=(\S+)$", dockerfile(image), re.MULTILINE)) == {MINORS[-1]}


@pytest.mark.parametrize("minor", MINORS)
def test_both_images_have_the_same_skypilot_and_an_sqlalchemy_that_it_works_with(minor: str) -> None:
    locks = (f"skypilot-{minor}.txt", f"skypilot-cluster-{minor}.txt")
    assert len({pinned(lock, "skypilot") for lock in locks}) == 1
    assert pinned(locks[0], "skypilot").startswith(f"{minor}.")
    assert all(pinned(lock, "sqlalchemy").startswith("2.0.") for lock in locks)


@pytest.mark.parametrize(
    ("arguments", "environment", "error"),
    [
        (["--skypilot", "0.11"], {}, "--skypilot 0.11: there is no lock for it\n       there are: 0.12 0.13 0.14"),
        (["--tag", "a/b"], {}, "--tag a/b is no tag"),
        (["--tag"], {}, "--tag needs a value"),
        ([], {"BUILD_ARGS": "SKYPILOT_EXTRA=aws"}, "no image has a build argument SKYPILOT_EXTRA\n"),
        ([], {"BUILD_ARGS": "SKYPILOT_VERSION=0.13.0"}, "use --skypilot MINOR"),
        (["--airflow", "2.10"], {}, "--airflow 2.10: there is no lock for it\n       there are: 2.11 3.1 3.3"),
        ([], {"BUILD_ARGS": "AIRFLOW=3.1"}, "use --airflow MINOR"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused_before_anything_is(
    arguments: list[str], environment: dict[str, str], error: str
) -> None:
    done = subprocess.run(
        [REPOSITORY / "hack" / "build-images", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CONTAINER_TOOL": "no-such-tool", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert error in done.stderr


def test_the_default_airflow_is_the_newest() -> None:
    minors = [lock.stem.removeprefix("airflow-") for lock in (REPOSITORY / "requirements").glob("airflow-[0-9]*.txt")]
    newest = max(minors, key=lambda minor: [int(number) for number in minor.split(".")])
    assert re.findall(r"^ARG AIRFLOW=(\S+)$", dockerfile("airflow"), re.MULTILINE) == [newest]
    assert f'\n  version: "{newest}"\n' in (REPOSITORY / "helm" / "values.yaml").read_text()


def test_development_uses_the_airflow_of_the_image() -> None:
    for package in ("apache-airflow", "apache-airflow-core", "apache-airflow-providers-cncf-kubernetes"):
        assert pinned("dev.txt", package) == pinned("airflow-3.3.txt", package)


@pytest.mark.parametrize("image", ["skypilot-cluster", "airflow"])
def test_build_tools_are_one_shared_stage(image: str) -> None:
    """A stage that differs in one character is built once for each image."""

    def tools_stage(name: str) -> str:
        return dockerfile(name).split("FROM ${BASE_IMAGE} AS tools\n")[1].split("\n\n")[0].rstrip()

    assert tools_stage(image) == tools_stage("skypilot")


@pytest.mark.parametrize("lock", sorted(path.name for path in (REPOSITORY / "requirements").glob("*.txt")))
def test_locks_name_no_index(lock: str) -> None:
    assert not re.search(r"://|--(extra-)?index|--find-links", (REPOSITORY / "requirements" / lock).read_text())


TEXTS = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "helm").rglob("*.*")),
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_texts_name_only_tags_that_are_built(text: Path) -> None:
    version = re.search(
        r'^__version__ = "(.+)"$', (REPOSITORY / "k8s_sky_provider/__init__.py").read_text(), re.MULTILINE
    )
    assert version
    found = re.findall(
        r"k8s-sky/(?:skypilot|skypilot-cluster|airflow)(?::|, tag: )([^\s`.,}]\S*?)[.,}`]*(?=\s|$)", text.read_text()
    )
    assert {tag.strip('"') for tag in found} <= {version[1]}


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_texts_install_the_package_from_no_index(text: Path) -> None:
    assert not re.search(r"pip install [^\n`]*airflow-provider-skypilot-k8s", text.read_text())
