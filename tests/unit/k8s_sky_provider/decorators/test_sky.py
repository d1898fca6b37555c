"""@task.sky as the author of a DAG sees it: a task like any other, whose function runs on a cluster."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred, XComArg, mask_secret, task, task_group

from k8s_sky_provider.decorators import sky_task
from k8s_sky_provider.decorators.sky import SkyDecoratedOperator
from k8s_sky_provider.exceptions import SkyJobFailedError, SkyRequestError
from k8s_sky_provider.operators import SkyExecOperator, SkyLaunchOperator
from k8s_sky_provider.protocol import ExitCode, OnCancel, SkyResult
from unit.k8s_sky_provider.airflow_version import serialized
from unit.k8s_sky_provider.fake_kubernetes import reports, running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")


def train(rate: Any = 1, *, epochs: Any = 2) -> dict[str, Any]:
    """Train a model."""
    return {"rate": rate, "epochs": epochs}


def of_the_context(ds: str | None = None, run_id: str | None = None, ti: Any = None) -> list[Any]:
    return [ds, run_id, ti]


def everything(**context: Any) -> list[str]:
    return sorted(context)


def templates(templates_dict: dict[str, str]) -> str:
    return templates_dict["who"]


def operator_of(call: Any) -> SkyDecoratedOperator:
    assert isinstance(call.operator, SkyDecoratedOperator)
    return call.operator


def make(function: Any = train, *args: Any, **options: Any) -> SkyDecoratedOperator:
    """Return the operator of a call without arguments of its own for the function, which may have a folder."""
    with make_dag(options.pop("folder", None)):
        return operator_of(sky_task(**options)(function)(*args))


def arguments_of(operator: Any, **context: Any) -> dict[str, Any]:
    """Return the arguments that the runner would get, after Jinja."""
    whole = {**context_of(operator), **context}
    operator.render_template_fields(whole)
    arguments: dict[str, Any] = operator.build_arguments(whole)
    return arguments


def call_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what the job is told to call."""
    (content,) = re.findall(r"call\.json <<'END'\n(.*)\nEND", arguments["task"]["run"])
    call: dict[str, Any] = json.loads(base64.b64decode(content))
    return call


class TestCluster:
    """The function runs on the cluster that is named, or on one of its own."""

    def test_on_a_cluster_that_is_up_it_is_an_exec(self, kubernetes: FakeKubernetes) -> None:
        run_task(lambda: make(cluster_name="demo"), kubernetes)
        request = kubernetes.request
        assert (request.action, request.on_cancel) == ("exec", OnCancel.CANCEL)
        with make_dag():
            plain = SkyExecOperator(task_id="plain", cluster_name="demo", sky_task_yaml={})
        assert request.arguments.keys() == {*arguments_of(plain), "return_file"}
        assert request.arguments["overrides"] == arguments_of(plain)["overrides"]

    def test_without_one_it_is_a_launch(self, kubernetes: FakeKubernetes) -> None:
        run_task(lambda: make(accelerators="A100:1", auto_down=True), kubernetes)
        request = kubernetes.request
        assert (request.action, request.on_cancel) == ("launch", OnCancel.DOWN)
        with make_dag():
            plain = SkyLaunchOperator(task_id="train", accelerators="A100:1", sky_task_yaml={})
        expected = arguments_of(plain)
        actual = {name: value for name, value in request.arguments.items() if name not in {"task", "return_file"}}
        assert actual == {name: expected[name] for name in actual}

    def test_the_cluster_of_another_task_comes_before_it(self) -> None:
        with make_dag():
            launch = SkyLaunchOperator(task_id="launch", sky_task_yaml={})
            call = sky_task(cluster_name=launch.output)(train)()
        assert operator_of(call).upstream_task_ids == {"launch"}
        assert operator_of(call).action == "exec"

    def test_a_task_brings_all_but_its_run(self, tmp_path: Path) -> None:
        (tmp_path / "task.yaml").write_text("{setup: make, resources: {cpus: 2+}}")
        for sky_task_yaml in ("task.yaml", {"setup": "make", "resources": {"cpus": "2+"}}):
            sent = arguments_of(make(sky_task_yaml=sky_task_yaml, folder=tmp_path))["task"]
            assert {key: value for key, value in sent.items() if key != "run"} == {
                "name": "train",
                "setup": "make",
                "resources": {"cpus": "2+"},
            }

    def test_default_args_of_other_tasks_do_not_decide(self) -> None:
        with make_dag(default_args={"auto_down": False, "wait": False, "dryrun": True, "cpus": "1+"}):
            on_demo = operator_of(sky_task(cluster_name="demo")(train)())
            on_its_own = operator_of(sky_task(auto_down=True)(train)())
        assert arguments_of(on_demo)["wait"] is True
        assert [arguments_of(on_its_own)[name] for name in ("wait", "dryrun", "auto_down")] == [True, False, True]

    def test_each_call_has_a_file_of_its_own_that_its_retries_share(self) -> None:
        operator = make(cluster_name="demo")

        def file(**ti: Any) -> str:
            return str(operator.build_arguments(context_of(operator, TaskInstance(**ti)))["return_file"])

        assert re.fullmatch(r"\.k8s_sky/calls/train-[0-9a-f]{16}/result\.json", file())
        assert file() == file(try_number=2)
        assert len({file(), file(map_index=1), file(run_id="other"), file(task_id="other")}) == 4


class TestArguments:
    """Arguments go as JSON; one that cannot is named."""

    def test_positional_and_keyword_arguments(self) -> None:
        with make_dag():
            operator = operator_of(sky_task(cluster_name="demo")(train)((1, 2), epochs={"a": [None, "x"]}))
        call = call_of(arguments_of(operator))
        assert (call["function"], call["args"], call["kwargs"]) == ("train", [[1, 2]], {"epochs": {"a": [None, "x"]}})

    def test_templates_are_rendered_in_arguments_and_nowhere_in_the_source(self) -> None:
        def show(text: str) -> str:
            return text + "{{ run_id }}"

        arguments = arguments_of(make(show, "{{ run_id }}", cluster_name="demo"))
        assert call_of(arguments)["args"] == ["manual__2026-01-01"]
        (source,) = re.findall(r"sky_function\.py <<'END'\n(.*)\nEND", arguments["task"]["run"])
        assert 'return text + "{{ run_id }}"' in base64.b64decode(source).decode()

    def test_what_the_function_wants_of_the_context_goes_if_it_is_text(self) -> None:
        call = call_of(arguments_of(make(of_the_context, cluster_name="demo"), ds="2026-01-01"))
        assert call["kwargs"] == {"ds": "2026-01-01", "run_id": "manual__2026-01-01"}

    def test_a_function_that_takes_everything_gets_the_texts_of_the_context(self) -> None:
        call = call_of(arguments_of(make(everything, cluster_name="demo"), ds="2026-01-01", ts=None))
        assert call["kwargs"] == {"ds": "2026-01-01", "run_id": "manual__2026-01-01", "ts": None}

    def test_templates_dict(self) -> None:
        operator = make(templates, cluster_name="demo", templates_dict={"who": "{{ params.who }}"})
        assert call_of(arguments_of(operator))["kwargs"] == {"templates_dict": {"who": "Zoë"}}

    def test_requirements_and_interpreter_are_rendered(self) -> None:
        operator = make(cluster_name="demo", requirements=["a=={{ params.who }}"], python="{{ params.who }}")
        call = call_of(arguments_of(operator))
        assert (call["requirements"], call["python"]) == (["a==Zoë"], "Zoë")

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (object(), "train: argument 'rate' of type object cannot be sent"),
            (b"x", "argument 'rate' of type bytes"),
            ({"a": [1, {2}]}, "argument 'rate'['a'][1] of type set"),
            ({1: 2}, "argument 'rate' of type dict"),
            (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "argument 'rate' of type datetime"),
        ],
    )
    def test_an_argument_that_json_cannot_carry_is_named(self, value: Any, message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            arguments_of(make(train, value, cluster_name="demo"))

    def test_an_argument_that_is_too_long_fails_before_a_pod_exists(self, kubernetes: FakeKubernetes) -> None:
        with pytest.raises(SkyRequestError, match="bytes long and a pod's argument can have 120000"):
            run_task(lambda: make(train, "x" * 100_000, cluster_name="demo"), kubernetes)
        assert kubernetes.created == []

    def test_what_of_the_context_cannot_go_is_named(self) -> None:
        def needs(logical_date: Any) -> str:
            return str(logical_date)

        with pytest.raises(SkyRequestError, match="missing a required argument: 'logical_date'"):
            arguments_of(make(needs, cluster_name="demo"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"cluster_name": "demo", "auto_down": False}, "auto_down: is for a cluster that is launched"),
            ({"cluster_name": "demo", "retry_until_up": True}, "retry_until_up: is for a cluster that is launched"),
            ({"wait": False}, "wait: @task.sky always waits"),
            ({"cluster_name": "demo", "dryrun": True}, "dryrun: @task.sky always waits"),
            ({"requirements": "numpy"}, "requirements: must be a list of texts, as ['numpy']"),
            ({"cluster_name": "-"}, "cluster_name: '-' must start with a letter"),
        ],
    )
    def test_a_wrong_argument_is_named_when_the_dag_is_read(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            make(**options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sky_task_yaml": {"run": "echo"}}, "sky_task_yaml: has a run; what runs is the function"),
            ({"sky_task_yaml": "~/task.yaml"}, "sky_task_yaml: '~/task.yaml' is not beside the DAG file"),
            ({"requirements": [1]}, "requirements: must be a list of texts, not [1]"),
        ],
    )
    def test_a_wrong_argument_is_named_before_a_pod_exists(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            arguments_of(make(cluster_name="demo", **options))

    def test_a_function_that_cannot_go_is_named_when_the_dag_is_read(self) -> None:
        rate = 1

        def closure() -> int:
            return rate

        with pytest.raises(SkyRequestError, match="closure uses rate"):
            make(closure)


class TestResult:
    """The value is the task's, the failure too."""

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_the_value_is_pushed(self, kubernetes: FakeKubernetes, *, deferrable: bool) -> None:
        result = SkyResult(action="exec", exit_code=ExitCode.OK, return_value={"loss": 0.5})
        kubernetes.life = lambda pod: [running(), reports(result)]
        ti = run_task(lambda: make(cluster_name="demo", deferrable=deferrable), kubernetes)
        assert ti.xcom["return_value"] == {"loss": 0.5}

    def test_an_exception_is_a_failed_job_and_comes_first(self, kubernetes: FakeKubernetes) -> None:
        result = SkyResult(
            action="exec", exit_code=ExitCode.JOB_FAILED, reason="ValueError: no data (Job 7 ...)", log_tail=["line 3"]
        )
        kubernetes.life = lambda pod: [running(), reports(result)]
        with pytest.raises(SkyJobFailedError, match=r"^ValueError: no data .*\n.*\nline 3"):
            run_task(lambda: make(cluster_name="demo"), kubernetes)

    def test_it_is_deferred(self, kubernetes: FakeKubernetes) -> None:
        operator = make(cluster_name="demo", deferrable=True)
        with pytest.raises(TaskDeferred):
            operator.execute(context_of(operator))


class TestTaskFlow:
    """What works with @task works with @task.sky."""

    def test_airflow_finds_it(self) -> None:
        with make_dag():
            assert operator_of(task.sky(cluster_name="demo")(train)()).task_id == "train"

    def test_it_maps_in_groups_with_partial_and_override(self) -> None:
        with make_dag() as dag:
            rates = sky_task(cluster_name="demo")(train).override(task_id="rates", retries=3)()
            flow = sky_task(cluster_name="demo", python="python3.12")(train)

            @task_group
            def sweep(rate: Any) -> Any:
                return flow.override(task_id="one")(rate)

            mapped = flow.partial(epochs=3).expand(rate=[1, 2])
            sweep.expand(rate=rates)
        assert set(dag.task_dict) == {"rates", "train", "sweep.one"}
        assert dag.task_dict["rates"].retries == 3
        assert isinstance(mapped, XComArg)
        unmapped = dag.task_dict["train"].unmap({"op_kwargs": {"rate": 2}})
        call = call_of(arguments_of(unmapped))
        assert (call["kwargs"], call["python"]) == ({"rate": 2, "epochs": 3}, "python3.12")
        assert serialized(dag).task_dict.keys() == dag.task_dict.keys()

    def test_override_can_name_the_cluster(self) -> None:
        with make_dag():
            operator = operator_of(sky_task()(train).override(cluster_name="demo")())
        assert (operator.action, operator.default_on_cancel) == ("exec", OnCancel.CANCEL)

    def test_multiple_outputs_come_from_the_annotation_or_the_argument(self) -> None:
        assert make().multiple_outputs is True
        assert make(multiple_outputs=False).multiple_outputs is False

    def test_the_functions_docstring_is_the_tasks(self) -> None:
        assert make().doc_md == "Train a model."


@pytest.mark.parametrize("requirement", ["numpy\n--index-url https://example.com", "-e .", " ", "a\rb"])
def test_a_requirement_is_one_and_no_option(requirement: str) -> None:
    with pytest.raises(SkyRequestError, match=r"requirements: .* is not one requirement"):
        arguments_of(make(requirements=["numpy", requirement]))


def test_a_secret_that_airflow_knows_is_no_argument_of_the_call() -> None:
    mask_secret("hunter2-of-the-warehouse")
    with pytest.raises(SkyRequestError, match="op_args: has a secret of an Airflow connection"):
        arguments_of(make(train, {"password": ["hunter2-of-the-warehouse"]}))


def test_a_function_may_have_any_name() -> None:
    def größe() -> int:  # noqa: PLC2401  # the point of the test
        return 1

    file = arguments_of(make(größe))["return_file"]
    assert re.fullmatch(r"\.k8s_sky/calls/gr__e-[0-9a-f]{16}/result\.json", file)
