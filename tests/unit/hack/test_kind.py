"""hack/cluster on kind, with stand-ins for docker, kind and kubectl that record their calls."""

import pathlib

import pytest

from .test_cluster_script import run_functions

STAND_INS = {
    # No registry container yet; not connected to kind's network yet.
    "docker": (
        'if [ "$1 $2" = "inspect k8s-sky-registry" ]; then exit 1; fi; if [ "$1" = inspect ]; then echo null; fi; '
        # As the real one: who writes to it gets no SIGPIPE.
        'if [ "$1 $2" = "exec -i" ]; then cat >/dev/null; fi'
    ),
    "kind": """
case "$1 $2" in
  "get clusters") if [ -f "$0.made" ]; then echo k8s-sky; fi ;;
  "get nodes") echo k8s-sky-control-plane ;;
  "get kubeconfig") echo "the kubeconfig" ;;
  "create cluster") cat >"$0.config"; touch "$0.made" ;;
  "delete cluster") rm "$0.made" ;;
esac
""",
    "kubectl": "",
}


@pytest.fixture
def calls(tmp_path: pathlib.Path) -> pathlib.Path:
    tools = tmp_path / "bin"
    tools.mkdir()
    record = tmp_path / "calls"
    for name, text in STAND_INS.items():
        (tools / name).write_text(f'#!/bin/bash\necho "{name} $*" >>{record}\n{text}\n')
        (tools / name).chmod(0o755)
    return record


def run_with_stand_ins(tmp_path: pathlib.Path, script: str) -> None:
    script = f"PATH={tmp_path}/bin:$PATH KUBECTL={tmp_path}/bin/kubectl; {script}"
    result = run_functions(tmp_path, {}, script)
    assert result.returncode == 0, result.stderr


def test_up_makes_the_cluster_with_a_registry_that_its_nodes_reach(tmp_path: pathlib.Path, calls: pathlib.Path) -> None:
    run_with_stand_ins(tmp_path, "choose_kind_of_cluster; ${kind_of_cluster}_up")
    made = calls.read_text().splitlines()
    assert any(call.startswith("kind create cluster --name k8s-sky") for call in made)
    assert any(call.startswith("docker run") and "-p 127.0.0.1:5000:5000" in call for call in made)
    assert (
        "docker exec -i k8s-sky-control-plane cp /dev/stdin /etc/containerd/certs.d/localhost:5000/hosts.toml" in made
    )
    assert "docker network connect kind k8s-sky-registry" in made
    assert (tmp_path / "kubeconfig").read_text() == "the kubeconfig\n"
    assert (tmp_path / "cluster.env").read_text().splitlines() == [
        "CLUSTER_KIND=kind",
        f"KUBECONFIG={tmp_path}/kubeconfig",
        "REGISTRY=localhost:5000",
    ]
    assert 'config_path = "/etc/containerd/certs.d"' in (tmp_path / "bin" / "kind.config").read_text()


def test_a_second_up_makes_no_second_cluster(tmp_path: pathlib.Path, calls: pathlib.Path) -> None:
    run_with_stand_ins(tmp_path, "kind_up; kind_up")
    assert calls.read_text().count("kind create cluster") == 1


def test_down_deletes_cluster_and_registry_but_keeps_the_images(tmp_path: pathlib.Path, calls: pathlib.Path) -> None:
    run_with_stand_ins(tmp_path, "compiled_exists() { false; }; kind_up; down")
    made = calls.read_text().splitlines()
    assert "kind delete cluster --name k8s-sky" in made
    assert "docker rm --force k8s-sky-registry" in made
    assert not any("volume" in call.split() for call in made)
    assert not (tmp_path / "cluster.env").exists()
