"""Runs in a process of its own, and each reader in a fork of it: print a line of JSON for each, with its worst text."""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib
import io
import json
import logging
import os
import resource
import subprocess
import tempfile
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

from kubernetes.client.exceptions import ApiException
from unit.k8s_sky_provider import fake_sky

from k8s_sky_provider import pod_logs, protocol, refusals, workspace
from k8s_sky_provider.exceptions import SkyPilotError
from k8s_sky_provider.links import skypilot as links
from k8s_sky_provider.operators import earlier_pods, read, task
from k8s_sky_provider.runner import console, database, env_file, job_log, output, remote_shell, state, yaml_file
from k8s_sky_provider.runner.actions import bash
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MIB = 1024 * 1024
STREAM = 300_000_000
PIECE = b"x" * 64 * 1024
SECONDS_TO_GIVE_UP = 120

ENDS = ("", "}", "]", '"', "a\n", "@")
"""What a text may end with after all: a pattern that looks for it finds it late."""

_EVERYWHERE = ("a", " ", "\n", "\0", "\x1b[", "[", "{", '"', "\\", "1", "/", "@", "ö", "*", "a ", "a\n")
_ERRORS = (
    *_EVERYWHERE,
    "ErrImage",
    "HTTP response body: ",
    'HTTP response body: "message": "',
    'HTTP response body: "message": "\\',
    "Failed to access repository ",
    "Failed to access repository x",
    "connection to the server ",
    "connection to the server x",
)
_TEMPLATES = (*_EVERYWHERE, "{{", "{%", "{{%", "{{ }", "{% }}", "{{}}*")


def _texts(units: Iterable[str], ends: Iterable[str] = ENDS) -> Iterator[tuple[str, str]]:
    for unit in units:
        for end in ends:
            yield unit * (MIB // len(unit)) + end, f"{unit!r} * {MIB // len(unit)} + {end!r}"


def _readers(directory: Path) -> dict[str, tuple[Callable[[str], object], Iterable[str]]]:
    """Return what reads text from outside, and what texts are made of to hold it up."""
    engine = {
        name: importlib.import_module(f"k8s_sky_provider.runner.sky.{name}")
        for name in ("cluster_jobs", "errors", "files")
    }
    errors, sky_exceptions = engine["errors"], importlib.import_module("sky.exceptions")
    server = importlib.import_module("k8s_sky_provider.runner.sky.at_server.server")
    file = directory / "file"
    owner = protocol.Owner(deployment="d", dag_id="d", run_id="r", task_id="t")

    def in_file(read: Callable[[], object]) -> Callable[[str], object]:
        def write_and_read(text: str) -> object:
            file.write_text(text)
            return read()

        return write_and_read

    def server_url(text: str) -> object:
        server.common.get_server_url.return_value = f"https://{text}"
        return server._server_url()  # noqa: SLF001  # what is measured

    def api_message(text: str) -> object:
        error = ApiException(status=403, reason="Forbidden")
        error.body = text
        return refusals.explained(error)

    def api_says(text: str) -> object:
        return api_message(json.dumps({"message": text}))

    def packed_result(text: str) -> object:
        message = protocol.SkyResult(action="a", exit_code=0, return_value=text[:1000]).to_message()
        return protocol.SkyResult.from_json(message[:-1] + text)

    def setting(text: str) -> workspace._Setting:
        return workspace._Setting(value=text, where="x")  # noqa: SLF001  # as above

    def pod(**annotations: str) -> Any:
        return SimpleNamespace(metadata=SimpleNamespace(annotations=annotations))

    return {
        "console: a line": (
            console.clean_line,
            (*_EVERYWHERE, "<sky-payload>", "</sky-payload>", "<sky-payload", "\x1b]", "\x1b 0", "\r"),
        ),
        "console: masks": (console.Console(frozenset({"secret-value"})).mask, ("secret-valu", *_EVERYWHERE)),
        "console: secrets to mask": (
            lambda text: state.to_mask([text]),
            (*_EVERYWHERE, "://", "http://a@", "\\n", ":"),
        ),
        "errors of SkyPilot": (lambda text: errors.explain(RuntimeError(text)), _ERRORS),
        "errors of resources": (lambda text: errors.explain(sky_exceptions.ResourcesUnavailableError(text)), _ERRORS),
        "errors of the database": (
            lambda text: database._REFUSED.search(text) or database._WRONG.search(text),  # noqa: SLF001  # as above
            (*_EVERYWHERE, 'role "', 'database "', 'role "" ', 'database "" '),
        ),
        "URL of the API server": (server_url, _EVERYWHERE),
        "URL of a setting": (lambda text: workspace._url(setting(f"http://{text}")), _EVERYWHERE),  # noqa: SLF001  # as above
        "JSON of a setting": (lambda text: workspace._json(setting(text)), (*_EVERYWHERE, "[", '{"a":', "[]")),  # noqa: SLF001  # as above
        "Kubernetes' answer": (api_message, (*_EVERYWHERE, "[", '{"message":')),
        "Kubernetes' words": (
            api_says,
            (*_EVERYWHERE, "namespaces ", "usage per ", "denied ", "is invalid", "not found "),
        ),
        "annotation of an owner": (
            lambda text: earlier_pods.owner_of(pod(**{"k8s-sky/owner": text})),
            (*_EVERYWHERE, '{"a":'),
        ),
        "annotation of a position": (
            lambda text: pod_logs.read_up_to(pod(**{pod_logs.POSITION_ANNOTATION: text}), None),
            (*_EVERYWHERE, "2026-01-01T00:00:00."),
        ),
        "a line of a pod's log": (pod_logs.NewLines().split, (*_EVERYWHERE, "2026-01-01T00:00:00.1Z ", "::", "[DEBUG")),
        "request": (protocol.SkyRequest.from_argument, (*_EVERYWHERE, '{"a":', "[")),
        "result": (protocol.SkyResult.from_json, (*_EVERYWHERE, '{"a":', "[")),
        "result, packed": (packed_result, _EVERYWHERE),
        "task YAML beside the DAG": (
            in_file(lambda: task.read_documents(file.name, "f", directory)),
            ("a: 1\n", "[", "?\n"),
        ),
        "YAML on the volume": (in_file(lambda: yaml_file.read("f", str(file))), ("a: 1\n", "[", "?\n")),
        "URL of a repository": (functools.partial(task.check_git_url, "f"), (*_EVERYWHERE, "http://", "a://")),
        "dotenv file": (in_file(lambda: env_file.read("f", str(file))), ("A=", "A=1\n", "A=${B", "A='\\'")),
        "dotenv variables": (
            lambda text: env_file._interpolated("f", text, {}),  # noqa: SLF001  # as above
            (*_EVERYWHERE, "${", "${:", "${:-", "${a", "${a:-}", "${a:-b:"),
        ),
        "exit codes of a job": (engine["cluster_jobs"].parse_exit_codes, (*_EVERYWHERE, "[", "-", "(", "1,", "0\n")),
        "file of a cluster": (
            lambda text: engine["files"].content_of("f", 0, f"content:{text}", ""),
            (*_EVERYWHERE, "AAAA"),
        ),
        "paths of a machine": (remote_shell.found, (*_EVERYWHERE, remote_shell.FOUND, f"{remote_shell.FOUND}AA")),
        "path of a machine": (
            lambda text: remote_shell.is_answer(f"/{text}", f"/{text[:4000]}") or remote_shell.is_answer(text, "/*a*b"),
            (*_EVERYWHERE, "[[:", "[!", "[]", "*a", "?*"),
        ),
        "path of a machine, 4096 of them": (
            lambda text: remote_shell.is_answer(f"/{'a' * 4000}", f"/{text[:3990]}{text[-2:]}"),
            (*_EVERYWHERE, "[[:", "[!", "[]", "*a", "?*", "[[.a.]", "*[a]"),
        ),
        "log of a job": (
            _job_log,
            (*_EVERYWHERE, "\x1ek8s-sky-log ", "\x1ek8s-sky-log 1", "\x1ek8s-sky-log 0 1 A no\n"),
        ),
        "links of a result": (
            lambda text: links.links_of(protocol.SkyResult(action="serve_up", exit_code=0, return_value=text), None),
            (*_EVERYWHERE, "http://"),
        ),
        "name": (lambda text: read.cluster("f", text), (*_EVERYWHERE, "a-")),
        "name of a job": (lambda text: read.job_name("f", text), (*_EVERYWHERE, "a-", "a")),
        "names with wildcards": (lambda text: read.clusters("f", text), (*_EVERYWHERE, "a*")),
        "wildcards of the author": (lambda text: read.check_globs("f", f"{text}*", texts=[text]), _TEMPLATES),
        "whole number": (lambda text: read.whole_number()("f", text), _EVERYWHERE),
        "number": (lambda text: read.number("f", text), (*_EVERYWHERE, "1e")),
        "path": (lambda text: read.path("f", text), (*_EVERYWHERE, "~")),
        "ranks": (lambda text: read.nodes("f", [text]), _EVERYWHERE),
        "environment": (lambda text: read.variables("f", {text: text}), _EVERYWHERE),
        "secrets in a request": (lambda text: read.check_carries_no_secret({"f": text}), (*_EVERYWHERE, "***")),
        "name of a whole result": (
            lambda text: importlib.import_module("k8s_sky_provider.runner.__main__")._file_name(  # noqa: SLF001  # as above
                protocol.Owner(**{**vars(owner), "run_id": text})
            ),
            _EVERYWHERE,
        ),
    }


def _job_log(text: str) -> None:
    log, data = job_log.JobLog(1, lambda _: None, lambda _: None), text.encode()
    # As it comes from a pipe.
    for at in range(0, len(data), len(PIECE)):
        log.take(data[at : at + len(PIECE)])


def _endless() -> IO[bytes]:
    """Return the output of a program that prints no line end."""
    process = subprocess.Popen(["bash", "-c", f"head -c {STREAM} /dev/zero | tr '\\0' x"], stdout=subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    return process.stdout


def _consume(lines: Iterable[object]) -> None:
    for _ in lines:
        pass


def _console() -> None:
    read, show = _endless(), console.Console(frozenset({"secret-value"}))
    for lines in output.lines_of(read.fileno(), silence=None, on_silence=lambda _: None):
        for line in lines:
            _consume(show._show(line))  # noqa: SLF001  # what is measured


class _LineProcessor(contextlib.nullcontext[None]):
    """SkyPilot's own, which does nothing."""

    def process_line(self, line: str) -> None:
        """Leave a line as it is."""


def _command_on_a_machine() -> None:
    outputs = importlib.import_module("k8s_sky_provider.runner.sky.outputs")
    options: dict[str, Any] = dict.fromkeys(("end_streaming_at", "streaming_prefix", "replace_crlf", "stream_logs"))
    options |= {"log_path": "/dev/null", "skip_lines": ["bash: "], "start_streaming_at": ""}
    arguments = SimpleNamespace(**options, line_processor=_LineProcessor())
    outputs._read(_endless(), io.StringIO(), arguments)  # noqa: SLF001  # what is measured


def _command_in_the_pod() -> None:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        bash._show(io.TextIOWrapper(_endless()), collections.deque(maxlen=1))  # noqa: SLF001  # what is measured


def _log_in_a_worker() -> None:
    pieces = [b"2026-01-01T00:00:00.000000000Z ", *[PIECE] * (STREAM // len(PIECE))]
    response: Any = SimpleNamespace(stream=lambda **_: iter(pieces))
    _consume(pod_logs._Ahead(response).stream())  # noqa: SLF001  # what is measured


def _log_in_the_triggerer() -> None:
    splitter = pod_logs.LineSplitter()
    for _ in range(STREAM // len(PIECE)):
        _consume(splitter.feed(PIECE))


def _log_of_a_job() -> None:
    log = job_log.JobLog(1, lambda _: None, lambda _: None)
    for number in range(STREAM // len(PIECE)):
        log.take(b"\x1ek8s-sky-log %d %d RUNNING no\n" % (number * len(PIECE), len(PIECE)) + PIECE)


STREAMS: dict[str, Callable[[], object]] = {
    "300 MB: the console": _console,
    "300 MB: a command on a machine": _command_on_a_machine,
    "300 MB: a command in the pod": _command_in_the_pod,
    "300 MB: a pod's log, in a worker": _log_in_a_worker,
    "300 MB: a pod's log, in the triggerer": _log_in_the_triggerer,
    "300 MB: a job's log": _log_of_a_job,
}
"""What reads streams, each with one that has no line end."""


def _in_a_fork(work: Callable[[], object]) -> tuple[float, float]:
    """Do something in a process of its own; return its CPU time, and how much more memory it has taken."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            cost = _cost_of(work)
            os.write(writing, json.dumps(cost).encode())
        except BaseException:  # noqa: BLE001  # the process must end here, whatever it is
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:  # noqa: PTH123  # no path
        found = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise RuntimeError("a reader raised an error that it does not document")
    seconds, megabytes = json.loads(found) if found else (SECONDS_TO_GIVE_UP, 0.0)
    return seconds, megabytes


def _cost_of(work: Callable[[], object]) -> tuple[float, float]:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_TO_GIVE_UP, SECONDS_TO_GIVE_UP))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    began = time.process_time()
    with contextlib.suppress(ActionFailedError, SkyPilotError, ValueError):
        work()
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return seconds, max(0, peak - before) / 1e6


def main() -> None:
    """Print what each reader's worst text has cost, as JSON."""
    logging.disable()
    with tempfile.TemporaryDirectory() as directory, fake_sky.installed():
        os.environ["HOME"] = directory
        for reader, (read, units) in _readers(Path(directory)).items():
            found = [(_in_a_fork(functools.partial(read, text)), name) for text, name in _texts(units)]
            seconds, slowest = max((cost[0], name) for cost, name in found)
            megabytes = max(cost[1] for cost, _ in found)
            _tell(reader, slowest, seconds, megabytes, is_stream=False)
        for reader, work in STREAMS.items():
            _tell(reader, "'x'", *_in_a_fork(work), is_stream=True)


def _tell(reader: str, text: str, seconds: float, megabytes: float, *, is_stream: bool) -> None:
    row = {"reader": reader, "text": text, "seconds": seconds, "megabytes": megabytes, "is_stream": is_stream}
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
