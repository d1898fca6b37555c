"""Every parameter of every operator reads its kind of value alike: when the DAG is parsed, and after Jinja.

:data:`KINDS` has what a kind takes and refuses, :data:`OF` which kind each parameter is. The parameters are those of
the constructors: one without a kind fails.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator
from k8s_sky_provider.decorators.sky import SkyDecoratedOperator
from k8s_sky_provider.exceptions import SkyPilotError
from k8s_sky_provider.operators import (
    SkyAutostopOperator,
    SkyBaseOperator,
    SkyCheckOperator,
    SkyDownOperator,
    SkyJobCancelOperator,
    SkyJobLogsOperator,
    SkyJobQueueOperator,
    SkyLaunchOperator,
    SkyLogsOperator,
    SkyPoolStatusOperator,
    SkyQueueOperator,
    SkyServeLogsOperator,
    SkyServeStatusOperator,
    SkyStartOperator,
    SkyStopOperator,
    SkyStorageListOperator,
)
from unit.k8s_sky_provider.operators.every_parameter import (
    ALL,
    NOT_TEMPLATED,
    ROW,
    Send,
    every_parameter,
    exact,
    make,
    make_natively,
    parameters_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("deployment")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of value.

    :param taken: values that differ in what the runner gets
    :param texts: what Jinja may leave instead -> the value that it stands for
    :param refused: values that are none -> the words of the error, besides the value
    :param refused_texts: what Jinja may leave and that is none
    :param shows: whether the error has the value, and not one of its parts
    """

    taken: tuple[Any, ...]
    texts: dict[str, Any] = dataclasses.field(default_factory=dict)
    refused: tuple[Any, ...]
    refused_texts: tuple[str, ...] = ("None", "")
    words: str
    shows: Callable[[Any], str] = repr


def type_of(value: object) -> str:
    """Return what an error says of a value that it does not show."""
    return "empty" if value is None else type(value).__name__


def one_of(*taken: str, of: str) -> Kind:
    return Kind(taken=taken, refused=("x", "", 1, {"a": 1}, [taken[0]]), words=f"is not one of {of}$")


def whole(least: int) -> Kind:
    return Kind(
        taken=(least, 7),
        texts={"7": 7, f"{least}": least},
        refused=("seven", "", -7, least - 1, 1.5, True, [7], {"a": 1}),
        refused_texts=("seven", "1.5", "-7", "None", "", "[7]"),
        words=f"is not a whole number from {least} up",
    )


DICT = {"a": 1}
SECTIONS: dict[str, Any] = {"service": {}, "pool": {}}
KINDS = {
    "flag": Kind(
        taken=(True, False),
        texts={"False": False, "yes": True, " oFF ": False, "1": True},
        refused=("maybe", "", 2, 1.0, [], DICT),
        refused_texts=("maybe", "", "None", "2"),
        words="is no flag; give True or False, or as text one of true, yes, on, t, y, 1, false",
    ),
    "from 0": whole(0),
    "from 1": whole(1),
    "minutes": Kind(
        taken=(1, 7, -1),
        texts={"7": 7, "-1": -1},
        refused=("seven", "", 0, -2, 1.5, True, [7], DICT),
        refused_texts=("seven", "0", "-2", "None"),
        words="is neither minutes from 1 up nor -1 for never",
    ),
    "number": Kind(
        taken=(7, 1.5),
        texts={"7": 7, "1.5": 1.5},
        refused=("seven", "", 0, -7, True, [7], DICT, float("inf")),
        refused_texts=("seven", "0", "inf", "nan", "None", ""),
        words="is not a number above 0",
    ),
    "amount": Kind(taken=(7, "8+"), texts={"7": 7}, refused=("", True, [7], DICT), words="must be a text, not"),
    "text": Kind(
        taken=("a", "b"),
        refused=("", " ", 7, True, [], DICT, "None"),
        words="must be a text, not .*; did the task that it comes from return one",
    ),
    "name": Kind(
        taken=("a", "b-1"),
        refused=("1st", "a b", "a*", "", "../x", 7, ["a"], DICT, "None"),
        refused_texts=("None", "", "../x{{", "a{%b"),
        words="(must start with a letter, end with|is no name; did the task)",
    ),
    "names with wildcards": Kind(
        taken=("a", ["b", "c"], "d[^e]*"),
        refused=("1st", "a b", "a b*", "", 7, DICT, "None"),
        refused_texts=("None", "", "../x{{", "['a']"),
        words="(must start with a letter|must have only letters|must be a name or a list of names)",
    ),
    "names": Kind(
        taken=("a", ["b", "c"]),
        refused=("", [1], [""], 7, DICT, "None", ["None"]),
        words="must be a name or a list of names, not .*; did the task it comes from return one",
    ),
    "job": Kind(
        taken=("a", "b-1"),
        refused=("team/train", "a b", "-a", "", "größe", 7, ["a"], DICT, "None"),
        refused_texts=("team/train", "../x", "", "None", "{'a': 1}"),
        words="is no name of a job: it must have only letters, digits",
    ),
    "jobs": Kind(
        taken=(7, [8, "9"]),
        texts={"7": 7},
        refused=("x", 0, True, DICT, ""),
        refused_texts=("[7]", "None", ""),
        words="is not a whole number from 1 up",
    ),
    "path": Kind(
        taken=("a/b", "~/c"),
        refused=("", " ", "~other/x", 7, ["a"], DICT),
        refused_texts=("", "~other/x{{"),
        words="(is not a path|names another user's home)",
    ),
    "nodes": Kind(
        taken=("all", "head", [0, "2"]),
        refused=("tail", [], [1, 1], [-1], [True], 7, DICT, ""),
        refused_texts=("tail", "None", "[0]"),
        words="is neither 'head' nor 'all' nor a list of different ranks",
    ),
    "variables": Kind(
        taken=({"A": "x", "N": 1.5, "B": True}, {"A": {"b": [True, None]}}, {"A": ["ü"]}),
        refused=(["A"], "A=1", 7),
        refused_texts=("{'A': 'x'}",),
        words="must be a mapping, not",
        shows=type_of,
    ),
    "mapping": Kind(
        taken=({"a": 1}, {"a": {"b": "c"}}),
        refused=(["a"], 7, "a"),
        refused_texts=("{'a': 1}",),
        words="must be a mapping, not",
    ),
    "file mounts": Kind(
        taken=({"/a": "s3://b"}, {"/a": {"name": "b", "mode": "MOUNT"}}),
        refused=(["a"], 7, "a"),
        refused_texts=("{'/a': 's3://b'}",),
        words="must be a mapping, not",
    ),
    "accelerators": Kind(
        taken=("A100:1", {"A100": 2}, ["A100:1", "V100:1"], {"A100": 1, "V100": 0.5}),
        refused=("", 7, [7], [], "None"),
        words="(must be a text|must be a name or a list of names|names none)",
    ),
    "ports": Kind(
        taken=(80, "8000-8010", [80, "90"]), refused=("", True, DICT, 1.5), words="(must be a text|is not a whole)"
    ),
    "command": Kind(
        taken=("a", ["a", "b c"]),
        refused=("", " ", [], [1], 7, DICT),
        refused_texts=("",),
        words="",
        shows=lambda value: (
            "is empty" if isinstance(value, str) else f"must be a text or a list of texts, not {value!r}"
        ),
    ),
    "script": Kind(taken=("a", "b\nc"), refused=("", " ", 7, ["a"], DICT), refused_texts=("",), words="is no command"),
    "task": Kind(
        taken=({**SECTIONS, "num_nodes": 2}, {**SECTIONS, "num_nodes": "3"}, "~/a.yaml"),
        refused=("", "{'run': 'x'}", 7, True),
        refused_texts=("", "{'run': 'x'}"),
        words="",
        shows=lambda value: {"": "is empty; give a path or a dict", "{'run': 'x'}": "is the text of a dict"}.get(
            value, f"must be a path or a mapping, not {type_of(value)}"
        ),
    ),
    "volume": Kind(
        taken=({"name": "a"}, {"name": "a", "use_existing": "yes"}, "~/a.yaml"),
        refused=("", 7, ["a"]),
        refused_texts=("", "{'name': 'x'}"),
        words="",
        shows=lambda value: "is " if isinstance(value, str) else f"must be a path or a mapping, not {type_of(value)}",
    ),
    "rows": Kind(
        taken=([ROW], []),
        refused=("x", 7, [7], [{}], DICT),
        refused_texts=("[]", ""),
        words=r"must be what SkyStatusOperator\(owners=True\) returned",
    ),
    "list of texts": Kind(
        taken=(["a"], ["b", "c"]),
        refused=("a", 7, [7], DICT),
        refused_texts=("['a']",),
        words="must be a list of texts",
    ),
    "statuses": Kind(
        taken=(["RUNNING"], ["PENDING"]),
        refused=("RUNNING", ["x"], 7),
        refused_texts=(),
        words="is not a list of statuses",
    ),
    "on_cancel": one_of("cancel", "leave", of="cancel, down, stop, leave"),
    "on_eviction": one_of("follow", "kill", of="follow, kill"),
    "on_failure": one_of("down", "leave", of="down, leave"),
    "wait_for": one_of("jobs_and_ssh", "jobs", "none", of="jobs_and_ssh, jobs, none"),
    "mode": one_of("rolling", "blue_green", of="rolling, blue_green"),
    "target": one_of("replica", of="replica, controller, load_balancer"),
    "credentials": Kind(
        taken=([], [{"connection": "aws"}]),
        refused=(["a"], [{"secret": ""}]),
        refused_texts=(),
        words="names no Secret; an entry is",
        shows=lambda value: repr(value[0]),
    ),
}
KINDS["task of a function"] = dataclasses.replace(KINDS["task"], taken=KINDS["task"].taken[:2])
KINDS["folder"] = dataclasses.replace(KINDS["text"], taken=("~/a", "~/b"))
"""What each kind takes, and what it refuses in which words."""

OF: dict[str, set[str]] = {
    "flag": {
        *("all", "all_storage", "all_users", "auto_down", "cancel", "controller", "down", "dryrun", "endpoints"),
        *(
            "fail_fast",
            "fast",
            "follow",
            "force",
            "get_pty",
            "graceful",
            "ip",
            "known_runs_only",
            "missing_ok",
            "named",
        ),
        *("log_events_on_failure", "log_pod_spec_on_failure", "no_setup", "owners", "provision", "purge", "refresh"),
        *("resize", "retry_until_up", "skip_finished", "sync_down", "use_existing", "use_spot", "wait", "do_xcom_push"),
    },
    "from 0": {"days", "idle_minutes", "startup_check_interval_seconds", "termination_grace_period", "worker"},
    "from 1": {
        *(
            "disk_size",
            "graceful_timeout",
            "hook_timeout",
            "job_id",
            "limit",
            "logging_interval",
            "num_jobs",
            "num_nodes",
        ),
        *("replica", "startup_timeout_seconds", "tail", "workers"),
    },
    "number": {"cmd_timeout", "conn_timeout", "count", "minimum_cpus", "minimum_memory", "timeout"},
    "amount": {"cpus", "memory", "priority"},
    "text": {
        *(
            "accelerator",
            "cloud",
            "config_map",
            "deployment",
            "disk_tier",
            "env_file",
            "git_ref",
            "git_url",
            "gpus",
            "hook",
        ),
        *(
            "image_id",
            "infra",
            "instance_type",
            "launch_task_id",
            "local_disk",
            "network_tier",
            "python",
            "secret_file",
        ),
        *("size", "skypilot_conn_id", "volume_claim", "volume_name", "volume_type", "workspace"),
    },
    "name": {"clone_disk_from", "cluster_name", "pool_name", "service_name"},
    "names with wildcards": {"cluster_names", "service_names", "pool_names"},
    "names": {"job_secrets", "names", "require"},
    "folder": {"workdir"},
    "job": {"job_name"},
    "jobs": {"job_ids"},
    "path": {"source", "target", "working_dir"},
    "nodes": {"nodes"},
    "variables": {"env", "environment", "envs"},
    "mapping": {"config", "templates_dict"},
    "file mounts": {"file_mounts"},
    "accelerators": {"accelerators"},
    "ports": {"open_ports"},
    "command": {"command"},
    "script": {"bash_command"},
    "task": {"sky_task_yaml"},
    "volume": {"volume"},
    "rows": {"clusters"},
    "list of texts": {"requirements"},
    "statuses": {"statuses"},
    "credentials": {"credentials"},
    **{name: {name} for name in ("on_cancel", "on_eviction", "on_failure", "wait_for", "mode")},
}
"""The parameters of each kind."""

OTHERWISE: dict[tuple[type[SkyBaseOperator], str], str] = {
    (SkyLaunchOperator, "idle_minutes_to_autostop"): "minutes",
    (SkyStartOperator, "idle_minutes_to_autostop"): "from 0",
    (SkyLogsOperator, "tail"): "from 0",
    (SkyServeLogsOperator, "target"): "target",
    (SkyDecoratedOperator, "sky_task_yaml"): "task of a function",
    (SkyClusterDownOperator, "cluster_name"): "name",
    (SkyCheckOperator, "infra"): "names",
    (SkyServeStatusOperator, "service_names"): "names",
    (SkyPoolStatusOperator, "pool_names"): "names",
    **dict.fromkeys(
        (
            (kind, "cluster_name")
            for kind in (SkyStartOperator, SkyStopOperator, SkyAutostopOperator, SkyDownOperator, SkyQueueOperator)
        ),
        "names with wildcards",
    ),
    **dict.fromkeys(
        [(kind, "job_name") for kind in (SkyJobQueueOperator, SkyJobCancelOperator, SkyJobLogsOperator)], "text"
    ),
    **dict.fromkeys([(kind, "pool_name") for kind in (SkyJobQueueOperator, SkyJobCancelOperator)], "text"),
}
"""The same of one operator, and of those that derive from it."""

WITHOUT_KIND = {"python_callable", "render_task"}
NONE_TOO = {"skypilot_conn_id", "logging_interval"}
"""Parameters that have another default than None and take it."""

NOT_SENT = {
    "config_map",
    "fail_fast",
    "on_eviction",
    "python",
    "skypilot_conn_id",
    "templates_dict",
    "volume_claim",
} | NOT_TEMPLATED
"""Parameters of which :func:`send` sees nothing."""


def kind_of(operator: type[SkyBaseOperator], name: str) -> Kind:
    otherwise = [OTHERWISE[cls, name] for cls in operator.__mro__ if (cls, name) in OTHERWISE]
    (kind,) = otherwise[:1] or [kind for kind, names in OF.items() if name in names]
    return KINDS[kind]


def rows(*, templated: bool) -> list[Any]:
    """Return each parameter of each operator with its kind; one operator stands for all with those of the base."""
    found = [(operator, parameter.name) for operator, parameter in every_parameter()]
    if not templated:
        found += [(SkyStorageListOperator, name) for name in ("credentials", "do_xcom_push")]
        found += [(operator, name) for operator in ALL for name in parameters_of(operator) if name in NOT_TEMPLATED]
    return [
        pytest.param(operator, name, kind_of(operator, name), id=f"{operator.__name__}-{name}")
        for operator, name in found
        if name not in WITHOUT_KIND
    ]


EACH = pytest.mark.parametrize(("operator", "name", "kind"), rows(templated=False))
EACH_TEMPLATED = pytest.mark.parametrize(("operator", "name", "kind"), rows(templated=True))


def jinja(value: object) -> str:
    return f"{{{{ {value!r} }}}}"


def texts_of(values: tuple[Any, ...]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def is_refused(name: str, value: object, kind: Kind, error: SkyPilotError, words: str = "") -> None:
    message = str(error)
    assert re.match(rf"{name}\b", message)
    assert kind.shows(value) in message
    assert re.search(words, message)


def test_each_kind_is_of_a_parameter() -> None:
    assert OF.keys() | set(OTHERWISE.values()) == KINDS.keys()
    parameters = {name for _, name, _ in (row.values for row in rows(templated=False))}
    assert set().union(*OF.values(), {name for _, name in OTHERWISE}) == parameters


@EACH
def test_what_is_taken(operator: type[SkyBaseOperator], name: str, kind: Kind, send: Send) -> None:
    """What Jinja leaves is what it stands for; another value is something else for the runner."""
    made = [make(operator, **{name: value}) for value in kind.taken]
    if name in NOT_TEMPLATED or name == "skypilot_conn_id":
        return
    sent = {repr(value): exact(send(one)) for value, one in zip(kind.taken, made, strict=True)}
    assert name in NOT_SENT or len(set(sent.values())) == len(sent)
    # A wildcard counts where the author has written it.
    taken = [value for value in kind.taken if operator.wildcards != name or "*" not in value]
    for value in taken:
        assert exact(send(make_natively(operator, **{name: jinja(value)}))) == sent[repr(value)]
    for text, value in {**{text: text for text in texts_of(tuple(taken))}, **kind.texts}.items():
        assert exact(send(make(operator, **{name: jinja(text)}))) == sent[repr(value)]


@EACH
def test_what_is_refused_when_the_dag_is_parsed(operator: type[SkyBaseOperator], name: str, kind: Kind) -> None:
    for value in kind.refused:
        with pytest.raises(SkyPilotError) as caught:
            make(operator, **{name: value})
        is_refused(name, value, kind, caught.value, kind.words)


@EACH
def test_none_is_taken_where_it_is_the_default(operator: type[SkyBaseOperator], name: str, kind: Kind) -> None:
    del kind
    whole = {**inspect.signature(SkyBaseOperator.__init__).parameters, **parameters_of(operator)}
    if whole[name].default is None or name in NONE_TOO:
        return
    with pytest.raises(SkyPilotError, match=rf"^{name}\b"):
        make(operator, **{name: None})


@EACH_TEMPLATED
def test_what_is_refused_after_jinja(operator: type[SkyBaseOperator], name: str, kind: Kind, send: Send) -> None:
    for text in (*texts_of(kind.refused), *kind.refused_texts):
        made = make(operator, **{name: jinja(text)})
        with pytest.raises(SkyPilotError) as caught:
            send(made)
        is_refused(name, text, kind, caught.value)
    for value in kind.refused:
        # Jinja has no word for it.
        if not isinstance(value, str) and value != float("inf"):
            made = make_natively(operator, **{name: jinja(value)})
            with pytest.raises(SkyPilotError) as caught:
                send(made)
            is_refused(name, value, kind, caught.value, kind.words)
