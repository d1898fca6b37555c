"""A Sky operator is one pod, one action and one result, whichever way it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from kubernetes.client import models as k8s

from k8s_sky_provider import exceptions
from k8s_sky_provider.operators import SkyDownOperator, SkyLaunchOperator, SkyStatusOperator
from k8s_sky_provider.protocol import ExitCode, SkyResult
from k8s_sky_provider.runner.__main__ import run_action
from unit.k8s_sky_provider.airflow_version import KUBERNETES_PROVIDER
from unit.k8s_sky_provider.fake_engine import FakeEngine
from unit.k8s_sky_provider.fake_kubernetes import (
    FakeKubernetes,
    api_error,
    ended,
    evicted,
    pending,
    reports,
    running,
    waiting,
)
from unit.k8s_sky_provider.operators.running import START, TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("deployment")

IMAGE = "registry.example.com/skypilot:1"


def make_launch(**arguments: Any) -> SkyLaunchOperator:
    arguments = {"cluster_name": "demo", "sky_task_yaml": {"run": "echo hello"}, **arguments}
    return SkyLaunchOperator(task_id="launch", dag=make_dag(), **arguments)


def make_down(**arguments: Any) -> SkyDownOperator:
    return SkyDownOperator(task_id="down", dag=make_dag(), **{"cluster_name": "demo", **arguments})


def make_status(**arguments: Any) -> SkyStatusOperator:
    return SkyStatusOperator(task_id="status", dag=make_dag(), **arguments)


def pod_of(operator: SkyLaunchOperator, kubernetes: FakeKubernetes) -> k8s.V1Pod:
    """Return the pod that Kubernetes was asked for, as a manifest."""
    context = context_of(operator)
    operator.render_template_fields(context)
    operator.execute(context)
    return kubernetes.pod


def fail_as(exit_code: int, **fields: Any) -> SkyResult:
    return SkyResult(action="launch", exit_code=exit_code, reason="because", cluster_name="demo", **fields)


def ways_to_run(make: Callable[..., SkyLaunchOperator]) -> dict[str, Callable[..., TaskInstance]]:
    """Return the three ways a pod's end reaches the operator; each runs one task to its end."""

    def in_the_worker(kubernetes: FakeKubernetes, ti: TaskInstance, **arguments: Any) -> TaskInstance:
        return run_task(lambda: make(**arguments), kubernetes, ti)

    def after_a_deferral(kubernetes: FakeKubernetes, ti: TaskInstance, **arguments: Any) -> TaskInstance:
        return run_task(lambda: make(deferrable=True, **arguments), kubernetes, ti)

    def ended_before_the_deferral(kubernetes: FakeKubernetes, ti: TaskInstance, **arguments: Any) -> TaskInstance:
        # The worker was lost after it had made the pod; its successor finds the pod and need not wait for it.
        arguments = {"deferrable": True, "on_finish_action": "keep_pod", **arguments}
        lost = make(**arguments)
        with pytest.raises(TaskDeferred):
            lost.execute(context_of(lost, ti))
        kubernetes.finish()
        return run_task(lambda: make(**arguments), kubernetes, ti)

    return {
        "in the worker": in_the_worker,
        "after a deferral": after_a_deferral,
        "ended before the deferral": ended_before_the_deferral,
    }


WAYS = ways_to_run(make_launch)
in_all_ways = pytest.mark.parametrize("run", WAYS.values(), ids=WAYS.keys())


class TestPod:
    """The pod that Kubernetes is asked for."""

    def test_it_runs_the_runner_with_the_request_as_its_only_argument(self, kubernetes: FakeKubernetes) -> None:
        container = pod_of(make_launch(), kubernetes).spec.containers[0]
        assert container.command == ["tini", "--", "python", "-m", "k8s_sky_provider.runner"]
        assert (kubernetes.request.action, kubernetes.request.arguments["cluster_name"]) == ("launch", "demo")
        assert container.image == IMAGE

    @pytest.mark.parametrize(
        ("arguments", "pace"),
        [
            ({}, None),
            ({"deferrable": True}, "65536"),
            ({"deferrable": True, "env_vars": {"K8S_SKY_LOG_BYTES_PER_SECOND": "0"}}, "0"),
        ],
    )
    def test_it_prints_slowly_enough_for_a_triggerer(
        self, arguments: dict[str, Any], pace: str | None, kubernetes: FakeKubernetes
    ) -> None:
        with contextlib.suppress(TaskDeferred):
            pod_of(make_launch(**arguments), kubernetes)
        env = {entry.name: entry.value for entry in kubernetes.pod.spec.containers[0].env}
        assert env.get("K8S_SKY_LOG_BYTES_PER_SECOND") == pace

    def test_it_is_one_container_without_a_sidecar_although_the_result_becomes_xcom(
        self, kubernetes: FakeKubernetes
    ) -> None:
        pod = pod_of(make_launch(do_xcom_push=True), kubernetes)
        assert [container.name for container in pod.spec.containers] == ["base"]
        assert pod.spec.containers[0].termination_message_policy == "File"

    def test_it_is_what_the_deployment_says(self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
        for option, value in {
            "IMAGE_PULL_POLICY": "Always",
            "IMAGE_PULL_SECRETS": "registry",
            "SERVICE_ACCOUNT_NAME": "runner",
            "DEPLOYMENT": "team-a",
            "CONFIG_MAP": "config",
            "ALLOW_NETWORK_FILE_SYSTEM": "True",
        }.items():
            monkeypatch.setenv(f"AIRFLOW__SKYPILOT__{option}", value)
        pod = pod_of(make_launch(), kubernetes)
        assert pod.metadata.namespace == "sky"
        assert pod.metadata.labels["k8s-sky/deployment"] == "team-a"
        assert pod.spec.containers[0].image_pull_policy == "Always"
        assert [secret.name for secret in pod.spec.image_pull_secrets] == ["registry"]
        assert pod.spec.service_account_name == "runner"
        assert pod.spec.restart_policy == "Never"
        assert kubernetes.request.owner.deployment == "team-a"
        assert kubernetes.request.allow_network_file_system
        assert list(kubernetes.request.expected_mounts) == ["/etc/k8s-sky/config/config.yaml"]

    def test_it_has_the_volumes_and_the_resources_of_the_workspace(self, kubernetes: FakeKubernetes) -> None:
        pod = pod_of(make_launch(), kubernetes)
        assert [volume.name for volume in pod.spec.volumes] == [
            "sky-state",
            "sky-api-server",
            "sky-pod",
            "sky-home",
            "sky-tmp",
        ]
        assert pod.spec.containers[0].resources.requests["memory"] == "512Mi"
        assert {entry.name for entry in pod.spec.containers[0].env} >= {"HOME", "SKYPILOT_USER_ID"}

    def test_its_owner_is_the_task_instance(self, kubernetes: FakeKubernetes) -> None:
        operator = make_launch()
        ti = TaskInstance(task_id="launch", map_index=2, try_number=3)
        operator.execute(context_of(operator, ti))
        owner = kubernetes.request.owner
        assert (owner.dag_id, owner.run_id, owner.task_id) == ("dag", "manual__2026-01-01", "launch")
        assert (owner.map_index, owner.try_number) == (2, 3)

    def test_the_grace_period_is_long_enough_to_take_a_cluster_down(self, kubernetes: FakeKubernetes) -> None:
        assert pod_of(make_launch(), kubernetes).spec.termination_grace_period_seconds == 300

    def test_a_dry_run_shows_it(self, kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]) -> None:
        make_launch().dry_run()
        assert "k8s_sky_provider.runner" in capsys.readouterr().out
        assert kubernetes.created == []

    @pytest.mark.skipif(
        KUBERNETES_PROVIDER < (10, 25), reason="KubernetesPodOperator itself reads a kubeconfig for a dry run"
    )
    def test_a_dry_run_needs_no_kubernetes(self, capsys: pytest.CaptureFixture[str]) -> None:
        make_launch().dry_run()
        assert "k8s_sky_provider.runner" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"node_selector": {"disk": "ssd"}}, {"nodeSelector": {"disk": "ssd"}}),
            ({"tolerations": [k8s.V1Toleration(key="gpu")]}, {"tolerations": [{"key": "gpu"}]}),
            ({"priority_class_name": "high"}, {"priorityClassName": "high"}),
            ({"service_account_name": "mine"}, {"serviceAccountName": "mine"}),
            ({"active_deadline_seconds": 60}, {"activeDeadlineSeconds": 60}),
            ({"termination_grace_period": 30}, {"terminationGracePeriodSeconds": 30}),
            ({"hostname": "here"}, {"hostname": "here"}),
            (
                {"image_pull_secrets": [k8s.V1LocalObjectReference(name="mine")]},
                {"imagePullSecrets": [{"name": "mine"}]},
            ),
            (
                {"init_containers": [k8s.V1Container(name="first", image="first:1")]},
                {"initContainers": [{"name": "first", "image": "first:1"}]},
            ),
        ],
        ids=lambda value: next(iter(value)),
    )
    def test_pod_parameters_of_kubernetes_pod_operator_stay_usable(
        self, arguments: dict[str, Any], expected: dict[str, Any], kubernetes: FakeKubernetes
    ) -> None:
        pod = pod_of(make_launch(**arguments), kubernetes)
        assert kubernetes.api_client.sanitize_for_serialization(pod)["spec"].items() >= expected.items()

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"image": "mine:1"}, {"image": "mine:1"}),
            ({"image_pull_policy": "Never"}, {"imagePullPolicy": "Never"}),
            (
                {"container_resources": k8s.V1ResourceRequirements(limits={"cpu": "2"})},
                {"resources": {"limits": {"cpu": "2"}}},
            ),
            ({"cmds": ["env"]}, {"command": ["env"]}),
            ({"env_from": [k8s.V1EnvFromSource(prefix="P_")]}, {"envFrom": [{"prefix": "P_"}]}),
        ],
        ids=lambda value: next(iter(value)),
    )
    def test_container_parameters_of_kubernetes_pod_operator_stay_usable(
        self, arguments: dict[str, Any], expected: dict[str, Any], kubernetes: FakeKubernetes
    ) -> None:
        pod = pod_of(make_launch(**arguments), kubernetes)
        container = kubernetes.api_client.sanitize_for_serialization(pod)["spec"]["containers"][0]
        assert container.items() >= expected.items()

    def test_arguments_of_the_container_are_refused(self) -> None:
        message = r"^arguments: the pod's one argument is the request; leave it out\. Run commands with SkyBashOperator"
        with pytest.raises(exceptions.SkyRequestError, match=message) as caught:
            make_launch(cmds=["bash", "-c"], arguments=["echo a-password"])
        # It may be a secret.
        assert "a-password" not in str(caught.value)

    def test_arguments_of_the_container_are_refused_in_default_args(self) -> None:
        with pytest.raises(exceptions.SkyRequestError, match=r"^arguments: "):
            SkyDownOperator(task_id="down", cluster_name="demo", dag=make_dag(default_args={"arguments": ["echo hi"]}))

    @pytest.mark.parametrize("name", ["container_logs", "init_container_logs"])
    @pytest.mark.parametrize("value", [1, 6.8, ["base", 1]])
    def test_containers_whose_logs_are_asked_for_have_names(self, name: str, value: object) -> None:
        with pytest.raises(exceptions.SkyRequestError, match=f"^{name}: {re.escape(repr(value))} must be True"):
            make_launch(**{name: value})

    def test_containers_whose_logs_are_asked_for_are_no_long_number(self) -> None:
        with pytest.raises(exceptions.SkyRequestError, match=r"^container_logs: a number of thousands of digits "):
            make_launch(container_logs=10**5000)

    @pytest.mark.parametrize("value", [None, True, "base", ["base", "sidecar"], ("base",)])
    def test_containers_whose_logs_are_asked_for_are_named_in_all_ways(self, value: object) -> None:
        assert make_launch(container_logs=value).container_logs == (value or "base")

    def test_volumes_and_environment_of_the_user_are_added_to_ours(self, kubernetes: FakeKubernetes) -> None:
        pod = pod_of(
            make_launch(
                volumes=[k8s.V1Volume(name="cache", empty_dir=k8s.V1EmptyDirVolumeSource())],
                volume_mounts=[k8s.V1VolumeMount(name="cache", mount_path="/cache")],
                env_vars={"PROXY": "http://{{ params.who }}"},
                secrets=[Secret("env", "TOKEN", "tokens", "token")],  # type: ignore[no-untyped-call]  # Airflow has none
                labels={"team": "a"},
                annotations={"note": "b"},
            ),
            kubernetes,
        )
        container = pod.spec.containers[0]
        env = {entry.name: entry for entry in container.env}
        assert {volume.name for volume in pod.spec.volumes} >= {"cache", "sky-state", "sky-api-server"}
        assert "/cache" in {mount.mount_path for mount in container.volume_mounts}
        assert env["PROXY"].value == "http://Zoë"
        assert env["HOME"].value == "/home/sky"
        assert env["TOKEN"].value_from.secret_key_ref.name == "tokens"
        assert pod.metadata.labels["team"] == "a"
        assert pod.metadata.annotations["note"] == "b"

    def test_the_users_own_state_volume_and_home_replace_ours(self, kubernetes: FakeKubernetes) -> None:
        pod = pod_of(
            make_launch(
                volumes=[k8s.V1Volume(name="sky-state", empty_dir=k8s.V1EmptyDirVolumeSource())],
                volume_mounts=[k8s.V1VolumeMount(name="sky-state", mount_path="/home/sky/.ssh", sub_path="keys")],
                env_vars=[k8s.V1EnvVar(name="HOME", value="/elsewhere")],
            ),
            kubernetes,
        )
        assert_user_won(pod)


TEMPLATE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "template", "namespace": "from-template", "labels": {"from": "template"}},
    "spec": {
        "serviceAccountName": "from-template",
        "terminationGracePeriodSeconds": 900,
        "imagePullSecrets": [{"name": "from-template"}],
        "volumes": [{"name": "sky-state", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}],
        "containers": [
            {
                "name": "base",
                "image": "template:1",
                "env": [{"name": "HOME", "value": "/elsewhere"}, {"name": "OTHER", "value": "1"}],
                "volumeMounts": [
                    {"name": "sky-state", "mountPath": "/home/sky/.ssh", "subPath": "keys"},
                    {"name": "cache", "mountPath": "/cache"},
                ],
                "resources": {"requests": {"memory": "1Gi"}},
            }
        ],
    },
}


def assert_user_won(pod: k8s.V1Pod) -> None:
    """Assert that ours is only where the user has nothing of that name or path."""
    container = pod.spec.containers[0]
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    mounts = {mount.mount_path: mount for mount in container.volume_mounts}
    env = {entry.name: entry.value for entry in container.env}
    assert (len(volumes), len(mounts), len(env)) == (
        len(pod.spec.volumes),
        len(container.volume_mounts),
        len(container.env),
    )
    assert volumes["sky-state"].persistent_volume_claim is None
    assert mounts["/home/sky/.ssh"].sub_path == "keys"
    assert mounts["/home/sky/.sky"].sub_path == "sky"
    assert env["HOME"] == "/elsewhere"
    assert env["SKYPILOT_USER_ID"] == "airflow"


def template_of(kind: str, folder: Path) -> Any:
    """Return the template as the operator's argument of that name takes it."""
    if kind == "pod_template_file":
        file = folder / "pod.yaml"
        file.write_text(yaml.safe_dump(TEMPLATE))
        return str(file)
    if kind == "full_pod_spec":
        return FakeKubernetes().api_client._ApiClient__deserialize(TEMPLATE, "V1Pod")
    return TEMPLATE


class TestTemplate:
    """A pod template keeps what it has, and nothing is there twice."""

    @pytest.mark.parametrize("kind", ["pod_template_dict", "pod_template_file", "full_pod_spec"])
    def test_what_the_template_has_stays_as_it_is(
        self, kind: str, kubernetes: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__SKYPILOT__IMAGE_PULL_SECRETS", "from-deployment")
        pod = pod_of(make_launch(**{kind: template_of(kind, tmp_path)}), kubernetes)
        assert_user_won(pod)
        assert pod.metadata.namespace == "from-template"
        assert pod.metadata.labels["from"] == "template"
        assert pod.spec.service_account_name == "from-template"
        assert pod.spec.containers[0].image == "template:1"
        assert pod.spec.containers[0].resources.requests == {"memory": "1Gi"}
        assert pod.spec.termination_grace_period_seconds == 900
        assert [one.name for one in pod.spec.image_pull_secrets] == ["from-template"]

    def test_an_argument_beats_the_template(self, kubernetes: FakeKubernetes) -> None:
        mine: dict[str, Any] = {"namespace": "mine", "service_account_name": "mine", "image": "mine:1"}
        pod = pod_of(make_launch(pod_template_dict=TEMPLATE, termination_grace_period=30, **mine), kubernetes)
        assert pod.spec.termination_grace_period_seconds == 30
        assert (pod.metadata.namespace, pod.spec.service_account_name) == ("mine", "mine")
        assert pod.spec.containers[0].image == "mine:1"

    def test_its_image_is_enough_where_the_deployment_names_none(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AIRFLOW__SKYPILOT__IMAGE")
        assert pod_of(make_launch(pod_template_dict=TEMPLATE), kubernetes).spec.containers[0].image == "template:1"

    def test_a_file_and_a_full_spec_together_are_both_looked_at(
        self, kubernetes: FakeKubernetes, tmp_path: Path
    ) -> None:
        full = k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(labels={"from": "spec"}),
            spec=k8s.V1PodSpec(
                containers=[
                    k8s.V1Container(
                        name="base", volume_mounts=[k8s.V1VolumeMount(name="cache", mount_path="/home/sky/sky_logs")]
                    )
                ]
            ),
        )
        pod = pod_of(
            make_launch(pod_template_file=template_of("pod_template_file", tmp_path), full_pod_spec=full), kubernetes
        )
        assert_user_won(pod)
        mounts = {mount.mount_path: mount.name for mount in pod.spec.containers[0].volume_mounts}
        assert mounts["/home/sky/sky_logs"] == "cache"


class TestDefaults:
    """Our defaults are defaults: default_args and arguments beat them."""

    OURS: ClassVar[dict[str, Any]] = {
        "startup_timeout_seconds": 600,
        "startup_check_interval_seconds": 1,
        "termination_grace_period": None,
        "logging_interval": 10,
        "log_events_on_failure": True,
        "log_pod_spec_on_failure": False,
        "on_cancel": None,
        "fail_fast": False,
        "volume_claim": None,
    }
    THEIRS: ClassVar[dict[str, Any]] = {
        "startup_timeout_seconds": 900,
        "startup_check_interval_seconds": 7,
        "termination_grace_period": 30,
        "logging_interval": None,
        "log_events_on_failure": False,
        "log_pod_spec_on_failure": True,
        "on_cancel": "leave",
        "fail_fast": True,
        "volume_claim": "theirs",
    }

    def test_without_arguments_they_are_ours(self) -> None:
        operator = make_launch()
        assert {name: getattr(operator, name) for name in self.OURS} == self.OURS

    @pytest.mark.parametrize("name", OURS)
    def test_default_args_beat_ours(self, name: str) -> None:
        dag = make_dag(default_args={name: self.THEIRS[name]})
        operator = SkyDownOperator(task_id="down", cluster_name="demo", dag=dag)
        assert getattr(operator, name) == self.THEIRS[name]

    @pytest.mark.parametrize("name", OURS)
    def test_arguments_beat_default_args(self, name: str) -> None:
        dag = make_dag(default_args={name: self.THEIRS[name]})
        operator = SkyDownOperator(task_id="down", cluster_name="demo", dag=dag, **{name: self.OURS[name]})
        assert getattr(operator, name) == self.OURS[name]

    def test_default_args_may_switch_the_return_value_off(self, kubernetes: FakeKubernetes) -> None:
        dag = make_dag(default_args={"do_xcom_push": False})
        ti = run_task(lambda: SkyDownOperator(task_id="down", cluster_name="demo", dag=dag), kubernetes)
        assert "return_value" not in ti.xcom


class TestSuccess:
    """A pod that ends well gives its value to the next task."""

    @in_all_ways
    def test_the_value_and_the_whole_result_are_pushed(
        self, run: Callable[..., TaskInstance], kubernetes: FakeKubernetes
    ) -> None:
        ti = run(kubernetes, TaskInstance())
        assert ti.xcom["return_value"] == "demo"
        assert ti.xcom["result"]["cluster_name"] == "demo"
        assert ti.xcom["result"]["exit_code"] == 0
        assert len(kubernetes.created) == 1

    @in_all_ways
    def test_do_xcom_push_false_pushes_no_return_value(
        self, run: Callable[..., TaskInstance], kubernetes: FakeKubernetes
    ) -> None:
        assert "return_value" not in run(kubernetes, TaskInstance(), do_xcom_push=False).xcom

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_pod_is_deleted(self, deferrable: bool, kubernetes: FakeKubernetes) -> None:
        run_task(lambda: make_launch(deferrable=deferrable), kubernetes)
        assert kubernetes.left_over == []

    def test_a_pod_that_takes_its_time_is_waited_for(self, kubernetes: FakeKubernetes) -> None:
        end = reports(SkyResult(action="launch", exit_code=0, return_value="demo"))
        kubernetes.life = lambda _: [pending(), pending(), running(), end]
        ti = run_task(lambda: make_launch(startup_check_interval_seconds=0), kubernetes)
        assert ti.xcom["return_value"] == "demo"

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_log_of_the_pod_is_the_log_of_the_task(
        self,
        deferrable: bool,
        kubernetes: FakeKubernetes,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        run_task(lambda: make_launch(deferrable=deferrable), kubernetes)
        assert max("".join(capsys.readouterr()), caplog.text, key=len).count("hello from the cluster") == 1

    def test_a_worker_that_was_lost_is_followed_by_one_that_finds_its_pod(self, kubernetes: FakeKubernetes) -> None:
        ti = TaskInstance()
        lost = make_launch(deferrable=True)
        with pytest.raises(TaskDeferred):
            lost.execute(context_of(lost, ti))
        assert run_task(make_launch, kubernetes, ti).xcom["return_value"] == "demo"
        assert len(kubernetes.created) == 1

    @pytest.mark.parametrize(("worker_in_cluster", "in_cluster"), [(True, True), (False, None)])
    def test_the_triggerer_looks_for_kubernetes_where_the_worker_found_it(
        self,
        worker_in_cluster: bool,
        in_cluster: bool | None,
        kubernetes: FakeKubernetes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(KubernetesHook, "is_in_cluster", worker_in_cluster)
        operator = make_launch(deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context_of(operator))
        assert deferred.value.trigger.in_cluster is in_cluster

    def test_tasks_of_another_deployment_never_take_over_a_pod(self, kubernetes: FakeKubernetes) -> None:
        ti = TaskInstance()
        theirs = make_launch(deferrable=True, deployment="theirs")
        with pytest.raises(TaskDeferred):
            theirs.execute(context_of(theirs, ti))
        run_task(make_launch, kubernetes, ti)
        assert len(kubernetes.created) == 2


class TestFailure:
    """A pod that does not end well fails the task with the exception that says how."""

    @in_all_ways
    @pytest.mark.parametrize(
        ("exit_code", "expected"),
        [
            (64, exceptions.SkyRequestError),
            (65, exceptions.SkyJobFailedError),
            (66, exceptions.SkySetupFailedError),
            (69, exceptions.SkyResourcesUnavailableError),
            (70, exceptions.SkyPilotError),
            (75, exceptions.SkyTransientError),
            (77, exceptions.SkyCredentialsError),
            (78, exceptions.SkyDeploymentError),
            (143, exceptions.SkyCancelledError),
        ],
    )
    def test_an_exit_code_is_its_exception(
        self,
        exit_code: int,
        expected: type[exceptions.SkyPilotError],
        run: Callable[..., TaskInstance],
        kubernetes: FakeKubernetes,
    ) -> None:
        kubernetes.life = lambda _: [running(), reports(fail_as(exit_code, job_exit_codes=[3]))]
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyPilotError, match="because") as caught:
            run(kubernetes, ti)
        assert type(caught.value) is expected
        assert ti.xcom["result"]["job_exit_codes"] == [3]

    @pytest.mark.parametrize("multiple_outputs", [False, True])
    def test_the_value_of_a_failed_task_is_pushed_as_that_of_a_successful_one(
        self, multiple_outputs: bool, kubernetes: FakeKubernetes
    ) -> None:
        end = SkyResult(action="launch", exit_code=ExitCode.JOB_FAILED, reason="Job 1 failed", return_value={"loss": 1})
        kubernetes.life = lambda _: [running(), reports(end)]
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyJobFailedError):
            run_task(lambda: make_launch(multiple_outputs=multiple_outputs), kubernetes, ti)
        assert ti.xcom["return_value"] == {"loss": 1}
        assert ti.xcom.get("loss") == (1 if multiple_outputs else None)

    @in_all_ways
    def test_fail_fast_spares_the_retries_of_a_failed_job(
        self, run: Callable[..., TaskInstance], kubernetes: FakeKubernetes
    ) -> None:
        kubernetes.life = lambda _: [running(), reports(fail_as(ExitCode.JOB_FAILED))]
        with pytest.raises(AirflowFailException):
            run(kubernetes, TaskInstance(), fail_fast=True)

    @in_all_ways
    @pytest.mark.parametrize(
        ("end", "expected", "message"),
        [
            pytest.param(
                ended(137, reason="OOMKilled"), exceptions.SkyPodFailedError, "raise container_resources", id="memory"
            ),
            pytest.param(
                ended(128, 'exec: "tini": executable file not found in $PATH', "StartError"),
                exceptions.SkyDeploymentError,
                f"Image '{IMAGE}' cannot run the runner: exec: \"tini\": executable file not found",
                id="no tini in the image",
            ),
            pytest.param(
                ended(1), exceptions.SkyPodFailedError, "exit code 1 and no result", id="Python ended by itself"
            ),
            pytest.param(
                ended(1, '{"protocol": 99}'),
                exceptions.SkyDeploymentError,
                f"protocol version 99, this side speaks 3: the image's runner was built from another version of "
                f"k8s_sky_provider; use the same version on both sides. Image: {IMAGE}",
                id="another protocol",
            ),
            pytest.param(ended(2, "usage: tini"), exceptions.SkyDeploymentError, "is not JSON", id="not a result"),
            pytest.param(
                evicted("The node was low on resource: memory.", exit_code=137),
                exceptions.SkyPodFailedError,
                "exit code 137 and no result: Evicted The node was low on resource: memory.",
                id="evicted",
            ),
            pytest.param(ended(137), exceptions.SkyPodFailedError, "exit code 137 and no result", id="killed"),
            pytest.param(ended(0), exceptions.SkyPodFailedError, "exit code 0 and no result", id="nothing said"),
            pytest.param(
                ended(137, SkyResult(action="launch", exit_code=0).to_json()),
                exceptions.SkyPodFailedError,
                "reported success, yet its container ended with 137",
                id="killed after its report",
            ),
        ],
    )
    def test_a_pod_without_a_result_says_what_is_known(
        self,
        end: k8s.V1PodStatus,
        expected: type[exceptions.SkyPilotError],
        message: str,
        run: Callable[..., TaskInstance],
        kubernetes: FakeKubernetes,
    ) -> None:
        kubernetes.life = lambda _: [running(), end]
        with pytest.raises(expected, match=re.escape(message)) as caught:
            run(kubernetes, TaskInstance())
        assert type(caught.value) is expected

    @in_all_ways
    def test_an_image_without_the_runner_is_known_by_what_python_says(
        self, run: Callable[..., TaskInstance], kubernetes: FakeKubernetes
    ) -> None:
        kubernetes.life = lambda _: [running(), ended(1)]
        kubernetes.log = ["/usr/bin/python: No module named k8s_sky_provider"]
        with pytest.raises(exceptions.SkyDeploymentError, match=f"Image '{IMAGE}' has no runner"):
            run(kubernetes, TaskInstance())

    def test_one_whose_log_cannot_be_read_is_retried(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = kubernetes.read_namespaced_pod_log

        def refuse_the_end(*arguments: Any, **options: Any) -> Any:
            if "tail_lines" in options:
                raise api_error(404, "the container is gone")
            return read(*arguments, **options)

        monkeypatch.setattr(kubernetes, "read_namespaced_pod_log", refuse_the_end)
        kubernetes.life = lambda _: [running(), ended(1)]
        with pytest.raises(exceptions.SkyPodFailedError, match="exit code 1 and no result"):
            run_task(make_launch, kubernetes)

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize(
        ("status", "expected", "message"),
        [
            pytest.param(
                waiting("ErrImagePull", "manifest unknown"),
                exceptions.SkyPodFailedError,
                "ErrImagePull",
                id="image not found",
            ),
            pytest.param(
                waiting("InvalidImageName", "couldn't parse image name"),
                exceptions.SkyDeploymentError,
                "InvalidImageName",
                id="image no image at all",
            ),
        ],
    )
    def test_a_pod_that_cannot_start_is_not_waited_for(
        self,
        *,
        deferrable: bool,
        status: k8s.V1PodStatus,
        expected: type[exceptions.SkyPilotError],
        message: str,
        kubernetes: FakeKubernetes,
    ) -> None:
        kubernetes.life = lambda _: [status]
        with pytest.raises(expected, match=message):
            run_task(lambda: make_launch(deferrable=deferrable), kubernetes)
        assert kubernetes.left_over == []

    @pytest.mark.parametrize("before", [[], [running()]], ids=["before it started", "while it ran"])
    def test_a_pod_that_was_evicted_says_why_and_is_retried(
        self, before: list[k8s.V1PodStatus], kubernetes: FakeKubernetes
    ) -> None:
        kubernetes.life = lambda _: [*before, evicted("The node had condition: [DiskPressure].")]
        with pytest.raises(exceptions.SkyPodFailedError, match=r"The pod failed: Evicted: .*\[DiskPressure\]\.$"):
            run_task(make_launch, kubernetes)

    def test_a_pod_that_somebody_deleted_is_retried_and_that_is_said_once(
        self, kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        kubernetes.while_running = kubernetes.remove
        with pytest.raises(exceptions.SkyPodFailedError, match=r'^The pod is gone, .*: pods ".*" not found$'):
            run_task(make_launch, kubernetes)
        logged = "".join(capsys.readouterr()) + caplog.text
        assert [text for text in ("Not Found", "not found", "cannot be read") if text in logged] == []

    @pytest.mark.parametrize("status", ["success", "failed"])
    def test_a_pod_that_was_gone_after_the_deferral_is_never_a_success(
        self, status: str, kubernetes: FakeKubernetes
    ) -> None:
        operator = make_launch(deferrable=True)
        event = {"status": status, "name": "gone", "namespace": "sky", "message": "?"}
        with pytest.raises(exceptions.SkyPodFailedError, match="gone"):
            operator.trigger_reentry(context_of(operator), event)

    def test_skip_on_exit_code_still_skips(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running(), reports(fail_as(ExitCode.RESOURCES_UNAVAILABLE))]
        with pytest.raises(AirflowSkipException):
            run_task(lambda: make_launch(skip_on_exit_code=69), kubernetes)

    @pytest.mark.parametrize("code", [ExitCode.JOB_FAILED, ExitCode.SETUP_FAILED])
    @pytest.mark.parametrize(("codes", "skips"), [([99], True), ([0, 99], True), ([1], False), ([], False)])
    def test_skip_on_exit_code_is_of_the_job_too(
        self, kubernetes: FakeKubernetes, code: ExitCode, codes: list[int], skips: bool
    ) -> None:
        failed = dataclasses.replace(fail_as(code), job_exit_codes=codes)
        kubernetes.life = lambda _: [running(), reports(failed)]
        ti = TaskInstance()
        with pytest.raises(AirflowSkipException if skips else exceptions.SkyJobFailedError):
            run_task(lambda: make_launch(skip_on_exit_code=[42, 99]), kubernetes, ti)
        assert ti.xcom["result"]["job_exit_codes"] == codes

    @pytest.mark.parametrize("kind", [SkyLaunchOperator, SkyStatusOperator])
    def test_labels_of_ids_in_other_letters_are_valid(self, kind: Any, kubernetes: FakeKubernetes) -> None:
        given = {"sky_task_yaml": {"run": "x"}} if kind is SkyLaunchOperator else {}
        dag = DAG("данные", schedule=None, start_date=START)
        ti = TaskInstance(dag_id="данные", task_id="задача", run_id="_1_")
        run_task(lambda: kind(task_id="задача", dag=dag, **given), kubernetes, ti)
        metadata = kubernetes.pod.metadata
        for value in metadata.labels.values():
            assert re.fullmatch(r"([a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?)?", value)
        assert re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", metadata.name)

    def test_on_finish_action_still_keeps_the_pod(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running(), reports(fail_as(ExitCode.JOB_FAILED))]
        with pytest.raises(exceptions.SkyJobFailedError):
            run_task(lambda: make_launch(on_finish_action="delete_succeeded_pod"), kubernetes)
        assert len(kubernetes.left_over) == 1

    def test_the_pods_events_are_in_the_log_of_a_failure(
        self, kubernetes: FakeKubernetes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kubernetes.events = [("Evicted", "The node was low on resource: memory.")]
        kubernetes.life = lambda _: [running(), ended(137)]
        with pytest.raises(exceptions.SkyPodFailedError):
            run_task(make_launch, kubernetes)
        assert "low on resource" in caplog.text + "".join(capsys.readouterr())


class TestBeforeThePod:
    """What is known before the pod starts fails at once."""

    def test_a_missing_volume_is_named_and_no_pod_is_made(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.claims = set()
        with pytest.raises(
            exceptions.SkyDeploymentError,
            match=r"PersistentVolumeClaim 'sky-state' does not exist in namespace 'sky'; create it, or .* volume_claim",
        ):
            run_task(make_launch, kubernetes)
        assert kubernetes.created == []

    def test_every_claim_of_the_pod_is_looked_for(self, kubernetes: FakeKubernetes) -> None:
        claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name="data")
        with pytest.raises(exceptions.SkyTransientError, match="'data' does not exist in namespace 'sky' yet"):
            run_task(
                lambda: make_launch(volumes=[k8s.V1Volume(name="data", persistent_volume_claim=claim)]), kubernetes
            )

    def test_without_the_right_to_look_for_claims_the_pod_is_made(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.claims, kubernetes.may_read_claims = set(), False
        assert run_task(make_launch, kubernetes).xcom["return_value"] == "demo"

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            pytest.param(
                api_error(
                    403,
                    'pods "x" is forbidden: error looking up service account sky/nobody: '
                    'serviceaccount "nobody" not found',
                ),
                exceptions.SkyDeploymentError,
                id="missing ServiceAccount",
            ),
            pytest.param(
                api_error(403, 'pods is forbidden: User "airflow" cannot create resource "pods"'),
                exceptions.SkyDeploymentError,
                id="no right to make pods",
            ),
            pytest.param(
                api_error(404, 'namespaces "sky" not found'), exceptions.SkyDeploymentError, id="missing namespace"
            ),
            pytest.param(
                api_error(422, 'Pod "x" is invalid: spec.nodeName'), exceptions.SkyDeploymentError, id="invalid pod"
            ),
            pytest.param(
                api_error(403, 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=9'),
                exceptions.SkyTransientError,
                id="quota",
            ),
        ],
    )
    def test_a_pod_that_kubernetes_refuses_says_why(
        self,
        *,
        deferrable: bool,
        error: Any,
        expected: type[exceptions.SkyPilotError],
        kubernetes: FakeKubernetes,
    ) -> None:
        kubernetes.create_error = error
        message = json.loads(error.body)["message"]
        with pytest.raises(expected, match=re.escape(message)):
            run_task(lambda: make_launch(deferrable=deferrable), kubernetes)

    def test_any_other_error_of_the_api_is_retried(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.create_error = api_error(401, "Unauthorized")
        with pytest.raises(exceptions.SkyPodFailedError, match="Unauthorized"):
            run_task(make_launch, kubernetes)

    def test_an_option_that_is_set_nowhere_fails_before_a_pod(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AIRFLOW__SKYPILOT__VOLUME_CLAIM")
        with pytest.raises(exceptions.SkyDeploymentError, match="volume_claim is not set"):
            run_task(make_launch, kubernetes)
        assert kubernetes.created == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("runn: echo", "runn is not a key of a SkyPilot task; did you mean 'run'?"),
            ("run: [echo]", "run must be of type str, not list"),
            ("run: 'echo", "cannot be read"),
            (None, "does not exist beside the DAG file"),
        ],
        ids=["typing error", "wrong type", "no YAML", "missing file"],
    )
    def test_a_wrong_task_fails_before_a_pod(
        self, content: str | None, message: str, kubernetes: FakeKubernetes, tmp_path: Path
    ) -> None:
        if content is not None:
            (tmp_path / "task.yaml").write_text(content)
        dag = make_dag(tmp_path)
        with pytest.raises(exceptions.SkyRequestError, match=re.escape(message)):
            run_task(lambda: SkyLaunchOperator(task_id="launch", sky_task_yaml="task.yaml", dag=dag), kubernetes)
        assert kubernetes.created == []

    def test_a_request_that_is_too_long_fails_before_a_pod(self, kubernetes: FakeKubernetes) -> None:
        with pytest.raises(exceptions.SkyRequestError, match="put the task YAML on the volume"):
            run_task(lambda: make_launch(sky_task_yaml={"run": "x" * 200_000}), kubernetes)
        assert kubernetes.created == []

    def test_a_value_that_json_does_not_know_fails_before_a_pod(self, kubernetes: FakeKubernetes) -> None:
        with pytest.raises(exceptions.SkyRequestError, match="config has a value that cannot be sent to the pod"):
            run_task(lambda: make_launch(sky_task_yaml={"config": {"a": object()}}), kubernetes)
        assert kubernetes.created == []


class TestKill:
    """A task that is killed is never a success, whatever its pod still does."""

    @pytest.mark.parametrize(
        ("end_on_delete", "arguments"),
        [
            pytest.param(None, {}, id="pod gone at once"),
            pytest.param(reports(fail_as(ExitCode.CANCELLED)), {}, id="runner undid its work"),
            pytest.param(
                reports(SkyResult(action="launch", exit_code=0, return_value="demo")), {}, id="runner was done already"
            ),
            pytest.param(ended(137), {}, id="runner was killed"),
            pytest.param(None, {"on_kill_action": "keep_pod"}, id="pod kept and successful"),
        ],
    )
    def test_a_killed_task_fails(
        self, end_on_delete: k8s.V1PodStatus | None, arguments: dict[str, Any], kubernetes: FakeKubernetes
    ) -> None:
        operator = make_launch(**arguments)
        kubernetes.while_running = operator.on_kill
        kubernetes.end_on_delete = end_on_delete
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyCancelledError, match="killed before it was done"):
            run_task(lambda: operator, kubernetes, ti)
        assert "result" not in ti.xcom

    def test_the_pod_gets_the_grace_period_to_undo_its_work(self, kubernetes: FakeKubernetes) -> None:
        operator = make_launch(termination_grace_period=77)
        kubernetes.while_running = operator.on_kill
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes)
        assert kubernetes.deleted[0].grace_period_seconds == 77

    def test_a_timeout_stays_a_timeout_and_the_pod_is_deleted(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running()]

        def run_out_of_time() -> None:
            raise AirflowTaskTimeout("Timeout, PID: 7")

        kubernetes.while_running = run_out_of_time
        with pytest.raises(AirflowTaskTimeout):
            run_task(make_launch, kubernetes)
        assert kubernetes.left_over == []

    def test_a_timeout_during_a_deferral_says_so(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running()]
        operator = make_launch(deferrable=True)
        with pytest.raises(TaskDeferred):
            operator.execute(context_of(operator))
        event = {
            "status": "timeout",
            "name": kubernetes.pod.metadata.name,
            "namespace": "sky",
            "message": "Pod reached the task's execution_timeout deadline.",
        }
        operator = make_launch(deferrable=True)
        with pytest.raises(exceptions.SkyPilotError, match="execution_timeout"):
            operator.trigger_reentry(context_of(operator), event)
        assert kubernetes.left_over == []

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, "down"),
            ({"auto_down": False}, "cancel"),
            ({"on_cancel": "leave"}, "leave"),
            ({"on_cancel": "stop", "auto_down": False}, "stop"),
        ],
        ids=str,
    )
    def test_the_runner_is_told_what_to_do_when_it_is_killed(
        self, arguments: dict[str, Any], expected: str, kubernetes: FakeKubernetes
    ) -> None:
        run_task(lambda: make_launch(**arguments), kubernetes)
        assert kubernetes.request.on_cancel == expected

    def test_an_unknown_on_cancel_is_refused_with_those_that_exist(self) -> None:
        with pytest.raises(
            exceptions.SkyRequestError, match="on_cancel: 'explode' is not one of cancel, down, stop, leave"
        ):
            make_launch(on_cancel="explode")


class TestSecrets:
    """Secrets are references: the worker never has their values."""

    def test_no_value_of_a_secret_is_in_the_pod_or_in_the_rendered_fields(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-from-the-worker")
        monkeypatch.setenv(
            "AIRFLOW__SKYPILOT__CREDENTIALS",
            '[{"secret": "aws", "path": ".aws"}, {"secret": "tokens", "env": true}]',
        )
        operator = make_launch()
        ti = run_task(lambda: operator, kubernetes)
        pod = kubernetes.api_client.sanitize_for_serialization(kubernetes.pod)
        rendered = {name: getattr(operator, name) for name in operator.template_fields}
        for text in (json.dumps(pod), repr(rendered), json.dumps(ti.xcom)):
            assert "hunter2" not in text
        container = pod["spec"]["containers"][0]
        assert container["envFrom"] == [{"secretRef": {"name": "tokens", "optional": True}}]
        assert {entry["name"] for entry in container["env"]} == {
            "HOME",
            "K8S_SKY_POD_DIRECTORIES",
            "K8S_SKY_POD_NAME",
            "K8S_SKY_POD_NAMESPACE",
            "NO_COLOR",
            "PYTHONUNBUFFERED",
            "SKYPILOT_DISABLE_LOCAL_API_SERVER",
            "SKYPILOT_DISABLE_USAGE_COLLECTION",
            "SKYPILOT_USER",
            "SKYPILOT_USER_ID",
            "TERM",
        }

    def test_the_runner_is_told_which_secrets_to_expect(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_task(lambda: make_launch(credentials=[{"secret": "aws", "path": ".aws"}]), kubernetes)
        assert kubernetes.request.expected_mounts == {"/home/sky/.aws": "Secret 'aws'"}

    def test_a_malformed_credential_fails_when_the_dag_is_read(self) -> None:
        with pytest.raises(exceptions.SkyDeploymentError, match="Secret 'aws' needs either path or env"):
            make_launch(credentials=[{"secret": "aws"}])


class TestBothHalves:
    """The operator and the real runner understand each other; only Kubernetes and SkyPilot are fakes."""

    @pytest.fixture
    def engine(self, kubernetes: FakeKubernetes, tmp_path: Path) -> FakeEngine:
        """Return the SkyPilot of all pods; the pods run the real runner on one home directory."""
        engine = FakeEngine()

        def life(pod: k8s.V1Pod) -> list[k8s.V1PodStatus]:
            result = run_action(pod.spec.containers[0].args, home=tmp_path, make_engine=lambda: engine)
            return [running(), reports(result)]

        kubernetes.life = life
        return engine

    @pytest.fixture(autouse=True)
    def any_file_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__SKYPILOT__ALLOW_NETWORK_FILE_SYSTEM", "True")

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_launch_status_and_down_share_their_clusters(
        self, deferrable: bool, engine: FakeEngine, kubernetes: FakeKubernetes
    ) -> None:
        launched = run_task(lambda: make_launch(auto_down=False, deferrable=deferrable), kubernetes)
        listed = run_task(make_status, kubernetes)
        run_task(lambda: make_down(cluster_name=launched.xcom["return_value"]), kubernetes)
        assert listed.xcom["return_value"] == [{"name": "demo", "status": "UP"}]
        assert engine.clusters == set()

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_exit_code_of_a_job_reaches_the_task(
        self, deferrable: bool, engine: FakeEngine, kubernetes: FakeKubernetes
    ) -> None:
        engine.job_ends_as, engine.exit_codes = "FAILED", [3]
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyJobFailedError, match=r"ended as FAILED, exit codes by node: \[3\]"):
            run_task(lambda: make_launch(deferrable=deferrable), kubernetes, ti)
        assert ti.xcom["result"]["job_exit_codes"] == [3]
        assert engine.clusters == set()
