"""What hack/cluster says when it cannot go on."""

import os
import pathlib
import shutil
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).parents[3]


def run_functions(tmp_path: pathlib.Path, environment: dict[str, str], script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has the functions of hack/cluster at hand."""
    program = f". {REPOSITORY}/hack/cluster; BUILD_DIR={tmp_path} CLUSTER_ENV={tmp_path}/cluster.env; {script}"
    path = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return subprocess.run(
        ["bash", "-c", program], env=path | environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_any_way_to_a_cluster_the_three_ways_are_named(tmp_path: pathlib.Path) -> None:
    result = run_functions(
        tmp_path, {}, "kind_usable() { false; }; on_debian_as_root() { false; }; choose_kind_of_cluster"
    )
    assert result.returncode == 1
    for way in ("K8S_SKY_KUBECONFIG=", "Docker", "Debian 12 as root"):
        assert way in result.stderr


@pytest.mark.parametrize(
    ("environment", "docker", "root", "chosen"),
    [
        ({"K8S_SKY_KUBECONFIG": "/somewhere"}, "true", "true", "existing"),
        ({}, "true", "true", "kind"),
        ({}, "false", "true", "compiled"),
        ({"K8S_SKY_CLUSTER": "compiled"}, "true", "true", "compiled"),
    ],
)
def test_the_first_way_that_works_is_taken(
    tmp_path: pathlib.Path, environment: dict[str, str], docker: str, root: str, chosen: str
) -> None:
    choice = "choose_kind_of_cluster; echo $kind_of_cluster"
    result = run_functions(
        tmp_path, environment, f"kind_usable() {{ {docker}; }}; on_debian_as_root() {{ {root}; }}; {choice}"
    )
    assert result.stdout.strip() == chosen, result.stderr


def test_a_cluster_of_ones_own_needs_a_registry(tmp_path: pathlib.Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    result = run_functions(tmp_path, {"K8S_SKY_KUBECONFIG": str(kubeconfig)}, "existing_up")
    assert result.returncode == 1
    assert "REGISTRY is not set" in result.stderr


def test_a_missing_kubeconfig_is_named(tmp_path: pathlib.Path) -> None:
    result = run_functions(tmp_path, {"K8S_SKY_KUBECONFIG": "/no/such/file"}, "existing_up")
    assert result.returncode == 1
    assert "/no/such/file" in result.stderr


def test_a_component_that_ends_fails_at_once_with_its_log(tmp_path: pathlib.Path) -> None:
    settings = f"STATE_DIR={tmp_path} RUN_DIR={tmp_path} LOG_DIR={tmp_path} PROGRAM_PATH=/nowhere"
    result = run_functions(
        tmp_path, {}, f"{settings}; start etcd bash -c 'echo no space left'; wait_for 30 etcd 'etcd answers' false"
    )
    assert result.returncode == 1
    assert "no space left" in result.stderr
    assert "etcd ended while it was waited for" in result.stderr


def test_an_unknown_version_of_kubernetes_is_refused_with_those_that_there_are(tmp_path: pathlib.Path) -> None:
    result = run_functions(tmp_path, {"K8S_SKY_KUBERNETES": "1.99"}, "check_settings")
    assert result.returncode == 1
    assert "K8S_SKY_KUBERNETES=1.99 is not known" in result.stderr
    assert "1.35 1.37" in result.stderr


@pytest.mark.parametrize("nodes", ["0", "3", "two"])
def test_a_cluster_has_one_node_or_two(tmp_path: pathlib.Path, nodes: str) -> None:
    result = run_functions(tmp_path, {"K8S_SKY_NODES": nodes}, "check_settings")
    assert result.returncode == 1
    assert f"K8S_SKY_NODES={nodes}" in result.stderr


def settings_beside_a_cluster(tmp_path: pathlib.Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (tmp_path / "nodes").write_text("k8s-sky-1\n")
    (tmp_path / "kubernetes").write_text("1.35\n")
    script = f"STATE_DIR={tmp_path}; check_settings; echo $KUBERNETES_MINOR $(nodes)"
    return run_functions(tmp_path, environment, script)


@pytest.mark.parametrize("environment", [{}, {"K8S_SKY_KUBERNETES": "1.35", "K8S_SKY_NODES": "1"}])
def test_a_cluster_that_runs_stays_as_it_is(tmp_path: pathlib.Path, environment: dict[str, str]) -> None:
    result = settings_beside_a_cluster(tmp_path, environment)
    assert result.stdout == "1.35 k8s-sky-1\n", result.stderr


@pytest.mark.parametrize(
    ("name", "value", "runs"), [("K8S_SKY_KUBERNETES", "1.37", "Kubernetes 1.35"), ("K8S_SKY_NODES", "2", "1 nodes")]
)
def test_another_cluster_than_the_one_that_runs_is_refused(
    tmp_path: pathlib.Path, name: str, value: str, runs: str
) -> None:
    result = settings_beside_a_cluster(tmp_path, {name: value})
    assert result.returncode == 1
    assert f"{name}={value}, but a cluster with {runs} runs" in result.stderr


@pytest.mark.parametrize("verb", ["node-down", "node-up"])
def test_a_node_that_there_is_not_is_named_with_those_that_there_are(tmp_path: pathlib.Path, verb: str) -> None:
    result = run_functions(tmp_path, {}, f"STATE_DIR={tmp_path} RUN_DIR={tmp_path}; main {verb} k8s-sky-9")
    assert result.returncode == 1
    assert "there is no node called 'k8s-sky-9'" in result.stderr
    assert "k8s-sky-1 k8s-sky-2" in result.stderr


def test_the_programs_of_other_inputs_are_others(tmp_path: pathlib.Path) -> None:
    modules = tmp_path / "modules"
    shutil.copytree(REPOSITORY / "hack/local-kubernetes/compiled/modules", modules)
    script = f"MODULES_DIR={modules}; program_directory node; program_directory network"
    before = run_functions(tmp_path, {}, script).stdout.splitlines()
    with (modules / "node" / "go.sum").open("a") as file:
        file.write("more\n")
    after = run_functions(tmp_path, {}, script).stdout.splitlines()
    assert len(before) == 2
    assert before[0] != after[0]
    assert before[1] == after[1]


@pytest.mark.parametrize(("version", "own"), [("go1.99.1", True), ("go1.26.1", False)])
def test_a_go_that_is_too_old_is_not_taken(tmp_path: pathlib.Path, version: str, own: bool) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").write_text(f"#!/bin/sh\necho {version}\n")
    (tools / "go").chmod(0o755)
    fetched = "mkdir -p $GO_DIR; sha256sum <$REPOSITORY/requirements/go.txt >$GO_DIR/.requirements"
    result = run_functions(
        tmp_path,
        {"PATH": f"{tools}:{os.environ['PATH']}"},
        f"GO_DIR={tmp_path}/fetched; {fetched}; ensure_go; echo $GO_PATH",
    )
    assert result.stdout.strip() == (str(tools) if own else f"{tmp_path}/fetched/go/bin"), result.stderr


RULES = """\
# Generated by iptables-save
*nat
:PREROUTING ACCEPT [5:300]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-X - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -m comment --comment k8s-sky -j MASQUERADE
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X
COMMIT
"""


def test_only_the_clusters_packet_rules_are_removed(tmp_path: pathlib.Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "rules").write_text(RULES)
    for name, text in {
        "iptables": "",
        "iptables-save": f"cat {tmp_path}/rules",
        "iptables-restore": f'echo "$@" >{tmp_path}/arguments; cat >{tmp_path}/restored',
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    result = run_functions(tmp_path, {"PATH": f"{tools}:{os.environ['PATH']}"}, "remove_rules")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "arguments").read_text() == "-w --noflush\n"
    assert (tmp_path / "restored").read_text().splitlines() == [
        "*nat",
        "-D POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -m comment --comment k8s-sky -j MASQUERADE",
        "COMMIT",
    ]
