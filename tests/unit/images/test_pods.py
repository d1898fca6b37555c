"""The skypilot image is one that the operators' restricted pods can run."""

from __future__ import annotations

from pathlib import Path

from k8s_sky_provider.pod_security import RUNNER_USER_ID
from k8s_sky_provider.workspace import POD_LOCAL_DIRECTORIES, STATE_DIRECTORIES

DOCKERFILE = (Path(__file__).resolve().parents[3] / "images" / "skypilot" / "Dockerfile").read_text()
LINES = DOCKERFILE.splitlines()


def test_its_user_is_a_number_of_which_kubernetes_can_tell_that_it_is_not_roots() -> None:
    users = [line for line in LINES if line.startswith("USER ")]
    assert users == [f"USER {RUNNER_USER_ID}:{RUNNER_USER_ID}"]
    assert f"groupadd --gid {RUNNER_USER_ID} sky && useradd --uid {RUNNER_USER_ID} --gid sky" in DOCKERFILE


def test_skypilots_script_is_executable_and_has_its_old_date() -> None:
    """At run time nothing can make it so (runner/sky/rsync.py)."""
    made, dated = DOCKERFILE.index("chmod +x sky/utils/kubernetes/rsync_helper.sh"), DOCKERFILE.index("-exec touch -d")
    assert made < dated


def test_pods_that_can_write_to_it_find_the_directories_of_their_user() -> None:
    (line,) = [line for line in LINES if "install -d -o sky -g sky /opt/sky" in line]
    directories = {str(path) for path in (*STATE_DIRECTORIES.values(), *POD_LOCAL_DIRECTORIES.values())}
    assert directories - set(line.split()) == {"/home/sky/.ssh"}
    assert "install -d -o sky -g sky -m 0700 /home/sky/.ssh" in DOCKERFILE
