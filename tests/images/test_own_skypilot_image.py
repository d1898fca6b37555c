"""A SkyPilot image of the user's own, from the text of docs/images.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .conftest import CA_BUNDLE, REPOSITORY, Tool, build, container

if TYPE_CHECKING:
    from pathlib import Path

SECTION = "## Your own skypilot image\n"
OLDEST_SKYPILOT = "0.12"


def documented_dockerfile() -> str:
    section = (REPOSITORY / "docs" / "images.md").read_text().split(SECTION)[1].split("\n## ")[0]
    (dockerfile,) = re.findall(r"```dockerfile\n(.*?)```", section, re.DOTALL)
    return str(dockerfile)


def build_on(tool: Tool, image: str, directory: Path) -> str:
    text, replaced = re.subn(r"^FROM \S+$", f"FROM {image}", documented_dockerfile(), flags=re.MULTILINE)
    assert replaced == 1
    (directory / "scripts").mkdir()
    (directory / "scripts" / "train.sh").write_text("nvidia-smi\n")
    (directory / "Dockerfile").write_text(text)
    return tool.build(directory, "own-skypilot", with_ca_bundle=CA_BUNDLE.exists())


@pytest.mark.parametrize("minor", [None, OLDEST_SKYPILOT])
def test_it_has_another_cloud_and_all_that_ours_has(tool: Tool, tmp_path: Path, minor: str | None) -> None:
    image = build("skypilot", *([] if minor is None else ["--skypilot", minor]))
    own = build_on(tool, image, tmp_path)
    try:
        assert tool.entry_point(own) == tool.entry_point(image)
        with container(tool, own, "1000:1000") as running:
            done = running.exec("python", "-c", "import boto3, k8s_sky_provider.runner.sky")
            assert done.returncode == 0, done.stdout
            version = running.exec("sky", "--version").stdout
            assert version.startswith("skypilot, version ")
            with container(tool, image, "1000:1000") as ours:
                assert version == ours.exec("sky", "--version").stdout
            assert running.exec("cat", "/opt/scripts/train.sh").stdout == "nvidia-smi\n"
            assert running.exec("jq", "--version").returncode == 0
    finally:
        tool("rmi", own)


def test_without_a_ca_bundle_nothing_of_it_needs_one(tool: Tool, skypilot_image: str, tmp_path: Path) -> None:
    """The build has the secret only where it is given: with-ca-bundle runs the command as it is, else."""
    (tmp_path / "Dockerfile").write_text(
        f"FROM {skypilot_image}\n"
        "RUN --mount=type=secret,id=ca-bundle,mode=0444 with-ca-bundle sh -c 'test -z \"$PIP_CERT\"'\n"
    )
    tool("rmi", tool.build(tmp_path, "without-ca-bundle", with_ca_bundle=False))
