"""RBAC: exactly the rights that are needed, and who has them."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import AIRFLOW, NAMESPACE, Objects, merge, render, render_all

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
    values = merge(AIRFLOW, {"connectionCredentials": {"enabled": False}})
    assert grants(render(values)["Role", "sky-launcher"]) == LAUNCHER


def test_airflow_creates_secrets_for_connections_and_reads_none() -> None:
    assert grants(render(AIRFLOW)["Role", "sky-launcher"]) == LAUNCHER | {"secrets:create"}


def test_skypilot_uses_this_namespace() -> None:
    assert grants(render()["Role", "sky-runner"]) == expand(
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


def test_extra_rules_are_added() -> None:
    rule = {"apiGroups": ["networking.k8s.io"], "resources": ["ingressclasses"], "verbs": ["get", "list"]}
    claims = {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["patch"]}
    objects = render({"skyKubernetes": {"extraRules": [claims], "extraClusterRules": [rule]}})
    assert "persistentvolumeclaims:patch" in grants(objects["Role", "sky-runner"])
    assert "networking.k8s.io/ingressclasses:list" in grants(objects["ClusterRole", f"{NAMESPACE}:sky-runner"])


@pytest.mark.parametrize("values", [{}, merge(AIRFLOW, EXISTING_AIRFLOW), {"skyKubernetes": {"readAllPods": True}}])
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
    ("kind", "name", "account"),
    [
        ("RoleBinding", "sky-runner", (NAMESPACE, "sky-runner")),
        ("ClusterRoleBinding", f"{NAMESPACE}:sky-runner", (NAMESPACE, "sky-runner")),
        ("RoleBinding", "sky-cluster", (NAMESPACE, "sky-cluster")),
        ("RoleBinding", "sky-launcher", (NAMESPACE, "sky-airflow")),
    ],
)
def test_a_role_is_bound_to_one_account(kind: str, name: str, account: tuple[str, str]) -> None:
    objects = render(AIRFLOW)
    assert subjects(objects, kind, name) == {account}
    assert objects[kind, name]["roleRef"]["name"] == name


def test_an_existing_airflow_is_bound_across_namespaces() -> None:
    airflow = {("airflow", "airflow-worker"), ("airflow", "airflow-triggerer")}
    assert subjects(render(EXISTING_AIRFLOW), "RoleBinding", "sky-launcher") == airflow
    both = render(merge(AIRFLOW, EXISTING_AIRFLOW))
    assert subjects(both, "RoleBinding", "sky-launcher") == airflow | {(NAMESPACE, "sky-airflow")}


def test_bindings_follow_existing_service_accounts() -> None:
    accounts = {"runner": {"create": False, "name": "mine"}, "cluster": {"create": False, "name": "theirs"}}
    objects = render({"serviceAccounts": accounts})
    assert subjects(objects, "RoleBinding", "sky-runner") == {(NAMESPACE, "mine")}
    assert subjects(objects, "RoleBinding", "sky-cluster") == {(NAMESPACE, "theirs")}


@pytest.mark.parametrize("enabled", [True, False])
def test_the_runner_gets_a_token_only_for_kubernetes_as_a_cloud(enabled: bool) -> None:
    account = render({"skyKubernetes": {"enabled": enabled}})["ServiceAccount", "sky-runner"]
    assert account["automountServiceAccountToken"] is enabled


def test_service_accounts_carry_annotations_and_pull_secrets() -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/sky"}
    objects = render(
        merge(AIRFLOW, {"imagePullSecrets": ["pull"], "serviceAccounts": {"runner": {"annotations": role}}})
    )
    assert objects["ServiceAccount", "sky-runner"]["metadata"]["annotations"] == role
    for name in ("sky-runner", "sky-cluster", "sky-airflow"):
        assert objects["ServiceAccount", name]["imagePullSecrets"] == [{"name": "pull"}]
