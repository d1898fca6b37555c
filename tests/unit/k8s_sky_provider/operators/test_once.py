"""What is known of a try is found out once in each of its processes, and what the author gave stays as it is."""

from __future__ import annotations

import collections
import copy
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers.common.compat.sdk import TaskDeferred, conf

from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator
from k8s_sky_provider.exceptions import SkyPodFailedError
from k8s_sky_provider.operators import SkyBaseOperator, SkyLaunchOperator
from k8s_sky_provider.pod_spec import Templates
from k8s_sky_provider.workspace import Workspace
from unit.k8s_sky_provider.fake_kubernetes import request_of
from unit.k8s_sky_provider.golden_cases import POD_ARGUMENTS, TEMPLATE_FILE
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from kubernetes.client import models as k8s

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

Counts = collections.Counter[str]

CONVERTED = {"container_resources", "env_vars", "name"}
"""Fields that KubernetesPodOperator itself gives another form."""


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Return what counts the calls that cost something, or that may have two answers."""
    counts: Counts = collections.Counter()

    def count(what: str, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counting(*args: Any, **options: Any) -> Any:
            counts[what] += 1
            return real(*args, **options)

        monkeypatch.setattr(owner, name, counting)

    real_get = conf.get

    def get(*args: Any, **options: Any) -> Any:
        if args[:1] == ("skypilot",):
            counts[".".join(args[:2])] += 1
        return real_get(*args, **options)

    monkeypatch.setattr(conf, "get", get)
    count("resolves", Workspace, "resolve")
    count("requests", SkyLaunchOperator, "build_arguments")
    count("task reads", SkyLaunchOperator, "read_task")
    count("template parses", Templates, "read")
    count("template parses", PodGenerator, "deserialize_model_file")
    count("pods", SkyBaseOperator, "build_pod_request_obj")
    return counts


def make_launch(**arguments: Any) -> SkyLaunchOperator:
    return SkyLaunchOperator(
        task_id="launch",
        dag=make_dag(),
        sky_task_yaml={"run": "echo hello"},
        pod_template_file=str(TEMPLATE_FILE),
        namespace="sky",
        **arguments,
    )


def lookups_of(counts: Counts) -> set[int]:
    """Return how often options of the deployment were looked up."""
    return {times for name, times in counts.items() if name.startswith("skypilot.")}


def calls_of(counts: Counts) -> dict[str, int]:
    return {name: times for name, times in counts.items() if "." not in name}


def test_a_launch_finds_out_once(kubernetes: FakeKubernetes, counts: Counts) -> None:
    run_task(make_launch, kubernetes)
    # KubernetesPodOperator parses the template once more.
    assert calls_of(counts) == {"resolves": 1, "requests": 1, "task reads": 1, "template parses": 2, "pods": 1}
    assert lookups_of(counts) == {1}


def test_so_does_each_process_of_one_that_is_deferred(kubernetes: FakeKubernetes, counts: Counts) -> None:
    run_task(lambda: make_launch(deferrable=True), kubernetes)
    assert calls_of(counts) == {"resolves": 2, "requests": 1, "task reads": 1, "template parses": 3, "pods": 1}
    assert lookups_of(counts) == {2}


def test_so_does_one_whose_pod_has_ended_before_it_could_be_deferred(
    kubernetes: FakeKubernetes, counts: Counts
) -> None:
    ti = TaskInstance()
    lost = make_launch(deferrable=True, on_finish_action="keep_pod")
    with pytest.raises(TaskDeferred):
        lost.execute(context_of(lost, ti))
    kubernetes.finish()
    counts.clear()
    run_task(lambda: make_launch(deferrable=True, on_finish_action="keep_pod"), kubernetes, ti)
    assert calls_of(counts) == {"resolves": 1, "requests": 1, "task reads": 1, "template parses": 2, "pods": 1}


@pytest.mark.usefixtures("kubernetes")
def test_another_try_of_the_same_operator_begins_anew(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(operator: SkyBaseOperator, context: Any) -> None:
        pods.append(operator.build_pod_request_obj(context))

    pods: list[k8s.V1Pod] = []
    monkeypatch.setattr(KubernetesPodOperator, "execute", build)
    operator = make_launch()
    for try_number in (1, 2):
        with pytest.raises(SkyPodFailedError):
            operator.execute(context_of(operator, TaskInstance(try_number=try_number)))
    assert (counts["resolves"], counts["requests"]) == (2, 2)
    assert [request_of(pod).owner.try_number for pod in pods] == [1, 2]


def fields_of(operator: SkyBaseOperator) -> dict[str, Any]:
    return {name: copy.deepcopy(getattr(operator, name)) for name in operator.template_fields if name not in CONVERTED}


@pytest.mark.parametrize("arguments", [{}, POD_ARGUMENTS], ids=["defaults", "all"])
def test_what_the_author_gave_stays_as_it_is(arguments: dict[str, Any], kubernetes: FakeKubernetes) -> None:
    operator = SkyClusterDownOperator(
        task_id="down", dag=make_dag(), launch_task_id="launch", **copy.deepcopy(arguments)
    )
    context = context_of(operator)
    operator.render_template_fields(context)
    before, secrets = fields_of(operator), list(operator.secrets)
    operator.execute(context)
    assert fields_of(operator) == before
    assert operator.secrets == secrets
    assert kubernetes.request.arguments["cluster_name"].startswith("dag-launch-")


def test_a_dry_run_is_no_try(kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]) -> None:
    operator = make_launch(cluster_name="demo")
    operator.dry_run()
    assert '"try_number":1' in capsys.readouterr().out.replace(" ", "")
    operator.execute(context_of(operator, TaskInstance(try_number=3, task_id="launch")))
    assert kubernetes.request.owner.try_number == 3
