"""The operators of clusters and of their jobs: their arguments become the runner's, and a wrong one is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyBaseOperator,
    SkyCancelOperator,
    SkyCostReportOperator,
    SkyDownOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyQueueOperator,
    SkyStartOperator,
    SkyStatusOperator,
    SkyStopOperator,
)
from k8s_sky_provider.protocol import OnCancel
from unit.k8s_sky_provider.airflow_version import serialized
from unit.k8s_sky_provider.operators.running import context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

DEFAULTS: dict[type[SkyBaseOperator], dict[str, Any]] = {
    SkyStartOperator: {
        "idle_minutes_to_autostop": None,
        "wait_for": None,
        "down": False,
        "retry_until_up": False,
        "force": False,
    },
    SkyStopOperator: {"graceful": False, "graceful_timeout": None},
    SkyAutostopOperator: {"idle_minutes": 5, "wait_for": None, "down": False, "hook": None, "hook_timeout": None},
    SkyDownOperator: {"purge": False, "graceful": False, "graceful_timeout": None},
    SkyStatusOperator: {
        "cluster_names": None,
        "refresh": False,
        "ip": False,
        "endpoints": False,
        "all_users": False,
        "owners": False,
    },
    SkyCostReportOperator: {"cluster_names": None, "days": 30, "all": False},
    SkyQueueOperator: {"skip_finished": False, "all_users": False, "limit": None},
    SkyCancelOperator: {"job_ids": [7], "all_users": False},
    SkyLogsOperator: {
        "job_id": None,
        "follow": True,
        "tail": 0,
        "provision": False,
        "worker": None,
        "sync_down": False,
    },
}
"""The arguments that the runner gets besides the cluster, of an operator that was given as little as possible."""

MANY = [SkyStartOperator, SkyStopOperator, SkyAutostopOperator, SkyDownOperator, SkyQueueOperator]
"""Those that take one cluster or several."""

ONE = [SkyCancelOperator, SkyLogsOperator]
FILTERED = [SkyStatusOperator, SkyCostReportOperator]
"""Those that list all clusters unless some are named."""


def make(kind: type[SkyBaseOperator], **arguments: Any) -> SkyBaseOperator:
    """Return an operator with as few arguments as possible, and those."""
    least: dict[str, Any] = {} if kind in FILTERED else {"cluster_name": "demo"}
    if kind is SkyCancelOperator:
        least["job_ids"] = None if arguments.get("all") else 7
    return kind(task_id="task", dag=make_dag(), **{**least, **arguments})


def arguments_of(operator: SkyBaseOperator) -> dict[str, Any]:
    """Return the arguments that the runner would get, after Jinja."""
    context = context_of(operator)
    operator.render_template_fields(context)
    return operator.build_arguments(context)


class LazyNames(Sequence[str]):
    """What the outputs of a mapped task come as: a sequence that is no list."""

    def __getitem__(self, index: Any) -> Any:
        return ["a", "b"][index]

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return "LazyNames()"


@pytest.mark.parametrize("kind", DEFAULTS)
class TestAll:
    """What holds for each of them."""

    def test_what_the_runner_gets(self, kind: type[SkyBaseOperator]) -> None:
        cluster = {} if kind in FILTERED else {"cluster_name": "demo"}
        assert arguments_of(make(kind)) == {**cluster, **DEFAULTS[kind]}

    def test_the_request_has_the_action_of_the_class(
        self, kind: type[SkyBaseOperator], kubernetes: FakeKubernetes
    ) -> None:
        run_task(lambda: make(kind), kubernetes)
        assert kubernetes.request.action == kind.action

    def test_nothing_is_undone_when_it_is_killed(self, kind: type[SkyBaseOperator]) -> None:
        assert make(kind).default_on_cancel in {None, OnCancel.LEAVE}

    def test_template_fields_are_attributes(self, kind: type[SkyBaseOperator]) -> None:
        operator = make(kind)
        assert set(SkyBaseOperator.template_fields) < set(kind.template_fields)
        assert all(hasattr(operator, name) for name in kind.template_fields)


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        *[
            (SkyStartOperator, {name: value}, {name: value})
            for name, value in (
                ("idle_minutes_to_autostop", 0),
                ("idle_minutes_to_autostop", 10),
                ("wait_for", "jobs"),
                ("retry_until_up", True),
                ("force", True),
            )
        ],
        (SkyStartOperator, {"down": True, "idle_minutes_to_autostop": 3}, {"down": True}),
        (SkyStopOperator, {"graceful": True}, {"graceful": True}),
        (SkyStopOperator, {"graceful": True, "graceful_timeout": 60}, {"graceful_timeout": 60}),
        (SkyAutostopOperator, {"idle_minutes": 0}, {"idle_minutes": 0}),
        (SkyAutostopOperator, {"cancel": True}, {"idle_minutes": -1}),
        (SkyAutostopOperator, {"down": True}, {"down": True}),
        (SkyAutostopOperator, {"wait_for": "none"}, {"wait_for": "none"}),
        (SkyAutostopOperator, {"hook": "sync", "hook_timeout": 9}, {"hook": "sync", "hook_timeout": 9}),
        (SkyDownOperator, {"purge": True}, {"purge": True}),
        (SkyDownOperator, {"graceful": True, "graceful_timeout": 60}, {"graceful": True, "graceful_timeout": 60}),
        *[
            (SkyStatusOperator, {name: True}, {name: True})
            for name in ("refresh", "ip", "endpoints", "all_users", "owners")
        ],
        (SkyCostReportOperator, {"days": 7, "all": True}, {"days": 7, "all": True}),
        (SkyCostReportOperator, {"days": 0}, {"days": None}),
        (SkyQueueOperator, {"skip_finished": True, "all_users": True}, {"skip_finished": True, "all_users": True}),
        (SkyQueueOperator, {"limit": 3}, {"limit": 3}),
        (SkyCancelOperator, {"job_ids": [1, 2]}, {"job_ids": [1, 2]}),
        (SkyCancelOperator, {"job_ids": "{{ 6 + 1 }}"}, {"job_ids": [7]}),
        (SkyCancelOperator, {"job_ids": ["{{ 6 + 1 }}", 8]}, {"job_ids": [7, 8]}),
        (SkyCancelOperator, {"all": True}, {"job_ids": None}),
        (SkyCancelOperator, {"all": True, "all_users": True}, {"job_ids": None, "all_users": True}),
        (SkyLogsOperator, {"job_id": 7}, {"job_id": 7}),
        (SkyLogsOperator, {"job_id": "{{ 6 + 1 }}"}, {"job_id": 7}),
        (SkyLogsOperator, {"follow": False, "tail": 10}, {"follow": False, "tail": 10}),
        (SkyLogsOperator, {"provision": True, "worker": 0}, {"provision": True, "worker": 0}),
        (SkyLogsOperator, {"sync_down": True}, {"sync_down": True}),
    ],
    ids=str,
)
def test_an_option_is_passed_on(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    given = arguments_of(make(kind, **arguments))
    assert {name: given[name] for name in expected} == expected


class TestNames:
    """Clusters are meant by a name, a glob or several of them."""

    @pytest.mark.parametrize("kind", MANY)
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ("train-*", "train-*"),
            ("{{ 'train' }}-[12]?", "train-[12]?"),
            (["a", "b-*"], ["a", "b-*"]),
            (("a",), ["a"]),
            (LazyNames(), ["a", "b"]),
            ([], []),
        ],
        ids=str,
    )
    def test_several(self, kind: type[SkyBaseOperator], names: Any, expected: str | list[str]) -> None:
        assert arguments_of(make(kind, cluster_name=names))["cluster_name"] == expected

    @pytest.mark.parametrize("kind", FILTERED)
    @pytest.mark.parametrize(("names", "expected"), [("demo", ["demo"]), ("a*", ["a*"]), (["a", "b"], ["a", "b"])])
    def test_that_a_list_is_narrowed_by(self, kind: type[SkyBaseOperator], names: Any, expected: list[str]) -> None:
        assert arguments_of(make(kind, cluster_names=names))["cluster_names"] == expected

    @pytest.mark.parametrize("kind", DEFAULTS)
    @pytest.mark.parametrize("name", ["1st", "my demo", "demo-", ""])
    def test_that_can_be_none(self, kind: type[SkyBaseOperator], name: str) -> None:
        argument = "cluster_names" if kind in FILTERED else "cluster_name"
        with pytest.raises(SkyRequestError, match=re.escape(f"{argument}: {name!r} must start with a letter")):
            make(kind, **{argument: name})

    @pytest.mark.parametrize("kind", [*MANY, *FILTERED])
    @pytest.mark.parametrize("names", ["a b*", ["demo", "$(x)*"]], ids=str)
    def test_globs_that_can_be_none(self, kind: type[SkyBaseOperator], names: Any) -> None:
        argument = "cluster_names" if kind in FILTERED else "cluster_name"
        with pytest.raises(SkyRequestError, match=f"{argument}: .* must have only letters, digits"):
            make(kind, **{argument: names})

    @pytest.mark.parametrize("kind", [kind for kind in MANY if kind is not SkyQueueOperator])
    @pytest.mark.parametrize("names", ["{{ '*' }}", "train-{{ '[ab]' }}", ["a", "{{ '*' }}"]], ids=str)
    def test_a_wildcard_that_the_author_did_not_write(self, kind: type[SkyBaseOperator], names: Any) -> None:
        with pytest.raises(SkyRequestError, match=r"cluster_name: .* has a wildcard that comes from a template"):
            arguments_of(make(kind, cluster_name=names))

    @pytest.mark.parametrize("kind", [kind for kind in MANY if kind is not SkyQueueOperator])
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ("{{ 'a' }}-*", "a-*"),
            ("{{ 'a*' }}-*", None),
            ("{{ '*' }}", None),
            (["a-*", "{{ 'b' }}"], ["a-*", "b"]),
            (["a-*", "{{ 'b-*' }}"], None),
            ("{% if 1 %}a-*{% else %}b-*{% endif %}", "a-*"),
            ("{% if 1 %}a{{ '*' }}{% endif %}", None),
        ],
        ids=str,
    )
    def test_each_wildcard_is_the_authors(
        self, kind: type[SkyBaseOperator], names: Any, expected: str | list[str] | None
    ) -> None:
        operator = make(kind, cluster_name=names)
        if expected is not None:
            assert arguments_of(operator)["cluster_name"] == expected
        else:
            with pytest.raises(SkyRequestError, match=r"cluster_name: .* has a wildcard that comes from a template"):
                arguments_of(operator)

    @pytest.mark.parametrize("kind", [kind for kind in MANY if kind is not SkyQueueOperator])
    def test_a_wildcard_of_a_mapped_task(self, kind: type[SkyBaseOperator]) -> None:
        with make_dag() as dag:
            first: Any = BaseOperator(task_id="first")
            kind.partial(task_id="of_another").expand(cluster_name=first.output)
            kind.partial(task_id="of_the_author").expand(cluster_name=["a-*", ["b-*", "c"], "d"])
            kind.partial(task_id="by_kwargs").expand_kwargs([{"cluster_name": "a-*"}, {"cluster_name": "b"}])
            kind.partial(task_id="in_common", cluster_name="{{ 'a' }}-*").expand(fail_fast=[True, False])

        def arguments_of_one(task_id: str, **values: Any) -> Any:
            one: Any = dag.task_dict[task_id].unmap(values)
            context = {**context_of(one), "dag": dag}
            one.render_template_fields(context)
            return one.build_arguments(context)["cluster_name"]

        assert arguments_of_one("of_the_author", cluster_name="a-*") == "a-*"
        assert arguments_of_one("of_the_author", cluster_name=["b-*", "c"]) == ["b-*", "c"]
        assert arguments_of_one("by_kwargs", cluster_name="a-*") == "a-*"
        assert arguments_of_one("in_common", fail_fast=True) == "a-*"
        assert arguments_of_one("of_another", cluster_name="a") == "a"
        for task_id in ("of_another", "of_the_author", "by_kwargs"):
            with pytest.raises(SkyRequestError, match=r"cluster_name: '\*' has a wildcard"):
                arguments_of_one(task_id, cluster_name="*")

    @pytest.mark.parametrize("kind", [*MANY, *ONE])
    @pytest.mark.parametrize("name", ["../../../.ssh/x{{", "a{%/../b"])
    def test_a_name_that_looks_like_a_template_when_it_is_rendered(
        self, kind: type[SkyBaseOperator], name: str
    ) -> None:
        with pytest.raises(SkyRequestError, match=r"cluster_name: .* must"):
            arguments_of(make(kind, cluster_name=f"{{{{ {name!r} }}}}"))

    @pytest.mark.parametrize("kind", ONE)
    def test_a_glob_where_one_cluster_is_meant(self, kind: type[SkyBaseOperator]) -> None:
        with pytest.raises(SkyRequestError, match=re.escape("cluster_name: 'train-*' must start with a letter")):
            make(kind, cluster_name="train-*")

    @pytest.mark.parametrize("kind", [*MANY, *FILTERED])
    @pytest.mark.parametrize("value", [7, ["a", None], {"a": 1}], ids=str)
    def test_that_another_task_did_not_return(self, kind: type[SkyBaseOperator], value: Any) -> None:
        argument = "cluster_names" if kind in FILTERED else "cluster_name"
        message = (
            f"{argument}: must be a name or a list of names, not {value!r}; did the task it comes from return one?"
        )
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            make(kind, **{argument: value})
        operator = make(kind, **{argument: "{{ to_come }}"})
        setattr(operator, argument, value)
        with pytest.raises(SkyRequestError, match=re.escape(message)):
            arguments_of(operator)

    @pytest.mark.parametrize("kind", MANY)
    def test_that_only_show_after_jinja(self, kind: type[SkyBaseOperator]) -> None:
        operator = make(kind, cluster_name=["{{ params.who }}!"])
        with pytest.raises(SkyRequestError, match="'Zoë!' must start with a letter"):
            arguments_of(operator)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (
            SkyStartOperator,
            {"idle_minutes_to_autostop": -1},
            "idle_minutes_to_autostop: -1 is not a whole number from 0 up",
        ),
        (SkyStartOperator, {"down": True}, "down: needs idle_minutes_to_autostop"),
        (SkyStartOperator, {"wait_for": "ssh"}, "wait_for: 'ssh' is not one of jobs_and_ssh, jobs, none"),
        (SkyStopOperator, {"graceful_timeout": 5}, "graceful_timeout: needs graceful=True"),
        (SkyStopOperator, {"graceful": True, "graceful_timeout": 0}, "graceful_timeout: 0 is not a whole number"),
        (SkyAutostopOperator, {"idle_minutes": 1.5}, "idle_minutes: 1.5 is not a whole number from 0 up"),
        (SkyAutostopOperator, {"idle_minutes": True}, "idle_minutes: True is not a whole number"),
        (SkyAutostopOperator, {"wait_for": "ssh"}, "wait_for: 'ssh' is not one of"),
        (SkyAutostopOperator, {"hook_timeout": 5}, "hook_timeout: needs a hook"),
        (SkyAutostopOperator, {"cancel": True, "down": True}, "cancel: switches the autostop off"),
        (SkyAutostopOperator, {"cancel": True, "hook": "x"}, "cancel: switches the autostop off"),
        (SkyDownOperator, {"graceful_timeout": 5}, "graceful_timeout: needs graceful=True"),
        (SkyCostReportOperator, {"days": -1}, "days: -1 is not a whole number from 0 up"),
        (SkyQueueOperator, {"limit": 0}, "limit: 0 is not a whole number from 1 up"),
        (SkyCancelOperator, {"job_ids": None}, "job_ids: None: name the jobs, or give all=True for all of them"),
        (SkyCancelOperator, {"job_ids": [1], "all": True}, "job_ids: [1]: name the jobs, or give all=True"),
        (SkyCancelOperator, {"job_ids": []}, "job_ids: []: name the jobs, or give all=True"),
        (SkyCancelOperator, {"job_ids": ["x"]}, "job_ids: 'x' is not a whole number from 1 up"),
        (SkyCancelOperator, {"all_users": True}, "all_users: needs all=True"),
        (SkyLogsOperator, {"job_id": "last"}, "job_id: 'last' is not a whole number from 1 up"),
        (SkyLogsOperator, {"tail": -1}, "tail: -1 is not a whole number from 0 up"),
        (SkyLogsOperator, {"worker": 1}, "worker: needs provision=True"),
        (SkyLogsOperator, {"provision": True, "worker": -1}, "worker: -1 is not a whole number from 0 up"),
        (SkyLogsOperator, {"provision": True, "job_id": 1}, "provision: is the cluster's log"),
        (SkyLogsOperator, {"provision": True, "sync_down": True}, "provision: is the cluster's log"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_when_the_dag_is_read(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        make(kind, **arguments)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SkyLogsOperator, {"job_id": "{{ params.who }}"}, "job_id: 'Zoë' is not a whole number from 1 up"),
        (SkyCancelOperator, {"job_ids": ["{{ params.who }}"]}, "job_ids: 'Zoë' is not a whole number from 1 up"),
    ],
    ids=str,
)
def test_a_wrong_argument_that_only_shows_after_jinja(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str
) -> None:
    operator = make(kind, **arguments)
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        arguments_of(operator)


def test_outputs_of_other_tasks_are_dependencies() -> None:
    with make_dag() as dag:
        first: Any = BaseOperator(task_id="first")
        launch = SkyLaunchOperator(task_id="launch", sky_task_yaml={"run": "x"}, wait=False)
        SkyLogsOperator(task_id="logs", cluster_name=launch.output, job_id=first.output)
        SkyCancelOperator(task_id="cancel", cluster_name=launch.output, job_ids=[first.output])
        SkyAutostopOperator(task_id="autostop", cluster_name=[launch.output, "demo"])
        many = SkyStatusOperator.partial(task_id="status").expand(cluster_names=[["a"], ["b"]])
        SkyDownOperator(task_id="down", cluster_name=many.output)
    restored = serialized(dag)
    assert restored.get_task("first").downstream_task_ids == {"logs", "cancel"}
    assert restored.get_task("launch").downstream_task_ids == {"logs", "cancel", "autostop"}
    assert restored.get_task("status").downstream_task_ids == {"down"}
