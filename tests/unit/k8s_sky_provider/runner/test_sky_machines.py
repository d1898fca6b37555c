"""What the engine makes of what machines say. SkyPilot is a fake, and the machines are this one."""

from __future__ import annotations

import importlib
import inspect
import io
import os
import shlex
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import remote_shell
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.remote_shell import CommandOutput
from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

PACKAGE = "k8s_sky_provider.runner.sky"
HOSTILE = "x'$(touch${IFS}EXECUTED)'"


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    with fake_sky.installed():
        yield SimpleNamespace(
            **{name: importlib.import_module(f"{PACKAGE}.{name}") for name in ("machines", "outputs", "rsync")}
        )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("sky_workdir/data", "sky_logs", ".sky", ".ssh"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path.resolve()


class Machine:
    """A machine whose home is what it says."""

    node_id = "10.0.0.1-22"

    def __init__(self, home: str = "/home/sky") -> None:
        self.home = home
        self.output: str | None = None
        self.copied: list[tuple[str, str]] = []

    def get_remote_home_dir(self) -> str:
        if "'" in self.home:
            raise ValueError(f"Failed to find remote home directory identifier: {self.home}")
        return self.home

    def run(self, script: str, **options: Any) -> tuple[int, str, str]:
        assert options["require_outputs"]
        if self.output is not None:
            return 0, self.output, ""
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def rsync(self, source: str, target: str, *, up: bool) -> None:
        del up
        self.copied.append((source, target))


class Answering:
    """A machine that says always the same; what ends a command there is heard."""

    node_id = "10.0.0.1-22"
    is_too_long = False

    def __init__(self, code: int, output: str, complaint: str = "") -> None:
        self.code, self.output, self.complaint = code, output, complaint
        self.runs: list[tuple[str, dict[str, Any]]] = []

    def is_command_length_over_limit(self, script: str) -> bool:
        assert script == "date"
        return self.is_too_long

    def run(self, script: str, **options: Any) -> Any:
        self.runs.append((script, options))
        if "require_outputs" in options:
            return self.code, self.output, self.complaint
        return 0 if script == remote_shell.end("mark") and self.complaint else self.code


class OfKubernetes(Answering):
    """A pod."""


class Waiting(Answering):
    """A machine whose command waits until it is ended."""

    def __init__(self, *, ends: bool) -> None:
        super().__init__(255, "until now", "gone")
        self.ends, self.over = ends, threading.Event()

    def run(self, script: str, **options: Any) -> Any:
        if "require_outputs" in options:
            self.over.wait(30)
        elif self.ends:
            self.over.set()
        return super().run(script, **options)


class TestAnswers:
    """A machine's answers are held against what it was asked."""

    def test_a_path_is_below_its_home(self, modules: SimpleNamespace) -> None:
        machine = Machine("/tmp/")  # noqa: S108  # of the machine
        modules.machines.Machines().upload(machine, "/a", "~/x", into=".")
        assert machine.copied == [("/a", "/tmp/x")]  # noqa: S108  # of the machine

    def test_a_home_that_is_none_is_an_error_that_names_the_machine(self, modules: SimpleNamespace) -> None:
        machine = Machine(f"/{HOSTILE}")
        with pytest.raises(ActionFailedError, match=r"machine 10\.0\.0\.1-22 does not say well where its home"):
            modules.machines.Machines().upload(machine, "/a", "x", into="/tmp")  # noqa: S108  # of the machine
        assert machine.copied == []

    def test_files_are_found(self, modules: SimpleNamespace, tmp_path: Path) -> None:
        (tmp_path / "a b.csv").touch()
        machine = Machine(str(tmp_path))
        assert modules.machines.Machines().find_on_machine(machine, "[a-c]*.csv") == [f"{tmp_path}/a b.csv"]

    @pytest.mark.parametrize("asked", ["out/", "out/*.csv"])
    def test_others_than_were_asked_for_are_an_error(
        self, modules: SimpleNamespace, tmp_path: Path, asked: str
    ) -> None:
        other = Machine(str(tmp_path))
        (tmp_path / "evil").mkdir()
        script = modules.machines.remote_shell.find(f"{tmp_path}/evil")
        machine = Machine("/home/sky")
        machine.output = other.run(script, require_outputs=True)[1]
        with pytest.raises(ActionFailedError, match=rf"machine 10\.0\.0\.1-22 was asked for '/home/sky/{asked[:4]}"):
            modules.machines.Machines().find_on_machine(machine, asked)

    @pytest.mark.parametrize("output", ["", "hello", "K8S_SKY_FOUND:a\n", "K8S_SKY_FOUND:=a==\n"])
    def test_no_answer_is_an_error(self, modules: SimpleNamespace, output: str) -> None:
        machine = Machine()
        machine.output = output
        with pytest.raises(ActionFailedError, match=r"machine 10\.0\.0\.1-22 does not say what is at") as caught:
            modules.machines.Machines().find_on_machine(machine, "x")
        assert caught.value.exit_code is ExitCode.TRY_AGAIN


class TestReaching:
    """The machines of a cluster."""

    @pytest.mark.parametrize(("status", "asks"), [("UP", False), ("INIT", True), (None, True)])
    def test_the_cloud_is_asked_about_a_cluster_that_is_not_up(
        self, modules: SimpleNamespace, status: str | None, asks: bool
    ) -> None:
        state, known = modules.machines.global_user_state, modules.machines.status_lib.ClusterStatus
        record = None if status is None else {"status": known(status)}
        state.get_cluster_from_name.return_value = record
        state.get_handle_from_cluster_name.return_value.get_command_runners.return_value = ["head", "worker"]
        check = modules.machines.backend_utils.check_cluster_available
        check.reset_mock()
        assert modules.machines.Machines().machines("demo") == ["head", "worker"]
        assert check.called is asks

    def test_a_copy_is_sent_by_rsyncs_own_protocol(
        self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("RSYNC_PROTECT_ARGS", raising=False)
        machine = Machine()
        modules.machines.Machines().download(machine, "/s", "/t")
        assert (machine.copied, os.environ["RSYNC_PROTECT_ARGS"]) == ([("/s", "/t")], "1")

    @pytest.mark.parametrize(
        ("method", "arguments", "options", "exit_code"),
        [
            ("upload", ("/a", "/t"), {"into": "/i"}, ExitCode.REQUEST_WRONG),
            ("find_on_machine", ("/x",), {}, ExitCode.TRY_AGAIN),
        ],
    )
    def test_one_that_fails(
        self,
        modules: SimpleNamespace,
        method: str,
        arguments: tuple[str, ...],
        options: dict[str, str],
        exit_code: ExitCode,
    ) -> None:
        machine = SimpleNamespace(run=lambda *_, **__: (1, "", " no way \n"), node_id="m")
        with pytest.raises(ActionFailedError, match=r"no way$") as caught:
            getattr(modules.machines.Machines(), method)(machine, *arguments, **options)
        assert caught.value.exit_code is exit_code

    def test_a_directory_is_made_before_a_copy(self, modules: SimpleNamespace, tmp_path: Path) -> None:
        machine = Machine(str(tmp_path))
        modules.machines.Machines().upload(machine, "/a", "new/x", into="new")
        assert (tmp_path / "new").is_dir()
        assert machine.copied == [("/a", f"{tmp_path}/new/x")]


class TestCommands:
    """A command on several machines."""

    @pytest.fixture(autouse=True)
    def of_kubernetes(self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(modules.machines.command_runner, "KubernetesCommandRunner", OfKubernetes)
        monkeypatch.setattr(modules.machines, "SECONDS_TO_COLLECT", 0.2)

    def run(self, modules: SimpleNamespace, *machines: Any, timeout: float | None = None) -> Any:
        return modules.machines.Machines().run_command(
            dict(enumerate(machines)), "date", mark="mark", connect_timeout=9, timeout=timeout
        )

    def test_each_has_its_output(self, modules: SimpleNamespace) -> None:
        head, worker = Answering(0, "a"), Answering(7, "b")
        assert self.run(modules, head, worker) == {
            0: CommandOutput(exit_code=0, output="a", timed_out=False),
            1: CommandOutput(exit_code=7, output="b", timed_out=False),
        }
        options = {"require_outputs": True, "separate_stderr": True, "connect_timeout": 9}
        assert head.runs == [("date", {**options, "streaming_prefix": "(rank 0) "})]
        self.run(modules, alone := Answering(0, ""))
        assert alone.runs[0][1]["streaming_prefix"] is None

    @pytest.mark.parametrize(
        ("machine", "is_lost"),
        [
            ((255, "x"), True),
            ((1, "x"), False),
            ((0, ""), False),
        ],
    )
    def test_a_lost_connection_by_ssh(self, modules: SimpleNamespace, machine: tuple[int, str], is_lost: bool) -> None:
        self.check_lost(modules, Answering(machine[0], "", machine[1]), is_lost=is_lost)

    @pytest.mark.parametrize(
        ("code", "complaint", "is_lost"),
        [(1, "no such pod", True), (1, "command terminated with exit code 1", False), (0, "", False)],
    )
    def test_a_lost_connection_by_kubectl(
        self, modules: SimpleNamespace, code: int, complaint: str, is_lost: bool
    ) -> None:
        self.check_lost(modules, OfKubernetes(code, "", complaint), is_lost=is_lost)

    def check_lost(self, modules: SimpleNamespace, machine: Any, *, is_lost: bool) -> None:
        if is_lost:
            with pytest.raises(ActionFailedError, match=f"machine 0 is out of reach: {machine.complaint}") as caught:
                self.run(modules, machine)
            assert caught.value.exit_code is ExitCode.TRY_AGAIN
            assert machine.runs[-1][0] == remote_shell.end("mark")
        else:
            self.run(modules, machine)
            assert len(machine.runs) == 1

    @pytest.mark.parametrize("ends", [True, False])
    def test_one_that_takes_too_long_is_ended(self, modules: SimpleNamespace, ends: bool) -> None:
        machine = Waiting(ends=ends)
        try:
            outputs = self.run(modules, machine, timeout=0.1)
        finally:
            machine.over.set()
        code, output = (255, "until now") if ends else (255, "")
        # A code of 255 is no lost connection here: the command was ended.
        assert outputs == {0: CommandOutput(exit_code=code, output=output, timed_out=True)}

    def test_one_that_is_too_long_is_not_begun(self, modules: SimpleNamespace) -> None:
        machine = Answering(0, "")
        machine.is_too_long = True
        with pytest.raises(ActionFailedError, match=r"too long for this cluster \(4 characters\)") as caught:
            self.run(modules, machine)
        assert (caught.value.exit_code, machine.runs) == (ExitCode.REQUEST_WRONG, [])

    def test_what_cannot_be_ended_is_said(self, modules: SimpleNamespace) -> None:
        engine = modules.machines.Machines()
        good, bad = Answering(0, ""), Answering(255, "")
        engine.end_command({0: good}, "mark")
        assert good.runs == [(remote_shell.end("mark"), {"stream_logs": False})]
        with pytest.raises(ActionFailedError, match=r"machine \[1\] is out of reach: the command may still") as caught:
            engine.end_command({0: good, 1: bad}, "mark")
        assert caught.value.exit_code is ExitCode.TRY_AGAIN


class TestOutputs:
    """What a machine prints is kept up to a length, and printed all the same."""

    def read(self, modules: SimpleNamespace, data: bytes, path: str = "/dev/null", **options: Any) -> tuple[str, str]:
        """Return what is kept of a stream, and what is shown of it."""
        default: dict[str, Any] = {"stream_logs": True, "skip_lines": [], "replace_crlf": False, "log_path": path}
        nothing: dict[str, Any] = dict.fromkeys(("end_streaming_at", "line_processor", "streaming_prefix"))
        shown = io.StringIO(newline="")
        arguments = SimpleNamespace(**{**default, **nothing, "start_streaming_at": "", **options})
        return modules.outputs._read(io.BytesIO(data), shown, arguments), shown.getvalue()

    @given(
        text=st.lists(st.sampled_from(["a", "\n", "\r\n", "\r", "skip", "ö", "begin", "end"]), max_size=20).map(
            "".join
        ),
        options=st.fixed_dictionaries(
            {},
            optional={
                "stream_logs": st.booleans(),
                "skip_lines": st.just(["skip"]),
                "replace_crlf": st.booleans(),
                "streaming_prefix": st.just("(rank 1) "),
                "start_streaming_at": st.just("begin"),
                "end_streaming_at": st.just("end"),
            },
        ),
    )
    def test_a_short_one_is_read_as_skypilot_reads_it(
        self, modules: SimpleNamespace, text: str, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        file = tmp_path_factory.getbasetemp() / "log"
        file.unlink(missing_ok=True)
        kept, shown = self.read(modules, text.encode(), str(file), **options)
        expected, printed, begun, ended = "", "", False, False
        # As log_lib._handle_io_stream of SkyPilot 0.14.1 does.
        for read in io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", newline=""):
            line = f"{read[:-2]}\n" if options.get("replace_crlf") and read.endswith("\r\n") else read
            if any(words in line for words in options.get("skip_lines", [])):
                continue
            begun = begun or options.get("start_streaming_at", "") in line
            ended = ended or ("end_streaming_at" in options and "end" in line)
            if options.get("stream_logs", True) and begun and not ended:
                printed += options.get("streaming_prefix", "") + line
            expected += line
        assert (kept, shown) == (expected, printed)
        assert file.read_bytes().decode() == expected

    @pytest.mark.parametrize("unit", [b"x", b"hello\n"], ids=["no line end", "lines"])
    def test_of_a_long_one_a_part_is_kept_and_all_is_shown(
        self, modules: SimpleNamespace, unit: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(modules.outputs, "LONGEST_OUTPUT", 200_000)
        data = unit * (300_000 // len(unit))
        kept, shown = self.read(modules, data, streaming_prefix="" if unit == b"x" else None)
        assert modules.outputs.is_cut(kept)
        assert kept.removesuffix(modules.outputs.LEFT_OUT) == data[:200_000].decode()
        assert shown == data.decode()
        kept, _ = self.read(modules, data[:200_000])
        assert (kept, modules.outputs.is_cut(kept)) == (data[:200_000].decode(), False)

    def test_who_follows_the_log_sees_each_line_at_once(self, modules: SimpleNamespace, tmp_path: Path) -> None:
        log, seen = tmp_path / "log", []

        class Stream(io.RawIOBase):
            lines = iter([b"one\n", b"two\n", b""])

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                seen.append(log.read_text() if log.exists() else "")
                line = next(self.lines)
                buffer[: len(line)] = line
                return len(line)

        nothing: dict[str, Any] = dict.fromkeys(
            ("end_streaming_at", "line_processor", "streaming_prefix", "skip_lines")
        )
        options = {"stream_logs": False, "replace_crlf": False, "start_streaming_at": "", "log_path": str(log)}
        modules.outputs._read(Stream(), io.StringIO(), SimpleNamespace(**nothing, **options))
        assert seen[-1] == "one\ntwo\n"

    def test_a_long_line_has_its_prefix_once(self, modules: SimpleNamespace) -> None:
        _, shown = self.read(modules, b"x" * 200_000 + b"\ny\n", streaming_prefix="(rank 1) ")
        assert shown == f"(rank 1) {'x' * 200_000}\n(rank 1) y\n"

    def test_its_source_is_still_what_skypilot_sends_to_clusters(
        self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def _handle_io_stream() -> str:
            return "SkyPilot's own"

        theirs = SimpleNamespace(_handle_io_stream=_handle_io_stream)
        monkeypatch.setattr(modules.outputs, "log_lib", theirs)
        monkeypatch.setattr(modules.outputs, "_read", lambda *_: "ours")
        modules.outputs.protect()
        assert theirs._handle_io_stream() == "ours"
        assert "SkyPilot's own" in inspect.getsource(theirs._handle_io_stream)

    def test_another_skypilot_is_refused(self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(modules.outputs, "log_lib", SimpleNamespace())
        with pytest.raises(ActionFailedError, match="reads outputs in another way"):
            modules.outputs.protect()

    def test_a_part_of_an_answer_is_none(self, modules: SimpleNamespace) -> None:
        machine = Machine()
        machine.output = f"{remote_shell.FOUND}L2hvbWUvc2t5L2EA{modules.outputs.LEFT_OUT}"
        with pytest.raises(ActionFailedError, match=r"'/home/sky/\*' stands for too many files on machine") as caught:
            modules.machines.Machines().find_on_machine(machine, "*")
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG


class TestPatterns:
    """SkyPilot takes plain names and paths only."""

    @pytest.mark.parametrize(
        ("module", "name", "good", "bad"),
        [
            ("command_runner", "_HOME_DIR_PATTERN", "SKYPILOT_HOME_DIR: /home/a-b.c_d+e@f", "SKYPILOT_HOME_DIR: /"),
            ("docker_utils", "_DOCKER_USER_PATTERN", "SKYPILOT_DOCKER_USER: sky-1", "SKYPILOT_DOCKER_USER: "),
            ("instance", "_SSH_USER_PATTERN", "SKYPILOT_SSH_USER: root", "SKYPILOT_SSH_USER: "),
        ],
    )
    def test_of_an_answer(self, modules: SimpleNamespace, module: str, name: str, good: str, bad: str) -> None:
        pattern: re.Pattern[str] = getattr(getattr(modules.rsync, module), name)
        found = pattern.search(f"a greeting\n{good}\n")
        assert found is not None
        assert found[1] == good.partition(" ")[2]
        assert pattern.search(good) is not None
        for end in (HOSTILE, "x$(id)", "x`id`", "x;id", 'x"', "x\\"):
            assert pattern.search(f"{bad}{end}\n") is None

    def test_no_user_is_an_option_of_ssh(self, modules: SimpleNamespace) -> None:
        assert not modules.rsync.USER.fullmatch("-oProxyCommand")

    def test_another_skypilot_is_refused(self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(modules.rsync, "command_runner", SimpleNamespace(CommandRunner=object))
        with pytest.raises(ActionFailedError, match=r"another rsync: .*_rsync.*images/skypilot") as caught:
            modules.rsync.protect()
        assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG


class TestChmod:
    """SkyPilot's chmod of its own script, which a read-only file system refuses."""

    @pytest.fixture
    def run(self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
        """Return what calls SkyPilot's rsync with more options, and returns those that it gets."""

        class Runner:
            def _rsync(self, source: str, target: str, *, up: bool, **options: Any) -> None:
                got.update(options)

        got: dict[str, Any] = {}
        monkeypatch.setattr(modules.rsync, "command_runner", SimpleNamespace(CommandRunner=Runner))
        monkeypatch.setattr(modules.rsync, "_ANSWERS", ())
        modules.rsync.protect()

        def run(**options: Any) -> dict[str, Any]:
            Runner()._rsync("/s", "/t", up=True, **options)
            return got

        return run

    @pytest.fixture
    def script(self, tmp_path: Path) -> str:
        script = tmp_path / "sky pilot" / "rsync_helper.sh"
        script.parent.mkdir()
        script.touch(0o755)
        return shlex.quote(str(script))

    @pytest.mark.parametrize("rest", ["", "SKYPILOT_K8S_EXEC_CONTAINER=ray-node "])
    def test_is_left_out_where_there_is_nothing_to_do(
        self, run: Callable[..., dict[str, Any]], script: str, rest: str
    ) -> None:
        got = run(rsh_option=script, prefix_command=f"chmod +x {script} && {rest}", max_retry=3)
        assert got == {"rsh_option": script, "prefix_command": rest, "max_retry": 3}

    def test_is_run_where_there_is(self, run: Callable[..., dict[str, Any]], script: str) -> None:
        Path(shlex.split(script)[0]).chmod(0o644)
        # Root may read and write all files, but run none that nobody may run.
        assert run(rsh_option=script, prefix_command=f"chmod +x {script} && ")["prefix_command"].startswith("chmod")

    @pytest.mark.parametrize(
        "options",
        [{}, {"rsh_option": "ssh -T", "prefix_command": None}, {"rsh_option": "a", "prefix_command": "chmod +x b && "}],
    )
    def test_another_line_stays(self, run: Callable[..., dict[str, Any]], options: dict[str, Any]) -> None:
        assert run(**options) == options


class TestRsync:
    """What SkyPilot's rsync writes into its line is checked, and what it brought."""

    @pytest.fixture
    def rsync(self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        class Runner:
            node_id = "10.0.0.1-22"
            bring: Callable[[Path], None] = staticmethod(lambda _: None)

            def _rsync(self, source: str, target: str, *, node_destination: str, up: bool) -> None:
                assert node_destination == "sky@10.0.0.1"
                calls.append((source, target))
                if not up:
                    Runner.bring(Path(target))

        calls: list[tuple[str, str]] = []
        fake = SimpleNamespace(CommandRunner=Runner, _HOME_DIR_PATTERN=None)
        monkeypatch.setattr(modules.rsync, "command_runner", fake)
        monkeypatch.setattr(modules.rsync, "_ANSWERS", ())
        modules.rsync.protect()

        def rsync(source: str, target: str, *, up: bool, bring: Callable[[Path], None] | None = None) -> Any:
            if bring:
                Runner.bring = staticmethod(bring)
            calls.clear()
            try:
                Runner()._rsync(source, target, node_destination="sky@10.0.0.1", up=up)
            except ActionFailedError:
                assert calls == []
                raise
            return calls[0]

        return rsync

    def test_a_size_is_asked_of_no_path_that_a_shell_would_read(
        self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def size(path: str) -> int:
            asked.append(path)
            return 7

        fake = SimpleNamespace(path_size_megabytes=size)
        monkeypatch.setattr(modules.rsync, "backend_utils", fake)
        monkeypatch.setattr(modules.rsync, "_ANSWERS", ())
        monkeypatch.setattr(modules.rsync, "command_runner", SimpleNamespace(CommandRunner=SimpleNamespace(_rsync=id)))
        modules.rsync.protect()
        assert fake.path_size_megabytes("/data/of mine") == 7
        with pytest.raises(ActionFailedError, match=r"source: .* has a quote, backslash or control"):
            fake.path_size_megabytes(f"/data/{HOSTILE}")
        assert asked == ["/data/of mine"]

    def test_links_here_are_resolved_before_it_sees_them(self, home: Path, rsync: Callable[..., Any]) -> None:
        (home / "sky_workdir" / "link").symlink_to("data")
        data = f"{home}/sky_workdir/data"
        assert rsync("~/sky_workdir/link", "/t", up=True) == (data, "/t")
        assert rsync("/t", "~/sky_workdir/link", up=False) == ("/t", data)
        assert rsync("/t", f"{home}/sky_workdir/link/", up=False) == ("/t", f"{data}/")

    @pytest.mark.parametrize(
        ("source", "target", "up", "field"),
        [
            ("HOME/sky_workdir/link", "/t", True, "source"),
            ("HOME/sky_workdir/it's", "/t", True, "source"),
            ("HOME/sky_workdir/data", f"/{HOSTILE}", True, "target"),
            (f"/{HOSTILE}", "HOME/sky_workdir/o", False, "source"),
            ("/two\nlines", "HOME/sky_workdir/o", False, "source"),
            ("/t", "HOME/sky_workdir/link", False, "target"),
        ],
    )
    def test_what_skypilot_cannot_quote_is_refused(
        self, home: Path, rsync: Callable[..., Any], source: str, target: str, up: bool, field: str
    ) -> None:
        (home / "sky_workdir" / HOSTILE).mkdir()
        (home / "sky_workdir" / "link").symlink_to(HOSTILE)
        with pytest.raises(ActionFailedError, match=f"{field}: .* has a quote, backslash or control") as caught:
            rsync(source.replace("HOME", str(home)), target.replace("HOME", str(home)), up=up)
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize("target", ["~/.sky", "~/.ssh/x", "~/x", "~/sky_logs/../.sky", "~/sky_workdir/link/x/"])
    def test_a_machine_writes_to_no_other_place_than_those_for_files(
        self, home: Path, rsync: Callable[..., Any], target: str
    ) -> None:
        (home / "sky_workdir" / "link").symlink_to(home / ".sky")
        with pytest.raises(ActionFailedError, match=r"target: files of machine 10\.0\.0\.1-22 would go to"):
            rsync("/t", target, up=False)

    @pytest.mark.parametrize(
        ("source", "target", "place"),
        [
            ("/t/", "o", "o/bad"),
            ("/t/", "o/", "o/bad"),
            ("/t/.", "o", "o/bad"),
            ("/t/..", "o", "o/bad"),
            ("/t/*", "o", "o/bad"),
            ("/t/bad", "o", "o/bad"),
            ("/t/bad", "o/", "o/bad"),
            ("/t/bad", "o2", "o2"),
        ],
    )
    @pytest.mark.parametrize("fails", [False, True])
    def test_links_that_lead_elsewhere_are_left_out(
        self,
        home: Path,
        rsync: Callable[..., Any],
        capsys: pytest.CaptureFixture[str],
        source: str,
        target: str,
        place: str,
        fails: bool,
    ) -> None:
        work = home / "sky_workdir"
        (work / "o").mkdir()
        bad = work / place

        def bring(_: Path) -> None:
            bad.symlink_to(home / ".sky")
            if fails:
                raise OSError("broken off")

        if fails:
            with pytest.raises(OSError, match="broken off"):
                rsync(source, f"{work}/{target}", up=False, bring=bring)
        else:
            rsync(source, f"{work}/{target}", up=False, bring=bring)
        assert not bad.is_symlink()
        assert f"Left out 1 links that lead out of the target, or special files: '{bad}'" in capsys.readouterr().out

    def test_what_else_is_in_the_target_is_not_looked_at(self, home: Path, rsync: Callable[..., Any]) -> None:
        (home / "sky_workdir" / "mine").symlink_to("/usr/bin/env")
        rsync("/t/x.csv", "~/sky_workdir/", up=False)
        rsync("/t/..", "~/sky_workdir/data/", up=False)
        assert (home / "sky_workdir" / "mine").is_symlink()
