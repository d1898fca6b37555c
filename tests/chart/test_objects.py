"""Which objects the chart makes, and how names and labels are formed."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from .conftest import (
    AIRFLOW,
    CHART,
    CLUSTERS_APART,
    CLUSTERS_NAMESPACE,
    NAMESPACE,
    airflow_values,
    merge,
    render,
    render_all,
    render_text,
    run_helm,
)

BASE = {
    ("PersistentVolumeClaim", "sky-state"),
    ("ConfigMap", "sky-config"),
    ("ConfigMap", "sky-provider"),
    ("ServiceAccount", "sky-runner"),
    ("Role", "sky-pod"),
    ("RoleBinding", "sky-pod"),
}
OF_NO_NAMESPACE = {("ClusterRole", f"{NAMESPACE}:sky-runner"), ("ClusterRoleBinding", f"{NAMESPACE}:sky-runner")}
WHERE_CLUSTERS_ARE = {
    ("ServiceAccount", "sky-cluster"),
    ("ServiceAccount", "sky-controller"),
    ("Role", "sky-runner"),
    ("RoleBinding", "sky-runner"),
    ("Role", "sky-cluster"),
    ("RoleBinding", "sky-cluster"),
}
KUBERNETES_AS_A_CLOUD = OF_NO_NAMESPACE | WHERE_CLUSTERS_ARE
LAUNCHER = {("Role", "sky-launcher"), ("RoleBinding", "sky-launcher")}
OWN_AIRFLOW = {
    ("Deployment", "sky-airflow"),
    ("Service", "sky-airflow"),
    ("Secret", "sky-airflow"),
    ("ServiceAccount", "sky-airflow"),
    ("ConfigMap", "sky-airflow-dags"),
    ("ConfigMap", "sky-airflow-worker"),
    ("PersistentVolumeClaim", "sky-airflow-logs"),
}
EXISTING_AIRFLOW = {"airflowServiceAccounts": [{"name": "airflow-worker", "namespace": NAMESPACE}]}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, BASE | KUBERNETES_AS_A_CLOUD, id="defaults"),
        pytest.param({"skyKubernetes": {"enabled": False}}, BASE, id="no-kubernetes-cloud"),
        pytest.param(EXISTING_AIRFLOW, BASE | KUBERNETES_AS_A_CLOUD | LAUNCHER, id="existing-airflow"),
        pytest.param(AIRFLOW, BASE | KUBERNETES_AS_A_CLOUD | LAUNCHER | OWN_AIRFLOW, id="own-airflow"),
        pytest.param(
            {"volume": {"existingClaim": "my-claim"}},
            BASE - {("PersistentVolumeClaim", "sky-state")} | KUBERNETES_AS_A_CLOUD,
            id="existing-claim",
        ),
        pytest.param(
            {
                "serviceAccounts": {
                    "runner": {"create": False, "name": "my-runner"},
                    "controller": {"create": False, "name": "my-controller"},
                    "cluster": {"create": False, "name": "my-cluster"},
                }
            },
            (BASE | KUBERNETES_AS_A_CLOUD)
            - {("ServiceAccount", f"sky-{whose}") for whose in ("runner", "controller", "cluster")},
            id="existing-service-accounts",
        ),
        pytest.param(
            airflow_values(
                existingSecret="my-secret",
                dags={"existingClaim": "my-dags"},
                logs={"persistence": {"existingClaim": "my-logs"}},
                serviceAccount={"create": False, "name": "my-airflow"},
            ),
            BASE
            | KUBERNETES_AS_A_CLOUD
            | LAUNCHER
            | {("Deployment", "sky-airflow"), ("Service", "sky-airflow"), ("ConfigMap", "sky-airflow-worker")},
            id="own-airflow-with-existing-parts",
        ),
        pytest.param(
            airflow_values(logs={"persistence": {"enabled": False}}),
            (BASE | KUBERNETES_AS_A_CLOUD | LAUNCHER | OWN_AIRFLOW) - {("PersistentVolumeClaim", "sky-airflow-logs")},
            id="no-logs-volume",
        ),
        pytest.param(
            airflow_values(database={"uri": "postgresql://u:p@h/d"}),
            BASE | KUBERNETES_AS_A_CLOUD | LAUNCHER | OWN_AIRFLOW | {("Secret", "sky-airflow-database")},
            id="database-uri",
        ),
    ],
)
def test_exactly_these_objects(values: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert set(render(values)) == expected


@pytest.mark.parametrize(
    ("former", "release", "clusters"),
    [
        pytest.param([], BASE | OF_NO_NAMESPACE, OF_NO_NAMESPACE | WHERE_CLUSTERS_ARE, id="apart"),
        pytest.param([NAMESPACE], BASE | KUBERNETES_AS_A_CLOUD, KUBERNETES_AS_A_CLOUD, id="during-the-move"),
    ],
)
def test_what_is_about_clusters_is_where_they_are(
    former: list[str], release: set[tuple[str, str]], clusters: set[tuple[str, str]]
) -> None:
    values = merge(CLUSTERS_APART, {"skyKubernetes": {"formerNamespaces": former}})
    assert set(render(values)) == release
    assert set(render(values, objects_of=CLUSTERS_NAMESPACE)) == clusters


def test_nothing_is_about_clusters_without_kubernetes_as_a_cloud() -> None:
    apart = {"enabled": False, "namespace": CLUSTERS_NAMESPACE, "formerNamespaces": ["old"]}
    assert {(o["kind"], o["metadata"]["name"]) for o in render_all({"skyKubernetes": apart})} == BASE


def test_no_object_is_rendered_twice() -> None:
    former = {"skyKubernetes": {"formerNamespaces": [CLUSTERS_NAMESPACE, NAMESPACE]}}
    objects = render_all(merge(AIRFLOW, EXISTING_AIRFLOW, CLUSTERS_APART, former))
    names = Counter((o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects)
    assert [name for name, count in names.items() if count > 1] == []


def test_one_kind_of_object_in_a_file() -> None:
    text = render_text(merge(AIRFLOW, EXISTING_AIRFLOW, {"airflow": {"database": {"uri": "sqlite:////x"}}}))
    kinds: dict[str, set[str]] = {}
    for source, kind in re.findall(r"^# Source: (\S+)$.*?^kind: (\S+)$", text, re.MULTILINE | re.DOTALL):
        kinds.setdefault(source, set()).add(kind)
    templates = {str(path.relative_to(CHART.parent)) for path in (CHART / "templates").rglob("*.yaml")}
    assert {source.replace("k8s-sky/", "helm/") for source in kinds} == templates
    assert all(len(found) == 1 for found in kinds.values())


@pytest.mark.parametrize(
    ("release", "values", "prefix"),
    [
        ("sky", {}, "sky"),
        ("k8s-sky", {}, "k8s-sky"),
        ("team", {}, "team-sky"),
        ("team", {"nameOverride": "pilot"}, "team-pilot"),
        ("team", {"fullnameOverride": "just-this"}, "just-this"),
    ],
)
def test_names_begin_with(release: str, values: dict[str, Any], prefix: str) -> None:
    claims = [name for kind, name in render(values, release=release) if kind == "PersistentVolumeClaim"]
    assert claims == [f"{prefix}-state"]


def test_names_stay_within_63_characters() -> None:
    objects = render(AIRFLOW, release="a-release-name-of-exactly-fifty-three-characters-long")
    assert max(len(name) for kind, name in objects if not kind.startswith("ClusterRole")) <= 63


def test_two_releases_share_a_namespace() -> None:
    first = render(merge(AIRFLOW, EXISTING_AIRFLOW), release="one")
    second = render(merge(AIRFLOW, EXISTING_AIRFLOW), release="two")
    assert set(first) & set(second) == set()
    service = first["Service", "one-sky-airflow"]
    pod = second["Deployment", "two-sky-airflow"]["spec"]["template"]
    assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_same_release_name_in_two_namespaces() -> None:
    cluster_wide = [
        {name for kind, name in render(namespace=namespace, release=release) if kind.startswith("ClusterRole")}
        for namespace, release in (("a", "sky"), ("b", "sky"), ("a-b", "sky"), ("a", "b-sky"))
    ]
    assert len(set.union(*cluster_wide)) == len(cluster_wide)


def test_every_object_is_labelled() -> None:
    for document in render_all(merge(AIRFLOW, {"commonLabels": {"team": "ml"}})):
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "sky", document["metadata"]["name"]
        assert labels["team"] == "ml", document["metadata"]["name"]


@pytest.mark.parametrize("values", [{}, AIRFLOW, {"skyKubernetes": {"enabled": False}}])
def test_lint_is_strictly_clean(values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in run_helm("lint", "--strict", str(CHART), values=values)


def test_versions_of_the_apis_exist_in_kubernetes_1_20_and_now() -> None:
    versions = {(o["kind"], o["apiVersion"]) for o in render_all(merge(AIRFLOW, EXISTING_AIRFLOW))}
    rbac = "rbac.authorization.k8s.io/v1"
    assert versions == {
        ("PersistentVolumeClaim", "v1"),
        ("ConfigMap", "v1"),
        ("Secret", "v1"),
        ("Service", "v1"),
        ("ServiceAccount", "v1"),
        ("Deployment", "apps/v1"),
        ("Role", rbac),
        ("RoleBinding", rbac),
        ("ClusterRole", rbac),
        ("ClusterRoleBinding", rbac),
    }


def test_the_chart_needs_no_download() -> None:
    assert not (CHART / "charts").exists()
    assert "dependencies" not in (CHART / "Chart.yaml").read_text()
