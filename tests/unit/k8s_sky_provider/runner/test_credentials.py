"""Read-only mounts of credentials become what az and gcloud can work with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from k8s_sky_provider.runner.credentials import prepare

KEY = json.dumps({"type": "service_account", "private_key": "x"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home without credentials, and take away the right to write, which root always has."""
    for name in ("AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def mount(home: Path, directory: str, **files: str) -> None:
    """Show files as the kubelet does: as links into ``..data``."""
    data = home / directory / "..data"
    data.mkdir(parents=True)
    for name, content in files.items():
        (data / name).write_text(content)
        (home / directory / name).symlink_to(f"..data/{name}")


def make_gcloud(home: Path, script: str = 'echo "$@" > "$CLOUDSDK_CONFIG/called"') -> None:
    program = home / "bin" / "gcloud"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("directory", "variable"), [(".azure", "AZURE_CONFIG_DIR"), (".config/gcloud", "CLOUDSDK_CONFIG")]
)
def test_a_mount_is_copied_to_where_it_can_be_written(directory: str, variable: str, home: Path) -> None:
    mount(home, directory, profile="content")
    prepare(home)
    copy = Path(os.environ[variable])
    assert [(path.name, path.read_text(), path.is_symlink()) for path in copy.iterdir()] == [
        ("profile", "content", False)
    ]
    assert (copy / "profile").stat().st_mode & 0o777 == 0o600


def test_what_is_not_there_or_can_be_written_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    mount(home, ".azure", profile="content")
    prepare(home)
    assert not {"AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG"} & set(os.environ)


def test_gcloud_is_logged_in_with_the_key(home: Path) -> None:
    mount(home, ".config/gcloud", **{"application_default_credentials.json": KEY})
    make_gcloud(home)
    prepare(home)
    copy = Path(os.environ["CLOUDSDK_CONFIG"])
    key = copy / "application_default_credentials.json"
    assert (copy / "called").read_text() == f"auth activate-service-account --quiet --key-file={key}\n"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"application_default_credentials.json": KEY, "credentials.db": ""}, id="already"),
        pytest.param({"application_default_credentials.json": '{"type": "authorized_user"}'}, id="a user's own"),
        pytest.param({"active_config": "default"}, id="no key"),
    ],
)
def test_gcloud_is_left_alone_with_other_credentials(files: dict[str, str], home: Path) -> None:
    mount(home, ".config/gcloud", **files)
    make_gcloud(home)
    prepare(home)
    assert not (Path(os.environ["CLOUDSDK_CONFIG"]) / "called").exists()


@pytest.mark.parametrize(
    ("key", "script", "message"),
    [
        (KEY, "echo wrong key >&2; exit 1", "gcloud does not take the service account's key: wrong key"),
        ("{", "", "gcloud cannot be logged in: "),
    ],
)
def test_what_goes_wrong_is_said_and_ends_nothing(
    key: str, script: str, message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mount(home, ".config/gcloud", **{"application_default_credentials.json": key})
    make_gcloud(home, script)
    prepare(home)
    assert message in capsys.readouterr().out
