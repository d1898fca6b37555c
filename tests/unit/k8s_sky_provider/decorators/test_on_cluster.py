"""What a function's task does on a cluster: the script runs here as a job's script does there."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.decorators import sky_task
from k8s_sky_provider.decorators.sky import ON_CLUSTER
from k8s_sky_provider.protocol import RETURN_VALUE_LIMIT
from unit.k8s_sky_provider.operators.running import context_of, make_dag

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("deployment")

UV = Path(sys.executable).with_name("uv")


@dataclasses.dataclass
class Job:
    """A job that has ended."""

    exit_code: int
    log: str
    result: Any


class Cluster:
    """A head node with Python: its home directory and its programs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.programs = home / "bin"
        self.programs.mkdir()
        # To install pip anew into each environment takes seconds; that of the interpreter does.
        self.install("python3", sys.executable, '[ "$1 $2" = "-m venv" ] && set -- -m venv --without-pip "$3"')

    def install(self, name: str, target: str | Path, before: str = "") -> None:
        (self.programs / name).write_text(f'#!/bin/sh\n{before}\nexec {target} "$@"\n')
        (self.programs / name).chmod(0o755)

    def run(self, function: Callable[..., Any], *args: Any, rank: int = 0, **options: Any) -> Job:
        """Run the job of a function and return what came of it."""
        with make_dag():
            call: Any = sky_task(**{"cluster_name": "demo", **options})(function)(*args)
        operator = call.operator
        context = context_of(operator)
        operator.render_template_fields(context)
        arguments = operator.build_arguments(context)
        done = subprocess.run(
            ["bash", "-c", arguments["task"]["run"]],
            env={
                "HOME": str(self.home),
                "PATH": f"{self.programs}:/usr/bin:/bin",
                "SKYPILOT_NODE_RANK": str(rank),
                "UV_OFFLINE": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                "PIP_NO_INDEX": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        file = self.home / arguments["return_file"]
        return Job(done.returncode, done.stdout, json.loads(file.read_text()) if file.exists() else None)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a package that no index has."""
    path = tmp_path / "k8s_sky_greeting-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("k8s_sky_greeting.py", "def greet(who):\n    return 'hello ' + who\n")
        info = "k8s_sky_greeting-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: k8s-sky-greeting\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def echo(*args: Any) -> Any:
    return args


def greet(who: str) -> str:
    import k8s_sky_greeting  # type: ignore[import-not-found]  # a package of the test's own
    import yaml  # a package of the interpreter itself

    return str(k8s_sky_greeting.greet(yaml.safe_load(who)))


class TestValues:
    """Arguments go there and the value comes back."""

    def test_json_values_go_and_come_back(self, cluster: Cluster) -> None:
        values: list[Any] = [None, True, 1, 1.5, "Zoë's $HOME `x` '\"", [1, [2]], {"a": {"b": []}}]
        job = cluster.run(echo, *values)
        assert (job.exit_code, job.result) == (0, {"return_value": values})

    def test_what_the_function_prints_is_in_the_jobs_log(self, cluster: Cluster) -> None:
        def talk() -> None:
            print("half way")

        assert cluster.run(talk).log == "half way\n"

    def test_the_function_starts_where_the_job_starts(self, cluster: Cluster) -> None:
        def where() -> str:
            import os

            return os.getcwd()  # noqa: PTH109  # a text is what it returns

        assert cluster.run(where).result == {"return_value": os.getcwd()}  # noqa: PTH109  # as above

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("object()", "what give returns, of type object, cannot be sent back as JSON: Object of type object"),
            ("{1, 2}", "of type set, cannot be sent back as JSON"),
            ("float('nan')", "of type float, cannot be sent back as JSON"),
            ("'é' * 1750", f"has 3502 bytes of JSON and at most {RETURN_VALUE_LIMIT} can be sent back: write it to"),
        ],
    )
    def test_a_value_that_cannot_come_back_fails_the_job(self, cluster: Cluster, value: str, reason: str) -> None:
        def give(expression: str) -> Any:
            return eval(expression)  # noqa: S307  # the test's own text

        job = cluster.run(give, value)
        assert job.exit_code == 1
        assert reason in job.result["reason"]
        assert reason in job.log

    def test_the_longest_value_comes_back(self, cluster: Cluster) -> None:
        def give(size: int) -> str:
            return "x" * size

        size = RETURN_VALUE_LIMIT - len('""')
        assert cluster.run(give, size).result == {"return_value": "x" * size}


class TestFailures:
    """A function that fails says what it would say here."""

    def test_an_exceptions_traceback_has_the_functions_lines_and_no_others(self, cluster: Cluster) -> None:
        def divide(n: int) -> float:
            print("dividing")
            return n / 0

        job = cluster.run(divide, 1)
        assert job.exit_code == 1
        assert job.result == {"reason": "ZeroDivisionError: division by zero"}
        traceback = job.log.split("dividing\n")[1]
        assert traceback.startswith("Traceback (most recent call last):\n")
        assert "in divide\n    return n / 0\n" in traceback
        assert traceback.endswith("ZeroDivisionError: division by zero\n")
        assert "on_cluster.py" not in traceback

    def test_an_exception_keeps_its_cause(self, cluster: Cluster) -> None:
        def load() -> None:
            try:
                {}["key"]  # type: ignore[index]  # it fails on purpose
            except KeyError as error:
                raise ValueError("no key\nin the file") from error

        job = cluster.run(load)
        assert job.result == {"reason": "ValueError: no key\nin the file"}
        assert "KeyError: 'key'" in job.log

    @pytest.mark.parametrize("code", [0, 3])
    def test_a_function_that_ends_the_interpreter_has_failed(self, cluster: Cluster, code: int) -> None:
        def leave(code: int) -> None:
            import sys

            sys.exit(code)

        job = cluster.run(leave, code)
        assert (job.exit_code, job.result) == (1, {"reason": f"SystemExit: {code}"})

    def test_the_result_of_an_earlier_run_does_not_stay(self, cluster: Cluster) -> None:
        def end(how: str) -> None:
            import os

            if how == "killed":
                os.kill(os.getpid(), 9)

        assert cluster.run(end, "well").result == {"return_value": None}
        job = cluster.run(end, "killed")
        assert (job.exit_code, job.result) == (137, None) or (job.exit_code, job.result) == (-9, None)

    @pytest.mark.parametrize("rank", [0, 1])
    def test_the_first_node_alone_writes_the_result(self, cluster: Cluster, rank: int) -> None:
        assert (cluster.run(echo, rank=rank).result is not None) == (rank == 0)


class TestInterpreter:
    """The function has the interpreter and the packages that it asked for."""

    @pytest.mark.parametrize("with_uv", [True, False])
    def test_requirements_are_installed_once(self, cluster: Cluster, wheel: Path, *, with_uv: bool) -> None:
        if with_uv:
            cluster.install("uv", UV)
        first = cluster.run(greet, "Zoë", requirements=[str(wheel)])
        assert first.result == {"return_value": "hello Zoë"}, first.log
        assert "Installing into" in first.log
        wheel.unlink()
        second = cluster.run(greet, "you", requirements=[str(wheel)])
        assert (second.result, second.log) == ({"return_value": "hello you"}, "")

    def test_programs_of_the_requirements_are_on_the_path(self, cluster: Cluster, wheel: Path) -> None:
        def which() -> list[str | None]:
            import os
            import shutil

            return [shutil.which("python"), os.environ.get("VIRTUAL_ENV")]

        cluster.install("uv", UV)
        python, venv = cluster.run(which, requirements=[str(wheel)]).result["return_value"]
        assert python == f"{venv}/bin/python"

    def test_requirements_that_cannot_be_installed_fail_the_job_and_are_tried_again(
        self, cluster: Cluster, wheel: Path
    ) -> None:
        cluster.install("uv", UV)
        hidden = wheel.rename(wheel.with_suffix(".hidden"))
        failed = cluster.run(greet, "you", requirements=[str(wheel)])
        assert failed.exit_code == 1
        assert failed.result["reason"].startswith("requirements: ")
        assert failed.result["reason"].endswith("what it says is in the log")
        hidden.rename(wheel)
        assert cluster.run(greet, "you", requirements=[str(wheel)]).exit_code == 0

    def test_another_interpreter_runs_the_function(self, cluster: Cluster) -> None:
        cluster.install("python-of-mine", f"env MINE=1 {sys.executable}")

        def mine() -> str | None:
            import os

            return os.environ.get("MINE")

        assert cluster.run(mine, python="python-of-mine").result == {"return_value": "1"}
        assert cluster.run(mine).result == {"return_value": None}

    def test_an_interpreter_that_is_not_there_is_named(self, cluster: Cluster) -> None:
        job = cluster.run(echo, python="python9.9")
        assert job.exit_code == 1
        assert job.result["reason"].startswith("python: the cluster has no 'python9.9', and no uv to bring it")

    def test_uv_is_asked_for_an_interpreter_that_is_not_there(self, cluster: Cluster) -> None:
        cluster.install("uv", UV)
        reason = cluster.run(echo, python="python9.9").result["reason"]
        assert reason.startswith("python: ")
        assert "uv venv --quiet --python python9.9" in reason


def test_the_program_is_one_for_old_pythons_too() -> None:
    ast.parse(ON_CLUSTER.read_text(), feature_version=(3, 7))
