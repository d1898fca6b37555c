"""What SkyPilot is asked for by a verb, in this process and at an API server, of each minor. SkyPilot is a fake."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "k8s_sky_provider.runner.sky"


class Named(SimpleNamespace):
    """A value that a call shows by its name alone."""

    def __repr__(self) -> str:
        return str(self.name)


TASK = Named(name="task")
SERVICE = Named(name="service", service=SimpleNamespace(pool=False, ports="80"))
JOB = Named(name="job")
LAUNCH = {"no_setup": True, "fast": False, "clone_disk_from": "other", "dryrun": False}
FIELDS = (
    "['job_id', 'task_id', 'job_name', 'task_name', 'status', 'submitted_at', 'end_at', 'job_duration', "
    "'recovery_count', 'resources', 'pool', 'is_primary_in_job_group', 'failure_reason']"
)


class Case(NamedTuple):
    """A verb; the function of SkyPilot's and that of its client, and what both are given; how a server is asked."""

    method: str
    given: tuple[Any, ...]
    options: dict[str, Any]
    function: str
    of_the_client: str
    arguments: str
    is_awaited: str | None


ASKED, ORDERED, SHOWN = "client.sdk.get", "client.sdk.stream_and_get", None


CASES = [
    Case(
        "launch",
        (TASK, "demo"),
        {**LAUNCH, "retry_until_up": True, "resize": False},
        "execution.launch",
        "client.sdk.launch",
        "task, 'demo', clone_disk_from='other', dryrun=False, fast=False, no_setup=True, retry_until_up=True",
        ORDERED,
    ),
    Case("exec", (TASK, "demo"), {}, "execution.exec", "client.sdk.exec", "task, 'demo'", ORDERED),
    Case(
        "start",
        ("demo",),
        {
            "idle_minutes_to_autostop": 5,
            "wait_for": "jobs",
            "down": True,
            "retry_until_up": False,
            "force": True,
        },
        "core.start",
        "client.sdk.start",
        "'demo', down=True, force=True, idle_minutes_to_autostop=5, retry_until_up=False, "
        "wait_for=AutostopWaitFor.JOBS",
        ORDERED,
    ),
    Case(
        "stop",
        ("demo",),
        {"graceful": True, "graceful_timeout": 60},
        "core.stop",
        "client.sdk.stop",
        "'demo', graceful=True, graceful_timeout=60",
        ORDERED,
    ),
    Case(
        "autostop",
        ("demo",),
        {"idle_minutes": 5, "wait_for": None, "down": True, "hook": "date", "hook_timeout": 7},
        "core.autostop",
        "client.sdk.autostop",
        "'demo', 5, down=True, hook='date', hook_timeout=7, wait_for=skylet.autostop_lib.DEFAULT_AUTOSTOP_WAIT_FOR",
        ORDERED,
    ),
    Case(
        "down",
        ("demo",),
        {"purge": True, "graceful": True, "graceful_timeout": 60},
        "core.down",
        "client.sdk.down",
        "'demo', graceful=True, graceful_timeout=60, purge=True",
        ORDERED,
    ),
    Case("cost_report", (None,), {}, "core.cost_report", "client.sdk.cost_report", "36500", ASKED),
    Case("cost_report", (7,), {}, "core.cost_report", "client.sdk.cost_report", "7", ASKED),
    Case("job_statuses", ("demo", None), {}, "core.job_status", "client.sdk.job_status", "'demo', None", ASKED),
    Case("job_statuses", ("demo", [1]), {}, "core.job_status", "client.sdk.job_status", "'demo', [1]", ASKED),
    Case(
        "cluster_queue",
        ("demo",),
        {"skip_finished": True, "all_users": False},
        "core.queue",
        "client.sdk.queue",
        "'demo', all_users=False, skip_finished=True",
        ASKED,
    ),
    Case(
        "print_job_log",
        ("demo", 3),
        {"tail": 5},
        "core.tail_logs",
        "client.sdk.tail_logs",
        "'demo', 3, follow=False, tail=5",
        SHOWN,
    ),
    Case(
        "cancel_jobs",
        ("demo", None),
        {"all_users": True},
        "core.cancel",
        "client.sdk.cancel",
        "'demo', all=True, all_users=True, job_ids=None",
        ORDERED,
    ),
    Case(
        "cancel_jobs",
        ("demo", [1, 2]),
        {"all_users": True},
        "core.cancel",
        "client.sdk.cancel",
        "'demo', all=False, all_users=False, job_ids=[1, 2]",
        ORDERED,
    ),
    Case(
        "list_volumes",
        (None,),
        {"refresh": True},
        "volumes.server.core.volume_list",
        "volumes.client.sdk.ls",
        "refresh=True",
        ASKED,
    ),
    Case(
        "delete_volume",
        ("data",),
        {"purge": True},
        "volumes.server.core.volume_delete",
        "volumes.client.sdk.delete",
        "['data'], purge=True",
        ORDERED,
    ),
    Case("list_storage", (), {}, "core.storage_ls", "client.sdk.storage_ls", "", ASKED),
    Case("delete_storage", ("data",), {}, "core.storage_delete", "client.sdk.storage_delete", "'data'", ORDERED),
    Case(
        "launch_managed_job",
        (JOB,),
        {"pool": "workers", "num_jobs": 3},
        "jobs.server.core.launch",
        "jobs.client.sdk.launch",
        "job, name='job', num_jobs=3, pool='workers'",
        ORDERED,
    ),
    Case(
        "managed_jobs",
        (),
        {"job_ids": [1], "skip_finished": True, "statuses": ["RUNNING"], "all_users": True},
        "jobs.server.core.queue_v2",
        "jobs.client.sdk.queue_v2",
        f"all_users=True, fields={FIELDS}, job_ids=[1], refresh=True, skip_finished=True, statuses=['RUNNING']",
        ASKED,
    ),
    Case(
        "print_managed_job_log",
        (1,),
        {"controller": True, "tail": 5},
        "jobs.server.core.tail_logs",
        "jobs.client.sdk.tail_logs",
        "controller=True, follow=False, job_id=1, name=None, refresh=True, tail=5",
        SHOWN,
    ),
    Case(
        "cancel_managed_jobs",
        ([1, 2],),
        {},
        "jobs.server.core.cancel",
        "jobs.client.sdk.cancel",
        "job_ids=[1, 2]",
        ORDERED,
    ),
    Case(
        "service_up",
        (SERVICE, "web"),
        {},
        "serve.server.core.up",
        "serve.client.sdk.up",
        "service, 'web'",
        ORDERED,
    ),
    Case(
        "service_update",
        (SERVICE, "web", "rolling"),
        {},
        "serve.server.core.update",
        "serve.client.sdk.update",
        "service, 'web', UpdateMode.ROLLING",
        ORDERED,
    ),
    Case(
        "pool_apply",
        (None, "workers"),
        {"workers": 2, "mode": "blue_green"},
        "jobs.server.core.pool_apply",
        "jobs.client.sdk.pool_apply",
        "None, 'workers', UpdateMode.BLUE_GREEN, 2",
        ORDERED,
    ),
    Case(
        "services", (["web"],), {"pool": False}, "serve.server.core.status", "serve.client.sdk.status", "['web']", ASKED
    ),
    Case(
        "services",
        (None,),
        {"pool": True},
        "jobs.server.core.pool_status",
        "jobs.client.sdk.pool_status",
        "None",
        ASKED,
    ),
    Case(
        "services_down",
        (["web"],),
        {"purge": True, "pool": False},
        "serve.server.core.down",
        "serve.client.sdk.down",
        "['web'], purge=True",
        ORDERED,
    ),
    Case(
        "services_down",
        (["workers"],),
        {"purge": False, "pool": True},
        "jobs.server.core.pool_down",
        "jobs.client.sdk.pool_down",
        "['workers'], purge=False",
        ORDERED,
    ),
    Case(
        "print_service_log",
        ("web",),
        {"target": "replica", "replica": 1, "follow": True, "tail": 5},
        "serve.server.core.tail_logs",
        "serve.client.sdk.tail_logs",
        "'web', follow=True, replica_id=1, tail=5, target='replica'",
        SHOWN,
    ),
]
BEFORE = {
    "down": ["utils.subprocess_utils.kill_children_processes()"],
    "managed_jobs": ["global_user_state.cluster_with_name_exists(utils.common.JOB_CONTROLLER_NAME)"],
}
"""What is asked for in this process first."""


def make(name: str) -> Any:
    """Return an engine that was not set up, as that asks SkyPilot, too."""
    module = PACKAGE if name == "Engine" else f"{PACKAGE}.at_server"
    return object.__new__(getattr(importlib.import_module(module), name))


@pytest.fixture(scope="module", params=fake_sky.MINORS)
def minor(request: pytest.FixtureRequest) -> Iterator[str]:
    with fake_sky.installed(request.param):
        importlib.import_module("sky.serve.server.core").up.return_value = ("web", "http://web")
        importlib.import_module("sky.client.sdk").stream_and_get.return_value = (7, "http://web")
        yield request.param


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.arguments}"[:60].strip())
def test_in_this_process_and_at_a_server_the_same_is_asked_for(minor: str, case: Case) -> None:
    fake_sky.calls.clear()
    getattr(make("Engine"), case.method)(*case.given, **case.options)
    assert fake_sky.calls == [*BEFORE.get(case.method, []), f"{case.function}({case.arguments})"]
    fake_sky.calls.clear()
    getattr(make("EngineAtServer"), case.method)(*case.given, **case.options)
    arguments = case.arguments
    if minor == "0.12":
        arguments = arguments.replace(", statuses=['RUNNING']", "")
    awaited = [] if case.is_awaited is None else [f"{case.is_awaited}({case.of_the_client}())"]
    assert fake_sky.calls == [f"{case.of_the_client}({arguments})", *awaited]


def test_every_function_that_a_server_is_asked_for_has_a_case() -> None:
    """Those of a status, of offers and of log files have their tests in test_sky_engine.py."""
    with fake_sky.installed():
        functions = importlib.import_module(f"{PACKAGE}.at_server.caller")._OF_THE_CLIENT
        named = {fake_sky.word(function) for function in functions}
    others = {"core.status", "core.endpoints", "core.download_logs", "catalog.list_accelerators"}
    assert named == others | {case.function for case in CASES}
