"""The images that hack/build-images makes here, and containers of them, by whichever tool it builds with."""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES_ENV = REPOSITORY / ".build" / "images.env"
CA_BUNDLE = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))

TOOL_SCRIPT = """
set -euo pipefail
. hack/local-kubernetes/common.sh
. hack/container-tool.sh
set_up_tool
printf '%s\\n' "${TOOL_COMMAND[*]}" "${BUILD_COMMAND[*]}"
"""


@dataclass(frozen=True)
class Tool:
    """Docker, Podman or buildah."""

    command: list[str]
    build_command: list[str]

    @property
    def is_buildah(self) -> bool:
        return self.command[0] == "buildah"

    def __call__(self, *arguments: str) -> str:
        return subprocess.run(
            [*self.command, *arguments], check=True, capture_output=True, text=True, timeout=300
        ).stdout

    def build(self, directory: Path, tag: str, *, with_ca_bundle: bool) -> str:
        """Build an image of a directory with a Dockerfile, and give its name."""
        name = f"localhost/k8s-sky/test:{tag}"
        secret = ["--secret", f"id=ca-bundle,src={CA_BUNDLE}"] if with_ca_bundle else []
        command = [*self.build_command, *secret, "--file", str(directory / "Dockerfile"), "--tag", name, str(directory)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return name

    def entry_point(self, image: str) -> list[str]:
        if self.is_buildah:
            configuration = json.loads(self("inspect", "--type", "image", image))["OCIv1"]["config"]
        else:
            configuration = json.loads(self("inspect", "--type", "image", image))[0]["Config"]
        entry_point: list[str] = configuration["Entrypoint"]
        return entry_point


@dataclass(frozen=True)
class Container:
    """A container that does nothing by itself; programs are run in it, as Kubernetes runs them in a pod."""

    tool: Tool
    name: str
    image: str
    user: str
    environment: dict[str, str] = field(default_factory=dict)

    def argv(self, command: tuple[str, ...], environment: dict[str, str] | None, user: str | None) -> list[str]:
        values = {**self.environment, **(environment or {})}
        variables = [f"--env={name}={value}" for name, value in values.items()]
        if self.tool.is_buildah:
            run = [*self.tool.command, "run", "--isolation", "chroot"]
            return [*run, "--user", user or self.user, *variables, self.name, "--", *command]
        return [*self.tool.command, "exec", "--user", user or self.user, *variables, self.name, *command]

    def exec(
        self, *command: str, environment: dict[str, str] | None = None, user: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as a probe does: past the entry point."""
        return subprocess.run(
            self.argv(command, environment, user),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None, user: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a container's arguments: by the image's entry point."""
        command = (*self.tool.entry_point(self.image), *arguments)
        return self.exec(*command, environment=environment, user=user, timeout=timeout)

    @contextmanager
    def running(
        self, *arguments: str, log: Path, environment: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """Let a container's arguments run in the background, with their output in a file."""
        argv = self.argv((*self.tool.entry_point(self.image), *arguments), environment, None)
        with log.open("w") as output, subprocess.Popen(argv, stdout=output, stderr=output, text=True) as process:
            try:
                yield process
            finally:
                process.terminate()


@pytest.fixture(scope="session")
def tool() -> Tool:
    said = subprocess.run(
        ["bash", "-c", TOOL_SCRIPT], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=300
    ).stdout
    command, build_command = said.splitlines()
    return Tool(command.split(), build_command.split())


def build(image: str, *options: str) -> str:
    """Let hack/build-images build an image, and give its name. What other tests read is left as it is."""
    before = IMAGES_ENV.read_bytes() if IMAGES_ENV.exists() else None
    try:
        subprocess.run([REPOSITORY / "hack" / "build-images", "--no-push", *options, image], check=True, timeout=1200)
        variable = f"{image.upper()}_IMAGE"
        names = re.findall(rf"^{variable}=(\S+)$", IMAGES_ENV.read_text(), re.MULTILINE)
    finally:
        if before is None:
            IMAGES_ENV.unlink(missing_ok=True)
        else:
            IMAGES_ENV.write_bytes(before)
    return str(names[-1])


@contextmanager
def container(tool: Tool, image: str, user: str, environment: dict[str, str] | None = None) -> Iterator[Container]:
    if tool.is_buildah:
        name = tool("from", image).strip()
    else:
        name = tool("run", "--detach", "--entrypoint", "sleep", image, "infinity").strip()
    try:
        yield Container(tool, name, image, user, environment or {})
    finally:
        tool("rm", *([] if tool.is_buildah else ["--force"]), name)


@pytest.fixture(scope="session")
def airflow_image(tool: Tool) -> str:
    return build("airflow")


@pytest.fixture(scope="session")
def skypilot_image(tool: Tool) -> str:
    return build("skypilot")
