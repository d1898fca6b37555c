"""RBAC: exactly the rights that are needed, and who has them."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import AIRFLOW, CLUSTERS_APART, CLUSTERS_NAMESPACE, NAMESPACE, Objects, merge, render, render_all

EXISTING_AIRFLOW = {
    "airflowServiceAccounts": [
        {"name": "airflow-worker", "namespace": "airflow"},
        {"name": "airflow-triggerer", "namespace": "airflow"},
    ]
}


def grants(role: dict[str, Any]) -> set[str]:
    """Return rights as ``[group/]resource:verb``."""
    return {
        f"{group}/{resource}:{verb}".lstrip("/")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def expand(*patterns: str) -> set[str]:
    """``pods:get,list`` -> ``pods:get``, ``pods:list``."""
    return {
        f"{resource}:{verb}"
        for pattern in patterns
        for resource, verbs in [pattern.split(":")]
        for verb in verbs.split(",")
    }


def subjects(objects: Objects, kind: str, name: str) -> set[tuple[str, str]]:
    binding = objects[kind, name]
    assert all(subject["kind"] == "ServiceAccount" for subject in binding["subjects"])
    return {(subject["namespace"], subject["name"]) for subject in binding["subjects"]}


LAUNCHER = expand(
    "pods:create,get,list,watch,patch,delete", "pods/log:get", "events:list,watch", "persistentvolumeclaims:get"
)


def test_airflow_launches_pods_and_no_more() -> None:
    values = merge(AIRFLOW, {"connectionCredentials": {"enabled": False}, "localFiles": {"enabled": False}})
    assert grants(render(values)["Role", "sky-launcher"]) == LAUNCHER


@pytest.mark.parametrize("without", [None, "connectionCredentials", "localFiles"])
def test_airflow_creates_secrets_for_connections_and_files_and_reads_none(without: str | None) -> None:
    values = merge(AIRFLOW, {without: {"enabled": False}} if without else {})
    assert grants(render(values)["Role", "sky-launcher"]) == LAUNCHER | {"secrets:create"}


@pytest.mark.parametrize(("values", "namespace"), [({}, NAMESPACE), (CLUSTERS_APART, CLUSTERS_NAMESPACE)])
def test_skypilot_uses_the_namespace_of_its_clusters(values: dict[str, Any], namespace: str) -> None:
    assert grants(render(values, objects_of=namespace)["Role", "sky-runner"]) == expand(
        "pods:create,get,list,patch,delete",
        "pods/exec:create,get",
        "pods/portforward:create,get",
        "services:create,get,list,patch,delete,deletecollection",
        "events:list,create",
        "persistentvolumeclaims:create,get,list,delete",
    )


def test_skypilot_reads_what_belongs_to_no_namespace() -> None:
    role = render()["ClusterRole", f"{NAMESPACE}:sky-runner"]
    assert grants(role) == expand(
        "nodes:get,list", "node.k8s.io/runtimeclasses:list", "storage.k8s.io/storageclasses:get,list"
    )


def test_skypilot_reads_pods_of_others_only_when_told() -> None:
    role = render({"skyKubernetes": {"readAllPods": True}})["ClusterRole", f"{NAMESPACE}:sky-runner"]
    assert grants(role) == expand(
        "nodes:get,list", "node.k8s.io/runtimeclasses:list", "storage.k8s.io/storageclasses:get,list", "pods:list"
    )


def test_a_cluster_can_remove_itself_and_no_more() -> None:
    assert grants(render()["Role", "sky-cluster"]) == expand(
        "pods:get,list,delete", "services:delete,deletecollection", "events:create"
    )


@pytest.mark.parametrize("enabled", [True, False])
def test_every_runner_reads_pods_of_its_namespace_and_nothing_else_where_no_kubernetes_is_used(enabled: bool) -> None:
    objects = render({"skyKubernetes": {"enabled": enabled}})
    assert grants(objects["Role", "sky-pod"]) == {"pods:get"}
    assert subjects(objects, "RoleBinding", "sky-pod") == {(NAMESPACE, "sky-runner")}
    assert (("Role", "sky-runner") in objects) is enabled


def test_extra_rules_are_added() -> None:
    rule = {"apiGroups": ["networking.k8s.io"], "resources": ["ingressclasses"], "verbs": ["get", "list"]}
    claims = {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["patch"]}
    objects = render({"skyKubernetes": {"extraRules": [claims], "extraClusterRules": [rule]}})
    assert "persistentvolumeclaims:patch" in grants(objects["Role", "sky-runner"])
    assert "networking.k8s.io/ingressclasses:list" in grants(objects["ClusterRole", f"{NAMESPACE}:sky-runner"])


def account_roles(namespace: str, account: tuple[str, str], values: dict[str, Any]) -> set[str]:
    """Return the Roles that an account has in a namespace."""
    objects = render(values, objects_of=namespace)
    return {
        binding["roleRef"]["name"]
        for (kind, name), binding in objects.items()
        if kind == "RoleBinding" and account in subjects(objects, kind, name)
    }


MOVE = merge(CLUSTERS_APART, {"skyKubernetes": {"formerNamespaces": [NAMESPACE]}})


@pytest.mark.parametrize(
    ("values", "namespace", "account", "roles"),
    [
        pytest.param(CLUSTERS_APART, NAMESPACE, (NAMESPACE, "sky-runner"), {"sky-pod"}, id="runner-at-home"),
        pytest.param(CLUSTERS_APART, CLUSTERS_NAMESPACE, (NAMESPACE, "sky-runner"), {"sky-runner"}, id="runner"),
        pytest.param(
            CLUSTERS_APART, CLUSTERS_NAMESPACE, (CLUSTERS_NAMESPACE, "sky-controller"), {"sky-runner"}, id="controller"
        ),
        pytest.param(
            CLUSTERS_APART, CLUSTERS_NAMESPACE, (CLUSTERS_NAMESPACE, "sky-cluster"), {"sky-cluster"}, id="cluster"
        ),
        pytest.param(
            merge(AIRFLOW, CLUSTERS_APART), CLUSTERS_NAMESPACE, (NAMESPACE, "sky-airflow"), set(), id="airflow"
        ),
        pytest.param(MOVE, NAMESPACE, (NAMESPACE, "sky-runner"), {"sky-runner", "sky-pod"}, id="runner-while-moving"),
        pytest.param(MOVE, NAMESPACE, (NAMESPACE, "sky-cluster"), {"sky-cluster"}, id="old-clusters"),
        pytest.param(MOVE, CLUSTERS_NAMESPACE, (NAMESPACE, "sky-controller"), {"sky-runner"}, id="old-controller"),
        pytest.param(MOVE, CLUSTERS_NAMESPACE, (NAMESPACE, "sky-cluster"), set(), id="old-cluster-stays-at-home"),
    ],
)
def test_who_may_do_what_with_clusters_apart(
    values: dict[str, Any], namespace: str, account: tuple[str, str], roles: set[str]
) -> None:
    assert account_roles(namespace, account, values) == roles


@pytest.mark.parametrize(
    "values", [{}, merge(AIRFLOW, EXISTING_AIRFLOW), {"skyKubernetes": {"readAllPods": True}}, MOVE]
)
def test_no_wildcards_no_reading_of_secrets_no_escalation(values: dict[str, Any]) -> None:
    for document in render_all(values):
        if document["kind"] not in ("Role", "ClusterRole"):
            continue
        for rule in document["rules"]:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
            assert not {"roles", "rolebindings", "clusterroles", "clusterrolebindings"} & set(rule["resources"])
            if "secrets" in rule["resources"]:
                assert (document["metadata"]["name"], rule["verbs"]) == ("sky-launcher", ["create"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


@pytest.mark.parametrize(
    ("kind", "name", "accounts"),
    [
        ("RoleBinding", "sky-runner", {"sky-runner", "sky-controller"}),
        ("ClusterRoleBinding", f"{NAMESPACE}:sky-runner", {"sky-runner", "sky-controller"}),
        ("RoleBinding", "sky-cluster", {"sky-cluster"}),
        ("RoleBinding", "sky-launcher", {"sky-airflow"}),
    ],
)
def test_a_role_is_bound_to_these_accounts(kind: str, name: str, accounts: set[str]) -> None:
    objects = render(AIRFLOW)
    assert subjects(objects, kind, name) == {(NAMESPACE, account) for account in accounts}
    assert objects[kind, name]["roleRef"]["name"] == name


def test_an_existing_airflow_is_bound_across_namespaces() -> None:
    airflow = {("airflow", "airflow-worker"), ("airflow", "airflow-triggerer")}
    assert subjects(render(EXISTING_AIRFLOW), "RoleBinding", "sky-launcher") == airflow
    both = render(merge(AIRFLOW, EXISTING_AIRFLOW))
    assert subjects(both, "RoleBinding", "sky-launcher") == airflow | {(NAMESPACE, "sky-airflow")}


def test_bindings_follow_existing_service_accounts() -> None:
    names = {"runner": "mine", "controller": "managing", "cluster": "theirs"}
    accounts = {whose: {"create": False, "name": name} for whose, name in names.items()}
    objects = render({"serviceAccounts": accounts})
    assert subjects(objects, "RoleBinding", "sky-runner") == {(NAMESPACE, "mine"), (NAMESPACE, "managing")}
    assert subjects(objects, "RoleBinding", "sky-cluster") == {(NAMESPACE, "theirs")}


@pytest.mark.parametrize("enabled", [True, False])
def test_the_runner_gets_a_token_only_for_kubernetes_as_a_cloud(enabled: bool) -> None:
    account = render({"skyKubernetes": {"enabled": enabled}})["ServiceAccount", "sky-runner"]
    assert account["automountServiceAccountToken"] is enabled


def test_service_accounts_carry_annotations_and_pull_secrets() -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/sky"}
    accounts = {whose: {"annotations": role} for whose in ("runner", "controller", "cluster")}
    values = merge(AIRFLOW, CLUSTERS_APART, {"imagePullSecrets": ["pull"], "serviceAccounts": accounts})
    home, clusters = render(values), render(values, objects_of=CLUSTERS_NAMESPACE)
    for account in (
        home["ServiceAccount", "sky-runner"],
        clusters["ServiceAccount", "sky-controller"],
        clusters["ServiceAccount", "sky-cluster"],
    ):
        assert account["metadata"]["annotations"] == role
        assert account["imagePullSecrets"] == [{"name": "pull"}]
    assert home["ServiceAccount", "sky-airflow"]["imagePullSecrets"] == [{"name": "pull"}]
