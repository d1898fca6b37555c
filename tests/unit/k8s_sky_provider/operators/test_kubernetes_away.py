"""What a task makes of a Kubernetes API that is away for too long, and of a request whose answer was lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import ProtocolError

from k8s_sky_provider.exceptions import SkyTransientError
from k8s_sky_provider.kubernetes_api import Patience
from k8s_sky_provider.operators import SkyStatusOperator
from k8s_sky_provider.protocol import SkyResult
from unit.k8s_sky_provider.fake_kubernetes import FakeLog, api_error, reports, running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

QUOTA_CONFLICT = 'Operation cannot be fulfilled on resourcequotas "compute": the object has been modified'

pytestmark = pytest.mark.usefixtures("deployment")


def make(**arguments: Any) -> SkyStatusOperator:
    return SkyStatusOperator(task_id="task", dag=make_dag(), **arguments)


@pytest.fixture(autouse=True)
def no_waiting(kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    del kubernetes  # its time does not pass at all
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_a_task_says_that_the_api_is_away_and_leaves_its_pod_alone(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ProtocolError("the API is away")

    monkeypatch.setattr(kubernetes, "read_namespaced_pod", away)
    with pytest.raises(SkyTransientError, match="the pod may run on: a retry goes on with it"):
        run_task(make, kubernetes)
    assert kubernetes.left_over


def test_a_pod_whose_creation_was_not_answered_is_taken(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = kubernetes.create_namespaced_pod

    def create_without_answer(**arguments: Any) -> None:
        if not kubernetes.left_over:
            create(**arguments)
        raise api_error(409, "pods already exists", "Conflict")

    monkeypatch.setattr(kubernetes, "create_namespaced_pod", create_without_answer)
    assert run_task(make, kubernetes).xcom["result"]["exit_code"] == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_another_runs_pod_of_the_same_name_is_not_taken(kubernetes: FakeKubernetes, deferrable: bool) -> None:
    def make_named() -> SkyStatusOperator:
        return make(name="status", random_name_suffix=False, deferrable=deferrable)

    other = make_named()
    other.get_or_create_pod(other.build_pod_request_obj(of_run := context_of(other, TaskInstance(run_id="a"))), of_run)
    with pytest.raises(SkyTransientError, match=r'pods "status" already exists.*random_name_suffix'):
        run_task(make_named, kubernetes, TaskInstance(run_id="b"))
    assert kubernetes.left_over == ["status"]


def test_a_conflict_that_is_no_pod_of_that_name_is_tried_again(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, conflicts = kubernetes.create_namespaced_pod, iter(range(2))

    def create_at_the_third_attempt(**arguments: Any) -> Any:
        if next(conflicts, None) is not None:
            raise api_error(409, QUOTA_CONFLICT, "Conflict")
        return create(**arguments)

    monkeypatch.setattr(kubernetes, "create_namespaced_pod", create_at_the_third_attempt)
    assert run_task(make, kubernetes).xcom["result"]["exit_code"] == 0


def test_a_conflict_that_stays_is_a_failure_that_a_retry_can_mend(kubernetes: FakeKubernetes) -> None:
    kubernetes.create_error = api_error(409, QUOTA_CONFLICT, "Conflict")
    with pytest.raises(SkyTransientError, match="resourcequotas"):
        run_task(make, kubernetes)


def test_a_worker_is_patient_from_its_first_request(kubernetes: FakeKubernetes) -> None:
    assert make().hook.core_v1_client is kubernetes
    assert isinstance(kubernetes.api_client.rest_client.pool_manager.connection_pool_kw["retries"], Patience)


def test_a_worker_whose_credentials_expire_logs_no_line_twice(
    kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = ["2026-01-01T00:00:01Z the first line", "2026-01-01T00:00:02Z the second line"]
    answers: list[FakeLog | Exception] = [
        FakeLog(lines[:1], timestamps=False),
        api_error(401, "Unauthorized"),
        FakeLog(lines, timestamps=False),
    ]

    def read_log(*_: Any, **__: Any) -> FakeLog:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(kubernetes, "read_namespaced_pod_log", read_log)
    kubernetes.life = lambda _: [*[running()] * 9, reports(SkyResult(action="status", exit_code=0))]
    run_task(make, kubernetes)
    logged = max("".join(capsys.readouterr()), caplog.text, key=len)
    assert len(answers) == 1
    assert [logged.count(line) for line in ("the first line", "the second line")] == [1, 1]
