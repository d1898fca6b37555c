"""What commands and copies do on which machines, and how they end. SkyPilot is a fake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from k8s_sky_provider.protocol import ExitCode, OnCancel, Owner, SkyRequest
from k8s_sky_provider.runner import actions
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from k8s_sky_provider.runner.remote_shell import CommandOutput
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")
SSH: dict[str, Any] = {
    "cluster_name": "demo",
    "command": "echo hello",
    "environment": {},
    "get_pty": False,
    "conn_timeout": None,
    "cmd_timeout": None,
    "nodes": "head",
    "working_dir": None,
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    work = tmp_path / "sky_workdir"
    for file in ("data/a.csv", "data/b.csv", "data/sub/c.txt", "it's.txt"):
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        (work / file).write_text("x")
    return tmp_path


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine("demo")
    engine.number_of_machines = 3
    return engine


def start(home: Path, engine: FakeEngine, action: str, arguments: dict[str, Any]) -> Run:
    request = SkyRequest(action=action, arguments=arguments, owner=OWNER, on_cancel=OnCancel.CANCEL)
    return Run(request=request, engine=engine, home=home, store=FileStore(home))


def ssh(home: Path, engine: FakeEngine, **arguments: Any) -> Outcome:
    return ACTIONS["ssh"](start(home, engine, "ssh", {**SSH, **arguments}))


def copy(home: Path, engine: FakeEngine, direction: str, source: str, target: str, nodes: Any = "head") -> list[str]:
    """Return what was copied, as the engine was told, without the names of methods."""
    arguments = {"cluster_name": "demo", "source": source, "target": target, "nodes": nodes}
    outcome = ACTIONS[f"rsync_{direction}"](start(home, engine, f"rsync_{direction}", arguments))
    assert outcome.return_value == "demo"
    work = str(home / "sky_workdir")
    return [
        call.partition(" ")[2].replace(work, "WORK") for call in engine.calls if call.startswith(("upload", "download"))
    ]


class TestSsh:
    """A command runs where it was asked to, and its output and exit codes come back."""

    def test_the_output_of_the_head_is_a_text(self, home: Path, engine: FakeEngine) -> None:
        engine.output = CommandOutput(exit_code=0, output="a\r\nb\n\n")
        outcome = ssh(home, engine)
        assert (outcome.exit_code, outcome.return_value, outcome.job_exit_codes) == (ExitCode.OK, "a\nb", [0])

    @pytest.mark.parametrize(
        ("nodes", "machines"), [("head", [0]), ("all", [0, 1, 2]), ([2, 0], [2, 0]), ([1], [1])], ids=str
    )
    def test_it_runs_on_the_machines_that_were_asked_for(
        self, home: Path, engine: FakeEngine, nodes: Any, machines: list[int]
    ) -> None:
        engine.outputs = {f"node-{rank}": CommandOutput(exit_code=0, output=f"from {rank}") for rank in range(3)}
        outcome = ssh(home, engine, nodes=nodes)
        assert engine.calls[-1] == " ".join(["run_command", *(f"node-{rank}" for rank in machines)])
        outputs = [f"from {rank}" for rank in machines]
        assert outcome.return_value == (outputs[0] if nodes == "head" else outputs)

    @pytest.mark.parametrize("nodes", [[3], [0, 7]])
    def test_a_machine_that_is_not_there_is_an_error(self, home: Path, engine: FakeEngine, nodes: list[int]) -> None:
        with pytest.raises(ActionFailedError, match="nodes: cluster demo has 3 machines, so there is no machine") as c:
            ssh(home, engine, nodes=nodes)
        assert c.value.exit_code is ExitCode.REQUEST_WRONG
        assert not engine.scripts

    def test_one_that_fails_is_a_failed_job_with_its_codes_and_output(self, home: Path, engine: FakeEngine) -> None:
        engine.outputs = {"node-1": CommandOutput(exit_code=7, output="oh no")}
        outcome = ssh(home, engine, nodes="all")
        assert (outcome.exit_code, outcome.job_exit_codes) == (ExitCode.JOB_FAILED, [0, 7, 0])
        assert outcome.reason == "The command ended with exit code 7 on machine 1 of cluster demo"
        assert outcome.return_value == ["hello", "oh no", "hello"]

    def test_outputs_that_do_not_fit_are_a_failure_and_no_part_of_them(self, home: Path, engine: FakeEngine) -> None:
        engine.output = CommandOutput(exit_code=0, output=os.urandom(4000).hex())
        outcome = ssh(home, engine, nodes="all")
        assert (outcome.exit_code, outcome.job_exit_codes) == (ExitCode.REQUEST_WRONG, [0, 0, 0])
        assert outcome.reason.startswith("the outputs of 3 machines do not fit into a result of 4096 bytes: have the")
        assert outcome.return_value == [engine.output.output] * 3
        # That it failed says more, and of a text a part is left.
        engine.outputs = {"node-1": CommandOutput(exit_code=7, output=engine.output.output)}
        assert ssh(home, engine, nodes="all").exit_code is ExitCode.JOB_FAILED
        assert ssh(home, engine).exit_code is ExitCode.OK

    def test_one_that_took_too_long_is_a_failed_job(self, home: Path, engine: FakeEngine) -> None:
        engine.outputs = {"node-0": CommandOutput(exit_code=0, output="so far", timed_out=True)}
        outcome = ssh(home, engine, cmd_timeout=3.0, conn_timeout=5)
        assert engine.timeouts == [(5, 3.0)]
        assert outcome.exit_code is ExitCode.JOB_FAILED
        assert outcome.reason == "cmd_timeout: the command took longer than 3.0 s on machine 0 and was ended"

    @pytest.mark.parametrize(
        ("wish", "done"),
        [(OnCancel.CANCEL, "end_command node-0"), (OnCancel.DOWN, "down demo"), (OnCancel.STOP, "stop demo")],
    )
    def test_one_that_is_cancelled_is_ended_on_its_machines(
        self, home: Path, engine: FakeEngine, wish: OnCancel, done: str
    ) -> None:
        engine.told_to_stop_in = "run_command"
        run = start(home, engine, "ssh", SSH)
        with pytest.raises(CancelledActionError):
            ACTIONS["ssh"](run)
        assert run.undo is not None
        run.undo(wish)
        assert engine.calls[-1] == done
        assert all(mark in engine.scripts[0] for mark in engine.ended)

    def test_nothing_is_undone_before_it_has_begun(self, home: Path, engine: FakeEngine) -> None:
        engine.told_to_stop_in = "machines"
        run = start(home, engine, "ssh", SSH)
        with pytest.raises(CancelledActionError):
            ACTIONS["ssh"](run)
        assert actions.cancel(run) == "nothing was undone"

    def test_two_commands_are_told_apart(self, home: Path, engine: FakeEngine) -> None:
        ssh(home, engine)
        ssh(home, engine)
        assert engine.scripts[0] != engine.scripts[1]

    @pytest.mark.parametrize("cluster", ["up", "gone"])
    def test_where_a_machine_is_out_of_reach_the_cloud_is_asked_why(
        self, home: Path, engine: FakeEngine, cluster: str
    ) -> None:
        engine.fail("run_command", exit_code=ExitCode.TRY_AGAIN)
        if cluster == "gone":
            engine.fail("check_cluster_up", exit_code=ExitCode.REQUEST_WRONG)
        with pytest.raises(ActionFailedError, match="run_command" if cluster == "up" else "check_cluster_up"):
            ssh(home, engine)


class TestUp:
    """A copy to machines follows rsync's rules, although SkyPilot's own only knows directories with a slash."""

    @pytest.mark.parametrize(
        ("source", "target", "expected"),
        [
            ("data/", "~/t", ["WORK/data/ ~/t (in ~/t)"]),
            ("data", "~/t", ["WORK/data ~/t/data (in ~/t/data)"]),
            ("data", "t/", ["WORK/data t/data (in t/data)"]),
            ("~/sky_workdir/data/a.csv", "t/x.csv", ["WORK/data/a.csv t/x.csv (in t)"]),
            ("data/a.csv", "t/", ["WORK/data/a.csv t/a.csv (in t/)"]),
            ("data/a.csv", "x.csv", ["WORK/data/a.csv x.csv (in .)"]),
            ("data/*.csv", "t", ["WORK/data/a.csv t/a.csv (in t/)", "WORK/data/b.csv t/b.csv (in t/)"]),
            ("data/s*", "/t/", ["WORK/data/sub /t/sub (in /t/sub)"]),
        ],
    )
    def test_of(self, home: Path, engine: FakeEngine, source: str, target: str, expected: list[str]) -> None:
        assert copy(home, engine, "up", source, target) == [f"node-0 {call}" for call in expected]

    def test_of_an_absolute_path_on_the_volume(self, home: Path, engine: FakeEngine) -> None:
        source = str(home / "sky_workdir" / "data" / "a.csv")
        assert copy(home, engine, "up", source, "x") == ["node-0 WORK/data/a.csv x (in .)"]

    def test_to_several_machines(self, home: Path, engine: FakeEngine) -> None:
        copied = copy(home, engine, "up", "data/", "t", nodes=[0, 2])
        assert copied == ["node-0 WORK/data/ t (in t)", "node-2 WORK/data/ t (in t)"]

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("none", "source: 'none' does not exist on the volume"),
            ("none/*", "source: 'none/\\*' does not exist on the volume"),
            ("/dev/null/x", "source: '/dev/null/x' "),
        ],
    )
    def test_of_a_wrong_source_is_refused(self, home: Path, engine: FakeEngine, source: str, message: str) -> None:
        with pytest.raises(ActionFailedError, match=message) as caught:
            copy(home, engine, "up", source, "t")
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize("source", ["data/link", "data/l*", "data/dir/state.db", "data/dir/*", "data/dir/"])
    def test_of_a_link_to_what_is_no_file_of_a_user_is_refused(
        self, home: Path, engine: FakeEngine, source: str
    ) -> None:
        (home / ".sky").mkdir()
        (home / ".sky" / "state.db").write_text("x")
        (home / "sky_workdir" / "data" / "link").symlink_to(home / ".sky" / "state.db")
        (home / "sky_workdir" / "data" / "dir").symlink_to(home / ".sky")
        with pytest.raises(
            ActionFailedError, match=r"source: .* leads to .*\.sky.* SkyPilot's state or keys"
        ) as caught:
            copy(home, engine, "up", source, "t")
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG
        assert not [call for call in engine.calls if call.startswith("upload")]


class TestDown:
    """A copy from machines finds what is there, and lands on the volume."""

    @pytest.mark.parametrize(
        ("source", "found", "target", "expected"),
        [
            ("~/out/", ["/h/out/"], "o", ["/h/out/ WORK/o"]),
            ("~/out", ["/h/out"], "~/sky_workdir/o/", ["/h/out WORK/o/"]),
            ("x.csv", ["/h/x.csv"], "new/y.csv", ["/h/x.csv WORK/new/y.csv"]),
            ("*.csv", ["/h/a.csv", "/h/b.csv"], "o", ["/h/a.csv WORK/o/", "/h/b.csv WORK/o/"]),
            ("*.csv", ["/h/a.csv"], "o", ["/h/a.csv WORK/o/"]),
        ],
    )
    def test_of(
        self, home: Path, engine: FakeEngine, source: str, found: list[str], target: str, expected: list[str]
    ) -> None:
        engine.remote_files[source] = found
        assert copy(home, engine, "down", source, target) == [f"node-0 {call}" for call in expected]

    def test_the_directories_of_the_target_are_made(self, home: Path, engine: FakeEngine) -> None:
        engine.remote_files["x"] = ["/h/x"]
        copy(home, engine, "down", "x", "new/deep/x")
        copy(home, engine, "down", "x", "other/deep/")
        assert sorted(path.name for path in (home / "sky_workdir" / "new").iterdir()) == ["deep"]
        assert (home / "sky_workdir" / "other" / "deep").is_dir()

    @pytest.mark.parametrize("nodes", ["all", [0, 1, 2]], ids=str)
    def test_of_several_machines_goes_into_directories_by_rank(
        self, home: Path, engine: FakeEngine, nodes: Any
    ) -> None:
        engine.remote_files["out/"] = ["/h/out/"]
        copied = copy(home, engine, "down", "out/", "o", nodes)
        assert copied == [f"node-{rank} /h/out/ WORK/o/{rank}/" for rank in range(3)]

    def test_of_what_is_not_there_is_refused(self, home: Path, engine: FakeEngine) -> None:
        with pytest.raises(
            ActionFailedError, match="source: 'x' does not exist on machine 0 of cluster demo"
        ) as caught:
            copy(home, engine, "down", "x", "o")
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize("target", ["/nowhere/x", "~/x", "../x", "~/sky_workdir/../../x"])
    def test_to_where_it_would_be_gone_with_the_pod_is_refused(
        self, home: Path, engine: FakeEngine, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.state.mount_point_of", lambda *_: Path("/"))
        with pytest.raises(ActionFailedError, match=r"target: .* is not on the volume.*: give a path below ~/sky_work"):
            copy(home, engine, "down", "x", target)
        assert engine.calls == []

    @pytest.mark.parametrize(("target", "nodes"), [("~/.sky", "head"), ("link/sub/", "head"), ("ranks", "all")])
    def test_to_the_state_is_refused_over_links_too(
        self, home: Path, engine: FakeEngine, target: str, nodes: str
    ) -> None:
        (home / ".sky").mkdir()
        (home / "sky_workdir" / "link").symlink_to(home / ".sky")
        (home / "sky_workdir" / "ranks").mkdir()
        (home / "sky_workdir" / "ranks" / "0").symlink_to(home / ".sky")
        engine.remote_files["out/"] = ["/h/out/"]
        with pytest.raises(ActionFailedError, match=r"target: .* leads to .*\.sky"):
            copy(home, engine, "down", "out/", target, nodes)
        assert list((home / ".sky").iterdir()) == []

    def test_to_another_mount_is_none_of_our_business(
        self, home: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("k8s_sky_provider.runner.state._mount_of", lambda *_: (Path("/data"), "ext4"))
        engine.remote_files["x"] = ["/h/x"]
        assert copy(home, engine, "down", "x", f"{home}/mounted/x") == [f"node-0 /h/x {home}/mounted/x"]
