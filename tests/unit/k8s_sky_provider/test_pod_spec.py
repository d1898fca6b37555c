"""The pod of KubernetesPodOperator is completed: what the author has said stays as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.operators import pod as kubernetes_pod_operator
from airflow.providers.cncf.kubernetes.secret import Secret
from kubernetes.client import models as k8s

from k8s_sky_provider.operators import SkyStatusOperator
from k8s_sky_provider.pod_security import SecurityContexts
from k8s_sky_provider.pod_spec import Completion, Templates, complete
from k8s_sky_provider.workspace import Workspace
from unit.k8s_sky_provider.golden_cases import TEMPLATE
from unit.k8s_sky_provider.operators.running import make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

CREDENTIALS = [{"secret": "ours", "env": True}, {"secret": "aws", "path": ".aws"}]


def pod_of(kubernetes: FakeKubernetes, **arguments: Any) -> k8s.V1Pod:
    run_task(lambda: SkyStatusOperator(task_id="status", dag=make_dag(), **arguments), kubernetes)
    return kubernetes.pod


def secret(*args: Any) -> Secret:
    return Secret(*args)  # type: ignore[no-untyped-call]  # Airflow has none


def test_a_variable_of_a_secret_of_the_author_is_there_once(kubernetes: FakeKubernetes) -> None:
    container = pod_of(kubernetes, secrets=[secret("env", "SKYPILOT_USER", "mine", "user")]).spec.containers[0]
    (variable,) = (variable for variable in container.env if variable.name == "SKYPILOT_USER")
    assert variable.value_from.secret_key_ref.name == "mine"


def test_a_mount_of_a_secret_of_the_author_is_there_once(kubernetes: FakeKubernetes) -> None:
    kubernetes.secrets["mine"] = k8s.V1Secret(metadata=k8s.V1ObjectMeta())
    pod = pod_of(kubernetes, credentials=CREDENTIALS, secrets=[secret("volume", "/home/sky/.aws", "mine")])
    (mount,) = (mount for mount in pod.spec.containers[0].volume_mounts if mount.mount_path == "/home/sky/.aws")
    (volume,) = (volume for volume in pod.spec.volumes if volume.name == mount.name)
    assert volume.secret.secret_name == "mine"


def test_a_key_of_a_source_of_the_author_is_the_one_that_counts(kubernetes: FakeKubernetes) -> None:
    mine = k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name="mine"))
    pod = pod_of(
        kubernetes, credentials=CREDENTIALS, env_from=[mine], configmaps=["more"], secrets=[secret("env", None, "last")]
    )
    sources = [source.secret_ref or source.config_map_ref for source in pod.spec.containers[0].env_from]
    # Kubernetes takes the later one.
    assert [source.name for source in sources] == ["ours", "mine", "more", "last"]


def test_the_pull_secrets_of_a_template_beat_the_deployments(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SKYPILOT__IMAGE_PULL_SECRETS", "ours")
    pod = pod_of(kubernetes, pod_template_dict=TEMPLATE)
    assert [secret.name for secret in pod.spec.image_pull_secrets] == ["from-template"]


def test_the_mutation_hook_sees_all_of_it(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    def mirror(pod: k8s.V1Pod) -> None:
        container = pod.spec.containers[0]
        container.image = f"mirror.example.com/{container.image}"
        seen.extend(variable.name for variable in container.env)
        seen.extend(volume.name for volume in pod.spec.volumes)

    seen: list[str] = []
    monkeypatch.setattr(kubernetes_pod_operator, "pod_mutation_hook", mirror)
    assert pod_of(kubernetes).spec.containers[0].image == "mirror.example.com/registry.example.com/skypilot:1"
    assert {"HOME", "sky-state"} <= set(seen)


def test_it_is_pure() -> None:
    workspace = Workspace.resolve(credentials=CREDENTIALS)
    ours = Completion(
        workspace=workspace,
        contexts=SecurityContexts.resolve(),
        command=["run"],
        argument="{}",
        is_deferred=True,
    )
    pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(), spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")]))
    before = copy.deepcopy(pod)
    completed = complete(pod, ours)
    assert pod == before
    assert complete(pod, ours) == completed
    assert complete(completed, ours) == completed


@pytest.mark.parametrize("manifest", [{}, {"spec": None}, {"spec": {"containers": []}}, {"metadata": None}])
def test_a_template_may_say_nothing(manifest: dict[str, Any]) -> None:
    templates = Templates.read(file=None, template=manifest, full=None)
    assert (templates.namespace, templates.image, templates.image_pull_policy) == (None, None, None)
