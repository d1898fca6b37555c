"""Which SkyPilot may run, and on which state; what its minors do not have in common."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import sqlite3
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import __main__ as runner
from k8s_sky_provider.runner import skypilot_version
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore, alone_at_first
from unit.k8s_sky_provider import fake_sky
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def have(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)


@pytest.mark.parametrize("version", ["0.12.3.post1", "0.13.0", "0.14.1", "0.14.0rc1"])
def test_each_supported_minor_runs(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, version)
    skypilot_version.check()


@pytest.mark.parametrize("version", ["0.11.2", "0.15.0", "1.14.0", "1.0.0.dev20261101", "no version"])
def test_any_other_is_refused_before_it_is_imported(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, version)
    with pytest.raises(
        ActionFailedError, match=f"the image has SkyPilot {version}, and .* 0.12, 0.13 and 0.14:"
    ) as caught:
        runner._sky_engine()
    assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG


class TestState:
    """A state of revision 20, and a SkyPilot that knows another one."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        (tmp_path / ".sky").mkdir()
        with contextlib.closing(sqlite3.connect(tmp_path / ".sky" / "state.db")) as connection, connection:
            connection.execute("CREATE TABLE alembic_version_state_db (version_num VARCHAR(32))")
            connection.execute("INSERT INTO alembic_version_state_db VALUES ('020')")
        return FileStore(tmp_path)

    @staticmethod
    def know(revision: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        migrations = directory / "sky" / "schemas" / "db" / "global_user_state"
        migrations.mkdir(parents=True)
        for number in range(1, revision + 1):
            (migrations / f"{number:03}_some_change.py").touch()
        found = importlib.machinery.ModuleSpec("sky", None, origin=str(directory / "sky" / "__init__.py"))
        monkeypatch.setattr("importlib.util.find_spec", lambda _: found)
        have(monkeypatch, "0.13.0")

    @pytest.mark.parametrize("known", [20, 24])
    def test_of_this_skypilot_or_an_older_one_is_used(
        self, known: int, store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.know(known, tmp_path, monkeypatch)
        assert isinstance(alone_at_first(store, FakeEngine), FakeEngine)

    def test_of_a_newer_skypilot_is_not_touched(
        self, store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.know(18, tmp_path, monkeypatch)
        with pytest.raises(ActionFailedError, match=r"at revision 20, of a newer .* 0\.13\.0, which knows") as caught:
            alone_at_first(store, lambda: pytest.fail("it is opened"))
        assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG

    def test_there_is_none_yet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.know(18, tmp_path, monkeypatch)
        store = FileStore(tmp_path / "home")
        assert store.state_revision() is None
        alone_at_first(store, FakeEngine)


class TestMinors:
    """:mod:`k8s_sky_provider.runner.sky.minors`."""

    @pytest.fixture
    def minors(self) -> Iterator[Any]:
        with fake_sky.installed():
            yield importlib.import_module("k8s_sky_provider.runner.sky.minors")

    def test_resizing_is_asked_for_only_where_it_is_wanted(self, minors: Any) -> None:
        assert minors.resize_option(resize=False) == {}
        assert minors.resize_option(resize=True) == {"resize": True}

    def test_resizing_needs_skypilot_0_13(self, minors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(minors.sky, "__version__", "0.12.3.post1")
        with pytest.raises(ActionFailedError, match=r"resize: SkyPilot 0\.12\.3\.post1 cannot") as caught:
            minors.resize_option(resize=True)
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize("version", ["0.13.0", "0.14.1"])
    def test_0_13_is_new_enough(self, minors: Any, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
        monkeypatch.setattr(minors.sky, "__version__", version)
        assert minors.resize_option(resize=True) == {"resize": True}
        assert minors.statuses_option(["RUNNING"]) == {"statuses": ["RUNNING"]}

    def test_a_client_of_0_12_sends_all_jobs(self, minors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(minors.sky, "__version__", "0.12.3.post1")
        assert minors.statuses_option(["RUNNING"]) == {}

    def test_the_length_of_a_command_is_asked_of_whom_knows(self, minors: Any) -> None:
        newer = MagicMock()
        newer.is_command_length_over_limit.return_value = False
        minors.backend_utils.is_command_length_over_limit.return_value = True
        assert minors.is_too_long(newer, "date") is False
        assert minors.is_too_long(object(), "date") is True
