"""A task ends with the base container of its pod, whatever else runs there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import models as k8s

from k8s_sky_provider import exceptions
from k8s_sky_provider.operators import SkyStatusOperator
from k8s_sky_provider.protocol import ExitCode, SkyResult
from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes, FakeLog, reports, running
from unit.k8s_sky_provider.operators.running import make_dag, run_task

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("deployment")

LOGS = {"base": "from the runner", "shipper": "from the shipper", "native": "from the native one", "first": "prepared"}

in_both_modes = pytest.mark.parametrize("deferrable", [False, True], ids=["synchronous", "deferred"])


def beside_a_log_shipper(status: k8s.V1PodStatus) -> k8s.V1PodStatus:
    """Return the status of a pod in which a log shipper, that never ends, runs beside the base container."""
    shipper = k8s.V1ContainerState(running=k8s.V1ContainerStateRunning())
    status.phase = "Running"
    status.container_statuses += [
        k8s.V1ContainerStatus(name=name, image="", image_id="", ready=True, restart_count=0, state=shipper)
        for name in ("shipper", "native")
    ]
    return status


def ends_with(exit_code: ExitCode) -> Callable[[k8s.V1Pod], list[k8s.V1PodStatus]]:
    result = SkyResult(action="status", exit_code=exit_code, return_value=["demo"], reason="because")
    return lambda _: [beside_a_log_shipper(running()), beside_a_log_shipper(reports(result))]


def make(**arguments: Any) -> SkyStatusOperator:
    pod = k8s.V1Pod(
        spec=k8s.V1PodSpec(
            init_containers=[
                k8s.V1Container(name="first"),
                k8s.V1Container(name="native", restart_policy="Always"),
            ],
            containers=[k8s.V1Container(name="base"), k8s.V1Container(name="shipper", image="fluent-bit")],
        )
    )
    return SkyStatusOperator(task_id="status", dag=make_dag(), full_pod_spec=pod, **arguments)


@pytest.fixture
def logs(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return of which containers the log was read; nobody may follow one that never ends."""
    read: list[str] = []

    def read_log(name: str, namespace: str, *, container: str, follow: bool = False, **options: Any) -> FakeLog:
        del name, namespace
        assert not (follow and container in {"shipper", "native"}), f"follows {container}"
        read.append(container)
        return FakeLog([LOGS[container]], timestamps=options.get("timestamps", False))

    monkeypatch.setattr(kubernetes, "read_namespaced_pod_log", read_log)
    return read


@in_both_modes
@pytest.mark.parametrize("get_logs", [True, False])
@pytest.mark.usefixtures("logs")
def test_a_task_does_not_wait_for_a_log_shipper(kubernetes: FakeKubernetes, deferrable: bool, get_logs: bool) -> None:
    kubernetes.life = ends_with(ExitCode.OK)
    ti = run_task(lambda: make(deferrable=deferrable, get_logs=get_logs), kubernetes)
    assert ti.xcom["return_value"] == ["demo"]
    assert kubernetes.left_over == []


@in_both_modes
@pytest.mark.usefixtures("logs")
def test_a_failure_beside_a_log_shipper_is_what_the_runner_says(kubernetes: FakeKubernetes, deferrable: bool) -> None:
    kubernetes.life = ends_with(ExitCode.TRY_AGAIN)
    with pytest.raises(exceptions.SkyTransientError, match="because"):
        run_task(lambda: make(deferrable=deferrable), kubernetes)
    assert kubernetes.left_over == []


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize(
    ("exit_code", "stays"), [(ExitCode.OK, False), (ExitCode.TRY_AGAIN, True)], ids=["succeeded", "failed"]
)
def test_the_base_container_decides_whether_the_pod_succeeded(
    kubernetes: FakeKubernetes, exit_code: ExitCode, stays: bool
) -> None:
    kubernetes.life = ends_with(exit_code)
    kubernetes.events = [("Unhealthy", "an event that explains nothing")]
    with contextlib.suppress(exceptions.SkyTransientError):
        run_task(lambda: make(on_finish_action="delete_succeeded_pod"), kubernetes)
    assert len(kubernetes.left_over) == stays


@pytest.mark.usefixtures("logs")
def test_a_success_beside_a_log_shipper_has_no_events_in_its_log(
    kubernetes: FakeKubernetes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    kubernetes.life = ends_with(ExitCode.OK)
    kubernetes.events = [("Unhealthy", "an event that explains nothing")]
    run_task(make, kubernetes)
    assert "explains nothing" not in caplog.text + "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("container_logs", "shown"),
    [
        (True, ["base", "shipper"]),
        ("base", ["base"]),
        ("shipper", ["shipper"]),
        (["shipper", "base"], ["base", "shipper"]),
    ],
    ids=str,
)
def test_the_logs_of_other_containers_are_there_when_the_base_container_has_ended(
    kubernetes: FakeKubernetes, logs: list[str], container_logs: Any, shown: list[str]
) -> None:
    kubernetes.life = ends_with(ExitCode.OK)
    run_task(lambda: make(container_logs=container_logs), kubernetes)
    assert list(dict.fromkeys(logs)) == shown


def test_an_init_container_is_followed_and_a_native_sidecar_is_not(kubernetes: FakeKubernetes, logs: list[str]) -> None:
    done = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=0))
    result = SkyResult(action="status", exit_code=ExitCode.OK, return_value=["demo"])

    def life(_: k8s.V1Pod) -> list[k8s.V1PodStatus]:
        stages = [beside_a_log_shipper(running()), beside_a_log_shipper(reports(result))]
        for stage in stages:
            stage.init_container_statuses = [
                k8s.V1ContainerStatus(name="first", image="", image_id="", ready=True, restart_count=0, state=done)
            ]
        return stages

    kubernetes.life = life
    ti = run_task(lambda: make(init_container_logs=True, container_logs="base"), kubernetes)
    assert ti.xcom["return_value"] == ["demo"]
    assert list(dict.fromkeys(logs)) == ["first", "base", "native"]
