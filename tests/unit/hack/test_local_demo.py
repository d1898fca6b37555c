"""How the demo ends when something is wrong: which task, the end of its log, the way out, and never a traceback."""

from __future__ import annotations

import contextlib
import dataclasses
import email.message
import io
import urllib.error
from typing import TYPE_CHECKING, Any

import local_airflow
import pytest
from local_airflow import LocalAirflow, refusals_in
from local_demo import DAG_ID, LINES_OF_A_LOG, WAY_OUT, main, why_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TASKS = ("launch", "exec", "status", "down")
AFTER_LAUNCH = {"exec": "upstream_failed", "status": "upstream_failed", "down": "success"}


@dataclasses.dataclass
class FakeAirflow:
    """An Airflow whose run goes through states, one at each look.

    :param looks: the states of the tasks at each look; the last one stays
    :param ends: the state of the run at the last look
    :param logs: of tasks
    :param waiting: the pods that there are
    :param trouble: what a look, or the start of the run, ends with
    :param began: when tasks began, where that is not some time
    :param refused: why Kubernetes refused pods in which tasks were to begin
    """

    looks: list[dict[str, str | None]] = dataclasses.field(default_factory=list)
    ends: str = "failed"
    logs: dict[str, str] = dataclasses.field(default_factory=dict)
    waiting: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    trouble: dict[str, BaseException] = dataclasses.field(default_factory=dict)
    began: dict[str, str | None] = dataclasses.field(default_factory=dict)
    refused: list[str] = dataclasses.field(default_factory=list)

    def trigger(self, dag_id: str) -> str:
        assert dag_id == DAG_ID
        self._meet("trigger")
        return "run-1"

    def run_state(self, dag_id: str, run_id: str) -> str:
        self._meet("look")
        return self.ends if len(self.looks) == 1 else "running"

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        states = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return [
            {"task_id": name, "state": states.get(name), "try_number": 1, "start_date": self.began.get(name, "2026")}
            for name in TASKS
        ]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        assert try_number == 1
        return self.logs.get(task_id, "")

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        return f"what {task_id} returned"

    def pods(self) -> list[dict[str, Any]]:
        return self.waiting

    def refusals(self, seconds: int) -> list[str]:
        assert seconds > 0
        return self.refused

    def _meet(self, step: str) -> None:
        if step in self.trouble:
            raise self.trouble[step]


def pending(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "k8s-sky", "name": name}, "status": {"phase": "Pending", **status}}


NO_ROOM = "0/2 nodes are available: 2 Insufficient cpu."
UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_ROOM}]
NO_IMAGE = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry/none:1"'}


@pytest.fixture
def demo(capsys: pytest.CaptureFixture[str]) -> Callable[[FakeAirflow], tuple[int, str]]:
    """Run the demo on an Airflow; return its exit code and what it printed."""

    def demo(airflow: FakeAirflow) -> tuple[int, str]:
        code = main(lambda: contextlib.nullcontext(airflow), seconds=0.1, pause=0.01)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out

    return demo


def test_a_run_that_succeeds_shows_logs_and_results(demo: Callable[[FakeAirflow], tuple[int, str]]) -> None:
    looks: list[dict[str, str | None]] = [{"launch": "running"}, dict.fromkeys(TASKS, "success")]
    code, text = demo(FakeAirflow(looks, ends="success", logs={"launch": "[base] Hello from the cluster\nnoise"}))
    assert code == 0
    assert "launch: running" in text
    assert "  Hello from the cluster" in text
    assert "noise" not in text
    assert "launch returned: 'what launch returned'" in text
    assert WAY_OUT not in text


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param(
            "SkyDeploymentError: Kubernetes refuses the pod in namespace 'k8s-sky': it violates PodSecurity",
            id="namespace refused",
        ),
        pytest.param("SkyDeploymentError: ErrImagePull: registry/none:1: not found", id="image missing"),
        pytest.param("SkyRequestError: resources: 'cpu' is no key of a task, is it 'cpus'?", id="wrong YAML"),
    ],
)
def test_a_failed_task_is_named_with_the_end_of_its_log(
    demo: Callable[[FakeAirflow], tuple[int, str]], reason: str
) -> None:
    long_log = "\n".join([*(f"line {number}" for number in range(100)), reason])
    airflow = FakeAirflow([{"launch": "running"}, {"launch": "failed", **AFTER_LAUNCH}], logs={"launch": long_log})
    code, text = demo(airflow)
    assert code == 1
    assert "error: the run ended as failed" in text
    assert "launch failed; the end of its log" in text
    assert reason in text
    shown = text.count("  line ")
    assert shown == LINES_OF_A_LOG - 1
    assert "Not run, for what they need has failed: exec, status" in text
    assert text.endswith(f"{WAY_OUT}\n")


def test_a_task_that_never_began_has_no_log_but_a_reason(demo: Callable[[FakeAirflow], tuple[int, str]]) -> None:
    refusal = 'pods "sky-quickstart-launch" is forbidden: violates PodSecurity "restricted:latest"'
    looks: list[dict[str, str | None]] = [{"launch": "failed", **AFTER_LAUNCH}]
    code, text = demo(FakeAirflow(looks, began={"launch": None}, refused=[refusal]))
    assert code == 1
    assert f"launch failed before it began, so it has no log.\n  Kubernetes refused a pod: {refusal}\n" in text
    assert WAY_OUT in text


def test_the_schedulers_log_tells_what_kubernetes_refused() -> None:
    log = """
Pod creation failed with reason 'Forbidden'. Failing task
HTTP response body: {"kind":"Status","message":"pods \\"a\\" is forbidden: exceeded quota","code":403}
HTTP response body: {"kind":"Status","message":"pods \\"a\\" is forbidden: exceeded quota","code":403}
HTTP response body: {no JSON}
"""
    assert refusals_in(log) == ['pods "a" is forbidden: exceeded quota']


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        pytest.param(pending("launch-abc", conditions=UNSCHEDULABLE), NO_ROOM, id="cluster full"),
        pytest.param(
            pending("launch-abc", containerStatuses=[{"state": {"waiting": NO_IMAGE}}]),
            'ImagePullBackOff: Back-off pulling image "registry/none:1"',
            id="image missing",
        ),
    ],
)
def test_a_run_that_takes_too_long_says_what_its_pods_wait_for(
    demo: Callable[[FakeAirflow], tuple[int, str]], pod: dict[str, Any], reason: str
) -> None:
    code, text = demo(FakeAirflow([{"launch": "queued"}], ends="running", waiting=[pod]))
    assert code == 1
    assert "error: the run has not ended after 0 s, and goes on." in text
    assert "Not ended: launch (queued), exec (no state yet)" in text
    assert f"Pod k8s-sky/launch-abc waits: {reason}" in text
    assert WAY_OUT in text


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
def test_a_pod_that_runs_or_has_ended_waits_for_nothing(phase: str) -> None:
    assert why_pending({"status": {"phase": phase, "conditions": UNSCHEDULABLE}}) is None


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ({"trigger": RuntimeError("Airflow cannot read sky_quickstart.py: YAMLError")}, "YAMLError"),
        ({"look": ConnectionRefusedError("Connection refused")}, "Connection refused"),
        ({"trigger": TimeoutError("Airflow did not list the DAG")}, "did not list the DAG"),
    ],
)
def test_an_airflow_that_gives_no_answer_is_an_error(
    demo: Callable[[FakeAirflow], tuple[int, str]], trouble: dict[str, BaseException], text: str
) -> None:
    code, printed = demo(FakeAirflow([{}], trouble=trouble))
    assert code == 1
    assert f"error: {trouble.popitem()[1]}" in printed
    assert text in printed
    assert WAY_OUT in printed


def test_no_airflow_at_all_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    @contextlib.contextmanager
    def connect() -> Iterator[FakeAirflow]:
        raise RuntimeError('kubectl get secret sky-airflow: secrets "sky-airflow" not found')
        yield FakeAirflow()

    assert main(connect) == 1
    assert 'error: kubectl get secret sky-airflow: secrets "sky-airflow" not found' in capsys.readouterr().out


def test_ctrl_c_ends_it_and_says_that_the_run_goes_on(demo: Callable[[FakeAirflow], tuple[int, str]]) -> None:
    code, text = demo(FakeAirflow([{}], trouble={"look": KeyboardInterrupt()}))
    assert code == 130
    assert "Stopped watching. A run that has begun goes on" in text


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], LocalAirflow]:
    """Return a LocalAirflow whose API answers with a status."""

    def api(status: int) -> LocalAirflow:
        def refuse(*_: Any) -> Any:
            raise urllib.error.HTTPError("url", status, "", email.message.Message(), io.BytesIO(b"{}"))

        monkeypatch.setattr(local_airflow, "Kubectl", lambda: None)
        airflow = LocalAirflow()
        monkeypatch.setattr(airflow, "_send", refuse)
        return airflow

    return api


def test_the_api_has_no_log_and_no_result_of_a_task_that_never_began(api: Callable[[int], LocalAirflow]) -> None:
    airflow = api(404)
    assert airflow.log("dag", "run", "task") == ""
    assert airflow.xcom("dag", "run", "task") is None


def test_an_error_of_the_api_is_no_missing_log(api: Callable[[int], LocalAirflow]) -> None:
    with pytest.raises(RuntimeError, match="500"):
        api(500).log("dag", "run", "task")
