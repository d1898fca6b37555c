"""The Airflow image on a base that has Airflow: ours stands in for Apache's, which no registry here may have."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import Tool, build, container

if TYPE_CHECKING:
    from pathlib import Path

MARK = "/home/airflow/of-the-base"
FIND_CNCF = "find / -path '*/apache_airflow_providers_cncf_kubernetes-*/METADATA' 2>/dev/null"


def base(tool: Tool, directory: Path, image: str, *commands: str) -> str:
    lines = [f"FROM {image}", *(f"RUN {command}" for command in commands)]
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    return tool.build(directory / "Dockerfile", directory, with_ca_bundle=False)


def test_on_a_base_with_airflow_nothing_but_the_provider_is_installed(
    tool: Tool, airflow_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall = "python -m pip uninstall --quiet --yes airflow-provider-skypilot-k8s"
    freeze = "python -m pip freeze --exclude airflow-provider-skypilot-k8s"
    name = base(tool, tmp_path, airflow_image, uninstall, f"{freeze} > {MARK}")
    monkeypatch.setenv("AIRFLOW_BASE_IMAGE", name)
    try:
        with container(tool, build("airflow"), "50000:0") as running:
            assert running.exec("sh", "-c", f"{freeze} | diff - {MARK}").returncode == 0
            assert running.exec("python", "-c", "import k8s_sky_provider.operators.launch").returncode == 0
    finally:
        tool("rmi", name)


def test_a_base_that_is_too_old_fails_the_build(
    tool: Tool, airflow_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = base(tool, tmp_path, airflow_image, f"sed -i 's/^Version: .*/Version: 10.4.0/' $({FIND_CNCF})")
    monkeypatch.setenv("AIRFLOW_BASE_IMAGE", name)
    try:
        with pytest.raises(subprocess.CalledProcessError):
            build("airflow")
    finally:
        tool("rmi", name)
    assert "cncf-kubernetes>=10.20.0 is needed, it has 10.4.0" in capfd.readouterr().err
