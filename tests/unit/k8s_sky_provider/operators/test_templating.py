"""What Jinja leaves of an argument is text: every operator reads it with its type, or refuses it by name."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections import UserList
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from k8s_sky_provider import operators
from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator, sky_cluster
from k8s_sky_provider.decorators.sky import SkyDecoratedOperator
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
    SkyReapOperator,
    SkyRsyncDownOperator,
    SkyRsyncUpOperator,
    SkyServeDownOperator,
    SkyServeLogsOperator,
    SkyServeUpdateOperator,
    SkyServeUpOperator,
    SkySSHOperator,
    SkyStartOperator,
    SkyStopOperator,
    SkyStorageDeleteOperator,
    SkyStorageListOperator,
    SkyVolumeApplyOperator,
)
from k8s_sky_provider.protocol import ExitCode, SkyResult
from unit.k8s_sky_provider.fake_kubernetes import reports, running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")


def train() -> int:
    return 1


EXPORTED = [getattr(operators, name) for name in operators.__all__]
ALL = [
    *(operator for operator in EXPORTED if operator is not SkyBaseOperator),
    SkyClusterDownOperator,
    SkyDecoratedOperator,
]

ROW = {"name": "dev-box", "dag_id": "dag", "run_id": "over", "task_id": "launch", "map_index": -1}
REQUIRED: dict[str, Any] = {
    "sky_task_yaml": {},
    "cluster_name": "demo",
    "bash_command": "true",
    "command": "true",
    "service_name": "demo",
    "pool_name": "demo",
    "names": "demo",
    "source": "data",
    "target": "data",
    "clusters": [ROW],
    "launch_task_id": "launch",
    "python_callable": train,
}
"""Values of the parameters without a default."""

LEAST: dict[type[SkyBaseOperator], dict[str, Any]] = {
    SkyCancelOperator: {"job_ids": 7},
    SkyJobLogsOperator: {"job_name": "demo"},
    SkyJobCancelOperator: {"job_ids": 7},
    SkyPoolApplyOperator: {"sky_task_yaml": {"pool": {}}},
    SkyPoolDownOperator: {"pool_names": "demo"},
    SkyServeDownOperator: {"service_names": "demo"},
    SkyServeLogsOperator: {"target": "replica", "replica": 1},
    SkyServeUpOperator: {"sky_task_yaml": {"service": {}}},
    SkyServeUpdateOperator: {"sky_task_yaml": {"service": {}}},
    SkyStorageDeleteOperator: {"names": "demo"},
    SkyVolumeApplyOperator: {"volume": {"name": "demo"}},
}
"""What else an operator needs."""

ALONE: dict[str, Any] = {"job_ids": None, "service_names": None, "pool_names": None, "names": None}
WITH: dict[tuple[type[SkyBaseOperator], str], dict[str, Any]] = {
    (SkyStartOperator, "down"): {"idle_minutes_to_autostop": 5},
    (SkyStopOperator, "graceful_timeout"): {"graceful": True},
    (SkyDownOperator, "graceful_timeout"): {"graceful": True},
    (SkyClusterDownOperator, "graceful_timeout"): {"graceful": True},
    (SkyAutostopOperator, "hook_timeout"): {"hook": "sync"},
    (SkyCancelOperator, "all_users"): {"all": True, "job_ids": None},
    (SkyLogsOperator, "worker"): {"provision": True},
    (SkyJobLaunchOperator, "num_jobs"): {"pool_name": "demo"},
    (SkyJobLogsOperator, "job_id"): {"job_name": None},
    (SkyPoolApplyOperator, "workers"): {"sky_task_yaml": None},
    (SkyReapOperator, "known_runs_only"): {"named": True},
}
"""What goes with a parameter."""

ATTRIBUTES = {"hook": "autostop_hook"}
"""Parameters whose attribute has another name."""

NOT_TEMPLATED = {"credentials", "do_xcom_push", "launch_task_id", "python_callable", "statuses"}
SET_BY_ITSELF = {(SkyDecoratedOperator, "wait"), (SkyDecoratedOperator, "dryrun")}
TEXTS_TOO = {"cpus", "memory", "open_ports", "priority"}
"""Numbers that may be texts of another meaning: 4+, 8000-8010, the name of a priority class."""


def parameters_of(operator: type[SkyBaseOperator]) -> dict[str, inspect.Parameter]:
    """Return the parameters that an operator has besides those of all Sky operators."""
    classes = operator.__mro__[: operator.__mro__.index(SkyBaseOperator)]
    return {
        name: parameter
        for cls in reversed(classes)
        if cls.__module__.startswith("k8s_sky_provider") and "__init__" in vars(cls)
        for name, parameter in inspect.signature(vars(cls)["__init__"]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def every_parameter() -> Iterator[tuple[type[SkyBaseOperator], inspect.Parameter]]:
    """Yield the operators' parameters; one operator stands for all with those of the base."""
    for name, parameter in inspect.signature(SkyBaseOperator.__init__).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in NOT_TEMPLATED:
            yield SkyStorageListOperator, parameter
    for operator in ALL:
        for name, parameter in parameters_of(operator).items():
            if name not in NOT_TEMPLATED and (operator, name) not in SET_BY_ITSELF:
                yield operator, parameter


def annotated(*types: str) -> list[Any]:
    """Return the operators and the names of their parameters that may be of one of the types."""
    return [
        pytest.param(operator, parameter.name, id=f"{operator.__name__}-{parameter.name}")
        for operator, parameter in every_parameter()
        # Of Sequence[int], the items are numbers.
        if set(types) & set(re.findall(r"\w+", re.sub(r"\[.*?\]", "", str(parameter.annotation))))
    ]


FLAGS = annotated("bool")
NUMBERS = [number for number in annotated("int", "float", "JobId") if number.values[1] not in TEXTS_TOO]
OF_THE_POD = [
    name
    for kind, name in (parameter.values for parameter in [*FLAGS, *NUMBERS])
    if kind is SkyStorageListOperator and name != "fail_fast"
]
"""Parameters that KubernetesPodOperator reads by itself."""


class PodError(Exception):
    """The operator has come so far that it makes its pod; the text is what is to become of it."""


@dataclasses.dataclass
class Airflow(TaskInstance):
    """A task instance that knows no other run."""

    def get_dr_count(self, **_: Any) -> int:
        return 0


def make(kind: Any, /, **arguments: Any) -> Any:
    """Return an operator with as few arguments as possible besides those that are given."""
    required = {name: REQUIRED[name] for name, p in parameters_of(kind).items() if p.default is p.empty}
    least = {**required, **LEAST.get(kind, {})}
    for name in arguments:
        least.update(WITH.get((kind, name), {}))
    if any(str(arguments.get(name)) in {"True", "{{ 'yes' }}"} for name in ("all", "all_storage")):
        least.update(dict.fromkeys(least.keys() & ALONE))
    operator = kind(task_id="task", dag=make_dag(), **{**least, **arguments})
    if isinstance(operator, SkyDecoratedOperator):
        operator.op_args, operator.op_kwargs = (), {}
    return operator


Send = Callable[..., dict[str, Any]]


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Send:
    """Return what runs an operator up to its pod, at first or after a deferral, and tells what is sent."""

    def reached(self: SkyBaseOperator, context: Any, event: Any = None) -> None:
        request = dataclasses.asdict(self._build_request(context))
        pod = {name: getattr(self, name) for name in [*OF_THE_POD, "schedule_timeout_seconds"]}
        raise PodError(json.dumps({**pod, **{key: request[key] for key in ("arguments", "on_cancel", "owner")}}))

    monkeypatch.setattr(KubernetesPodOperator, "execute", reached)
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", reached)

    def run(operator: SkyBaseOperator, method: str = "execute", **more: Any) -> dict[str, Any]:
        context = context_of(operator, Airflow())
        operator.render_template_fields(context)
        with pytest.raises(PodError) as caught:
            getattr(operator, method)(context, **more)
        sent: dict[str, Any] = json.loads(str(caught.value))
        return sent

    return run


def exact(sent: dict[str, Any]) -> str:
    """Return what tells 1 and True apart."""
    return json.dumps(sent, sort_keys=True)


@pytest.mark.parametrize("operator", ALL, ids=lambda operator: str(operator.__name__))
def test_every_argument_is_templated(operator: type[SkyBaseOperator]) -> None:
    names = {*parameters_of(operator), *inspect.signature(SkyBaseOperator.__init__).parameters}
    names -= {"self", "kwargs", *NOT_TEMPLATED}
    assert {ATTRIBUTES.get(name, name) for name in names} <= set(operator.template_fields)
    assert len(set(operator.template_fields)) == len(operator.template_fields)


def test_the_walk_finds_what_there_is() -> None:
    assert {kind for kind, _ in (p.values for p in FLAGS)} >= {SkyLaunchOperator, SkyDecoratedOperator, SkySSHOperator}
    assert len(FLAGS) > 60
    assert len(NUMBERS) > 40


@pytest.mark.parametrize(("kind", "name"), FLAGS)
class TestFlags:
    """A flag is True, False or a word that says so."""

    @pytest.mark.parametrize(("text", "value"), [("{{ 'False' }}", False), ("{{ 'yes' }}", True)])
    def test_after_jinja(self, kind: type[SkyBaseOperator], name: str, text: str, value: bool, send: Send) -> None:
        sent = send(make(kind, **{name: text}))
        assert exact(sent) == exact(send(make(kind, **{name: value})))
        if name != "fail_fast":
            assert exact(sent) != exact(send(make(kind, **{name: not value})))

    def test_in_words(self, kind: type[SkyBaseOperator], name: str, send: Send) -> None:
        assert exact(send(make(kind, **{name: " oFF "}))) == exact(send(make(kind, **{name: False})))

    @pytest.mark.parametrize("value", ["maybe", "", 2, 1.0, []])
    def test_anything_else_is_refused_when_the_dag_is_parsed(
        self, kind: type[SkyBaseOperator], name: str, value: object
    ) -> None:
        with pytest.raises(SkyRequestError, match=f"^{name}: {re.escape(repr(value))} "):
            make(kind, **{name: value})

    @pytest.mark.parametrize("text", ["maybe", "", "None"])
    def test_anything_else_is_refused_before_there_is_a_pod(
        self, kind: type[SkyBaseOperator], name: str, text: str, send: Send
    ) -> None:
        operator = make(kind, **{name: f"{{{{ {text!r} }}}}"})
        with pytest.raises(SkyRequestError, match=f"^{name}: {text!r} "):
            send(operator)


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
class TestNumbers:
    """A number may be text."""

    def test_after_jinja(self, kind: type[SkyBaseOperator], name: str, send: Send) -> None:
        sent = send(make(kind, **{name: "{{ '7' }}"}))
        assert exact(sent) == exact(send(make(kind, **{name: 7})))
        assert exact(sent) != exact(send(make(kind, **{name: 8})))

    @pytest.mark.parametrize("value", ["seven", True, -7])
    def test_anything_else_is_refused_when_the_dag_is_parsed(
        self, kind: type[SkyBaseOperator], name: str, value: object
    ) -> None:
        with pytest.raises(SkyRequestError, match=f"^{name}: {value!r} "):
            make(kind, **{name: value})

    def test_anything_else_is_refused_before_there_is_a_pod(
        self, kind: type[SkyBaseOperator], name: str, send: Send
    ) -> None:
        operator = make(kind, **{name: "{{ 'seven' }}"})
        with pytest.raises(SkyRequestError, match=f"^{name}: 'seven' "):
            send(operator)


def test_the_pods_arguments_have_their_types_after_a_deferral_too(send: Send) -> None:
    flags = {"log_events_on_failure", "log_pod_spec_on_failure"}
    values: dict[str, Any] = {name: "{{ 'off' }}" if name in flags else "{{ '7' }}" for name in OF_THE_POD}
    sent = send(SkyStorageListOperator(task_id="task", dag=make_dag(), **values), "trigger_reentry", event={})
    expected = {name: False if name in flags else 7 for name in OF_THE_POD}
    assert exact({name: sent[name] for name in OF_THE_POD}) == exact(expected)
    assert sent["schedule_timeout_seconds"] == 7


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (SkyAutostopOperator, "wait_for", "jobs"),
        (SkyLaunchOperator, "wait_for", "none"),
        (SkyLaunchOperator, "on_cancel", "stop"),
        (SkyServeUpOperator, "on_cancel", "leave"),
        (SkyJobLaunchOperator, "on_cancel", "leave"),
        (SkyJobLogsOperator, "on_cancel", "leave"),
        (SkyServeUpdateOperator, "mode", "blue_green"),
        (SkyPoolApplyOperator, "mode", "blue_green"),
        (SkySSHOperator, "nodes", "all"),
        (SkyRsyncDownOperator, "nodes", "all"),
        (SkyStartOperator, "wait_for", "none"),
    ],
)
class TestChoices:
    """One of several texts."""

    def test_after_jinja(self, kind: type[SkyBaseOperator], name: str, value: str, send: Send) -> None:
        assert exact(send(make(kind, **{name: f"{{{{ {value!r} }}}}"}))) == exact(send(make(kind, **{name: value})))

    def test_anything_else_is_refused_when_the_dag_is_parsed(
        self, kind: type[SkyBaseOperator], name: str, value: str
    ) -> None:
        with pytest.raises(SkyRequestError, match=f"^{name}: '{value}y' "):
            make(kind, **{name: f"{value}y"})

    def test_anything_else_is_refused_before_there_is_a_pod(
        self, kind: type[SkyBaseOperator], name: str, value: str, send: Send
    ) -> None:
        operator = make(kind, **{name: f"{{{{ '{value}y' }}}}"})
        with pytest.raises(SkyRequestError, match=f"^{name}: '{value}y' "):
            send(operator)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (SkyLaunchOperator, "deployment", "prod"),
        (SkyAutostopOperator, "hook", "sync"),
        (SkyVolumeApplyOperator, "volume_type", "k8s-pvc"),
        (SkyLaunchOperator, "idle_minutes_to_autostop", "-1"),
    ],
)
def test_a_text_after_jinja(kind: type[SkyBaseOperator], name: str, value: str, send: Send) -> None:
    sent = send(make(kind, **{name: f"{{{{ {value!r} }}}}"}))
    assert exact(sent) == exact(send(make(kind, **{name: value})))
    assert exact(sent) != exact(send(make(kind, **{name: None})))


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
    (SkyLaunchOperator, {"git_ref": "main"}, "git_ref"),
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
