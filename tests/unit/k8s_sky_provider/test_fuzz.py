"""Whatever comes in, only the documented errors come out. 200 cases each here, 10,000 in ``make test-fuzz``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import json
import operator
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client.exceptions import ApiException
from task_strategies import json_values, tasks

from k8s_sky_provider import refusals, workspace
from k8s_sky_provider.credentials import read_connection
from k8s_sky_provider.exceptions import (
    SkyCredentialsError,
    SkyDeploymentError,
    SkyPilotError,
    SkyRequestError,
    error_for,
)
from k8s_sky_provider.hooks.skypilot import _settings_of
from k8s_sky_provider.links.skypilot import links_of
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.earlier_pods import OWNER_ANNOTATION, owner_of
from k8s_sky_provider.operators.task import check_git_url, check_task
from k8s_sky_provider.pod_logs import POSITION_ANNOTATION, LineSplitter, NewLines, read_up_to
from k8s_sky_provider.protocol import PROTOCOL_VERSION, ExitCode, OnCancel, Owner, ProtocolError, SkyRequest, SkyResult
from k8s_sky_provider.runner import env_file, remote_shell, state, yaml_file
from k8s_sky_provider.runner.__main__ import run_action
from k8s_sky_provider.runner.actions import ACTIONS
from k8s_sky_provider.runner.console import Console, clean_line
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.job_log import JobLog
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider import fake_sky
from unit.k8s_sky_provider.fake_engine import FakeEngine
from unit.k8s_sky_provider.operators.running import read_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")
RESULT_FIELDS = [field.name for field in dataclasses.fields(SkyResult)]
ARGUMENTS = ["overrides", "task", "wait", "job_ids", "job_id", "refresh", "owners", "limit", "days", "follow"]
DEEP = "[" * 50_000

# A name with a slash would be a path; the operators let none through.
names = st.text().filter(lambda name: "/" not in name)
huge = st.builds(lambda text, times: text * times, names, st.sampled_from([1, 1, 2000]))
yaml_texts = st.builds(yaml.dump, tasks)
ACTIONS_WITHOUT_FILES = sorted(set(ACTIONS) - {"bash", "rsync_up", "rsync_down"})


T = TypeVar("T")
E = TypeVar("E", bound=Exception)


def outcome(call: Callable[[], T], documented: type[E]) -> T | E:
    """Return what a call returns, or the error that it may raise."""
    try:
        return call()
    except documented as error:
        return error


def open_files() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}


def send(task: Any) -> None:
    """Send a task into a pod, or find it too long for that."""
    request = SkyRequest(action="launch", arguments={"task": task}, owner=OWNER)
    arrived = outcome(lambda: SkyRequest.from_argument(request.to_argument()), ProtocolError)
    assert isinstance(arrived, SkyRequest) or "bytes long" in str(arrived)


def read_and_send(path: str, folder: Path) -> None:
    task = outcome(lambda: read_task(path, folder), SkyRequestError)
    if not isinstance(task, SkyRequestError):
        send(task)


class TestTask:
    @given(task=tasks)
    def test_a_task_is_sent_or_refused(self, task: Any) -> None:
        checked = outcome(lambda: check_task(task, "sky_task_yaml"), SkyRequestError)
        if isinstance(checked, SkyRequestError):
            assert checked.reason.startswith("sky_task_yaml: ")
        else:
            send(checked)

    @given(text=st.text() | yaml_texts | st.builds(operator.add, yaml_texts, st.text()))
    def test_a_file_beside_the_dag_is_read_or_refused(
        self, text: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.getbasetemp()
        (folder / "task.yaml").write_text(text, errors="surrogatepass")
        read_and_send("task.yaml", folder)

    @given(path=st.text(), below=st.booleans())
    def test_a_path_is_taken_or_refused(self, path: str, below: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.getbasetemp()
        read_and_send(f"{folder}/{path}" if below else path, folder)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            pytest.param("envs: {DAY: 2026-13-45}", "cannot be read: month must be in 1..12", id="a date that is none"),
            pytest.param(f"num_nodes: {'1' * 5000}", "cannot be read", id="a number of 5000 digits"),
            pytest.param(f"run: {DEEP}", "cannot be read", id="too deep"),
            pytest.param("config: &a {b: *a}", "config has a value that cannot be sent", id="a value within itself"),
            pytest.param("? [a, b]\n: c", "cannot be read", id="a list as a key"),
            pytest.param("2026-01-01: x", "2026-01-01 has a value that cannot be sent", id="a date as a key"),
            pytest.param(
                "config: {2026-01-01: x}", "config has a value that cannot be sent", id="a date as an inner key"
            ),
        ],
    )
    def test_what_yaml_reads_and_nobody_can_send_is_refused(self, text: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "task.yaml").write_text(text)
        with pytest.raises(SkyRequestError) as caught:
            read_task("task.yaml", tmp_path)
        assert message in caught.value.reason

    @pytest.mark.parametrize("path", ["", ".", "a\0b", "\udc80", "x" * 5000], ids=ascii)
    def test_a_path_that_can_be_none_is_refused(self, path: str, tmp_path: Path) -> None:
        with pytest.raises(SkyRequestError, match="sky_task_yaml: "):
            read_task(path, tmp_path)


class TestRequest:
    @given(
        text=st.text()
        | st.builds(json.dumps, json_values)
        | st.builds(
            lambda fields: json.dumps({"protocol": PROTOCOL_VERSION, **fields}),
            st.fixed_dictionaries(
                {},
                optional={
                    **dict.fromkeys(["action", "arguments", "owner", "on_cancel", "expected_mounts"], json_values),
                    "allow_network_file_system": json_values,
                },
            ),
        )
    )
    def test_any_text_is_a_request_or_refused(self, text: str) -> None:
        request = outcome(lambda: SkyRequest.from_argument(text), ProtocolError)
        assert isinstance(request, SkyRequest) or str(request).startswith("the request")

    @given(
        action=st.sampled_from(ACTIONS_WITHOUT_FILES) | huge,
        arguments=st.dictionaries(
            st.sampled_from(ARGUMENTS) | names,
            json_values,
        ),
        cluster_name=st.none() | names | huge,
        owner=st.fixed_dictionaries(
            dict.fromkeys(["deployment", "dag_id", "run_id", "task_id"], names | json_values),
            optional={"map_index": json_values, "try_number": json_values, "generation": json_values},
        ),
        on_cancel=st.none() | st.sampled_from(OnCancel),
        mounts=st.dictionaries(names, names | json_values, max_size=2),
        told_to_stop=st.sampled_from([None, "launch", "down", "status"]),
    )
    def test_any_request_ends_with_a_result_that_fits(
        self,
        *,
        action: str,
        arguments: dict[str, Any],
        cluster_name: str | None,
        owner: dict[str, Any],
        on_cancel: OnCancel | None,
        mounts: dict[str, Any],
        told_to_stop: str | None,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        engine = FakeEngine("demo")
        engine.told_to_stop_in = told_to_stop
        request = {
            "protocol": PROTOCOL_VERSION,
            "action": action,
            "arguments": {**arguments, **({} if cluster_name is None else {"cluster_name": cluster_name})},
            "owner": owner,
            "on_cancel": on_cancel,
            "expected_mounts": mounts,
            "allow_network_file_system": True,
        }
        home = tmp_path_factory.getbasetemp()
        before = open_files()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "sleep", lambda seconds: None)
            result = run_action([json.dumps(request)], home=home, make_engine=lambda: engine)
        # A runner's process has one action and ends with it, with all that it has opened.
        for descriptor in open_files() - before:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        assert SkyResult.from_json(result.to_message()).exit_code == result.exit_code
        assert result.fits()

    @pytest.mark.parametrize(
        "text",
        [DEEP, '{"a":' * 50_000, "1" * 5000, f'{{"protocol": {PROTOCOL_VERSION}, "on_cancel": []}}'],
        ids=len,
    )
    def test_a_text_that_no_parser_takes_is_refused(self, text: str) -> None:
        with pytest.raises(ProtocolError):
            SkyRequest.from_argument(text)


class TestResult:
    @given(
        text=st.text()
        | st.builds(json.dumps, json_values)
        | st.builds(
            lambda fields: json.dumps({"protocol": PROTOCOL_VERSION, "action": "x", "exit_code": 65, **fields}),
            st.fixed_dictionaries(
                {},
                optional=dict.fromkeys([*RESULT_FIELDS, "packed"], json_values | st.lists(st.text())),
            ),
        )
    )
    def test_any_text_is_a_result_or_refused(self, text: str) -> None:
        result = outcome(lambda: SkyResult.from_json(text), ProtocolError)
        if isinstance(result, ProtocolError):
            assert str(result).startswith("the result")
        else:
            assert isinstance(error_for(result, fail_fast=False), SkyPilotError)
            json.dumps(result.to_dict())

    @given(
        texts=st.fixed_dictionaries(
            dict.fromkeys(["action", "reason"], huge),
            optional=dict.fromkeys(["error", "cluster_name", "job_status"], huge),
        ),
        value=json_values | huge | st.lists(huge),
        log_tail=st.lists(huge, max_size=4),
        codes=st.lists(st.integers(), max_size=4),
    )
    def test_any_result_fits_and_arrives(
        self, texts: dict[str, Any], value: Any, log_tail: list[str], codes: list[int]
    ) -> None:
        result = SkyResult(
            exit_code=ExitCode.JOB_FAILED, return_value=value, log_tail=log_tail, job_exit_codes=codes, **texts
        ).cut_to_fit(None)
        assert result.fits()
        arrived = SkyResult.from_json(result.to_message())
        assert arrived.to_json() == result.to_json()

    @pytest.mark.parametrize("text", [DEEP, '{"a":' * 50_000, "1" * 5000], ids=len)
    def test_a_text_that_no_parser_takes_is_refused(self, text: str) -> None:
        with pytest.raises(ProtocolError):
            SkyResult.from_json(text)


class TestLog:
    @given(
        stamps=st.lists(st.integers(0, 5), max_size=30).map(sorted),
        cuts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6),
    )
    def test_each_line_is_new_once_however_it_is_read(self, stamps: list[int], cuts: list[tuple[int, int]]) -> None:
        lines = [f"2026-01-01T00:00:0{stamp}.{stamp:09}Z line {number}" for number, stamp in enumerate(stamps)]
        seen: list[str] = []
        new_lines = NewLines()
        end = 0
        for back, forward in [*cuts, (0, 30)]:
            # Kubernetes gives whole seconds: a read begins with the first line of one.
            start = stamps.index(stamps[max(0, end - 1 - back)]) if end else 0
            end = min(len(lines), end + forward)
            new_lines.start()
            seen += [text for is_new, text in map(new_lines.split, lines[start:end]) if is_new]
        assert seen == [f"line {number}" for number in range(len(lines))]

    @given(line=st.text())
    def test_any_line_is_split(self, line: str) -> None:
        is_new, text = NewLines().split(line)
        assert is_new
        assert line.endswith(text)


PARTS = [
    *(
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        '"',
        "'",
        "\\",
        "/",
        "//",
        "://",
        ":",
        ":-",
        "@",
        "$",
        "${",
        "{{",
        "}}",
        "{%",
    ),
    *("%}", "*", "?", "!", "~", "-", "=", ",", ";", "#", "&a ", "*a", "\n", "\r", "\t", "\0", "\x1b[", "\x1b]", " "),
    *(
        "0",
        "1",
        "9999999999",
        "1" * 5000,
        "-1",
        "1e999",
        "NaN",
        "null",
        "true",
        "None",
        "a",
        "A=",
        "export ",
        "ä",
        "\u2028",
    ),
    *(
        "http",
        "https://",
        "role ",
        "message",
        "content:",
        "K8S_SKY_FOUND:",
        "<sky-payload>",
        "</sky-payload>",
        "ErrImage",
    ),
    *(
        "2026-01-01T00:00:00.1Z ",
        "2026-13-45",
        "\x1ek8s-sky-log ",
        "\x1ek8s-sky-log 1 2 A no\n",
        "HTTP response body: ",
    ),
]
hostile_texts = (
    st.text() | st.lists(st.sampled_from(PARTS), max_size=30).map("".join) | st.builds(json.dumps, json_values)
)
values = hostile_texts | json_values | st.lists(hostile_texts, max_size=3)


@pytest.fixture(scope="module")
def engine() -> Iterator[SimpleNamespace]:
    with fake_sky.installed():
        package = "k8s_sky_provider.runner.sky"
        names = ("cluster_jobs", "errors", "files", "tasks")
        yield SimpleNamespace(**{name: importlib.import_module(f"{package}.{name}") for name in names})


def as_setting(value: Any) -> workspace._Setting:
    return workspace._Setting(value=value, where="the setting")


READERS: dict[str, read.Reader] = {
    "flag": read.flag,
    "choice": read.one_of(["a", "b"]),
    "whole number": read.whole_number(),
    "number": read.number,
    "ranks": read.nodes,
    "environment": read.variables,
    "mapping": read.mapping,
    "text": read.text,
    "text or number": read.text_or_number,
    "names": read.names,
    "some names": read.some_names,
    "list of texts": read.list_of_texts,
    "cluster": read.cluster,
    "clusters": read.clusters,
    "job": read.job_name,
    "path": read.path,
}
ARGUMENT_READERS: dict[str, Callable[[Any], object]] = {
    **{kind: functools.partial(reader, "f") for kind, reader in READERS.items()},
    **{f"{kind}, when known": functools.partial(read.when_known(reader), "f") for kind, reader in READERS.items()},
    "wildcards": lambda value: read.check_globs("f", value, texts=read.written(value)),
    "secrets": lambda value: read.check_carries_no_secret({"f": value}),
    "repository": lambda value: check_git_url("f", value),
}
"""What reads arguments and XComs, by what it reads."""

SETTING_READERS: dict[str, Callable[[Any], object]] = {
    "URL": lambda value: workspace._url(as_setting(value)),
    "deployment": lambda value: workspace._deployment(as_setting(value)),
    "credentials": lambda value: workspace._credentials(as_setting(value)),
    "resources": lambda value: workspace._default_resources(as_setting(value)),
    "mode": lambda value: workspace._state_mode(as_setting(value)),
    "key of a Secret": lambda value: workspace.SecretKey.parse(value, "f"),
}
"""What reads settings of connections and airflow.cfg."""

OF_AIRFLOW = ARGUMENT_READERS | SETTING_READERS


class TestReaders:
    """What reads text from outside returns a value, or raises the error that it documents and no other."""

    @pytest.mark.parametrize("reader", OF_AIRFLOW)
    @given(value=values)
    def test_of_airflow(self, reader: str, value: Any) -> None:
        self.check(reader, value)

    @pytest.mark.parametrize("reader", ARGUMENT_READERS)
    @pytest.mark.parametrize("value", [10**5000, [10**5000], {10**5000: 10**5000}, {"A": 10**5000}], ids=lambda _: "")
    def test_of_a_number_of_thousands_of_digits(self, reader: str, value: Any) -> None:
        self.check(reader, value)

    def check(self, reader: str, value: Any) -> None:
        error = outcome(lambda: OF_AIRFLOW[reader](value), SkyPilotError)
        assert not isinstance(error, SkyPilotError) or isinstance(error, (SkyRequestError, SkyDeploymentError))

    @given(extra=hostile_texts, host=st.none() | hostile_texts)
    def test_of_a_connection_with_settings(self, extra: str, host: str | None) -> None:
        connection: Any = SimpleNamespace(conn_type="skypilot", extra=extra, host=host)
        outcome(lambda: _settings_of(connection, "c"), SkyDeploymentError)

    @given(
        kind=st.sampled_from(["aws", "google_cloud_platform", "azure", "generic"]),
        extra=hostile_texts
        | st.builds(
            json.dumps,
            st.dictionaries(
                st.sampled_from(
                    ["keyfile_dict", "keyfile_json", "key_path", "region_name", "aws_session_token", "role_arn"]
                ),
                hostile_texts | json_values,
            ),
        ),
        login=st.none() | hostile_texts,
        password=st.none() | hostile_texts,
    )
    def test_of_a_connection_with_credentials(
        self, kind: str, extra: str, login: str | None, password: str | None
    ) -> None:
        connection = SimpleNamespace(
            conn_id="c", conn_type=kind, extra=extra, login=login, password=password, host=None
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("k8s_sky_provider.credentials.BaseHook.get_connection", lambda _: connection)
            patch.setattr("k8s_sky_provider.credentials.mask_secret", lambda _: None)
            outcome(
                lambda: read_connection(workspace.Credential.parse({"connection": "c"}, "f")),
                SkyCredentialsError,
            )

    @given(text=hostile_texts)
    def test_of_kubernetes(self, text: str) -> None:
        error = ApiException(status=403, reason="Forbidden")
        error.body = text
        assert isinstance(refusals.explained(error), str)
        error.body = json.dumps({"message": text, "details": {"causes": [{"field": text}]}})
        assert isinstance(refusals.refused(error, "the pod"), SkyPilotError)
        pod: Any = SimpleNamespace(
            metadata=SimpleNamespace(annotations={POSITION_ANNOTATION: text, OWNER_ANNOTATION: text})
        )
        assert owner_of(pod) is None or isinstance(owner_of(pod), dict)
        assert isinstance(read_up_to(pod, None), (str, type(None)))

    @given(text=hostile_texts)
    def test_of_files_on_the_volume(
        self, engine: SimpleNamespace, text: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        home = tmp_path_factory.getbasetemp()
        (home / "file").write_text(text, errors="surrogatepass")
        for attempt in (
            lambda: env_file.read("f", str(home / "file")),
            lambda: yaml_file.read("f", str(home / "file")),
            lambda: engine.tasks._read_task_file(str(home / "file")),
        ):
            failure = outcome(attempt, ActionFailedError)
            assert not isinstance(failure, ActionFailedError) or failure.exit_code is ExitCode.REQUEST_WRONG
        store = FileStore(home)
        store.note("owners", "demo", {})
        (home / ".sky" / "k8s_sky" / "owners" / "demo.json").write_text(text, errors="surrogatepass")
        assert isinstance(store.read_note("owners", "demo"), (dict, type(None)))
        outcome(lambda: store.read_note("owners", text), ActionFailedError)

    @given(text=hostile_texts, asked=hostile_texts)
    def test_of_machines(self, engine: SimpleNamespace, text: str, asked: str) -> None:
        assert isinstance(engine.cluster_jobs.parse_exit_codes(text), list)
        outcome(lambda: engine.files.content_of("f", 0, text, text), ActionFailedError)
        outcome(lambda: remote_shell.found(text), ValueError)
        path, wanted = (text.encode(errors="replace").decode() for text in (text, asked))
        assert isinstance(remote_shell.is_answer(path, wanted), bool)
        assert isinstance(remote_shell.is_quotable(text), bool)
        assert isinstance(clean_line(text), (str, type(None)))

    @given(secrets=st.lists(hostile_texts, max_size=3), text=hostile_texts)
    def test_of_secrets(self, secrets: list[str], text: str) -> None:
        console = Console(state.to_mask(secrets))
        assert isinstance(console.mask(text), str)

    @given(text=hostile_texts)
    def test_of_errors(self, engine: SimpleNamespace, text: str) -> None:
        exceptions = importlib.import_module("sky.exceptions")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("socket.getaddrinfo", lambda *_: [])
            for error in (RuntimeError(text), ValueError(text), exceptions.ResourcesUnavailableError(text)):
                assert isinstance(engine.errors.explain(error), ActionFailedError)

    @given(pieces=st.lists(hostile_texts.map(lambda text: text.encode(errors="replace")), max_size=6))
    def test_of_logs(self, pieces: list[bytes]) -> None:
        shown: list[bytes] = []
        log, splitter = JobLog(1, shown.append, lambda _: None), LineSplitter()
        for piece in pieces:
            log.take(piece)
            assert all(b"\n" not in line for line in splitter.feed(piece))

    @given(value=values)
    def test_of_links(self, value: Any) -> None:
        result = SkyResult(action="serve_up", exit_code=0, return_value=value, cluster_name=str(type(value)))
        found = links_of(result, None)
        assert all(url.startswith(("http://", "https://")) for url in found.values())
