"""The Airflow image on a base that has Airflow: ours stands in for Apache's, which no registry here may have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import REPOSITORY, Tool, build, container

if TYPE_CHECKING:
    from collections.abc import Callable

SECTION = "## The provider in an Airflow image of yours\n"

MARK = "/home/airflow/of-the-base"
PROVIDER = "airflow-provider-skypilot-k8s"
UNINSTALL = f"python -m pip uninstall --quiet --yes {PROVIDER}"
FREEZE = f"python -m pip freeze --exclude {PROVIDER}"
FIND_CNCF = "find / -path '*/apache_airflow_providers_cncf_kubernetes-*/METADATA' 2>/dev/null"


@pytest.fixture
def derived(tool: Tool, airflow_image: str, tmp_path: Path) -> Callable[[str], str]:
    """Give what builds an image on ours by further lines of a Dockerfile."""

    def build_derived(lines: str) -> str:
        (tmp_path / "Dockerfile").write_text(f"FROM {airflow_image}\n{lines}\n")
        return tool.build(tmp_path, "airflow-base", with_ca_bundle=False)

    return build_derived


def test_on_a_base_with_airflow_nothing_but_the_provider_is_installed(
    tool: Tool, derived: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_BASE_IMAGE", derived(f"RUN {UNINSTALL} && {FREEZE} > {MARK}"))
    image = build("airflow")
    with container(tool, image, "50000:0") as running:
        assert running.exec("sh", "-c", f"{FREEZE} | diff - {MARK}").returncode == 0
        assert running.exec("python", "-c", "import k8s_sky_provider.operators.launch").returncode == 0
    tool("rmi", image)


def test_a_base_that_is_too_old_fails_the_build(
    derived: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    old = derived(f"RUN sed -i 's/^Version: .*/Version: 10.4.0/' $({FIND_CNCF})")
    monkeypatch.setenv("AIRFLOW_BASE_IMAGE", old)
    with pytest.raises(subprocess.CalledProcessError):
        build("airflow")
    assert "cncf-kubernetes>=10.20.0 is needed, it has 10.4.0" in capfd.readouterr().err


def test_the_documented_dockerfile_installs_the_wheel_of_the_documented_command(
    tool: Tool, derived: Callable[[str], str], tmp_path: Path
) -> None:
    """Ours says no AIRFLOW_VERSION, which Apache's does."""
    section = (REPOSITORY / "docs" / "images.md").read_text().split(SECTION)[1].split("\n## ")[0]
    command, dockerfile = re.findall(r"```(?:dockerfile)?\n(.*?)```", section, re.DOTALL)
    subprocess.run(
        command.replace("--wheel-dir dist", f"--wheel-dir {tmp_path / 'dist'}").split(),
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=REPOSITORY,
        check=True,
        timeout=300,
    )
    base, lines = dockerfile.split("\n", 1)
    assert base.startswith("FROM apache/airflow:")
    image = derived(f"RUN {UNINSTALL}\nENV AIRFLOW_VERSION={base.split(':')[1].split('-')[0]}\n{lines}")
    with container(tool, image, "50000:0") as running:
        assert PROVIDER in running.exec("airflow", "providers", "list").stdout
