"""What a task that fails leaves to the tasks after it: the names and ids that they need, and no cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider import exceptions, operators
from k8s_sky_provider.decorators import sky_task
from k8s_sky_provider.operators import (
    SkyDownOperator,
    SkyJobCancelOperator,
    SkyJobLaunchOperator,
    SkyLaunchOperator,
    SkyStatusOperator,
)
from k8s_sky_provider.protocol import ExitCode, OnCancel, SkyResult
from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes, api_error, ended, reports, running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("deployment")

FAILURES = [code for code in ExitCode if code is not ExitCode.OK]
NEVER_RETRIED = {ExitCode.REQUEST_WRONG, ExitCode.CREDENTIALS_REFUSED, ExitCode.DEPLOYMENT_WRONG}

in_both_modes = pytest.mark.parametrize("deferrable", [False, True], ids=["synchronous", "deferred"])


def make_launch(**arguments: Any) -> SkyLaunchOperator:
    return SkyLaunchOperator(
        task_id="task", dag=make_dag(), sky_task_yaml={"run": "exit 3"}, **{"auto_down": False, **arguments}
    )


def make_job(**arguments: Any) -> SkyJobLaunchOperator:
    return SkyJobLaunchOperator(task_id="task", dag=make_dag(), sky_task_yaml={"run": "exit 3"}, **arguments)


def request_of(operator: Any, ti: TaskInstance | None = None) -> Any:
    context = context_of(operator, ti)
    operator.render_template_fields(context)
    return operator._build_request(context)


def rendered_for(make: Callable[[], Any], context: Any) -> Any:
    """Return the operator as a worker has it: a copy, whose fields are rendered."""
    operator = make().prepare_for_execution()
    operator.render_template_fields(context)
    return operator


class TestNames:
    """A name is known to the tasks after this one from the moment on in which it is chosen."""

    @in_both_modes
    @pytest.mark.parametrize("end", [ended(137), reports(SkyResult(action="launch", exit_code=65, reason="because"))])
    def test_the_clusters_name_is_there_although_the_launch_failed(
        self, kubernetes: FakeKubernetes, end: Any, deferrable: bool
    ) -> None:
        kubernetes.life = lambda _: [running(), end]
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyPilotError):
            run_task(lambda: make_launch(deferrable=deferrable), kubernetes, ti)
        assert ti.xcom["return_value"] == kubernetes.request.arguments["cluster_name"]

    def test_it_is_there_before_the_pod_is(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.create_error = api_error(403, "pods is forbidden", "Forbidden")
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyDeploymentError):
            run_task(lambda: make_launch(cluster_name="demo"), kubernetes, ti)
        assert ti.xcom == {"return_value": "demo"}

    def test_do_xcom_push_false_pushes_none(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running(), ended(137)]
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyPodFailedError):
            run_task(lambda: make_launch(do_xcom_push=False), kubernetes, ti)
        assert "return_value" not in ti.xcom

    def test_a_managed_jobs_name_is_there_before_the_pod_is(self, kubernetes: FakeKubernetes) -> None:
        kubernetes.life = lambda _: [running(), ended(137)]
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyPodFailedError):
            run_task(make_job, kubernetes, ti)
        assert ti.xcom["job_name"] == kubernetes.request.arguments["job_name"]
        assert "return_value" not in ti.xcom

    def test_the_cluster_of_a_function_has_a_key_of_its_own(self, kubernetes: FakeKubernetes) -> None:
        @sky_task
        def train() -> int:
            return 1

        kubernetes.life = lambda _: [running(), ended(137)]
        ti = TaskInstance()
        with make_dag():
            # What the decorator returns is an XComArg, whatever its type says.
            operator: Any = train().operator  # type: ignore[attr-defined]
        with pytest.raises(exceptions.SkyPodFailedError):
            run_task(lambda: operator, kubernetes, ti)
        assert ti.xcom["cluster_name"] == kubernetes.request.arguments["cluster_name"]
        assert "return_value" not in ti.xcom


class TestIds:
    """An id that SkyPilot chose is known when the pod has ended, failed or not."""

    @in_both_modes
    @pytest.mark.parametrize("job_ids", [7, [7, 8]], ids=str)
    def test_of_a_managed_job_that_failed(self, kubernetes: FakeKubernetes, job_ids: Any, deferrable: bool) -> None:
        result = SkyResult(action="jobs_launch", exit_code=ExitCode.JOB_FAILED, return_value=job_ids, reason="because")
        kubernetes.life = lambda _: [running(), reports(result)]
        ti = TaskInstance()
        with pytest.raises(exceptions.SkyJobFailedError):
            run_task(lambda: make_job(deferrable=deferrable), kubernetes, ti)
        assert ti.xcom["return_value"] == job_ids


class TestOnFailure:
    """A launch that is not tried again takes with it what it made, unless told to leave it."""

    @pytest.mark.parametrize(("try_number", "max_tries"), [(1, 0), (3, 2), (5, 4)])
    def test_on_the_last_try_after_any_failure(self, try_number: int, max_tries: int) -> None:
        ti = TaskInstance(try_number=try_number, max_tries=max_tries)
        assert request_of(make_launch(), ti).arguments["down_after"] == FAILURES

    @pytest.mark.parametrize(
        ("arguments", "more"),
        [
            ({}, set()),
            ({"fail_fast": True}, {ExitCode.JOB_FAILED, ExitCode.SETUP_FAILED}),
            ({"fail_fast": "{{ 'yes' }}"}, {ExitCode.JOB_FAILED, ExitCode.SETUP_FAILED}),
            ({"skip_on_exit_code": 69}, {ExitCode.RESOURCES_UNAVAILABLE}),
            ({"skip_on_exit_code": [99]}, {ExitCode.JOB_FAILED, ExitCode.SETUP_FAILED}),
        ],
        ids=str,
    )
    def test_before_that_after_failures_that_end_the_task(self, arguments: dict[str, Any], more: set[ExitCode]) -> None:
        ti = TaskInstance(try_number=1, max_tries=2)
        assert set(request_of(make_launch(**arguments), ti).arguments["down_after"]) == NEVER_RETRIED | more

    @pytest.mark.parametrize("leave", ["leave", "{{ 'leave' }}"])
    def test_leave_leaves_it(self, leave: str) -> None:
        assert request_of(make_launch(on_failure=leave)).arguments["down_after"] == []

    @pytest.mark.parametrize("wrong", ["stop", None])
    def test_anything_else_is_refused(self, wrong: Any) -> None:
        with pytest.raises(exceptions.SkyRequestError, match=r"on_failure: .* is not one of down, leave"):
            make_launch(on_failure=wrong)

    @pytest.mark.parametrize(
        ("arguments", "is_setup", "expected"),
        [
            ({}, True, OnCancel.DOWN),
            ({}, False, OnCancel.CANCEL),
            ({"cluster_name": "of-others"}, True, OnCancel.CANCEL),
            ({"on_failure": "leave"}, True, OnCancel.CANCEL),
            ({"on_cancel": "leave"}, True, OnCancel.LEAVE),
        ],
        ids=str,
    )
    def test_a_setup_that_is_killed_has_no_teardown(
        self, arguments: dict[str, Any], is_setup: bool, expected: OnCancel
    ) -> None:
        launch = make_launch(**arguments)
        launch.is_setup = is_setup
        assert request_of(launch).on_cancel is expected


class TestMissingValue:
    """A task that gets nothing from the one before it says which that is."""

    @pytest.mark.parametrize(
        ("consumer", "argument"),
        [
            (SkyDownOperator, "cluster_name"),
            (SkyJobCancelOperator, "job_ids"),
            (operators.SkyServeDownOperator, "service_names"),
        ],
        ids=lambda value: getattr(value, "__name__", value),
    )
    def test_names_the_task_that_left_none(self, consumer: Any, argument: str) -> None:
        dag = make_dag()
        source = SkyStatusOperator(task_id="first", dag=dag)
        down = consumer(task_id="down", dag=dag, **{argument: source.output})
        context = context_of(down, ti := TaskInstance(task_id="down"))
        context["ti"] = ti
        ti.xcom_pull = lambda **_: None  # type: ignore[attr-defined]  # what Airflow answers of a failed task
        operator = rendered_for(lambda: down, context)
        with pytest.raises(exceptions.SkyRequestError) as caught:
            operator._build_request(context)
        assert f"{argument} is what task 'first' leaves as XCom 'return_value', and it has left none" in str(
            caught.value
        )

    def test_another_error_names_no_task(self) -> None:
        down = SkyDownOperator(task_id="down", dag=make_dag(), cluster_name="{{ 'no/name' }}")
        with pytest.raises(exceptions.SkyRequestError) as caught:
            request_of(down)
        assert "XCom" not in str(caught.value)

    def test_none_as_text_is_no_name(self) -> None:
        down = SkyDownOperator(task_id="down", dag=make_dag(), cluster_name="{{ none }}")
        with pytest.raises(exceptions.SkyRequestError, match=r"cluster_name: .*not 'None'"):
            request_of(down)
