"""A directory that a machine has brought runs nothing here when it is uploaded. SkyPilot is a fake, git is not."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Iterator

# As SkyPilot asks.
LS_FILES = ("ls-files", "-z", "--others", "--ignore", "--exclude-standard", "--directory")


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_CONFIG_")}
    with fake_sky.installed():
        module = importlib.import_module("k8s_sky_provider.runner.sky.uploads")
        # As it was before the import; what a test sets is gone after it.
        monkeypatch.setattr(os, "environ", environment)
        yield module


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-c", "safe.directory=*", "-C", str(directory), *arguments]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """Return a directory with a repository whose configuration names a program."""
    directory = tmp_path / "brought"
    directory.mkdir()
    git(directory, "init", "--quiet")
    git(directory, "config", "core.fsmonitor", f"touch {shlex.quote(str(tmp_path / 'EXECUTED'))}; false")
    (directory / ".gitignore").write_text("*.tmp\n")
    (directory / "a.tmp").touch()
    return directory


class TestGit:
    """What SkyPilot asks git of a directory runs no program that the directory names."""

    def test_runs_it_where_nothing_is_set(self, uploads: Any, brought: Path) -> None:
        del uploads
        git(brought, *LS_FILES)
        assert (brought.parent / "EXECUTED").exists()

    def test_runs_no_program_of_a_repository(self, uploads: Any, brought: Path) -> None:
        uploads.protect()
        assert git(brought, *LS_FILES) == "a.tmp\0"
        assert not (brought.parent / "EXECUTED").exists()

    def test_settings_of_the_image_stay(self, uploads: Any, brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(os.environ, "GIT_CONFIG_COUNT", "1")
        monkeypatch.setitem(os.environ, "GIT_CONFIG_KEY_0", "user.name")
        monkeypatch.setitem(os.environ, "GIT_CONFIG_VALUE_0", "sky")
        uploads.protect()
        uploads.protect()
        assert os.environ["GIT_CONFIG_COUNT"] == "3"
        assert git(brought, "config", "user.name") == "sky\n"
        assert git(brought, "config", "core.hooksPath") == "/dev/null\n"


class TestAzure:
    """SkyPilot puts names between double quotes there, where a shell reads them."""

    @pytest.fixture
    def store(self, uploads: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        class Store:
            uploaded: list[Any] = []  # noqa: RUF012  # of one test

            def batch_az_blob_sync(self, source_path_list: list[str], create_dirs: bool = False) -> None:
                self.uploaded.append((source_path_list, create_dirs))

        Store.uploaded = []
        monkeypatch.setattr(uploads, "storage", SimpleNamespace(AzureBlobStore=Store))
        ignored = SimpleNamespace(get_excluded_files=lambda path: sorted(name.name for name in Path(path).iterdir()))
        monkeypatch.setattr(uploads, "storage_utils", ignored)
        uploads.protect()
        return Store()

    def test_plain_names_are_uploaded(self, store: Any, tmp_path: Path) -> None:
        (tmp_path / "it's a file; #1.tmp").touch()
        store.batch_az_blob_sync([str(tmp_path)], create_dirs=True)
        assert store.uploaded == [([str(tmp_path)], True)]

    @pytest.mark.parametrize("name", ["$(id).tmp", "`id`.tmp", 'a"b', "a\\b"])
    @pytest.mark.parametrize("is_file", [False, True])
    def test_others_are_refused(self, store: Any, tmp_path: Path, name: str, is_file: bool) -> None:
        (tmp_path / name).touch()
        with pytest.raises(ActionFailedError, match="cannot be uploaded to Azure: the name") as caught:
            store.batch_az_blob_sync([str(tmp_path / name) if is_file else str(tmp_path)])
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG
        assert store.uploaded == []

    def test_another_skypilot_is_refused(self, uploads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uploads, "storage", SimpleNamespace(AzureBlobStore=object))
        with pytest.raises(ActionFailedError, match=r"uploads in another way: .*batch_az.*images/skypilot") as caught:
            uploads.protect()
        assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG


def test_what_a_check_says_is_said_although_skypilot_wraps_it(uploads: Any) -> None:
    del uploads
    errors = importlib.import_module("k8s_sky_provider.runner.sky.errors")
    ours = ActionFailedError(ExitCode.REQUEST_WRONG, "this name")

    def upload() -> None:
        try:
            raise ours
        except ActionFailedError as error:
            raise RuntimeError("Upload failed for store") from error

    with pytest.raises(ActionFailedError) as caught, errors.explained():
        upload()
    assert caught.value is ours
