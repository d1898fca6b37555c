"""What :mod:`test_golden` makes: each operator with its defaults, with every argument, and pods of every kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from airflow.providers.cncf.kubernetes.secret import Secret
from kubernetes.client import models as k8s

from k8s_sky_provider.decorators import sky_cluster, sky_task
from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator, SkyClusterLaunchOperator
from k8s_sky_provider.decorators.sky import SkyDecoratedOperator
from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyBashOperator,
    SkyCancelOperator,
    SkyCheckOperator,
    SkyCostReportOperator,
    SkyDownOperator,
    SkyExecOperator,
    SkyGpusOperator,
    SkyJobCancelOperator,
    SkyJobLaunchOperator,
    SkyJobLogsOperator,
    SkyJobQueueOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyPoolApplyOperator,
    SkyPoolDownOperator,
    SkyPoolStatusOperator,
    SkyQueueOperator,
    SkyReapOperator,
    SkyRsyncDownOperator,
    SkyRsyncUpOperator,
    SkyServeDownOperator,
    SkyServeLogsOperator,
    SkyServeStatusOperator,
    SkyServeUpdateOperator,
    SkyServeUpOperator,
    SkySSHOperator,
    SkyStartOperator,
    SkyStatusOperator,
    SkyStopOperator,
    SkyStorageDeleteOperator,
    SkyStorageListOperator,
    SkyVolumeApplyOperator,
    SkyVolumeDeleteOperator,
    SkyVolumeListOperator,
)
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.protocol import Owner
from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes
from unit.k8s_sky_provider.operators.running import make_dag

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.operators import SkyBaseOperator

TEMPLATE_FILE = Path(__file__).with_name("pod_template.yaml")
TEMPLATE: dict[str, Any] = yaml.safe_load(TEMPLATE_FILE.read_text())


def directly(operator: type[SkyBaseOperator], **arguments: Any) -> SkyBaseOperator:
    """Return an operator as most DAGs make it."""
    return operator(task_id="task", dag=make_dag(), **arguments)


def train(rate: float, epochs: int = 2) -> dict[str, Any]:
    """Train a model."""
    return {"rate": rate, "epochs": epochs}


def by_task_sky(operator: type[SkyBaseOperator], **arguments: Any) -> SkyBaseOperator:
    """Return the operator of a call of a function under ``@task.sky``."""
    with make_dag():
        call: Any = sky_task(**arguments)(train)(0.5, epochs=3)
    made: SkyBaseOperator = call.operator
    assert type(made) is operator
    return made


def by_sky_cluster(operator: type[SkyBaseOperator], **arguments: Any) -> SkyBaseOperator:
    """Return the task of that kind that is made by a block under ``sky_cluster``."""
    with make_dag() as dag, sky_cluster(**arguments):
        pass
    (task,) = (task for task in dag.tasks if type(task) is operator)
    return task


def beside_files(operator: type[SkyBaseOperator], **arguments: Any) -> SkyBaseOperator:
    """Return an operator of a DAG that has this folder beside it."""
    return operator(task_id="task", dag=make_dag(Path(__file__).parent), **arguments)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One operator, whose request and pod are in one golden file.

    :param operator: its class
    :param name: tells it from the others of that class
    :param arguments: what its author gives
    :param settings: options of the ``[skypilot]`` section; None for one that is not set
    :param make: how the author makes it
    """

    operator: type[SkyBaseOperator]
    name: str
    arguments: dict[str, Any]
    settings: dict[str, str | None] = dataclasses.field(default_factory=dict)
    make: Callable[..., SkyBaseOperator] = directly

    @property
    def file(self) -> str:
        """Name of the golden file."""
        return f"{self.operator.__name__}.{self.name}.yaml"


def cases_of(operator: type[SkyBaseOperator], **arguments: dict[str, Any]) -> list[Case]:
    """Return the cases of an operator, by name."""
    return [Case(operator=operator, name=name, arguments=given) for name, given in arguments.items()]


COMMON: dict[str, Any] = {
    "on_cancel": "leave",
    "on_eviction": "kill",
    "fail_fast": True,
    "skypilot_conn_id": "team",
    "deployment": "team-a",
    "volume_claim": "team-state",
    "config_map": "team-config",
    "credentials": [
        {"secret": "gcp", "path": ".config/gcloud"},
        {"secret": "lambda", "env": True},
        {"connection": "aws"},
    ],
    "startup_timeout_seconds": 900,
    "startup_check_interval_seconds": 7,
    "termination_grace_period": 30,
    "logging_interval": 20,
    "log_events_on_failure": False,
    "log_pod_spec_on_failure": True,
    "do_xcom_push": False,
}
"""The arguments of all operators."""

YAML: dict[str, Any] = {
    "name": "train",
    "resources": {"cpus": 2, "any_of": [{"infra": "aws"}, {"infra": "gcp"}]},
    "file_mounts": {"/data": "s3://data"},
    "envs": {"EPOCHS": 1, "RATE": 0.5},
    "secrets": ["TOKEN"],
    "setup": "pip install .",
    "run": "python train.py\necho done\n",
}
TASK: dict[str, Any] = {
    "sky_task_yaml": YAML,
    "job_name": "nightly",
    "workdir": "~/sky_workdir/code",
    "file_mounts": {"/more": "s3://more"},
    "envs": {"EPOCHS": 3},
    "env_file": ".env",
    "job_secrets": ["HF_TOKEN"],
    "secret_file": ".secrets",
    "infra": "aws/us-east-1",
    "accelerators": {"A100": 4},
    "cpus": "4+",
    "memory": 16,
    "instance_type": "p4d.24xlarge",
    "use_spot": True,
    "disk_size": 500,
    "disk_tier": "high",
    "network_tier": "best",
    "local_disk": "nvme:1000+",
    "image_id": "docker:ubuntu:22.04",
    "open_ports": [8080, "9000-9010"],
    "priority": 5,
    "num_nodes": 2,
    "config": {"kubernetes": {"provision_timeout": 60}},
    "workspace": "research",
}
"""The arguments of a task."""

OTHER_TASK: dict[str, Any] = {
    "sky_task_yaml": "~/sky_workdir/train.yaml",
    "git_url": "https://git.example.com/train.git",
    "git_ref": "main",
    "cloud": "gcp",
    "gpus": "L4:1",
    "minimum_cpus": 4,
    "minimum_memory": 15.5,
    "priority": "high",
}
"""Those that take the place of others."""

LAUNCH: dict[str, Any] = {
    "auto_down": False,
    "on_failure": "leave",
    "idle_minutes_to_autostop": 30,
    "down": False,
    "wait_for": "jobs",
    "retry_until_up": True,
    "no_setup": True,
    "fast": True,
    "resize": True,
    "clone_disk_from": "old",
}
"""The arguments of a launch, but for those that decorators set."""

LAUNCH_OF_A_BLOCK = {name: value for name, value in LAUNCH.items() if name != "auto_down"}
WHOLE_LAUNCH: dict[str, Any] = {**LAUNCH, "cluster_name": "demo", "wait": False, "dryrun": True}

OWNER: dict[str, Any] = {"dag_id": "dag", "run_id": "over", "task_id": "launch", "map_index": -1}
ROWS = [
    {"name": cluster_name_for(Owner(deployment="airflow", **OWNER)), "status": "UP", **OWNER},
    {"name": "dev-box", "status": "UP", **OWNER},
    {"name": "half", "status": "INIT", **OWNER},
    {"name": "by-hand", "status": "UP"},
]
RUN = {"sky_task_yaml": {"run": "echo hello"}}
SERVE = {"service": {"readiness_probe": "/", "replicas": 2}}
WORK = {"pool": {"workers": 2}}
DEMO = {"cluster_name": "demo"}
SEVERAL = {"cluster_name": ["demo", "train-*"]}
SERVICE = {"service_name": "demo"}
POOL = {"pool_name": "demo"}
GRACEFUL = {"graceful": True, "graceful_timeout": 60}

TASKS = [
    *cases_of(
        SkyLaunchOperator,
        defaults=RUN,
        all={**COMMON, **TASK, **WHOLE_LAUNCH},
        others=OTHER_TASK,
        for_ever={**RUN, "idle_minutes_to_autostop": -1, "cloud": "cheapest"},
        left_to_itself={**RUN, "wait": False},
    ),
    Case(
        operator=SkyLaunchOperator,
        name="local_files",
        arguments={
            "sky_task_yaml": {"run": "ls", "file_mounts": {"/task.yaml": "pod_template.yaml"}},
            "workdir": "wire",
        },
        make=beside_files,
    ),
    *cases_of(
        SkyExecOperator,
        defaults={**DEMO, **RUN},
        all={**COMMON, **TASK, **DEMO, "wait": False},
        others={**OTHER_TASK, **DEMO},
    ),
    *cases_of(
        SkyJobLaunchOperator,
        defaults=RUN,
        all={**COMMON, **TASK, **POOL, "num_jobs": 3, "wait": False},
        others=OTHER_TASK,
        pipeline={"sky_task_yaml": [{"name": "nightly"}, {"run": "echo one"}, {"run": "echo two"}]},
    ),
    *cases_of(
        SkyServeUpOperator,
        defaults={**SERVICE, "sky_task_yaml": {"run": "echo hello", **SERVE}},
        all={**COMMON, **TASK, **SERVICE, "sky_task_yaml": {**YAML, **SERVE}, "wait": False, "timeout": 60},
        others={**OTHER_TASK, **SERVICE},
    ),
    *cases_of(
        SkyServeUpdateOperator,
        defaults={**SERVICE, "sky_task_yaml": {"run": "echo hello", **SERVE}},
        all={
            **COMMON,
            **TASK,
            **SERVICE,
            "sky_task_yaml": {**YAML, **SERVE},
            "mode": "blue_green",
            "wait": False,
            "timeout": 60,
        },
        others={**OTHER_TASK, **SERVICE},
    ),
    *cases_of(
        SkyPoolApplyOperator,
        defaults={**POOL, "sky_task_yaml": {"run": "echo hello", **WORK}},
        all={
            **COMMON,
            **TASK,
            **POOL,
            "sky_task_yaml": {**YAML, **WORK},
            "mode": "blue_green",
            "wait": False,
            "timeout": 60,
        },
        others={**OTHER_TASK, **POOL},
        workers={**POOL, "workers": 4},
    ),
]
CLUSTERS = [
    *cases_of(
        SkyStartOperator,
        defaults=DEMO,
        all={
            **COMMON,
            **SEVERAL,
            "idle_minutes_to_autostop": 30,
            "wait_for": "jobs",
            "down": True,
            "retry_until_up": True,
            "force": True,
        },
    ),
    *cases_of(SkyStopOperator, defaults=DEMO, all={**COMMON, **SEVERAL, **GRACEFUL}),
    *cases_of(
        SkyAutostopOperator,
        defaults=DEMO,
        all={
            **COMMON,
            **SEVERAL,
            "idle_minutes": 30,
            "wait_for": "jobs",
            "down": True,
            "hook": "sync",
            "hook_timeout": 60,
        },
        cancel={**DEMO, "cancel": True},
    ),
    *cases_of(SkyDownOperator, defaults=DEMO, all={**COMMON, **SEVERAL, **GRACEFUL, "purge": True}),
    *cases_of(
        SkyStatusOperator,
        defaults={},
        all={
            **COMMON,
            "cluster_names": ["demo", "train-*"],
            "refresh": True,
            "ip": True,
            "endpoints": True,
            "all_users": True,
            "owners": True,
        },
    ),
    *cases_of(SkyCostReportOperator, defaults={}, all={**COMMON, "cluster_names": "train-*", "days": 7, "all": True}),
    *cases_of(
        SkyQueueOperator,
        defaults=DEMO,
        all={**COMMON, **SEVERAL, "skip_finished": True, "all_users": True, "limit": 10},
    ),
    *cases_of(
        SkyCancelOperator,
        defaults={**DEMO, "job_ids": 7},
        all={**COMMON, **DEMO, "all": True, "all_users": True},
        several={**DEMO, "job_ids": [7, "8"]},
    ),
    *cases_of(
        SkyLogsOperator,
        defaults=DEMO,
        all={**COMMON, **DEMO, "job_id": 7, "follow": False, "tail": 10, "sync_down": True},
        provision={**DEMO, "provision": True, "worker": 1},
    ),
    *cases_of(
        SkySSHOperator,
        defaults={**DEMO, "command": "hostname"},
        all={
            **COMMON,
            **DEMO,
            "command": ["ls", "a file"],
            "environment": {"A": "1"},
            "get_pty": True,
            "conn_timeout": 10,
            "cmd_timeout": 60,
            "nodes": [0, 1],
            "working_dir": "~/code",
        },
    ),
    *cases_of(
        SkyRsyncUpOperator,
        defaults={**DEMO, "source": "data/", "target": "~/data"},
        all={**COMMON, **DEMO, "source": "data/", "target": "~/data", "nodes": "all"},
    ),
    *cases_of(
        SkyRsyncDownOperator,
        defaults={**DEMO, "source": "out/", "target": "out"},
        all={**COMMON, **DEMO, "source": "out/", "target": "out", "nodes": "all"},
    ),
    *cases_of(
        SkyReapOperator,
        defaults={"clusters": ROWS},
        all={**COMMON, "clusters": ROWS, "named": True, "known_runs_only": True, "dryrun": True},
    ),
]
OTHERS = [
    *cases_of(
        SkyBashOperator, defaults={"bash_command": "ls"}, all={**COMMON, "bash_command": "ls", "env": {"A": "1"}}
    ),
    *cases_of(SkyCheckOperator, defaults={}, all={**COMMON, "infra": ["aws", "gcp"], "require": "aws"}),
    *cases_of(SkyGpusOperator, defaults={}, all={**COMMON, "accelerator": "A100", "count": 8, "infra": "aws"}),
    *cases_of(
        SkyJobQueueOperator,
        defaults={},
        all={
            **COMMON,
            **POOL,
            "job_name": "nightly",
            "skip_finished": True,
            "statuses": ["RUNNING"],
            "all_users": True,
            "limit": 10,
        },
    ),
    *cases_of(
        SkyJobCancelOperator,
        defaults={"job_ids": 7},
        all={**COMMON, "all": True, "wait": False},
        by_name={"job_name": "nightly"},
        of_a_pool=POOL,
    ),
    *cases_of(
        SkyJobLogsOperator,
        defaults={"job_id": 7},
        all={**COMMON, "job_name": "nightly", "follow": False, "controller": True, "tail": 10},
    ),
    *cases_of(SkyServeStatusOperator, defaults={}, all={**COMMON, "service_names": ["demo", "other"]}),
    *cases_of(
        SkyServeDownOperator,
        defaults={"service_names": "demo"},
        all={**COMMON, "all": True, "purge": True},
    ),
    *cases_of(
        SkyServeLogsOperator,
        defaults={**SERVICE, "replica": 1},
        all={**COMMON, **SERVICE, "target": "controller", "follow": True, "tail": 10},
    ),
    *cases_of(SkyPoolStatusOperator, defaults={}, all={**COMMON, "pool_names": ["demo", "other"]}),
    *cases_of(
        SkyPoolDownOperator,
        defaults={"pool_names": "demo"},
        all={**COMMON, "all": True, "purge": True},
    ),
    *cases_of(
        SkyVolumeApplyOperator,
        defaults={"volume": {"name": "data", "type": "k8s-pvc", "size": "10Gi"}},
        all={
            **COMMON,
            "volume": {"labels": {"team": "a"}},
            "volume_name": "data",
            "volume_type": "k8s-pvc",
            "infra": "kubernetes/context",
            "size": "100Gi",
            "use_existing": True,
        },
    ),
    *cases_of(
        SkyVolumeDeleteOperator,
        defaults={"names": "data"},
        all={**COMMON, "names": ["data", "old-*"], "missing_ok": True, "purge": True},
    ),
    *cases_of(SkyVolumeListOperator, defaults={}, all={**COMMON, "names": "data", "refresh": True}),
    *cases_of(
        SkyStorageDeleteOperator,
        defaults={"names": "data"},
        all={**COMMON, "all_storage": True, "missing_ok": True},
    ),
    *cases_of(SkyStorageListOperator, defaults={}, all=COMMON),
]
DECORATORS = [
    *(
        dataclasses.replace(case, make=by_task_sky)
        for case in cases_of(
            SkyDecoratedOperator,
            defaults={},
            all={
                **COMMON,
                **TASK,
                **LAUNCH,
                "sky_task_yaml": {"setup": "pip install ."},
                "requirements": ["torch"],
                "python": "python3.12",
                "templates_dict": {"day": "{{ params.who }}"},
            },
            others={**OTHER_TASK, "sky_task_yaml": {}},
            on_a_cluster=DEMO,
        )
    ),
    *cases_of(SkyClusterLaunchOperator, all={**COMMON, **TASK, **WHOLE_LAUNCH}, others=OTHER_TASK),
    *cases_of(
        SkyClusterDownOperator, all={**COMMON, **DEMO, **GRACEFUL, "launch_task_id": "launch_cluster", "purge": True}
    ),
    *(
        Case(operator=operator, name=name, arguments=arguments, make=by_sky_cluster)
        for operator in (SkyClusterLaunchOperator, SkyClusterDownOperator)
        for name, arguments in {"defaults": {}, "of_a_block": {**COMMON, **TASK, **LAUNCH_OF_A_BLOCK}}.items()
    ),
]

POD_ARGUMENTS: dict[str, Any] = {
    "name": "mine",
    "namespace": "mine",
    "image": "mine:1",
    "image_pull_policy": "Always",
    "image_pull_secrets": [k8s.V1LocalObjectReference(name="mine")],
    "service_account_name": "mine",
    "cmds": ["env"],
    "container_resources": k8s.V1ResourceRequirements(limits={"cpu": "2"}),
    "labels": {"team": "a"},
    "annotations": {"note": "b"},
    "node_selector": {"disk": "ssd"},
    "tolerations": [k8s.V1Toleration(key="gpu")],
    "volumes": [k8s.V1Volume(name="mine", empty_dir=k8s.V1EmptyDirVolumeSource())],
    "volume_mounts": [
        k8s.V1VolumeMount(name="mine", mount_path="/mine"),
        k8s.V1VolumeMount(name="mine", mount_path="/home/sky/sky_logs"),
    ],
    "env_vars": {"PROXY": "http://{{ params.who }}", "TERM": "xterm"},
    "env_from": [k8s.V1EnvFromSource(prefix="P_", config_map_ref=k8s.V1ConfigMapEnvSource(name="mine"))],
    "configmaps": ["more"],
    "secrets": [Secret("env", "TOKEN", "tokens", "token")],  # type: ignore[no-untyped-call]  # Airflow has none
    "init_containers": [k8s.V1Container(name="first", image="first:1")],
    "priority_class_name": "high",
    "hostname": "here",
}
"""Arguments of KubernetesPodOperator."""

SETTINGS: dict[str, dict[str, str | None]] = {
    "of_settings": {
        "deployment": "team-b",
        "image_pull_policy": "Always",
        "image_pull_secrets": "one, two",
        "service_account_name": "runner",
        "config_map": "config",
        "allow_network_file_system": "True",
        "credentials": '[{"secret": "aws", "path": ".aws"}]',
    },
    "no_namespace": {"namespace": None},
    "database": {
        "state_mode": "database",
        "database_secret": "sky-database/uri",
        "volume_claim": None,
        "config_map": "config",
    },
    "api_server": {
        "state_mode": "api_server",
        "api_server_endpoint": "https://sky.example.com",
        "api_server_token_secret": "sky-token/token",
        "volume_claim": None,
    },
}
"""Options of the deployment."""

PODS = [
    *cases_of(
        SkyStatusOperator,
        deferrable={"deferrable": True},
        pod_arguments=POD_ARGUMENTS,
        template_file={"pod_template_file": str(TEMPLATE_FILE)},
        template_dict={"pod_template_dict": TEMPLATE},
        full_pod_spec={"full_pod_spec": FakeKubernetes().api_client._ApiClient__deserialize(TEMPLATE, "V1Pod")},
        template_and_spec={
            "pod_template_dict": TEMPLATE,
            "full_pod_spec": k8s.V1Pod(
                metadata=k8s.V1ObjectMeta(labels={"from": "spec"}),
                spec=k8s.V1PodSpec(
                    containers=[
                        k8s.V1Container(
                            name="base",
                            volume_mounts=[k8s.V1VolumeMount(name="cache", mount_path="/home/sky/sky_logs")],
                        )
                    ]
                ),
            ),
        },
        template_and_arguments={**COMMON, **POD_ARGUMENTS, "pod_template_dict": TEMPLATE},
        own_state={
            "volumes": [k8s.V1Volume(name="sky-state", empty_dir=k8s.V1EmptyDirVolumeSource())],
            "volume_mounts": [k8s.V1VolumeMount(name="sky-state", mount_path="/home/sky/.ssh", sub_path="keys")],
            "env_vars": [k8s.V1EnvVar(name="HOME", value="/elsewhere")],
        },
        own_scratch={"volumes": [k8s.V1Volume(name="sky-tmp", empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory"))]},
        root_may_write={"container_security_context": {"readOnlyRootFilesystem": False}},
        openshift={
            "security_context": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
            "container_security_context": k8s.V1SecurityContext(capabilities=k8s.V1Capabilities(add=["NET_ADMIN"])),
        },
        another_container={"deferrable": True, "base_container_name": "work", "credentials": [{"connection": "aws"}]},
        no_random_suffix={"random_name_suffix": False, "name": "mine"},
    ),
    *(
        Case(operator=SkyStatusOperator, name=name, arguments={}, settings=settings)
        for name, settings in SETTINGS.items()
    ),
]

CASES = [*TASKS, *CLUSTERS, *OTHERS, *DECORATORS, *PODS]
