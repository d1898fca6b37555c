"""Whoever ends a pod that is at work says so on it; who takes it up again takes that back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred

from k8s_sky_provider import exceptions
from k8s_sky_provider.operators import SkyDownOperator, SkyLaunchOperator, task_operator
from k8s_sky_provider.protocol import KILL_ANNOTATION, TRIES_LEFT_ANNOTATION, TRY_ANNOTATION, ExitCode, SkyResult
from unit.k8s_sky_provider.fake_kubernetes import api_error, reports, running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")


def make_launch(**arguments: Any) -> SkyLaunchOperator:
    return SkyLaunchOperator(
        task_id="task", dag=make_dag(), cluster_name="demo", sky_task_yaml={"run": "echo"}, **arguments
    )


def run_out_of_time() -> None:
    raise AirflowTaskTimeout("Timeout, PID: 7")


def words_of(kubernetes: FakeKubernetes) -> list[str | None]:
    return [deletion.word for deletion in kubernetes.deleted]


class TestWord:
    """What a pod is told before it is deleted."""

    def test_a_killed_task_tells_its_pod(self, kubernetes: FakeKubernetes) -> None:
        operator = make_launch()
        kubernetes.while_running = operator.on_kill
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes, TaskInstance(try_number=3))
        assert words_of(kubernetes) == ["3"]

    def test_so_does_one_whose_time_is_over(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running()]
        kubernetes.while_running = run_out_of_time
        with pytest.raises(AirflowTaskTimeout):
            run_task(make_launch, kubernetes)
        assert words_of(kubernetes) == ["1"]

    def test_and_one_whose_time_is_over_while_it_is_deferred(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running()]
        operator = make_launch(deferrable=True)
        with pytest.raises(TaskDeferred):
            operator.execute(context_of(operator))
        event = {"status": "timeout", "name": kubernetes.pod.metadata.name, "namespace": "sky", "message": "too late"}
        operator = make_launch(deferrable=True)
        with pytest.raises(exceptions.SkyPilotError):
            operator.trigger_reentry(context_of(operator), event)
        assert words_of(kubernetes) == ["1"]

    def test_a_pod_that_is_done_is_told_nothing(self, kubernetes: FakeKubernetes) -> None:
        run_task(lambda: make_launch(deferrable=True), kubernetes)
        assert words_of(kubernetes) == [None]

    def test_a_pod_that_is_kept_is_told_nothing(self, kubernetes: FakeKubernetes) -> None:
        operator = make_launch(on_kill_action="keep_pod")
        kubernetes.while_running = operator.on_kill
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes)
        assert KILL_ANNOTATION not in kubernetes.pod.metadata.annotations

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_pod_that_cannot_be_told_is_deleted_all_the_same(
        self, status: int, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise api_error(status, "no")

        operator = make_launch()
        monkeypatch.setattr(kubernetes, "patch_namespaced_pod", refuse)
        kubernetes.while_running = operator.on_kill
        with pytest.raises(exceptions.SkyCancelledError):
            run_task(lambda: operator, kubernetes)
        assert words_of(kubernetes) == [None]
        assert ("will take it for an eviction" in caplog.text) is (status == 403)


class TestNextTry:
    """The try that takes a pod up again."""

    def test_takes_back_what_an_earlier_one_has_said(self, kubernetes: FakeKubernetes) -> None:
        result = SkyResult(action="launch", exit_code=ExitCode.OK, return_value="demo", cluster_name="demo")
        kubernetes.life = lambda _: [running(), running(), reports(result)]
        lost = make_launch()
        lost.get_or_create_pod(lost.build_pod_request_obj(context_of(lost)), context_of(lost))
        kubernetes.pod.metadata.annotations[KILL_ANNOTATION] = "1"
        assert kubernetes.pod.metadata.annotations[TRY_ANNOTATION] == "1"
        run_task(make_launch, kubernetes, TaskInstance(try_number=2))
        annotations = kubernetes.pod.metadata.annotations
        assert (KILL_ANNOTATION in annotations, annotations[TRY_ANNOTATION]) == (False, "2")


class TestOnEviction:
    """Whether somebody goes on with what an eviction leaves."""

    @pytest.mark.parametrize(("try_number", "left"), [(1, "2"), (2, "1"), (3, "0")])
    def test_the_pod_knows_how_many_tries_are_left(
        self, kubernetes: FakeKubernetes, try_number: int, left: str
    ) -> None:
        run_task(make_launch, kubernetes, TaskInstance(try_number=try_number, max_tries=2))
        assert kubernetes.pod.metadata.annotations[TRIES_LEFT_ANNOTATION] == left

    def test_and_knows_it_anew_when_a_try_takes_it_up(self, kubernetes: FakeKubernetes) -> None:
        lost = make_launch()
        context = context_of(lost, TaskInstance(max_tries=1))
        lost.get_or_create_pod(lost.build_pod_request_obj(context), context)
        assert kubernetes.pod.metadata.annotations[TRIES_LEFT_ANNOTATION] == "1"
        run_task(make_launch, kubernetes, TaskInstance(try_number=2, max_tries=1))
        assert kubernetes.pod.metadata.annotations[TRIES_LEFT_ANNOTATION] == "0"

    def test_anything_else_is_refused(self, kubernetes: FakeKubernetes) -> None:
        with pytest.raises(exceptions.SkyRequestError, match="on_eviction: 'stay' is not one of follow, kill"):
            make_launch(on_eviction="stay")
        with pytest.raises(exceptions.SkyRequestError, match="on_eviction: 'stay' is not one of follow, kill"):
            run_task(lambda: make_launch(on_eviction="{{ 'stay' }}"), kubernetes)
        assert kubernetes.created == []


class TestWarning:
    """Airflow's default is no retry, and then an eviction is the end."""

    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(task_operator, "_warned_of", set())

    def test_a_task_without_retries_is_told_once(self) -> None:
        with pytest.warns(
            exceptions.SkyRetriesWarning, match=r"\.task: retries=0, .* set retries, or on_eviction='kill'"
        ) as told:
            [make_launch() for _ in range(2)]
        assert len(told) == 1

    @pytest.mark.parametrize("arguments", [{"retries": 1}, {"on_eviction": "kill"}, {"default_args": {"retries": 1}}])
    def test_others_are_not(self, arguments: dict[str, Any]) -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            make_launch(**arguments)
            SkyDownOperator(task_id="down", cluster_name="demo")
        assert [one for one in told if one.category is exceptions.SkyRetriesWarning] == []
