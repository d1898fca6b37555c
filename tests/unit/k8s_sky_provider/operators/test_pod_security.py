"""What the operators' pods may do: they pass Pod Security's level ``restricted``, and a user has the last word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow import settings
from kubernetes.client import models as k8s
from pod_security import violations

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import SkyBashOperator, SkyReapOperator
from unit.k8s_sky_provider.connections import set_connection
from unit.k8s_sky_provider.operators.every_parameter import ALL, Airflow, make
from unit.k8s_sky_provider.operators.running import context_of, make_dag, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from k8s_sky_provider.operators import SkyBaseOperator
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

DATABASE = {"state_mode": "database", "database_secret": "sky-database/uri"}
SERVER = {
    "state_mode": "api_server",
    "api_server_endpoint": "https://sky.example.com",
    "api_server_token_secret": "sky-token/token",
}
NO_VOLUME = {"volume_claim": ""}
MODES: dict[str, dict[str, str]] = {
    "volume": {},
    "database": DATABASE | NO_VOLUME,
    "database with a volume": DATABASE,
    "api_server": SERVER | NO_VOLUME,
    "api_server with a volume": SERVER,
}
SECRET = "wJalrXUtnFEMI/K7MDENG"
CREDENTIALS = [{"secret": "gcp", "path": ".config/gcloud"}, {"secret": "git", "env": True}, {"connection": "aws"}]
STATE = {"/home/sky/.sky", "/home/sky/.ssh", "/home/sky/sky_workdir", "/home/sky/sky_logs"}


def set_mode(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    for option, value in {**MODES[mode], "config_map": "sky-config"}.items():
        monkeypatch.setenv(f"AIRFLOW__SKYPILOT__{option.upper()}", value)


def pod_of(operator: SkyBaseOperator, kubernetes: FakeKubernetes) -> dict[str, Any]:
    """Return the manifest of an operator's pod, as Kubernetes gets it."""
    context = context_of(operator, Airflow())
    operator.render_template_fields(context)
    pod: dict[str, Any] = kubernetes.api_client.sanitize_for_serialization(operator.build_pod_request_obj(context))
    return pod


def bash(**arguments: Any) -> SkyBashOperator:
    return SkyBashOperator(task_id="task", bash_command="true", dag=make_dag(), **arguments)


def contexts_of(pod: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return pod["spec"]["securityContext"], pod["spec"]["containers"][0]["securityContext"]


def writable(pod: dict[str, Any]) -> dict[str, str]:
    """Return where the base container can write, and to what kind of volume."""
    kinds = {volume["name"]: next(key for key in volume if key != "name") for volume in pod["spec"]["volumes"]}
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    return {mount["mountPath"]: kinds[mount["name"]] for mount in mounts if not mount.get("readOnly")}


def env_of(pod: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        pytest.param(kind, mode, id=f"{kind.__name__}-{mode}")
        for kind in ALL
        for mode in MODES
        # Makes no pod: whose clusters there are is noted on a volume.
        if (kind, mode) != (SkyReapOperator, "api_server")
    ],
)
def test_every_pod_is_restricted_and_cannot_write_to_its_image(
    kind: type[SkyBaseOperator], mode: str, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_mode(monkeypatch, mode)
    set_connection(monkeypatch, "aws", "aws", login="AKIA", password=SECRET)
    for arguments in ({}, {"deferrable": True, "credentials": CREDENTIALS, "do_xcom_push": True}):
        pod = pod_of(make(kind, **arguments), kubernetes)
        assert violations(pod) == []
        assert [container["securityContext"] for container in pod["spec"]["containers"]] == [
            {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
        ]
        assert "initContainers" not in pod["spec"] or not pod["spec"]["initContainers"]


class TestWritable:
    """What a pod can write to, and what it is told of that."""

    @pytest.mark.parametrize("mode", MODES)
    def test_is_the_state_the_home_and_tmp(
        self, mode: str, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_mode(monkeypatch, mode)
        pod = pod_of(bash(), kubernetes)
        has_volume = "volume_claim" not in MODES[mode]
        local = {"/home/sky", "/tmp", *(set() if has_volume else STATE)}  # noqa: S108  # the pod's
        assert writable(pod) == {
            **dict.fromkeys([*local, "/home/sky/.sky/api_server"], "emptyDir"),
            **dict.fromkeys(STATE - local, "persistentVolumeClaim"),
        }
        assert set(env_of(pod)["K8S_SKY_POD_DIRECTORIES"].split(":")) == local

    @pytest.mark.parametrize("mode", MODES)
    def test_is_the_whole_image_for_who_says_so(
        self, mode: str, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then what the image has in its home is not hidden either."""
        set_mode(monkeypatch, mode)
        pod = pod_of(bash(container_security_context={"readOnlyRootFilesystem": False}), kubernetes)
        assert violations(pod) == []
        state = STATE if "volume_claim" not in MODES[mode] else set()
        assert set(writable(pod)) == {"/home/sky/.sky/api_server", *state}
        assert "K8S_SKY_POD_DIRECTORIES" not in env_of(pod)

    def test_a_volume_of_the_users_at_the_home_is_his(self, kubernetes: FakeKubernetes) -> None:
        claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name="home")
        volume = k8s.V1Volume(name="mine", persistent_volume_claim=claim)
        mount = k8s.V1VolumeMount(name="mine", mount_path="/home/sky")
        pod = pod_of(bash(volumes=[volume], volume_mounts=[mount]), kubernetes)
        assert writable(pod)["/home/sky"] == "persistentVolumeClaim"
        assert env_of(pod)["K8S_SKY_POD_DIRECTORIES"] == "/tmp"  # noqa: S108  # the pod's

    def test_a_volume_of_the_users_under_our_name_is_his(self, kubernetes: FakeKubernetes) -> None:
        claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name="home")
        template = {"spec": {"volumes": [{"name": "sky-tmp", "emptyDir": {"medium": "Memory"}}], "containers": []}}
        volume = k8s.V1Volume(name="sky-home", persistent_volume_claim=claim)
        pod = pod_of(bash(volumes=[volume], pod_template_dict=template), kubernetes)
        assert writable(pod)["/home/sky"] == "persistentVolumeClaim"
        assert "K8S_SKY_POD_DIRECTORIES" not in env_of(pod)


POD = {
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "runAsNonRoot": True,
    "fsGroup": 1000,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def without(context: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in context.items() if name not in names}


class TestMerge:
    """A user's security context is laid over ours field by field."""

    def test_ours_is_what_there_is_without_his(self, kubernetes: FakeKubernetes) -> None:
        assert contexts_of(pod_of(bash(), kubernetes)) == (POD, CONTAINER)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"runAsUser": 7}, POD | {"runAsUser": 7}),
            (
                k8s.V1PodSecurityContext(fs_group=7, supplemental_groups=[8]),
                POD | {"fsGroup": 7, "supplementalGroups": [8]},
            ),
            (
                {"seccompProfile": {"type": "Localhost", "localhostProfile": "sky.json"}},
                POD | {"seccompProfile": {"type": "Localhost", "localhostProfile": "sky.json"}},
            ),
            ({"runAsUser": 0, "runAsNonRoot": False}, POD | {"runAsUser": 0, "runAsNonRoot": False}),
            ({"runAsUser": None, "fsGroup": None}, without(POD, "runAsUser", "fsGroup")),
            ({"seccompProfile": None}, without(POD, "seccompProfile")),
            (None, POD),
            ({}, POD),
        ],
    )
    def test_of_the_pod(self, given: Any, expected: dict[str, Any], kubernetes: FakeKubernetes) -> None:
        assert contexts_of(pod_of(bash(security_context=given), kubernetes)) == (expected, CONTAINER)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"readOnlyRootFilesystem": False}, CONTAINER | {"readOnlyRootFilesystem": False}),
            (k8s.V1SecurityContext(run_as_user=7), CONTAINER | {"runAsUser": 7}),
            (
                {"capabilities": {"add": ["NET_BIND_SERVICE"]}},
                CONTAINER | {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
            ),
            (
                k8s.V1SecurityContext(capabilities=k8s.V1Capabilities(drop=["NET_RAW"])),
                CONTAINER | {"capabilities": {"drop": ["NET_RAW"]}},
            ),
            ({"capabilities": {"drop": None}}, CONTAINER | {"capabilities": {}}),
            ({"capabilities": None}, without(CONTAINER, "capabilities")),
            (
                {"privileged": True, "allowPrivilegeEscalation": True},
                CONTAINER | {"privileged": True, "allowPrivilegeEscalation": True},
            ),
        ],
    )
    def test_of_the_container(self, given: Any, expected: dict[str, Any], kubernetes: FakeKubernetes) -> None:
        assert contexts_of(pod_of(bash(container_security_context=given), kubernetes)) == (POD, expected)

    def test_of_default_args(self, kubernetes: FakeKubernetes) -> None:
        default_args = {"security_context": {"runAsUser": None}, "container_security_context": {"runAsGroup": 7}}
        contexts = contexts_of(pod_of(bash(default_args=default_args), kubernetes))
        assert contexts == (without(POD, "runAsUser"), CONTAINER | {"runAsGroup": 7})

    @pytest.mark.parametrize("kind", ["pod_template_dict", "pod_template_file", "full_pod_spec"])
    def test_of_a_pod_template(self, kind: str, kubernetes: FakeKubernetes, tmp_path: Path) -> None:
        of_pod, of_container = {"runAsUser": 5}, {"capabilities": {"add": ["CHOWN"]}, "procMount": "Default"}
        spec = {"securityContext": of_pod, "containers": [{"name": "base", "securityContext": of_container}]}
        template: Any = {"spec": spec}
        if kind == "pod_template_file":
            template = tmp_path / "pod.yaml"
            template.write_text(yaml.safe_dump({"spec": spec}))
        elif kind == "full_pod_spec":
            template = kubernetes.api_client._ApiClient__deserialize({"spec": spec}, "V1Pod")
        expected = CONTAINER | {"procMount": "Default", "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}
        value = str(template) if kind == "pod_template_file" else template
        assert contexts_of(pod_of(bash(**{kind: value}), kubernetes)) == (POD | {"runAsUser": 5}, expected)

    @pytest.mark.parametrize("kind", ["pod_template_dict", "pod_template_file"])
    def test_null_in_a_pod_template_takes_away(self, kind: str, kubernetes: FakeKubernetes, tmp_path: Path) -> None:
        text = (
            "spec: {securityContext: {runAsUser: null, fsGroup: ~}, containers: [{securityContext: {runAsUser: null}}]}"
        )
        file = tmp_path / "pod.yaml"
        file.write_text(text.replace("[{", "[{name: base, "))
        value = str(file) if kind == "pod_template_file" else yaml.safe_load(file.read_text())
        assert contexts_of(pod_of(bash(**{kind: value}), kubernetes)) == (
            without(POD, "runAsUser", "fsGroup"),
            CONTAINER,
        )

    def test_the_argument_is_over_the_full_spec_over_the_template_over_ours(self, kubernetes: FakeKubernetes) -> None:
        def manifest(**fields: Any) -> dict[str, Any]:
            return {"spec": {"securityContext": fields, "containers": [{"name": "base", "securityContext": fields}]}}

        full = kubernetes.api_client._ApiClient__deserialize(manifest(runAsUser=2, runAsGroup=2), "V1Pod")
        operator = bash(
            pod_template_dict=manifest(runAsUser=3, runAsGroup=3, runAsNonRoot=True),
            full_pod_spec=full,
            security_context={"runAsUser": 1},
            container_security_context={"runAsUser": 1},
        )
        given = {"runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": True}
        assert contexts_of(pod_of(operator, kubernetes)) == (POD | given, CONTAINER | given)

    def test_a_template_that_jinja_has_rendered_has_numbers_as_text(self, kubernetes: FakeKubernetes) -> None:
        template = {
            "spec": {"securityContext": {"runAsUser": "{{ 7 }}", "runAsNonRoot": "{{ 1 == 1 }}"}, "containers": []}
        }
        assert contexts_of(pod_of(bash(pod_template_dict=template), kubernetes))[0] == POD | {"runAsUser": 7}

    def test_a_pod_that_is_built_twice_is_the_same(self, kubernetes: FakeKubernetes) -> None:
        operator = bash(security_context={"runAsUser": None}, container_security_context={"capabilities": None})
        first = contexts_of(pod_of(operator, kubernetes))
        assert (
            contexts_of(pod_of(operator, kubernetes))
            == first
            == (without(POD, "runAsUser"), without(CONTAINER, "capabilities"))
        )

    def test_the_mutation_hook_of_the_deployment_comes_last(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def openshift(pod: k8s.V1Pod) -> None:
            pod.spec.security_context.run_as_user = pod.spec.security_context.fs_group = None

        monkeypatch.setattr(settings, "pod_mutation_hook", openshift)
        monkeypatch.setattr("airflow.providers.cncf.kubernetes.operators.pod.pod_mutation_hook", openshift)
        assert contexts_of(pod_of(bash(), kubernetes)) == (without(POD, "runAsUser", "fsGroup"), CONTAINER)

    def test_containers_of_the_user_are_his(self, kubernetes: FakeKubernetes) -> None:
        context = k8s.V1SecurityContext(run_as_user=7)
        first = k8s.V1Container(name="first", image="first:1", security_context=context)
        pod = pod_of(bash(init_containers=[first]), kubernetes)
        assert pod["spec"]["initContainers"][0]["securityContext"] == {"runAsUser": 7}


class TestRefused:
    """A context that cannot be what was meant is refused by name."""

    @pytest.mark.parametrize("name", ["security_context", "container_security_context"])
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"run_as_user": 7}, ": there is no run_as_user; known are .*runAsUser"),
            ({"runAsUsr": None}, ": there is no runAsUsr; known are .*runAsUser"),
            ({"runAsUser": "me"}, ": .*'me'"),
            ({"runAsNonRoot": "false"}, ".runAsNonRoot: 'false' is no value"),
            ({"seLinuxOptions": {"kind": "spc_t"}}, ".seLinuxOptions.kind: 'spc_t' is no value"),
            ({"seccompProfile": {"localhostProfile": "x"}}, ": .*type"),
            ("restricted", ": 'restricted' must be a dict"),
            ([1], r": \[1\] must be a dict"),
        ],
    )
    def test_when_the_dag_is_parsed(self, name: str, given: Any, message: str) -> None:
        with pytest.raises(SkyRequestError, match=f"^{name}{message}"):
            bash(**{name: given})

    def test_in_a_template_before_there_is_a_pod(self, kubernetes: FakeKubernetes) -> None:
        template = {"spec": {"containers": [{"name": "base", "securityContext": {"readOnlyRootFilesystem": "no"}}]}}
        field = r"pod_template_dict: spec\.containers\[0\]\.securityContext\.readOnlyRootFilesystem: 'no'"
        with pytest.raises(SkyRequestError, match=field):
            run_task(lambda: bash(pod_template_dict=template), kubernetes)
        assert not kubernetes.created

    @pytest.mark.parametrize(
        "arguments",
        [
            {"security_context": {"runAsUser": 0}},
            {"container_security_context": {"runAsUser": 0}},
            {
                "security_context": {"runAsUser": 0, "runAsNonRoot": False},
                "container_security_context": {"runAsNonRoot": True},
            },
        ],
    )
    def test_root_that_kubernetes_would_never_start(
        self, arguments: dict[str, Any], kubernetes: FakeKubernetes
    ) -> None:
        with pytest.raises(SkyRequestError, match=r"runAsUser is 0.*Set runAsNonRoot to False as well"):
            run_task(lambda: bash(**arguments), kubernetes)
        assert not kubernetes.created
