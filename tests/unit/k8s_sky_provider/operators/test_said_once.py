"""What went wrong is said once: the typed error, last and alone; what is an error of its own stays that."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import PodLaunchFailedException
from airflow.providers.cncf.kubernetes.operators import pod as upstream
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from kubernetes.client import models as k8s

from k8s_sky_provider.exceptions import (
    SkyDeploymentError,
    SkyJobFailedError,
    SkyPilotError,
    SkyPodFailedError,
    SkyRequestError,
    SkyTransientError,
)
from k8s_sky_provider.operators import SkyLaunchOperator
from k8s_sky_provider.protocol import ExitCode, SkyResult
from k8s_sky_provider.triggers.pod import SkyPodTrigger
from unit.k8s_sky_provider.fake_kubernetes import api_error, ended, evicted, pending, reports, running, waiting
from unit.k8s_sky_provider.operators.running import START, make_dag, run_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True])

JOB_FAILED = reports(SkyResult(action="launch", exit_code=ExitCode.JOB_FAILED, reason="the job failed", job_id=7))
PULLED, UNHEALTHY = "image already present on machine", "liveness probe failed"


def make(**arguments: Any) -> SkyLaunchOperator:
    arguments = {"cluster_name": "demo", "sky_task_yaml": {"run": "true"}, **arguments}
    return SkyLaunchOperator(task_id="launch", dag=make_dag(), **arguments)


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return what the task has logged until now: to the terminal, or where it logs by the standard library."""
    return lambda: max("".join(capsys.readouterr()), caplog.text, key=len)


def fail(kubernetes: FakeKubernetes, **arguments: Any) -> SkyPilotError:
    """Run a task that fails with a typed error."""
    with pytest.raises(SkyPilotError) as caught:
        run_task(lambda: make(**arguments), kubernetes)
    return caught.value


@deferred_or_not
@pytest.mark.parametrize(
    ("life", "expected"),
    [
        ([running(), JOB_FAILED], SkyJobFailedError),
        ([running(), ended(137, reason="OOMKilled")], SkyPodFailedError),
        ([running(), ended(1, "no result")], SkyDeploymentError),
        ([waiting("ErrImagePull", "manifest unknown")], SkyPodFailedError),
        ([evicted("The node was low on resource: memory.")], SkyPodFailedError),
    ],
    ids=["job", "memory", "result", "image", "evicted"],
)
def test_an_error_comes_alone(
    life: list[k8s.V1PodStatus],
    expected: type[SkyPilotError],
    deferrable: bool,
    kubernetes: FakeKubernetes,
    log: Callable[[], str],
) -> None:
    kubernetes.life = lambda _: list(life)
    error = fail(kubernetes, deferrable=deferrable)
    assert type(error) is expected
    assert "".join(traceback.format_exception(error)).count("Traceback") == 1
    logged = log()
    assert error.reason not in logged
    assert "Traceback" not in logged
    assert "error" not in logged.lower().replace(error.reason.lower(), "")


@deferred_or_not
def test_a_result_is_not_in_the_log_and_neither_are_events_beside_it(
    deferrable: bool, kubernetes: FakeKubernetes, log: Callable[[], str]
) -> None:
    kubernetes.events, kubernetes.normal_events = [("Unhealthy", UNHEALTHY)], [("Pulled", PULLED)]
    kubernetes.life = lambda _: [running(), JOB_FAILED]
    fail(kubernetes, deferrable=deferrable)
    logged = log()
    assert "exit_code" not in logged
    assert "pod event: " not in logged.lower()


@deferred_or_not
def test_warnings_explain_a_pod_without_a_result(
    deferrable: bool, kubernetes: FakeKubernetes, log: Callable[[], str]
) -> None:
    kubernetes.events, kubernetes.normal_events = [("Unhealthy", UNHEALTHY)], [("Pulled", PULLED)]
    kubernetes.life = lambda _: [running(), ended(137)]
    fail(kubernetes, deferrable=deferrable)
    logged = log()
    assert logged.count(f"Pod event: Unhealthy - {UNHEALTHY}") == 1
    assert f"Pulled - {PULLED}" not in logged


def test_a_warning_that_came_while_the_pod_was_to_start_does_not_come_again(
    kubernetes: FakeKubernetes, log: Callable[[], str]
) -> None:
    kubernetes.events = [("Failed", "no such tag")]
    kubernetes.life = lambda _: [pending(), pending(), pending(), waiting("ErrImagePull", "manifest unknown")]
    fail(kubernetes, startup_check_interval_seconds=0)
    assert log().count("no such tag") == 1


@deferred_or_not
def test_events_that_cannot_be_read_hide_no_error(
    deferrable: bool, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise api_error(403, 'cannot list resource "events"')

    operator = make(deferrable=deferrable)
    monkeypatch.setattr(operator.pod_manager, "read_pod_events", refuse)
    kubernetes.life = lambda _: [running(), ended(137)]
    with pytest.raises(SkyPodFailedError, match="exit code 137"):
        run_task(lambda: operator, kubernetes)


def test_a_pod_that_cannot_start_is_no_unexpected_error_of_the_trigger(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]
) -> None:
    async def cannot_start(_: KubernetesPodTrigger) -> None:
        raise PodLaunchFailedException("Image cannot be pulled")

    async def event_of(trigger: SkyPodTrigger) -> dict[str, Any]:
        async for event in trigger.run():
            return dict(event.payload)
        raise AssertionError("no event")

    monkeypatch.setattr(KubernetesPodTrigger, "_wait_for_pod_start", cannot_start)
    event = asyncio.run(event_of(SkyPodTrigger("pod", "ns", START, "base")))
    assert (event["status"], event["message"]) == ("timeout", "Image cannot be pulled")
    assert "Traceback" not in log() + str(event)


@deferred_or_not
@pytest.mark.parametrize("error", [ValueError("no team label"), AirflowFailException("no team label")], ids=repr)
def test_an_error_of_a_pod_mutation_hook_is_its_own(
    error: Exception, deferrable: bool, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: k8s.V1Pod) -> None:
        raise error

    monkeypatch.setattr(upstream, "pod_mutation_hook", refuse)
    with pytest.raises(type(error)) as caught:
        run_task(lambda: make(deferrable=deferrable), kubernetes)
    assert caught.value is error


@deferred_or_not
@pytest.mark.parametrize(
    ("field", "value", "model"),
    [
        ("volumes", "text", "V1Volume"),
        ("volumes", [7], "V1Volume"),
        ("volume_mounts", ["/data"], "V1VolumeMount"),
        ("env_vars", "token=secret", "V1EnvVar"),
        ("env_vars", ["token=secret"], "V1EnvVar"),
    ],
)
def test_a_wrong_type_is_its_own_error(
    field: str, value: Any, model: str, deferrable: bool, kubernetes: FakeKubernetes
) -> None:
    # KubernetesPodOperator 10.20 refuses volumes and mounts itself, when the DAG is parsed.
    with pytest.raises(AirflowException, match=model) as caught:
        run_task(lambda: make(deferrable=deferrable, **{field: value}), kubernetes)
    assert not isinstance(caught.value, SkyPodFailedError)
    assert "secret" not in str(caught.value)
    assert not kubernetes.created


@deferred_or_not
def test_a_wrong_type_is_refused_by_its_name(deferrable: bool, kubernetes: FakeKubernetes) -> None:
    with pytest.raises(SkyRequestError, match=r"^env_vars: must be a list of kubernetes.client.models.V1EnvVar"):
        run_task(lambda: make(deferrable=deferrable, env_vars="token=secret"), kubernetes)


@deferred_or_not
def test_the_pods_specification_is_in_the_log_where_it_is_asked_for(
    deferrable: bool, kubernetes: FakeKubernetes, log: Callable[[], str]
) -> None:
    kubernetes.life = lambda _: [running(), JOB_FAILED]
    fail(kubernetes, deferrable=deferrable, log_pod_spec_on_failure=True, priority_class_name="urgent")
    logged = log()
    assert "The pod's specification:" in logged
    assert "priorityClassName: urgent" in logged
    assert "the job failed" not in logged


@pytest.mark.parametrize("asked", [False, True])
def test_nothing_asks_for_the_specification_of_a_pod_that_ends_well(
    asked: bool, kubernetes: FakeKubernetes, log: Callable[[], str]
) -> None:
    run_task(lambda: make(log_pod_spec_on_failure=asked), kubernetes)
    if not asked:
        kubernetes.life = lambda _: [running(), JOB_FAILED]
        fail(kubernetes, log_pod_spec_on_failure=asked)
    assert "specification" not in log()


LOG = "Traceback (most recent call last):\n  File x"


@deferred_or_not
@pytest.mark.parametrize(
    ("end", "policy", "expected", "message"),
    [
        (ended(137, LOG, "OOMKilled"), "FallbackToLogsOnError", SkyPodFailedError, "ran out of memory"),
        (ended(137, '{"proto', "OOMKilled"), "File", SkyPodFailedError, "ran out of memory"),
        (ended(137, None, "OOMKilled"), "File", SkyPodFailedError, "ran out of memory"),
        (ended(137, LOG), "FallbackToLogsOnError", SkyPodFailedError, "exit code 137 and no result"),
        (ended(1, LOG), "FallbackToLogsOnError", SkyPodFailedError, "exit code 1 and no result"),
        (ended(70, '{"protocol": 99}'), "FallbackToLogsOnError", SkyDeploymentError, "protocol version 99"),
        (ended(2, LOG), "File", SkyDeploymentError, "cannot be read"),
    ],
)
def test_how_a_container_ended_is_known_under_every_policy(
    end: k8s.V1PodStatus,
    policy: str,
    expected: type[SkyPilotError],
    message: str,
    deferrable: bool,
    kubernetes: FakeKubernetes,
) -> None:
    kubernetes.life = lambda _: [running(), end]
    error = fail(kubernetes, deferrable=deferrable, termination_message_policy=policy)
    assert type(error) is expected
    assert message in error.reason


@deferred_or_not
def test_a_container_before_the_runner_is_named_when_it_fails(deferrable: bool, kubernetes: FakeKubernetes) -> None:
    failed = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=3, reason="Error"))
    status = k8s.V1ContainerStatus(name="fetch", image="", image_id="", ready=False, restart_count=0, state=failed)
    kubernetes.life = lambda _: [k8s.V1PodStatus(phase="Failed", init_container_statuses=[status])]
    error = fail(kubernetes, deferrable=deferrable)
    assert error.reason == "The pod failed: container 'fetch' ended with exit code 3: Error"


@deferred_or_not
def test_who_may_not_look_for_pods_is_tried_again(
    deferrable: bool, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise api_error(403, 'pods is forbidden: User "airflow" cannot list resource "pods"')

    monkeypatch.setattr(kubernetes, "list_namespaced_pod", refuse)
    error = fail(kubernetes, deferrable=deferrable)
    assert type(error) is SkyTransientError
    assert 'cannot list resource "pods"' in error.reason
    assert "Grant Airflow's ServiceAccount" in error.reason
