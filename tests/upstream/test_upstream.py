"""KubernetesPodOperator's own unit tests, with our classes in the place of its own: ``make test-upstream``.

They come out of the sdist of the provider that requirements/upstream.txt pins. What fails is held against
expected_failures.toml, in both directions: a new version of the provider tells by itself what it changes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
BUILD = REPOSITORY / ".build" / "upstream"
PYTHON = BUILD / "venv" / "bin" / "python"
PROVIDER = "apache-airflow-providers-cncf-kubernetes"

TESTS = {
    "operator": ["operators/test_pod.py"],
    "parts": ["triggers/test_pod.py", "utils/test_pod_manager.py", "hooks/test_kubernetes.py"],
}
"""By what substitute.py replaces: the files that test it."""


@pytest.fixture(scope="module")
def upstream() -> Path:
    """Return the directory of the provider's sdist."""
    lock = (REPOSITORY / "requirements" / "upstream.txt").read_text()
    (pin,) = re.findall(rf"^{PROVIDER}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    version = pin.partition("==")[2].split()[0]
    unpacked = BUILD / f"{PROVIDER.replace('-', '_')}-{version}"
    if not unpacked.is_dir():
        (BUILD / "provider.txt").write_text(pin)
        options = ["--no-deps", "--no-binary=:all:", "--no-build-isolation", "--require-hashes", "--quiet"]
        subprocess.run(
            [PYTHON, "-m", "pip", "download", *options, "-d", BUILD, "-r", BUILD / "provider.txt"], check=True
        )
        with tarfile.open(unpacked.with_name(f"{unpacked.name}.tar.gz")) as sdist:
            sdist.extractall(BUILD, filter="data")
    return unpacked


@pytest.fixture(scope="module")
def database() -> dict[str, str]:
    """Return the environment of an Airflow with a database of its own."""
    home = BUILD / "airflow"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/unittests.db",
        "KUBECONFIG": str(home / "none"),
    }
    subprocess.run([PYTHON, "-m", "airflow", "db", "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return environment


def failures(report: Path) -> tuple[set[str], int]:
    """Return the names of the tests that failed, and how many ran."""
    cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314  # written by the pytest that just ran
    failed = {
        f"{(case.get('classname') or '').rpartition('.')[2]}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    return failed, sum(case.find("skipped") is None for case in cases)


def listed(key: str) -> set[str]:
    """Return the names of the tests in one of the lists of expected_failures.toml."""
    groups = tomllib.loads((HERE / "expected_failures.toml").read_text())[key]
    assert all(group["why"] for group in groups)
    return {name for group in groups for name in group["tests"]}


@pytest.mark.parametrize("substitute", TESTS)
def test_our_classes_do_what_upstreams_do(substitute: str, upstream: Path, database: dict[str, str]) -> None:
    report = BUILD / f"{substitute}.xml"
    report.unlink(missing_ok=True)
    tests = upstream / "tests"
    directory = "tests/unit/cncf/kubernetes"
    subprocess.run(
        [
            *(PYTHON, "-m", "pytest", "-c", HERE / "upstream.ini", "--rootdir", upstream, "--junitxml", report),
            *(f"--deselect={directory}/{name}" for name in listed("hangs")),
            *(upstream / directory / name for name in TESTS[substitute]),
        ],
        env={
            **database,
            "SKY_SUBSTITUTE": substitute,
            "PYTHONPATH": os.pathsep.join(map(str, [HERE, REPOSITORY, tests])),
        },
        stdout=sys.stderr,
        check=False,
    )
    failed, ran = failures(report)
    expected = listed(substitute)
    print(f"{substitute}: {ran} tests ran, {ran - len(failed)} passed, {len(failed)} failed")
    assert ran > len(expected)
    assert sorted(failed - expected) == [], "these differ from KubernetesPodOperator and are not in the list"
    assert sorted(expected - failed) == [], "these do not differ any more: take them out of the list"
