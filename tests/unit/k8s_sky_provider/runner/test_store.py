"""Notes and locks on the volume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import store as store_module
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore, alone_at_first
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A lock is one of a process: who else has it is another one.
OTHER_PROCESS = """
import pathlib, sys
from k8s_sky_provider.runner.store import FileStore

store = FileStore(pathlib.Path(sys.argv[1]))
print(store.try_lock("cluster demo", shared=sys.argv[2] == "shared"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


class OtherPod:
    """Another process with the same volume, which tries to take a lock and keeps it."""

    def __init__(self, home: Path, *, shared: bool) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, str(home), "shared" if shared else "alone"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.has_it = self.process.stdout.readline() == "True\n"

    def dies(self) -> None:
        self.process.kill()
        self.process.communicate()


class TestNotes:
    """A note is there whole or not at all, until it is of no use."""

    @pytest.mark.parametrize("name", ["../../../sky_workdir/evil", "a/b", "a\0b", "ä" * 101])
    def test_a_name_is_no_path(self, store: FileStore, name: str, tmp_path: Path) -> None:
        with pytest.raises(ActionFailedError, match="cannot be a name") as caught:
            store.note("owners", name, {})
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG
        with pytest.raises(ActionFailedError, match="cannot be a name"):
            store.read_note("owners", name)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_the_longest_name_is_one(self, store: FileStore) -> None:
        store.note("owners", "ä" * 100, {"a": 1})
        assert store.read_note("owners", "ä" * 100) == {"a": 1}

    def test_the_last_one_counts_and_leaves_no_other_files(self, store: FileStore, tmp_path: Path) -> None:
        store.note("owners", "demo", {"a": 1})
        store.note("owners", "demo", {"a": 2})
        assert store.read_note("owners", "demo") == {"a": 2}
        assert [path.name for path in (tmp_path / ".sky" / "k8s_sky" / "owners").iterdir()] == ["demo.json"]

    def test_notes_of_other_kinds_and_names_are_others(self, store: FileStore) -> None:
        store.note("owners", "demo", {"a": 1})
        assert store.read_note("outcomes", "demo") is None
        assert store.read_note("owners", "other") is None

    @pytest.mark.parametrize("text", ["", "{", "[]"])
    def test_one_that_cannot_be_read_is_none(self, text: str, store: FileStore, tmp_path: Path) -> None:
        store.note("owners", "demo", {})
        (tmp_path / ".sky" / "k8s_sky" / "owners" / "demo.json").write_text(text)
        assert store.read_note("owners", "demo") is None

    def test_old_ones_are_forgotten_unless_they_are_of_use(self, store: FileStore, tmp_path: Path) -> None:
        for name in ("old", "old-in-use", "young"):
            store.note("owners", name, {})
        (tmp_path / ".sky" / "k8s_sky" / "owners" / "tmp0").write_text("of a pod that died while it wrote")
        for name in ("old.json", "old-in-use.json", "tmp0"):
            os.utime(tmp_path / ".sky" / "k8s_sky" / "owners" / name, times=(time.time() - 31 * 86400,) * 2)
        store.note("outcomes", "old", {})
        store.forget_notes("owners", days=30, unless=lambda name: name == "old-in-use")
        left = [path.name for path in (tmp_path / ".sky" / "k8s_sky" / "owners").iterdir()]
        assert sorted(left) == ["old-in-use.json", "young.json"]
        assert store.read_note("outcomes", "old") == {}

    def test_without_notes_there_is_nothing_to_forget(self, store: FileStore) -> None:
        store.forget_notes("owners", days=30, unless=lambda _: False)


class TestLocks:
    """One has a lock alone, or several share it; whoever dies has it no more."""

    @pytest.fixture
    def others(self) -> Iterator[list[OtherPod]]:
        pods: list[OtherPod] = []
        yield pods
        for pod in pods:
            pod.dies()

    @pytest.mark.parametrize(
        ("theirs", "ours", "granted"),
        [("alone", "alone", False), ("alone", "shared", False), ("shared", "alone", False), ("shared", "shared", True)],
    )
    def test_of_another_pod(
        self, theirs: str, ours: str, granted: bool, store: FileStore, tmp_path: Path, others: list[OtherPod]
    ) -> None:
        others.append(OtherPod(tmp_path, shared=theirs == "shared"))
        assert others[0].has_it
        assert store.try_lock("cluster demo", shared=ours == "shared") is granted
        assert store.try_lock("cluster other", shared=False)
        others[0].dies()
        assert store.try_lock("cluster demo", shared=ours == "shared")

    def test_one_that_was_freed_is_for_others(self, store: FileStore, tmp_path: Path, others: list[OtherPod]) -> None:
        store.unlock("cluster demo")
        assert store.try_lock("cluster demo", shared=False)
        others.append(OtherPod(tmp_path, shared=False))
        store.unlock("cluster demo")
        others.append(OtherPod(tmp_path, shared=False))
        assert [pod.has_it for pod in others] == [False, True]

    def test_they_need_one_file_for_all_clusters(self, store: FileStore, tmp_path: Path) -> None:
        for number in range(20):
            assert store.try_lock(f"cluster {number}", shared=False)
        assert [path.name for path in (tmp_path / ".sky" / "k8s_sky").iterdir()] == ["locks"]

    def test_the_number_of_a_lock_never_changes_between_versions(self) -> None:
        assert store_module.lock_number("cluster demo") == 53891912976783419


class TestFirstUse:
    """SkyPilot makes its tables when it is used first: one pod at a time."""

    @pytest.fixture(autouse=True)
    def version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.metadata.version", lambda _: "0.14.1")

    def test_the_first_is_alone_and_says_when_it_is_done(
        self, store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alone: list[bool] = []

        def make() -> FakeEngine:
            assert store.read_note("setup", "0.14.1") is None
            alone.append(not _other_has_setup(tmp_path))
            return FakeEngine()

        alone_at_first(store, make)
        assert alone == [True]
        monkeypatch.setattr(store, "try_lock", lambda *_, **__: pytest.fail("the second is alone, too"))
        alone_at_first(store, FakeEngine)

    def test_who_waits_goes_on_as_soon_as_it_is_done(self, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "try_lock", lambda *_, **__: False)
        monkeypatch.setattr(time, "sleep", lambda _: store.note("setup", "0.14.1", {}))
        assert alone_at_first(store, FakeEngine).calls == []  # type: ignore[attr-defined]  # it is the fake

    def test_nobody_waits_for_ever(self, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []
        monkeypatch.setattr(store, "try_lock", lambda *_, **__: False)
        monkeypatch.setattr(time, "sleep", waits.append)
        with pytest.raises(ActionFailedError, match="another pod makes SkyPilot's tables") as caught:
            alone_at_first(store, FakeEngine)
        assert caught.value.exit_code is ExitCode.TRY_AGAIN
        assert sum(waits) == store_module.SECONDS_TO_SET_UP

    def test_one_that_fails_leaves_it_to_the_next(self, store: FileStore) -> None:
        def fail() -> FakeEngine:
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011  # raised above
            alone_at_first(store, fail)
        assert store.read_note("setup", "0.14.1") is None
        alone_at_first(store, FakeEngine)
        assert json.dumps(store.read_note("setup", "0.14.1"))


def _other_has_setup(home: Path) -> bool:
    program = OTHER_PROCESS.replace("cluster demo", "setup").replace("sys.stdin.read()", "")
    done = subprocess.run(
        [sys.executable, "-c", program, str(home), "alone"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout == "True\n"
