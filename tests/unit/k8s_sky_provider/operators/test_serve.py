"""The operators of services and pools: their arguments become the runner's, and a wrong one is named at once."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import (
    SkyBaseOperator,
    SkyPoolApplyOperator,
    SkyPoolDownOperator,
    SkyPoolStatusOperator,
    SkyServeDownOperator,
    SkyServeLogsOperator,
    SkyServeStatusOperator,
    SkyServeUpdateOperator,
    SkyServeUpOperator,
)
from k8s_sky_provider.protocol import OnCancel, TaskOverrides
from unit.k8s_sky_provider.operators.running import context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

TASK = {"run": "serve", "service": {"readiness_probe": "/", "replicas": 1}}
POOL = {"setup": "true", "pool": {"workers": 1}}
PLAIN = dataclasses.asdict(TaskOverrides())
UP = {"sky_task_yaml": TASK, "service_name": "chat"}
APPLY = {"sky_task_yaml": POOL, "pool_name": "gpus"}
DOWN = [(SkyServeDownOperator, "service_names"), (SkyPoolDownOperator, "pool_names")]


def make(kind: type[SkyBaseOperator], **arguments: Any) -> Any:
    return kind(task_id="task", dag=make_dag(), **arguments)


def arguments_of(kind: type[SkyBaseOperator], **arguments: Any) -> dict[str, Any]:
    """Return the arguments that the runner would get, after Jinja."""
    operator = make(kind, **arguments)
    context = context_of(operator)
    operator.render_template_fields(context)
    return dict(operator.build_arguments(context))


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        (
            SkyServeUpOperator,
            UP,
            {"task": TASK, "overrides": PLAIN, "service_name": "chat", "wait": True, "timeout": 1800},
        ),
        (
            SkyServeUpOperator,
            {"sky_task_yaml": "~/task.yaml", "service_name": "{{ 'chat' }}", "wait": False, "timeout": 5},
            {"task": "~/task.yaml", "overrides": PLAIN, "service_name": "chat", "wait": False, "timeout": 5},
        ),
        (
            SkyServeUpdateOperator,
            {**UP, "mode": "blue_green"},
            {
                "task": TASK,
                "overrides": PLAIN,
                "service_name": "chat",
                "mode": "blue_green",
                "wait": True,
                "timeout": 1800,
            },
        ),
        (SkyServeStatusOperator, {}, {"names": None}),
        (SkyServeStatusOperator, {"service_names": "chat"}, {"names": ["chat"]}),
        (SkyServeStatusOperator, {"service_names": ["{{ 'chat' }}", "x"]}, {"names": ["chat", "x"]}),
        (SkyServeDownOperator, {"service_names": "chat"}, {"names": ["chat"], "purge": False}),
        (SkyServeDownOperator, {"service_names": ["a-*", "b"], "purge": True}, {"names": ["a-*", "b"], "purge": True}),
        (SkyServeDownOperator, {"all": True}, {"names": None, "purge": False}),
        (
            SkyServeLogsOperator,
            {"service_name": "chat", "replica": "2", "follow": True, "tail": 3},
            {"service_name": "chat", "target": "replica", "replica": 2, "follow": True, "tail": 3},
        ),
        (
            SkyServeLogsOperator,
            {"service_name": "chat", "target": "load_balancer"},
            {"service_name": "chat", "target": "load_balancer", "replica": None, "follow": False, "tail": None},
        ),
        (
            SkyPoolApplyOperator,
            APPLY,
            {
                "task": POOL,
                "overrides": PLAIN,
                "pool_name": "gpus",
                "workers": None,
                "mode": "rolling",
                "wait": True,
                "timeout": 1800,
            },
        ),
        (
            SkyPoolApplyOperator,
            {"pool_name": "gpus", "workers": "{{ 2 }}"},
            {
                "task": None,
                "overrides": {},
                "pool_name": "gpus",
                "workers": 2,
                "mode": "rolling",
                "wait": True,
                "timeout": 1800,
            },
        ),
        (SkyPoolStatusOperator, {"pool_names": "gpus"}, {"names": ["gpus"]}),
        (SkyPoolDownOperator, {"pool_names": "gpus"}, {"names": ["gpus"], "purge": False}),
        (SkyPoolDownOperator, {"all": True, "purge": True}, {"names": None, "purge": True}),
    ],
)
def test_what_the_operator_was_given_is_what_the_runner_gets(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert arguments_of(kind, **arguments) == expected


@pytest.mark.parametrize(
    ("kind", "arguments", "on_cancel"),
    [
        (SkyServeUpOperator, UP, OnCancel.DOWN),
        (SkyServeUpdateOperator, UP, None),
        (SkyServeStatusOperator, {}, None),
        (SkyServeDownOperator, {"all": True}, None),
        (SkyServeLogsOperator, {"service_name": "chat", "replica": 1}, None),
        (SkyPoolApplyOperator, APPLY, None),
        (SkyPoolStatusOperator, {}, None),
        (SkyPoolDownOperator, {"all": True}, None),
    ],
)
def test_the_request_has_the_action_of_the_class_and_what_a_kill_does(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], on_cancel: OnCancel | None, kubernetes: FakeKubernetes
) -> None:
    run_task(lambda: make(kind, **arguments), kubernetes)
    assert (kubernetes.request.action, kubernetes.request.on_cancel) == (kind.action, on_cancel)
    assert kind.__name__ == f"Sky{kind.action.title().replace('_', '')}Operator"


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SkyServeUpOperator, {**UP, "service_name": "1st"}, "service_name: '1st' must start with a letter"),
        (SkyServeUpOperator, {**UP, "timeout": 0}, "timeout: 0 is not a number above 0"),
        (SkyServeUpOperator, {**UP, "on_cancel": "cancel"}, "on_cancel: 'cancel' is not one of down, leave"),
        (SkyServeUpOperator, {**UP, "sky_task_yaml": {"rum": "x"}}, "sky_task_yaml: rum is not a key"),
        (SkyServeUpOperator, {**UP, "sky_task_yaml": {"run": "x"}}, "sky_task_yaml: has no service section"),
        (SkyServeUpdateOperator, {**UP, "sky_task_yaml": {"service": None}}, "sky_task_yaml: has no service section"),
        (SkyPoolApplyOperator, {**APPLY, "sky_task_yaml": {"setup": "x"}}, "sky_task_yaml: has no pool section"),
        (
            SkyServeUpOperator,
            {**UP, "sky_task_yaml": {"service": {"replicas": "two"}}},
            "sky_task_yaml: service.replicas must be of type int, not str ('two')",
        ),
        (SkyServeUpdateOperator, {**UP, "mode": "red"}, "mode: 'red' is not one of rolling, blue_green"),
        (SkyServeLogsOperator, {"service_name": "chat"}, "replica: give its id with target='replica'"),
        (
            SkyServeLogsOperator,
            {"service_name": "chat", "target": "controller", "replica": 1},
            "replica: give its id with target='replica', and with no other target",
        ),
        (
            SkyServeLogsOperator,
            {"service_name": "chat", "target": "x"},
            "target: 'x' is not one of replica, controller",
        ),
        (SkyPoolApplyOperator, {"pool_name": "gpus"}, "sky_task_yaml and workers: give at least one"),
        (SkyPoolApplyOperator, {**APPLY, "workers": 2}, "workers: with a task, the task's pool section says how many"),
        (SkyPoolApplyOperator, {"pool_name": "gpus", "workers": 0}, "workers: 0 is not a whole number from 1 up"),
        (SkyPoolApplyOperator, {**APPLY, "pool_name": "-"}, "pool_name: '-' must start with a letter"),
        *((kind, {}, f"{field}: name them, or give all=True") for kind, field in DOWN),
        *((kind, {field: "a", "all": True}, f"{field}: name them, or give all=True") for kind, field in DOWN),
        *((kind, {field: ["a", "b c"]}, f"{field}: 'b c' must start with a letter") for kind, field in DOWN),
        *((kind, {field: ["a", "b c*"]}, f"{field}: 'b c*' must have only letters") for kind, field in DOWN),
        *(
            (kind, {field: []}, f"{field}: name them, or give all=True for all of them (it is [])")
            for kind, field in DOWN
        ),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_read(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        make(kind, **arguments)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SkyServeUpOperator, {**UP, "service_name": "{{ 1 }}st"}, "service_name: '1st' must start with a letter"),
        (SkyServeLogsOperator, {"service_name": "chat", "replica": "{{ none }}"}, "replica: 'None' is not a whole"),
        *((kind, {field: ["{{ 'b c*' }}"]}, f"{field}: 'b c*' must have only letters") for kind, field in DOWN),
    ],
)
def test_a_wrong_argument_is_named_when_it_is_rendered(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        arguments_of(kind, **arguments)


@pytest.mark.parametrize(("kind", "argument"), DOWN)
def test_a_wildcard_that_the_author_did_not_write_is_refused(kind: type[SkyBaseOperator], argument: str) -> None:
    with pytest.raises(SkyRequestError, match=f"{argument}: .* has a wildcard that comes from a template"):
        arguments_of(kind, **{argument: "{{ '*' }}"})
    assert arguments_of(kind, **{argument: "{{ 'a' }}-*"})["names"] == ["a-*"]
    with pytest.raises(SkyRequestError, match=f"{argument}: .* must start with a letter"):
        arguments_of(kind, **{argument: "{{ '../x{{' }}"})


def test_a_name_that_looks_like_a_template_when_it_is_rendered_is_refused() -> None:
    with pytest.raises(SkyRequestError, match=r"service_name: '\.\./x{{' must start with a letter"):
        arguments_of(SkyServeUpOperator, **{**UP, "service_name": "{{ '../x{{' }}"})
