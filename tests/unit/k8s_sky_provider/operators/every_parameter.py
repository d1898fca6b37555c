"""Every parameter of every operator, from their signatures, and operators that are made with as little as possible."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from k8s_sky_provider import operators
from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator
from k8s_sky_provider.decorators.sky import SkyDecoratedOperator
from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyBaseOperator,
    SkyCancelOperator,
    SkyDownOperator,
    SkyJobCancelOperator,
    SkyJobLaunchOperator,
    SkyJobLogsOperator,
    SkyLogsOperator,
    SkyPoolApplyOperator,
    SkyPoolDownOperator,
    SkyReapOperator,
    SkyServeDownOperator,
    SkyServeLogsOperator,
    SkyServeUpdateOperator,
    SkyServeUpOperator,
    SkyStartOperator,
    SkyStopOperator,
    SkyStorageDeleteOperator,
    SkyStorageListOperator,
    SkyVolumeApplyOperator,
)
from unit.k8s_sky_provider.operators.running import TaskInstance, make_dag

if TYPE_CHECKING:
    from collections.abc import Iterator

Send = Callable[..., dict[str, Any]]


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
    (SkyJobCancelOperator, "job_name"): {"job_ids": None},
    (SkyJobCancelOperator, "pool_name"): {"job_ids": None},
    (SkyReapOperator, "clusters"): {"named": True},
    (SkyPoolApplyOperator, "workers"): {"sky_task_yaml": None},
    (SkyReapOperator, "known_runs_only"): {"named": True},
}
"""What goes with a parameter."""

ATTRIBUTES = {"hook": "autostop_hook"}
"""Parameters whose attribute has another name."""

NOT_TEMPLATED = {"credentials", "do_xcom_push", "launch_task_id", "python_callable", "render_task", "statuses"}
SET_BY_ITSELF = {(SkyDecoratedOperator, "wait"), (SkyDecoratedOperator, "dryrun")}


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


OF_THE_POD = sorted(
    (inspect.signature(SkyBaseOperator.__init__).parameters.keys() - NOT_TEMPLATED - {"self", "kwargs"})
    & inspect.signature(KubernetesPodOperator.__init__).parameters.keys()
)
"""Parameters that KubernetesPodOperator reads by itself."""


@dataclasses.dataclass
class Airflow(TaskInstance):
    """A task instance that knows no other run."""

    def get_dr_count(self, **_: Any) -> int:
        return 0


def make_natively(kind: Any, /, **arguments: Any) -> Any:
    """Return one in whose DAG Jinja leaves Python's types."""
    return make(kind, dag=make_dag(render_template_as_native_obj=True), **arguments)


def make(kind: Any, /, **arguments: Any) -> Any:
    """Return an operator with as few arguments as possible besides those that are given."""
    required = {name: REQUIRED[name] for name, p in parameters_of(kind).items() if p.default is p.empty}
    least = {**required, **LEAST.get(kind, {})}
    for name in arguments:
        least.update(WITH.get((kind, name), {}))
    if "git_ref" in arguments:
        least["git_url"] = "https://example.com/a.git"
    if any(
        str(arguments.get(name)) in {"True", "{{ True }}", "{{ 'yes' }}", "{{ '1' }}"}
        for name in ("all", "all_storage")
    ):
        least.update(dict.fromkeys(least.keys() & ALONE))
    operator = kind(**{"task_id": "task", "dag": make_dag(), **least, **arguments})
    if isinstance(operator, SkyDecoratedOperator):
        operator.op_args, operator.op_kwargs = (), {}
    return operator


def exact(sent: dict[str, Any]) -> str:
    """Return what tells 1 and True apart."""
    return json.dumps(sent, sort_keys=True)
