"""What Jinja leaves of an argument is text: every operator reads it with its type, or refuses it by name."""

from __future__ import annotations

import inspect
import re
from collections import UserList
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator, sky_cluster
from k8s_sky_provider.exceptions import SkyJobFailedError, SkyJobFailedFastError, SkyRequestError
from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyBaseOperator,
    SkyBashOperator,
    SkyCancelOperator,
    SkyDownOperator,
    SkyJobCancelOperator,
    SkyJobLaunchOperator,
    SkyJobLogsOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyPoolApplyOperator,
    SkyPoolDownOperator,
    SkyRsyncDownOperator,
    SkyRsyncUpOperator,
    SkyServeDownOperator,
    SkyServeLogsOperator,
    SkyServeUpOperator,
    SkySSHOperator,
    SkyStartOperator,
    SkyStopOperator,
    SkyStorageDeleteOperator,
    SkyStorageListOperator,
)
from k8s_sky_provider.protocol import ExitCode, SkyResult
from unit.k8s_sky_provider.fake_kubernetes import reports, running
from unit.k8s_sky_provider.operators.every_parameter import (
    ALL,
    ATTRIBUTES,
    NOT_TEMPLATED,
    OF_THE_POD,
    Send,
    exact,
    make,
    make_natively,
    parameters_of,
)
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")


@pytest.mark.parametrize("operator", ALL, ids=lambda operator: str(operator.__name__))
def test_every_argument_is_templated(operator: type[SkyBaseOperator]) -> None:
    names = {*parameters_of(operator), *inspect.signature(SkyBaseOperator.__init__).parameters}
    names -= {"self", "kwargs", *NOT_TEMPLATED}
    assert {ATTRIBUTES.get(name, name) for name in names} <= set(operator.template_fields)
    assert len(set(operator.template_fields)) == len(operator.template_fields)


def test_the_pods_arguments_have_their_types_after_a_deferral_too(send: Send) -> None:
    flags = {"log_events_on_failure", "log_pod_spec_on_failure"}
    values: dict[str, Any] = {name: "{{ 'off' }}" if name in flags else "{{ '7' }}" for name in OF_THE_POD}
    sent = send(SkyStorageListOperator(task_id="task", dag=make_dag(), **values), "trigger_reentry", event={})
    expected = {name: False if name in flags else 7 for name in OF_THE_POD}
    assert exact({name: sent[name] for name in OF_THE_POD}) == exact(expected)
    assert sent["schedule_timeout_seconds"] == 7


def test_ranks_after_jinja(send: Send) -> None:
    for kind in (SkySSHOperator, SkyRsyncUpOperator):
        assert send(make(kind, nodes=["{{ '1' }}", 0]))["arguments"]["nodes"] == [1, 0]
        with pytest.raises(SkyRequestError, match=r"^nodes: \['1', 1\] "):
            send(make(kind, nodes=["{{ '1' }}", 1]))


def test_the_exit_code_of_the_head_is_no_list() -> None:
    ti = TaskInstance()
    operator = make(SkySSHOperator, nodes="{{ 'head' }}")
    operator.render_template_fields(context_of(operator, ti))
    operator.push_more(context_of(operator, ti), SkyResult(action="ssh", exit_code=0, job_exit_codes=[3]))
    assert ti.xcom == {"ssh_exit": 3}


DO_NOT_GO_TOGETHER: list[tuple[type[SkyBaseOperator], dict[str, Any], str]] = [
    (SkyStartOperator, {"down": True, "idle_minutes_to_autostop": None}, "down"),
    (SkyStopOperator, {"graceful_timeout": 5, "graceful": False}, "graceful_timeout"),
    (SkyDownOperator, {"graceful_timeout": 5, "graceful": False}, "graceful_timeout"),
    (SkyAutostopOperator, {"cancel": True, "down": True}, "cancel"),
    (SkyAutostopOperator, {"cancel": True, "hook": "sync"}, "cancel"),
    (SkyAutostopOperator, {"hook_timeout": 5, "hook": None}, "hook_timeout"),
    (SkyCancelOperator, {"all": True, "job_ids": 7}, "job_ids"),
    (SkyCancelOperator, {"all": False, "job_ids": None}, "job_ids"),
    (SkyCancelOperator, {"all_users": True, "all": False, "job_ids": 7}, "all_users"),
    (SkyLogsOperator, {"provision": True, "sync_down": True}, "provision"),
    (SkyLogsOperator, {"provision": True, "job_id": 7}, "provision"),
    (SkyLogsOperator, {"provision": False, "worker": 1}, "worker"),
    (SkyJobLaunchOperator, {"num_jobs": 2, "pool_name": None}, "num_jobs"),
    (SkyJobCancelOperator, {"all": True, "job_ids": 7}, "job_ids, "),
    (SkyJobCancelOperator, {"job_name": "train", "job_ids": 7}, "job_ids, "),
    (SkyJobCancelOperator, {"all": False, "job_ids": None}, "job_ids"),
    (SkyJobLogsOperator, {"job_id": 7, "job_name": "train"}, "job_id and job_name"),
    (SkyServeDownOperator, {"all": True, "service_names": "demo"}, "service_names"),
    (SkyPoolDownOperator, {"all": False, "pool_names": None}, "pool_names"),
    (SkyServeLogsOperator, {"target": "controller", "replica": 1}, "replica"),
    (SkyServeLogsOperator, {"target": "replica", "replica": None}, "replica"),
    (SkyPoolApplyOperator, {"workers": 2, "sky_task_yaml": {"pool": {}}}, "workers"),
    (SkyStorageDeleteOperator, {"all_storage": True, "names": "demo"}, "names"),
    (SkyStorageDeleteOperator, {"all_storage": False, "names": None}, "names"),
    (SkyLaunchOperator, {"infra": "aws", "cloud": "gcp"}, "infra and cloud"),
    (SkyLaunchOperator, {"git_ref": "main", "git_url": None}, "git_ref"),
    (SkyLaunchOperator, {"idle_minutes_to_autostop": -1, "down": "maybe"}, "down"),
    (SkyJobLaunchOperator, {"on_cancel": "stop"}, "on_cancel"),
    (SkyJobLogsOperator, {"on_cancel": "stop"}, "on_cancel"),
    (SkyServeUpOperator, {"on_cancel": "stop"}, "on_cancel"),
]


@pytest.mark.parametrize(("kind", "arguments", "field"), DO_NOT_GO_TOGETHER)
class TestTogether:
    """Arguments that do not go together are refused as soon as all of them are known."""

    def test_when_the_dag_is_parsed(self, kind: type[SkyBaseOperator], arguments: dict[str, Any], field: str) -> None:
        with pytest.raises(SkyRequestError, match=f"^{field}"):
            make(kind, **arguments)

    def test_before_there_is_a_pod(
        self, kind: type[SkyBaseOperator], arguments: dict[str, Any], field: str, send: Send
    ) -> None:
        templates = {
            name: f"{{{{ '{value}' }}}}" if isinstance(value, (bool, int, str)) else value
            for name, value in arguments.items()
        }
        operator = make(kind, **templates)
        with pytest.raises(SkyRequestError, match=f"^{field}"):
            send(operator)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (SkyStartOperator, {"down": "{{ 'false' }}"}),
        (SkyStopOperator, {"graceful": "{{ 'on' }}", "graceful_timeout": "{{ '5' }}"}),
        (SkyAutostopOperator, {"cancel": "{{ 'no' }}", "down": True, "hook": "sync"}),
        (SkyCancelOperator, {"all": "{{ 'no' }}", "job_ids": 7}),
        (SkyCancelOperator, {"all": "{{ 'yes' }}", "job_ids": None, "all_users": True}),
        (SkyLogsOperator, {"provision": "{{ 'no' }}", "job_id": 7}),
        (SkyLogsOperator, {"provision": "{{ 'yes' }}", "worker": 1}),
        (SkyJobCancelOperator, {"all": "{{ 'no' }}", "job_ids": 7}),
        (SkyServeDownOperator, {"all": "{{ 'yes' }}", "service_names": None}),
        (SkyServeLogsOperator, {"target": "{{ 'controller' }}", "replica": None}),
        (SkyStorageDeleteOperator, {"all_storage": "{{ 'no' }}", "names": "demo"}),
        (SkyLaunchOperator, {"infra": "aws", "cloud": "{{ 'cheapest' }}"}),
    ],
)
def test_a_flag_is_not_judged_before_it_is_rendered(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], send: Send
) -> None:
    assert send(make(kind, **arguments))


class TestLaunch:
    """What follows from several arguments follows from their values, not from their texts."""

    def test_a_cluster_that_is_kept_is_not_taken_down_by_a_kill(self, send: Send) -> None:
        assert send(make(SkyLaunchOperator, auto_down="{{ 'false' }}"))["on_cancel"] == "cancel"
        assert send(make(SkyLaunchOperator, auto_down="{{ 'true' }}"))["on_cancel"] == "down"

    @pytest.mark.parametrize(
        ("arguments", "autostop"),
        [
            ({"wait": "{{ 'no' }}"}, {"idle_minutes": 1, "down": True}),
            ({"wait": "{{ 'yes' }}"}, None),
            ({"wait": "no", "auto_down": "no"}, None),
            ({"down": "{{ 'no' }}"}, {"idle_minutes": 60, "down": False}),
            ({"idle_minutes_to_autostop": "{{ '-1' }}"}, False),
            ({"idle_minutes_to_autostop": "{{ '9' }}", "wait": "no"}, {"idle_minutes": 9, "down": True}),
        ],
    )
    def test_autostop(self, arguments: dict[str, Any], autostop: object, send: Send) -> None:
        sent = send(make(SkyLaunchOperator, **arguments))["arguments"]
        assert sent["overrides"]["resources"].get("autostop") == autostop

    @pytest.mark.parametrize("minutes", ["0", "-2", "1.5", "never", True, []])
    def test_minutes_that_are_none(self, minutes: object) -> None:
        with pytest.raises(SkyRequestError, match=r"^idle_minutes_to_autostop: "):
            make(SkyLaunchOperator, idle_minutes_to_autostop=minutes)


@pytest.mark.parametrize("value", [None, True, 1, 0, "1"])
def test_jinja_may_leave_other_types_than_text(value: object, send: Send) -> None:
    operator = SkyLaunchOperator(
        task_id="task",
        dag=make_dag(render_template_as_native_obj=True),
        sky_task_yaml={},
        use_spot=f"{{{{ {value!r} }}}}",
    )
    resources = send(operator)["arguments"]["overrides"]["resources"]
    assert resources == ({} if value is None else {"use_spot": value not in {0, "0"}})


def test_a_text_without_jinja_stays_one_where_jinja_is_native(send: Send) -> None:
    given = {"VERSION": "1.10", "CFG": '{"a": 1}', "DICT": "{{ {'a': True} }}", "N": "{{ 1.5 }}"}
    operator = make_natively(SkyLaunchOperator, envs=given)
    expected = {"VERSION": "1.10", "CFG": '{"a": 1}', "DICT": '{"a": true}', "N": "1.5"}
    assert send(operator)["arguments"]["overrides"]["envs"] == expected


def test_a_parameter_of_a_dag_function_is_to_be_known() -> None:
    dag = make_dag(params={"spot": "off", "nodes": "3"})
    operator = SkyLaunchOperator(
        task_id="task", dag=dag, sky_task_yaml={}, use_spot=dag.param("spot"), num_nodes=dag.param("nodes")
    )
    context = context_of(operator)
    context["params"] = {"spot": "off", "nodes": "3"}
    operator.render_template_fields(context)
    overrides = operator.build_arguments(None)["overrides"]
    assert (overrides["resources"]["use_spot"], overrides["num_nodes"]) == (False, 3)


def test_what_another_task_returns_is_to_be_known() -> None:
    with make_dag():
        decide = SkyBashOperator(task_id="decide", bash_command="true")
        launch = SkyLaunchOperator(
            task_id="launch", sky_task_yaml={}, use_spot=decide.output, down=decide.output, wait_for=decide.output
        )
    assert launch.upstream_task_ids == {"decide"}


@pytest.mark.parametrize(("text", "error"), [("{{ 'no' }}", SkyJobFailedError), ("{{ 'yes' }}", SkyJobFailedFastError)])
def test_fail_fast(text: str, error: type[Exception], kubernetes: FakeKubernetes) -> None:
    failed = SkyResult(action="launch", exit_code=ExitCode.JOB_FAILED, reason="because")
    kubernetes.life = lambda _: [running(), reports(failed)]
    with pytest.raises(error) as caught:
        run_task(lambda: make(SkyLaunchOperator, fail_fast=text), kubernetes)
    assert type(caught.value) is error


class TestOfKubernetesPodOperator:
    """Its own flags are not templated."""

    @pytest.mark.parametrize(
        "name", ["deferrable", "in_cluster", "get_logs", "reattach_on_restart", "durable", "is_delete_operator_pod"]
    )
    @pytest.mark.parametrize("value", ["False", "{{ 1 }}", 1])
    @pytest.mark.filterwarnings("ignore:.*reattach_on_restart", "ignore:.*durable")
    def test_a_text_is_refused(self, name: str, value: object) -> None:
        message = f"^{name}: {re.escape(repr(value))} must be True or False; it is not templated$"
        with pytest.raises(SkyRequestError, match=message):
            make(SkyLaunchOperator, **{name: value})

    def test_a_text_of_default_args_is_refused(self) -> None:
        with pytest.raises(SkyRequestError, match=r"^get_logs: 'no' must be"):
            SkyStorageListOperator(task_id="task", dag=make_dag(default_args={"get_logs": "no"}))

    @pytest.mark.parametrize("value", [None, True, False])
    def test_what_it_takes_passes(self, value: bool | None) -> None:
        assert make(SkyLaunchOperator, in_cluster=value).in_cluster is value

    def test_do_xcom_push_is_a_flag_that_is_not_templated(self) -> None:
        assert make(SkyLaunchOperator, do_xcom_push="no").push_return_value is False
        for value in ("{{ 'no' }}", "maybe", None):
            with pytest.raises(SkyRequestError, match=r"^do_xcom_push: "):
                make(SkyLaunchOperator, do_xcom_push=value)


def test_a_cluster_around_tasks_takes_templates(send: Send) -> None:
    with make_dag() as dag, sky_cluster(use_spot="{{ 'no' }}", fail_fast="{{ 'no' }}", on_cancel="{{ 'leave' }}"):
        pass
    launch, down = dag.get_task("launch_cluster"), dag.get_task("down_cluster")
    assert isinstance(launch, SkyLaunchOperator)
    assert isinstance(down, SkyClusterDownOperator)
    sent = send(launch)
    assert sent["arguments"]["overrides"]["resources"]["use_spot"] is False
    assert (sent["arguments"]["auto_down"], sent["on_cancel"]) == (False, "leave")
    assert send(down)["on_cancel"] == "leave"


@pytest.mark.parametrize(
    ("kind", "other"), [(SkyCancelOperator, {"cluster_name": "demo"}), (SkyJobCancelOperator, {"job_ids": None})]
)
def test_job_ids_may_be_what_a_mapped_task_returned(
    kind: type[SkyBaseOperator], other: dict[str, Any], send: Send
) -> None:
    # Airflow's sequence of what the mapped instances returned is no list.
    operator = make(kind, **{**other, "job_ids": 7})
    operator.job_ids = UserList([7, "8"])
    assert send(operator)["arguments"]["job_ids"] == [7, 8]


@pytest.mark.parametrize("kind", [SkyRsyncUpOperator, SkyRsyncDownOperator])
def test_a_path_is_not_judged_before_it_is_rendered(kind: type[SkyBaseOperator], send: Send) -> None:
    operator = make(kind, source="~{{ '/data' }}")
    assert send(operator)["arguments"]["source"] == "~/data"
    with pytest.raises(SkyRequestError, match=r"^source: '~other/data' names another user's home"):
        send(make(kind, source="~{{ 'other' }}/data"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(SkyDownOperator, "cluster_name"), (SkyServeDownOperator, "service_names"), (SkyPoolDownOperator, "pool_names")],
)
def test_a_glob_has_the_same_characters_everywhere(kind: type[SkyBaseOperator], name: str) -> None:
    make(kind, **{name: "a[^b]*"})
    with pytest.raises(SkyRequestError, match=rf"^{name}: 'a b\*' must have only"):
        make(kind, **{name: "a b*"})
