"""What the worker packs is in the pod as it was, or nothing is done."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from k8s_sky_provider.operators.packing import Source, pack
from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner import local_files
from k8s_sky_provider.runner.failure import ActionFailedError

PART = 900


def send(folder: Path, mount: Path) -> str:
    """Put what a worker packs of a folder where a pod mounts it; return the digest."""
    archive = pack([Source(field="workdir", path=folder, name="0/code")], 1_000_000)
    # As the kubelet does it.
    (mount / "..2026").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026")
    for number, start in enumerate(range(0, len(archive), PART)):
        (mount / "..2026" / f"{number:03}").write_bytes(archive[start : start + PART])
        (mount / f"{number:03}").symlink_to(f"..data/{number:03}")
    return hashlib.sha256(archive).hexdigest()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "lib").mkdir(parents=True)
    (folder / "train.py").write_text("import lib")
    (folder / "run.sh").write_text("echo")
    (folder / "run.sh").chmod(0o755)
    (folder / "lib" / "__init__.py").write_text("")
    (folder / "link").symlink_to("lib")
    # More than ten parts, so that they are put together by number.
    (folder / "data").write_bytes(os.urandom(12 * PART))
    return folder


def test_files_arrive_as_they_were(code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = send(code, tmp_path / "mount")
    assert len(list((tmp_path / "mount" / "..2026").iterdir())) > 10
    local_files.unpack(digest, mount=tmp_path / "mount", target=tmp_path / "pod" / "files")
    there = tmp_path / "pod" / "files" / "0" / "code"
    assert (there / "data").read_bytes() == (code / "data").read_bytes()
    assert {path.name for path in there.rglob("*")} == {"data", "link", "lib", "__init__.py", "run.sh", "train.py"}
    assert (there / "link").readlink() == Path("lib")
    executable = [bool((there / name).stat().st_mode & 0o100) for name in ("run.sh", "train.py")]
    assert executable == [True, False]
    assert "4 files" in capsys.readouterr().out


def test_a_changed_file_of_the_same_size_is_newer(code: Path, tmp_path: Path) -> None:
    """Else rsync would leave the old one on the machine."""
    before = time.time() - 1
    local_files.unpack(send(code, tmp_path / "mount"), mount=tmp_path / "mount", target=tmp_path / "files")
    assert (tmp_path / "files" / "0" / "code" / "train.py").stat().st_mtime > before


def test_what_an_earlier_container_has_left_is_gone(code: Path, tmp_path: Path) -> None:
    old = tmp_path / "files" / "0" / "code" / "old.py"
    old.parent.mkdir(parents=True)
    old.touch()
    local_files.unpack(send(code, tmp_path / "mount"), mount=tmp_path / "mount", target=tmp_path / "files")
    assert not old.exists()


@pytest.mark.parametrize("change", ["no mount", "a part is missing", "a part is another", "a part is empty"])
def test_what_has_not_arrived_whole_is_for_another_try(code: Path, tmp_path: Path, change: str) -> None:
    mount = tmp_path / "mount"
    digest = send(code, mount)
    if change == "a part is missing":
        (mount / "003").unlink()
    elif change == "a part is another":
        (mount / "..2026" / "003").write_bytes((mount / "004").read_bytes())
    elif change == "a part is empty":
        (mount / "..2026" / "003").write_bytes(b"")
    else:
        mount = tmp_path / "none"
    with pytest.raises(ActionFailedError) as caught:
        local_files.unpack(digest, mount=mount, target=tmp_path / "files")
    assert caught.value.exit_code is ExitCode.TRY_AGAIN
    assert caught.value.reason.startswith("the files that travel with the task have")
    assert not (tmp_path / "files").exists()


def test_a_place_that_cannot_be_written_to(code: Path, tmp_path: Path) -> None:
    (tmp_path / "full").touch()
    with pytest.raises(ActionFailedError) as caught:
        local_files.unpack(send(code, tmp_path / "mount"), mount=tmp_path / "mount", target=tmp_path / "full" / "files")
    assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG
    assert "cannot be unpacked into" in caught.value.reason


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python has no filters")
def test_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "000").write_bytes(written.getvalue())
    with pytest.raises(tarfile.OutsideDestinationError):
        local_files.unpack(hashlib.sha256(written.getvalue()).hexdigest(), mount=mount, target=tmp_path / "files")
    assert not (tmp_path / "outside").exists()
