"""What Jinja leaves of an argument is text: every operator reads it with its type, or refuses it by name."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from k8s_sky_provider import operators
from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator
from k8s_sky_provider.decorators.sky import SkyDecoratedOperator
from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyBaseOperator,
    SkyCancelOperator,
    SkyJobLaunchOperator,
    SkyJobLogsOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyPoolApplyOperator,
    SkyServeDownOperator,
    SkyServeLogsOperator,
    SkySSHOperator,
    SkyStartOperator,
    SkyStorageDeleteOperator,
    SkyStorageListOperator,
    SkyVolumeApplyOperator,
)
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    operators.SkyJobCancelOperator: {"job_ids": 7},
    SkyPoolApplyOperator: {"sky_task_yaml": {}},
    operators.SkyPoolDownOperator: {"pool_names": "demo"},
    SkyServeDownOperator: {"service_names": "demo"},
    SkyServeLogsOperator: {"target": "replica", "replica": 1},
    SkyStorageDeleteOperator: {"names": "demo"},
    SkyVolumeApplyOperator: {"volume": {"name": "demo"}},
}
"""What else an operator needs."""

ALONE: dict[str, Any] = {"job_ids": None, "service_names": None, "pool_names": None, "names": None}
WITH: dict[tuple[type[SkyBaseOperator], str], dict[str, Any]] = {
    (SkyStartOperator, "down"): {"idle_minutes_to_autostop": 5},
    (operators.SkyStopOperator, "graceful_timeout"): {"graceful": True},
    (operators.SkyDownOperator, "graceful_timeout"): {"graceful": True},
    (SkyClusterDownOperator, "graceful_timeout"): {"graceful": True},
    (SkyAutostopOperator, "hook_timeout"): {"hook": "sync"},
    (SkyCancelOperator, "all_users"): {"all": True, "job_ids": None},
    (SkyLogsOperator, "worker"): {"provision": True},
    (SkyLaunchOperator, "down"): {"idle_minutes_to_autostop": 5},
    (SkyDecoratedOperator, "down"): {"idle_minutes_to_autostop": 5},
    (SkyJobLaunchOperator, "num_jobs"): {"pool_name": "demo"},
    (SkyJobLogsOperator, "job_id"): {"job_name": None},
    (SkyPoolApplyOperator, "workers"): {"sky_task_yaml": None},
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
        for cls in classes
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
    """A task instance that knows that no other run is alive."""

    def get_dr_count(self, **_: Any) -> int:
        return 0


def make(kind: type[SkyBaseOperator], name: str, value: object, **arguments: Any) -> SkyBaseOperator:
    """Return an operator with as few arguments as possible, and that one."""
    required = {key: REQUIRED[key] for key, p in parameters_of(kind).items() if p.default is p.empty}
    least = {**required, **LEAST.get(kind, {}), **WITH.get((kind, name), {})}
    if name in {"all", "all_storage"} and str(value) in {"True", "{{ 'yes' }}"}:
        least.update(dict.fromkeys(least.keys() & ALONE))
    operator = kind(task_id="task", dag=make_dag(), **{**least, **arguments, name: value})
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
        sent = send(make(kind, name, text))
        assert exact(sent) == exact(send(make(kind, name, value)))
        if name != "fail_fast":
            assert exact(sent) != exact(send(make(kind, name, not value)))

    def test_in_words(self, kind: type[SkyBaseOperator], name: str, send: Send) -> None:
        assert exact(send(make(kind, name, " oFF "))) == exact(send(make(kind, name, False)))

    @pytest.mark.parametrize("value", ["maybe", "", 2, 1.0, []])
    def test_anything_else_is_refused_when_the_dag_is_parsed(
        self, kind: type[SkyBaseOperator], name: str, value: object
    ) -> None:
        with pytest.raises(SkyRequestError, match=f"^{name}: {re.escape(repr(value))} "):
            make(kind, name, value)

    @pytest.mark.parametrize("text", ["maybe", "", "None"])
    def test_anything_else_is_refused_before_there_is_a_pod(
        self, kind: type[SkyBaseOperator], name: str, text: str, send: Send
    ) -> None:
        operator = make(kind, name, f"{{{{ {text!r} }}}}")
        with pytest.raises(SkyRequestError, match=f"^{name}: {text!r} "):
            send(operator)


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
class TestNumbers:
    """A number may be text."""

    def test_after_jinja(self, kind: type[SkyBaseOperator], name: str, send: Send) -> None:
        sent = send(make(kind, name, "{{ '7' }}"))
        assert exact(sent) == exact(send(make(kind, name, 7)))
        assert exact(sent) != exact(send(make(kind, name, 8)))

    @pytest.mark.parametrize("value", ["seven", True, -7])
    def test_anything_else_is_refused_when_the_dag_is_parsed(
        self, kind: type[SkyBaseOperator], name: str, value: object
    ) -> None:
        with pytest.raises(SkyRequestError, match=f"^{name}: {value!r} "):
            make(kind, name, value)

    def test_anything_else_is_refused_before_there_is_a_pod(
        self, kind: type[SkyBaseOperator], name: str, send: Send
    ) -> None:
        operator = make(kind, name, "{{ 'seven' }}")
        with pytest.raises(SkyRequestError, match=f"^{name}: 'seven' "):
            send(operator)


def test_the_pods_arguments_have_their_types_after_a_deferral_too(send: Send) -> None:
    flags = {"log_events_on_failure", "log_pod_spec_on_failure"}
    values: dict[str, Any] = {name: "{{ 'off' }}" if name in flags else "{{ '7' }}" for name in OF_THE_POD}
    sent = send(SkyStorageListOperator(task_id="task", dag=make_dag(), **values), "trigger_reentry", event={})
    expected = {name: False if name in flags else 7 for name in OF_THE_POD}
    assert exact({name: sent[name] for name in OF_THE_POD}) == exact(expected)
    assert sent["schedule_timeout_seconds"] == 7
