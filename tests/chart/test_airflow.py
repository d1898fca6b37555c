"""The chart's own Airflow: its pod, its tasks' pods, its keys and its DAGs."""

from __future__ import annotations

import ast
import base64
import re
from pathlib import Path
from typing import Any

import pytest
from airflow._shared.module_loading.file_discovery import find_path_from_directory
from airflow.configuration import conf
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers_manager import ProvidersManager
from kubernetes.client import models as k8s
from pod_security import violations, writable_root

from .conftest import (
    AIRFLOW,
    NAMESPACE,
    RenderError,
    airflow_containers,
    airflow_values,
    environment,
    merge,
    render,
    render_text,
    worker_pod,
)

COMPONENTS = {"api-server", "scheduler", "dag-processor", "triggerer"}
KEYS = {
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
}


def airflow_pod(values: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = render(values)["Deployment", "sky-airflow"]["spec"]["template"]["spec"]
    return pod


def volume(pod: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in pod["volumes"] if entry["name"] == name)


def secret_data(values: dict[str, Any]) -> dict[str, bytes]:
    data = render(values)["Secret", "sky-airflow"]["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def test_no_container_waits_for_a_database_and_signals_go_to_the_main_process() -> None:
    """What the image's entry point (Apache's or ours) would do by itself; tasks have no database to wait for."""
    objects = render(AIRFLOW)
    task = worker_pod(objects)["spec"]["containers"][0]
    for container in (*airflow_containers(objects).values(), task):
        variables = environment(container)
        assert (variables["CONNECTION_CHECK_MAX_COUNT"], variables["DUMB_INIT_SETSID"]) == ("0", "0")
        assert "command" not in container


def test_four_components_after_the_tables_are_made() -> None:
    pod = airflow_pod(AIRFLOW)
    assert {container["name"] for container in pod["containers"]} == COMPONENTS
    assert [container["name"] for container in pod["initContainers"]] == ["prepare"]
    assert render(AIRFLOW)["Deployment", "sky-airflow"]["spec"]["strategy"] == {"type": "Recreate"}


def test_all_components_agree_on_their_environment() -> None:
    containers = airflow_containers(render(AIRFLOW))
    common = environment(containers["api-server"])
    for name in COMPONENTS:
        assert environment(containers[name]) == common
    assert common.items() <= environment(containers["prepare"]).items()


def test_keys_come_from_the_secret() -> None:
    env = environment(airflow_containers(render(AIRFLOW))["scheduler"])
    for name in KEYS - {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}:
        assert env[name]["secretKeyRef"]["name"] == "sky-airflow"
    env = environment(airflow_containers(render(airflow_values(existingSecret="mine")))["scheduler"])
    for name in KEYS - {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}:
        assert env[name]["secretKeyRef"]["name"] == "mine"


def test_the_password_goes_to_the_init_container_only() -> None:
    containers = airflow_containers(render(AIRFLOW))
    holders = {name for name, container in containers.items() if "ADMIN_PASSWORD" in environment(container)}
    assert holders == {"prepare"}


def test_generated_secrets_are_random_long_and_well_formed() -> None:
    first, second = secret_data(AIRFLOW), secret_data(AIRFLOW)
    assert set(first) == {"admin-password", "jwt-secret", "api-secret-key", "fernet-key"}
    for key, value in first.items():
        assert len(value) >= 24, key
        assert value != second[key], key
    assert len(base64.urlsafe_b64decode(first["fernet-key"])) == 32


def test_no_secret_outside_the_secret() -> None:
    uri = "postgresql://user:hunter2secret@database/airflow"
    text = render_text(airflow_values(database={"uri": uri}))
    assert "hunter2secret" not in text
    for document in text.split("\n---\n"):
        if "kind: Secret" not in document:
            assert not re.search(
                r"(?i)^\s*(admin-password|jwt-secret|fernet-key|api-secret-key): ", document, re.MULTILINE
            )


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ({}, "sqlite:////opt/airflow/state/airflow.db"),
        ({"uri": "postgresql://h/d"}, {"secretKeyRef": {"name": "sky-airflow-database", "key": "connection"}}),
        ({"existingSecret": "db"}, {"secretKeyRef": {"name": "db", "key": "connection"}}),
        ({"existingSecret": "db", "existingSecretKey": "uri"}, {"secretKeyRef": {"name": "db", "key": "uri"}}),
    ],
)
def test_database(database: dict[str, str], expected: Any) -> None:
    env = environment(airflow_containers(render(airflow_values(database=database)))["scheduler"])
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == expected


@pytest.mark.parametrize(
    ("database", "waits"), [({}, False), ({"uri": "postgresql://h/d"}, True), ({"existingSecret": "db"}, True)]
)
def test_tables_are_made_once_a_database_elsewhere_answers(database: dict[str, str], waits: bool) -> None:
    script = airflow_containers(render(airflow_values(database=database)))["prepare"]["args"][-1]
    ast.parse(script)
    assert ('["airflow", "db", "check", "--retry"' in script) is waits
    assert script.splitlines()[-1] == 'os.execvp("airflow", ["airflow", "db", "migrate"])'


def test_the_database_uri_is_kept_whole() -> None:
    uri = "postgresql+psycopg2://u:p%40ss@h:5432/airflow?sslmode=require"
    data = render(airflow_values(database={"uri": uri}))["Secret", "sky-airflow-database"]["data"]
    assert base64.b64decode(data["connection"]).decode() == uri


def rendered_pods(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the specs of all pods that the chart's objects lead to, by the name of their object."""
    objects = render(values)
    templates = {name: o["spec"]["template"] for (_, name), o in objects.items() if "template" in o.get("spec", {})}
    return {name: pod["spec"] for name, pod in {**templates, "worker": worker_pod(objects)}.items()}


@pytest.mark.parametrize(
    "values",
    [
        AIRFLOW,
        airflow_values(logs={"persistence": {"enabled": False}}, dags={"existingClaim": "mine"}),
        airflow_values(database={"existingSecret": "db"}, extraEnv=[{"name": "MINE", "value": "1"}]),
    ],
)
def test_every_pod_passes_pod_security_restricted(values: dict[str, Any]) -> None:
    pods = rendered_pods(values)
    assert set(pods) == {"sky-airflow", "worker"}
    for spec in pods.values():
        assert violations({"spec": spec}) == []
        assert writable_root({"spec": spec}) == []


@pytest.mark.parametrize(
    ("context", "broken"),
    [
        ({"containerSecurityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation"),
        ({"containerSecurityContext": {"capabilities": {"drop": ["NET_RAW"]}}}, "capabilities_restricted"),
        ({"containerSecurityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "capabilities_restricted"),
        ({"containerSecurityContext": {"privileged": True}}, "privileged"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
        ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile_restricted"),
    ],
)
def test_a_context_of_the_users_is_taken_field_by_field(context: dict[str, Any], broken: str) -> None:
    for spec in rendered_pods(airflow_values(**context)).values():
        assert violations({"spec": spec}) == [broken]


def test_containers_ask_for_resources_and_are_not_slowed_down() -> None:
    for pod in rendered_pods(AIRFLOW).values():
        for container in pod["containers"] + pod.get("initContainers", []):
            assert "requests" in container["resources"]
            assert "cpu" not in container["resources"].get("limits", {})


def test_airflow_writes_its_configuration_to_a_volume() -> None:
    for pod in rendered_pods(AIRFLOW).values():
        assert volume(pod, "tmp")["emptyDir"] == {}
        for container in pod["containers"] + pod.get("initContainers", []):
            directory = str(Path(environment(container)["AIRFLOW_CONFIG"]).parent)
            assert {"name": "tmp", "mountPath": directory} in container["volumeMounts"]


def test_the_worker_is_a_pod_that_kubernetes_executor_accepts(tmp_path: Path) -> None:
    file = tmp_path / "pod_template.yaml"
    file.write_text(render(AIRFLOW)["ConfigMap", "sky-airflow-worker"]["data"]["pod_template.yaml"])
    pod = PodGenerator.deserialize_model_file(str(file))
    assert isinstance(pod, k8s.V1Pod)
    assert [container.name for container in pod.spec.containers] == ["base"]
    assert pod.spec.restart_policy == "Never"
    assert pod.metadata.namespace == NAMESPACE
    assert isinstance(pod.spec.volumes[0], k8s.V1Volume)
    made = PodGenerator.construct_pod(
        dag_id="dag",
        task_id="task",
        pod_id="pod",
        try_number=1,
        kube_image="",
        date=None,
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload"],
        pod_override_object=None,
        base_worker_pod=pod,
        namespace=NAMESPACE,
        scheduler_job_id="1",
    )
    assert made.spec.containers[0].image == "registry.example.com/airflow:0.1.0"
    assert made.spec.service_account_name == "sky-airflow"


def test_tasks_get_no_key_and_no_database() -> None:
    worker = worker_pod(render(AIRFLOW))["spec"]["containers"][0]
    env = environment(worker)
    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not KEYS & set(env)
    assert [mount["name"] for mount in worker["volumeMounts"]] == ["dags", "logs", "tmp"]


AIRFLOW_2 = airflow_values(version="2.11", database={"existingSecret": "db"})


class TestAirflow2:
    """Airflow 2 has a webserver, its users in the database, and tasks that need the database themselves."""

    def test_a_webserver_is_in_the_place_of_the_api_server(self) -> None:
        server = airflow_containers(render(AIRFLOW_2))["api-server"]
        assert server["args"][:2] == ["airflow", "webserver"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert server[probe]["httpGet"]["path"] == "/api/v1/version"

    def test_dags_are_read_by_the_processor_and_not_by_the_scheduler(self) -> None:
        containers = airflow_containers(render(AIRFLOW_2))
        assert set(containers) == {*COMPONENTS, "prepare"}
        assert environment(containers["scheduler"])["AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR"] == "True"
        for name in ("dag-processor", "triggerer"):
            probe = containers[name]["livenessProbe"]["exec"]["command"][-1]
            ast.parse(probe)
            assert '"http://localhost:8080/health"' in probe

    def test_airflowignore_has_globs(self) -> None:
        """As regular expressions, which Airflow 2 takes them for, the chart's own would ignore every DAG."""
        for component in ("scheduler", "dag-processor"):
            env = environment(airflow_containers(render(AIRFLOW_2))[component])
            assert env["AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX"] == "glob"

    def test_its_user_is_made_after_the_tables_and_the_password_is_in_no_argument(self) -> None:
        script = airflow_containers(render(AIRFLOW_2))["prepare"]["args"][-1]
        ast.parse(script)
        assert script.index('"migrate"') < script.index('"users", "create"')
        assert 'input=f"{password}\\n{password}\\n"' in script
        assert "SIMPLE_AUTH_MANAGER" not in script

    def test_tasks_have_the_database_and_its_key_and_no_other(self) -> None:
        env = environment(worker_pod(render(AIRFLOW_2))["spec"]["containers"][0])
        assert set(env) & KEYS == {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}
        assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == {"secretKeyRef": {"name": "db", "key": "connection"}}

    def test_a_database_in_the_pod_is_refused(self) -> None:
        with pytest.raises(RenderError, match=r"airflow\.database: the tasks of Airflow 2 need a database"):
            render(airflow_values(version="2.11"))

    @pytest.mark.parametrize("version", ["2.10", "3", "latest"])
    def test_another_version_is_refused(self, version: str) -> None:
        with pytest.raises(RenderError, match="/airflow/version"):
            render(airflow_values(version=version))


def test_a_dag_file_may_take_longer_to_read_than_its_import() -> None:
    objects = render(AIRFLOW)
    processor = environment(airflow_containers(objects)["dag-processor"])
    imports = [
        env["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"]
        for env in (processor, environment(worker_pod(objects)["spec"]["containers"][0]))
    ]
    assert imports[0] == imports[1]
    assert float(processor["AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT"]) > float(imports[0])


def test_tasks_see_the_same_airflow_as_the_servers() -> None:
    objects = render(AIRFLOW)
    worker = worker_pod(objects)["spec"]["containers"][0]
    server = airflow_containers(objects)["scheduler"]
    for name in ("AIRFLOW_HOME", "AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"):
        assert environment(worker)[name] == environment(server)[name]
    assert worker["envFrom"] == server["envFrom"] == [{"configMapRef": {"name": "sky-provider"}}]
    assert worker["image"] == server["image"]
    assert all(mount in server["volumeMounts"] for mount in worker["volumeMounts"])


def test_tasks_reach_the_api_through_the_service() -> None:
    objects = render(airflow_values(service={"port": 9000}))
    service = objects["Service", "sky-airflow"]["spec"]
    url = environment(worker_pod(objects)["spec"]["containers"][0])["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
    assert url == "http://sky-airflow:9000/execution/"
    assert service["ports"] == [{"name": "http", "protocol": "TCP", "port": 9000, "targetPort": "http"}]
    labels = objects["Deployment", "sky-airflow"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert not service["selector"].items() <= worker_pod(objects)["metadata"]["labels"].items()


def test_ports_name_their_protocol() -> None:
    """Server-side apply, which helm 4 uses, knows a port by its number and its protocol."""
    objects = render(AIRFLOW)
    ports = list(objects["Service", "sky-airflow"]["spec"]["ports"])
    for container in airflow_containers(objects).values():
        ports += container.get("ports", [])
    assert [port for port in ports if "protocol" not in port] == []


@pytest.mark.parametrize(
    ("dags", "expected"),
    [
        ({}, {"projected": {"sources": [{"configMap": {"name": "sky-airflow-dags"}}]}}),
        (
            {"configMap": "mine"},
            {"projected": {"sources": [{"configMap": {"name": "mine"}}, {"configMap": {"name": "sky-airflow-dags"}}]}},
        ),
        ({"existingClaim": "mine"}, {"persistentVolumeClaim": {"claimName": "mine", "readOnly": True}}),
    ],
)
def test_dags_volume(dags: dict[str, str], expected: dict[str, Any]) -> None:
    objects = render(airflow_values(dags=dags))
    for pod in (worker_pod(objects)["spec"], objects["Deployment", "sky-airflow"]["spec"]["template"]["spec"]):
        found = volume(pod, "dags")
        del found["name"]
        assert found == expected


def test_dag_files_arrive_unchanged() -> None:
    content = 'x = "{{ ds }}"\n\ny = \'é\'\t# tab\n  z = """a\\nb"""\n'
    data = render(airflow_values(dags={"files": {"my_dag.py": content, "task.yaml": "run: |\n  echo hi\n"}}))[
        "ConfigMap", "sky-airflow-dags"
    ]["data"]
    assert data["my_dag.py"] == content
    assert data["task.yaml"] == "run: |\n  echo hi\n"


def test_dag_files_in_folders() -> None:
    files = {"my_dag.py": "1", "code/train.py": "{{ x }}\n", "code/lib/.skyignore": "*.log\n"}
    objects = render(airflow_values(dags={"files": files}))
    data = objects["ConfigMap", "sky-airflow-dags"]["data"]
    for pod in (worker_pod(objects)["spec"], objects["Deployment", "sky-airflow"]["spec"]["template"]["spec"]):
        (source,) = volume(pod, "dags")["projected"]["sources"]
        items = {item["path"]: data[item["key"]] for item in source["configMap"]["items"]}
        assert items == {**files, ".airflowignore": "..*\n"}


def test_two_dag_files_with_one_key() -> None:
    with pytest.raises(RenderError) as error:
        render(airflow_values(dags={"files": {"a/b.py": "1", "a__b.py": "2"}}))
    assert "airflow.dags.files" in str(error.value)


def test_airflow_does_not_follow_the_links_of_the_configmap(tmp_path: Path) -> None:
    """The folder as Kubernetes lays it out, walked by Airflow's own function."""
    files = render(airflow_values(dags={"files": {"my_dag.py": "", ".airflowignore": "skipped.py"}}))[
        "ConfigMap", "sky-airflow-dags"
    ]["data"]
    real = tmp_path / "..2026_01_01"
    real.mkdir()
    (tmp_path / "..data").symlink_to(real.name)
    for name, content in {**files, "skipped.py": ""}.items():
        (real / name).write_text(content)
        (tmp_path / name).symlink_to(Path("..data") / name)
    (real / "code").mkdir()
    (real / "code" / "train.py").touch()
    (tmp_path / "code").symlink_to(Path("..data") / "code")
    found = list(find_path_from_directory(str(tmp_path), ".airflowignore", "glob"))
    assert found == [str(tmp_path / "my_dag.py"), str(tmp_path / "code" / "train.py")]


def test_dags_come_from_one_place() -> None:
    with pytest.raises(RenderError) as error:
        render(airflow_values(dags={"existingClaim": "mine", "configMap": "other"}))
    assert "airflow.dags.existingClaim" in str(error.value)


@pytest.mark.parametrize(
    ("persistence", "expected"),
    [
        ({}, {"persistentVolumeClaim": {"claimName": "sky-airflow-logs"}}),
        ({"existingClaim": "mine"}, {"persistentVolumeClaim": {"claimName": "mine"}}),
        ({"enabled": False}, {"emptyDir": {}}),
    ],
)
def test_logs_outlive_the_worker(persistence: dict[str, Any], expected: dict[str, Any]) -> None:
    objects = render(airflow_values(logs={"persistence": persistence}))
    for pod in (worker_pod(objects)["spec"], objects["Deployment", "sky-airflow"]["spec"]["template"]["spec"]):
        found = volume(pod, "logs")
        del found["name"]
        assert found == expected


@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        ({}, True),
        ({"logs": {"persistence": {"accessModes": ["ReadWriteMany"]}}}, False),
        ({"logs": {"persistence": {"enabled": False}}}, False),
        ({"affinity": {"nodeAffinity": {}}}, False),
    ],
)
def test_tasks_follow_a_log_volume_of_one_node(settings: dict[str, Any], bound: bool) -> None:
    worker = worker_pod(render(airflow_values(**settings)))["spec"]
    assert ("podAffinity" in worker.get("affinity", {})) is bound


def test_placement_is_for_airflow_and_its_tasks() -> None:
    placement = {
        "nodeSelector": {"pool": "small"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    }
    objects = render(airflow_values(**placement))
    for pod in (worker_pod(objects)["spec"], objects["Deployment", "sky-airflow"]["spec"]["template"]["spec"]):
        assert {key: pod[key] for key in placement} == placement


def test_extra_environment_replaces_the_charts() -> None:
    extra = [{"name": "AIRFLOW__CORE__PARALLELISM", "value": "3"}, {"name": "MINE", "value": "1"}]
    objects = render(airflow_values(extraEnv=extra, extraEnvFrom=[{"secretRef": {"name": "more"}}]))
    for container in [*airflow_containers(objects).values(), worker_pod(objects)["spec"]["containers"][0]]:
        names = [entry["name"] for entry in container["env"]]
        assert len(names) == len(set(names))
        assert environment(container)["AIRFLOW__CORE__PARALLELISM"] == "3"
        assert environment(container)["MINE"] == "1"
        assert {"secretRef": {"name": "more"}} in container["envFrom"]


def test_airflow_knows_every_setting() -> None:
    ProvidersManager().initialize_providers_configuration()  # type: ignore[no-untyped-call]  # Airflow has no types here
    for name in environment(airflow_containers(render(AIRFLOW))["scheduler"]):
        if name.startswith("AIRFLOW__"):
            _, section, option = name.split("__")
            assert option.lower() in conf.configuration_description[section.lower()]["options"], name


def test_the_image_is_required_and_said_so() -> None:
    with pytest.raises(RenderError) as error:
        render({"airflow": {"enabled": True}})
    assert "airflow.image.repository" in str(error.value)


def test_pull_secrets_reach_all_pods() -> None:
    objects = render(merge(AIRFLOW, {"imagePullSecrets": ["pull"]}))
    for pod in (worker_pod(objects)["spec"], objects["Deployment", "sky-airflow"]["spec"]["template"]["spec"]):
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
