"""A worker that is told to stop: whether that is a kill or an eviction, and what becomes of the task and its pod."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from k8s_sky_provider import exceptions, pod_end
from k8s_sky_provider.operators import SkyLaunchOperator, base, worker_stop
from k8s_sky_provider.operators.task_states import states_of
from k8s_sky_provider.pod_logs import POSITION_ANNOTATION, OncePodManager
from k8s_sky_provider.protocol import KILL_ANNOTATION, SkyResult
from unit.k8s_sky_provider.airflow_version import AIRFLOW
from unit.k8s_sky_provider.fake_kubernetes import reports, running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

KILLS = ["failed", "success", "skipped", "removed", "restarting", None]
"""States of a kill; None is a task instance that is no more."""

EVICTIONS = ["running", "queued", "deferred", "up_for_retry", "scheduled"]


class AirflowTaskTerminated(BaseException):
    """What Airflow 2 raises in its handler."""


def make_launch(**arguments: Any) -> SkyLaunchOperator:
    return SkyLaunchOperator(
        task_id="task", dag=make_dag(), cluster_name="demo", sky_task_yaml={"run": "echo"}, **arguments
    )


def task_instance(state: str | None, **fields: Any) -> TaskInstance:
    return TaskInstance(max_tries=2, task_states={} if state is None else {"task": state}, **fields)


@pytest.fixture(params=["Airflow 2", "Airflow 3"])
def handler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Handle SIGTERM as Airflow's task runner does: 3 goes on after on_kill, 2 raises."""
    monkeypatch.setattr(worker_stop, "SECONDS_BETWEEN_SIGNALS", 0.1)
    monkeypatch.setattr(worker_stop, "SECONDS_UNTIL_ASKED_AGAIN", 0.1)
    before = signal.getsignal(signal.SIGTERM)

    def install(operator: SkyLaunchOperator) -> None:
        def handle(*_: Any) -> None:
            operator.on_kill()
            if request.param == "Airflow 2":
                raise AirflowTaskTerminated

        signal.signal(signal.SIGTERM, handle)

    yield install
    signal.signal(signal.SIGTERM, before)


def be_told_to_stop() -> None:
    """Be at work until SIGTERM ends that."""
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(100)
    raise AssertionError("SIGTERM has ended nothing")


class TestEviction:
    """Nobody has ended the task."""

    @pytest.mark.parametrize("state", EVICTIONS)
    def test_the_try_ends_soon_and_its_pod_runs_on(
        self, state: str, kubernetes: FakeKubernetes, handler: Callable[[Any], None]
    ) -> None:
        operator = make_launch()
        handler(operator)
        kubernetes.life = lambda _: [running()]
        kubernetes.while_running = be_told_to_stop
        with pytest.raises(exceptions.SkyEvictedError, match=r"pod \S+ runs on, and the next try goes on"):
            run_task(lambda: operator, kubernetes, task_instance(state))
        assert kubernetes.deleted == []
        assert KILL_ANNOTATION not in kubernetes.pod.metadata.annotations

    @pytest.mark.parametrize("answer", ["never", "an error"])
    def test_no_answer_is_one_too(
        self,
        answer: str,
        kubernetes: FakeKubernetes,
        handler: Callable[[Any], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def ask(*_: Any, **__: Any) -> Any:
            if answer == "never":
                threading.Event().wait(30)
            raise RuntimeError("the supervisor is gone")

        monkeypatch.setattr(worker_stop, "SECONDS_TO_ASK", 0.2)
        monkeypatch.setattr(TaskInstance, "get_task_states", ask)
        operator = make_launch()
        handler(operator)
        kubernetes.life = lambda _: [running()]
        kubernetes.while_running = be_told_to_stop
        with pytest.raises(exceptions.SkyEvictedError):
            run_task(lambda: operator, kubernetes, task_instance("failed"))
        assert kubernetes.deleted == []

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_next_try_goes_on_with_that_pod_and_where_its_log_was(
        self,
        kubernetes: FakeKubernetes,
        handler: Callable[[Any], None],
        monkeypatch: pytest.MonkeyPatch,
        *,
        deferrable: bool,
    ) -> None:
        monkeypatch.setattr(base, "SECONDS_TO_NOTE", 60)
        # The first line is read by then.
        monkeypatch.setattr(time, "sleep", lambda _: be_told_to_stop())
        operator = make_launch()
        handler(operator)
        done = SkyResult(action="launch", exit_code=0, return_value="demo")
        kubernetes.life = lambda _: [*[running()] * 7, reports(done)]
        with pytest.raises(exceptions.SkyEvictedError):
            run_task(lambda: operator, kubernetes, task_instance("running"))
        position = kubernetes.pod.metadata.annotations[POSITION_ANNOTATION]
        resumed = []
        resume = OncePodManager.resume

        def keep(manager: OncePodManager, pod: Any, container: str, since: str | None) -> None:
            resumed.append(since)
            resume(manager, pod, container, since)

        monkeypatch.setattr(OncePodManager, "resume", keep)
        ti = run_task(lambda: make_launch(deferrable=deferrable), kubernetes, task_instance("running", try_number=2))
        assert (len(kubernetes.created), ti.xcom["return_value"], resumed[0]) == (1, "demo", position)

    @pytest.mark.parametrize("handler", ["Airflow 3"], indirect=True)
    def test_a_pod_that_is_done_meanwhile_has_its_result_taken(
        self, kubernetes: FakeKubernetes, handler: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_stop, "SECONDS_UNTIL_ASKED_AGAIN", 1)
        operator = make_launch()
        handler(operator)
        kubernetes.while_running = lambda: os.kill(os.getpid(), signal.SIGTERM)
        assert run_task(lambda: operator, kubernetes, task_instance("running")).xcom["return_value"] == "demo"
        assert kubernetes.left_over == []

    def test_so_does_one_that_waits_for_an_earlier_pod(
        self, kubernetes: FakeKubernetes, handler: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kubernetes.life = lambda _: [running()]
        lost = make_launch()
        context = context_of(lost, task_instance("running"))
        lost.get_or_create_pod(lost.build_pod_request_obj(context), context)
        kubernetes.pod.metadata.deletion_timestamp = dt.datetime.now(tz=dt.UTC) + dt.timedelta(minutes=5)
        operator = make_launch()
        handler(operator)
        monkeypatch.setattr(time, "sleep", lambda _: be_told_to_stop())
        with pytest.raises(exceptions.SkyEvictedError, match="nobody has ended the task: the next try goes on"):
            run_task(lambda: operator, kubernetes, task_instance("running", try_number=2))
        assert len(kubernetes.created) == 1

    def test_before_there_is_a_pod_none_is_made(self, kubernetes: FakeKubernetes) -> None:
        operator = make_launch()
        operator.on_kill()
        with pytest.raises(exceptions.SkyCancelledError, match="before it began"):
            run_task(lambda: operator, kubernetes, task_instance("running"))
        assert kubernetes.created == []


class TestKill:
    """Somebody has ended the task, or no try is left that could go on with it."""

    @pytest.mark.parametrize("state", KILLS)
    def test_the_pod_is_told_and_deleted(
        self, state: str | None, kubernetes: FakeKubernetes, handler: Callable[[Any], None]
    ) -> None:
        operator = make_launch()
        handler(operator)
        kubernetes.while_running = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes, task_instance(state))
        assert [deletion.word for deletion in kubernetes.deleted] == ["1 cleared" if state == "restarting" else "1"]

    def test_airflow_is_asked_once_however_often_it_is_told(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        askers = []

        def ask(*_: Any, **__: Any) -> dict[str, Any]:
            askers.append(threading.current_thread())
            return {}

        def be_told_often() -> None:
            for _ in range(3):
                operator.on_kill()

        monkeypatch.setattr(TaskInstance, "get_task_states", ask)
        operator = make_launch()
        kubernetes.while_running = be_told_often
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes, task_instance("failed"))
        assert len(askers) == len(kubernetes.deleted) == 1
        # Its handler may have interrupted another request to the supervisor.
        assert askers[0] is not threading.main_thread()
        assert askers[0].daemon, "a supervisor that does not answer would keep the process"

    def test_so_is_one_within_the_second_of_an_eviction(
        self, kubernetes: FakeKubernetes, handler: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        def state(*_: Any, **__: Any) -> dict[str, Any]:
            asked.append(time.monotonic())
            return {TaskInstance().run_id: {"task": "running" if asked[-1] - asked[0] < 0.05 else "failed"}}

        monkeypatch.setattr(TaskInstance, "get_task_states", state)
        operator = make_launch()
        handler(operator)
        kubernetes.while_running = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes, task_instance("running"))
        assert [deletion.word for deletion in kubernetes.deleted] == ["1"]

    def test_an_eviction_on_the_last_try_is_one(
        self, kubernetes: FakeKubernetes, handler: Callable[[Any], None]
    ) -> None:
        operator = make_launch()
        handler(operator)
        kubernetes.while_running = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes, task_instance("running", try_number=3))
        assert [deletion.word for deletion in kubernetes.deleted] == ["3"]

    def test_so_is_one_of_a_task_that_says_so(self, kubernetes: FakeKubernetes, handler: Callable[[Any], None]) -> None:
        operator = make_launch(on_eviction="kill")
        handler(operator)
        kubernetes.while_running = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes, task_instance("running"))
        assert [deletion.word for deletion in kubernetes.deleted] == ["1"]

    @pytest.mark.parametrize("map_index", [0, 3])
    def test_the_others_of_a_mapped_task_may_run_on(
        self, map_index: int, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def get_task_states(ti: TaskInstance, *, map_index: int | None, **_: Any) -> dict[str, dict[str, str]]:
            states = {f"task_{index}": "failed" if index == ti.map_index else "running" for index in range(5)}
            if map_index is not None:
                states = {f"task_{map_index}": states[f"task_{map_index}"]}
            return {ti.run_id: states}

        monkeypatch.setattr(TaskInstance, "get_task_states", get_task_states)
        operator = make_launch()
        kubernetes.while_running = operator.on_kill
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes, task_instance("running", map_index=map_index))
        assert [deletion.word for deletion in kubernetes.deleted] == ["1"]

    def test_a_task_that_is_killed_while_it_defers_has_ended_its_pod_when_it_ends(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator = make_launch(deferrable=True)
        defer, delete = operator.invoke_defer_method, kubernetes.delete_namespaced_pod

        def be_killed_and_defer(*arguments: Any, **options: Any) -> None:
            operator.on_kill()
            defer(*arguments, **options)

        def delete_slowly(*arguments: Any, **options: Any) -> None:
            threading.Event().wait(0.5)
            delete(*arguments, **options)

        monkeypatch.setattr(operator, "invoke_defer_method", be_killed_and_defer)
        monkeypatch.setattr(kubernetes, "delete_namespaced_pod", delete_slowly)
        with pytest.raises(TaskDeferred):
            operator.execute(context_of(operator, task_instance("failed")))
        assert kubernetes.left_over == []

    def test_a_pod_that_is_made_meanwhile_is_deleted(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator = make_launch()
        create = kubernetes.create_namespaced_pod

        def create_late(**arguments: Any) -> Any:
            operator.on_kill()
            assert operator._worker_stop is not None
            operator._worker_stop.wait()
            return create(**arguments)

        monkeypatch.setattr(kubernetes, "create_namespaced_pod", create_late)
        with pytest.raises(exceptions.SkyPilotError):
            run_task(lambda: operator, kubernetes, task_instance("failed"))
        assert kubernetes.left_over == []


def test_a_task_that_has_ended_is_interrupted_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_stop, "SECONDS_UNTIL_ASKED_AGAIN", 0)
    stop = worker_stop.WorkerStop(ask=lambda: ["running"], kill=pytest.fail, is_followed=True)
    stop.begin()
    assert stop.wait()
    stop.interrupt()


def test_the_pod_of_a_killed_task_is_told_before_airflow_kills_the_worker() -> None:
    assert worker_stop.SECONDS_TO_ASK + pod_end.SECONDS_TO_LEAVE_A_WORD < 5


@pytest.mark.skipif(AIRFLOW >= (3, 0), reason="a task of Airflow 3 asks its supervisor")
def test_on_airflow_2_the_database_is_asked() -> None:
    class Asker:
        """A task instance of Airflow 2: it has no get_task_states."""

    assert states_of(Asker(), dag_id="dag", run_id="run", task_id="task", map_index=-1) == []
