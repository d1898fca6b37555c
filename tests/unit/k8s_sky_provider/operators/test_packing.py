"""What travels with a task, and what is refused before a pod exists."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import packing
from k8s_sky_provider.operators.packing import Source, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 1_000_000


def plant(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder, and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def source(path: Path, *, name: str = "0/code", is_folder: bool = True) -> Source:
    return Source(field="workdir", path=path, name=name, is_folder=is_folder)


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar.getmembers()}


def names(folder: Path) -> set[str]:
    """Return what travels of a folder, without the folder itself and its directories."""
    return {
        name.removeprefix("0/code/")
        for name, member in members(pack([source(folder)], LIMIT)).items()
        if not member.isdir()
    }


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return an empty folder."""
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


class TestTheArchive:
    def test_it_has_the_files_as_they_are(self, code: Path) -> None:
        plant(code, {"train.py": "print(1)", "lib/__init__.py": "", "lib/data/a b.csv": "1,2\n", "zoë.txt": "é"})
        (code / "empty").mkdir()
        with tarfile.open(fileobj=io.BytesIO(pack([source(code)], LIMIT))) as tar:
            tar.extractall(code.parent / "there", filter="data")
        there = code.parent / "there" / "0" / "code"
        found = {str(path.relative_to(there)): path.is_file() and path.read_text() for path in there.rglob("*")}
        assert found == {
            "train.py": "print(1)",
            "lib": False,
            "lib/__init__.py": "",
            "lib/data": False,
            "lib/data/a b.csv": "1,2\n",
            "zoë.txt": "é",
            "empty": False,
        }

    def test_the_same_files_are_the_same_bytes(self, code: Path) -> None:
        files = {"b.py": "b", "a.py": "a", "sub/c.py": "c"}
        plant(code, files)
        (code / "run.sh").write_text("echo")
        (code / "run.sh").chmod(0o700)
        one = pack([source(code)], LIMIT)
        other = code.parent / "other"
        other.mkdir(mode=0o700)
        (other / "run.sh").write_text("echo")
        (other / "run.sh").chmod(0o775)
        plant(other, dict(reversed(files.items())))
        for path in other.rglob("*"):
            os.utime(path, (1, 1))
            if path.suffix == ".py":
                path.chmod(0o600)
        assert pack([source(other)], LIMIT) == one
        (other / "a.py").write_text("b")
        assert pack([source(other)], LIMIT) != one

    def test_a_member_says_no_more_than_it_must(self, code: Path) -> None:
        plant(code, {"run.sh": "echo", "a.py": ""})
        (code / "run.sh").chmod(0o4711)
        (code / "a.py").chmod(0o666)
        found = members(pack([source(code)], LIMIT))
        assert {name: oct(member.mode) for name, member in found.items()} == {
            "0/code": "0o755",
            "0/code/run.sh": "0o755",
            "0/code/a.py": "0o644",
        }
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in found.values()} == {(0, 0, "", "", 0)}

    def test_several_sources_each_under_its_name(self, code: Path) -> None:
        plant(code, {"a.py": "a"})
        data = code.parent / "data.csv"
        data.write_text("1")
        file = Source(field="file_mounts./data", path=data, name="1/data.csv")
        assert members(pack([source(code), file], LIMIT)).keys() == {"0/code", "0/code/a.py", "1/data.csv"}

    def test_a_folder_that_is_a_link(self, code: Path) -> None:
        plant(code, {"a.py": "a"})
        (code.parent / "current").symlink_to("code")
        assert names(code.parent / "current") == {"a.py"}

    def test_an_empty_folder(self, code: Path) -> None:
        assert members(pack([source(code)], LIMIT)).keys() == {"0/code"}


class TestIgnoreFiles:
    def test_without_one_all_but_git_travels(self, code: Path) -> None:
        plant(code, {"a.py": "", ".env": "", "sub/.git/HEAD": "", ".git/HEAD": "", ".gitattributes": ""})
        assert names(code) == {"a.py", ".env", ".gitattributes"}

    def test_gitignore_of_each_directory(self, code: Path) -> None:
        plant(
            code,
            {
                ".gitignore": "*.log\n/top.txt\nbuild/\n!keep.log\n# no pattern\n",
                "a.log": "",
                "keep.log": "",
                "top.txt": "",
                "sub/top.txt": "",
                "sub/a.log": "",
                "sub/.gitignore": "!a.log\n/here.txt\n",
                "sub/here.txt": "",
                "sub/deep/here.txt": "",
                "build/keep.log": "",
                "sub/build/x": "",
                "builder/x": "",
            },
        )
        assert names(code) == {"keep.log", "sub/top.txt", "sub/a.log", "sub/deep/here.txt", "builder/x"}

    def test_git_info_exclude_says_least(self, code: Path) -> None:
        plant(code, {".git/info/exclude": "*.txt\n", ".gitignore": "!a.txt\n", "a.txt": "", "b.txt": ""})
        assert names(code) == {"a.txt"}

    def test_skyignore_takes_the_place_of_all_others(self, code: Path) -> None:
        plant(
            code,
            {
                ".skyignore": "data/\n*.ckpt\n!best.ckpt\n",
                ".gitignore": "*.py\n",
                ".git/info/exclude": "*.py\n",
                "a.py": "",
                "sub/.gitignore": "*\n",
                "sub/a.py": "",
                "data/x": "",
                "a.ckpt": "",
                "best.ckpt": "",
                "sub/.skyignore": "/here.txt\n!data/\n",
                "sub/here.txt": "",
                "sub/data/x": "",
            },
        )
        assert names(code) == {"a.py", "sub/a.py", "best.ckpt", "sub/data/x"}

    def test_a_skyignore_further_down_alone_does_not_count(self, code: Path) -> None:
        plant(code, {".gitignore": "*.log\n", "sub/.skyignore": "*.py\n", "sub/a.py": "", "sub/a.log": ""})
        assert names(code) == {"sub/a.py"}

    def test_what_is_ignored_may_be_anything(self, code: Path) -> None:
        plant(code, {".gitignore": "run/\nout\n", "a.py": ""})
        (code / "run").mkdir()
        os.mkfifo(code / "run" / "pipe")
        (code / "out").symlink_to("/etc")
        assert names(code) == {"a.py"}

    @pytest.mark.skipif(shutil.which("git") is None, reason="git says here what it ignores")
    def test_as_git_does_it(self, code: Path) -> None:
        patterns = """\
*.log
!keep.log
/only-here
sub/*.tmp
**/cache
logs/**
!logs/kept
a?c
[xy].txt
\\#odd
dir/
deep/**/x
all/*
!all/but/
"""
        files = (
            "a.log keep.log only-here sub/only-here sub/a.tmp sub/deep/a.tmp cache/x sub/cache/x logs/a logs/kept abc "
        )
        files += (
            "logs/sub/kept sub/abc x.txt z.txt #odd dir/x sub/dir deep/x deep/a/b/x deep/y all/a all/but/a all/not/a"
        )
        plant(code, {".gitignore": patterns, "sub/.gitignore": "!abc\nx.txt\n", **dict.fromkeys(files.split(), "")})
        git = ["git", "-c", "core.quotePath=false", "-C", str(code)]
        subprocess.run([*git, "init", "--quiet"], check=True)
        listed = subprocess.run(
            [*git, "ls-files", "-z", "-co", "--exclude-standard"], check=True, capture_output=True, text=True
        )
        expected = {name for name in listed.stdout.split("\0") if name and Path(name).name != ".gitignore"}
        assert names(code) == expected

    def test_one_that_is_no_text(self, code: Path) -> None:
        (code / ".gitignore").write_bytes(b"\xff\xfe")
        with pytest.raises(SkyRequestError, match=r"workdir: '.*/\.gitignore' cannot be read"):
            pack([source(code)], LIMIT)

    def test_one_that_is_too_long(self, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packing, "LONGEST_IGNORE_FILE", 10)
        plant(code, {".skyignore": "x" * 11})
        with pytest.raises(SkyRequestError, match=r"\.skyignore' is too long"):
            pack([source(code)], LIMIT)


class TestLinks:
    def test_those_within_stay_links(self, code: Path) -> None:
        plant(code, {"a.py": "a", "sub/b.py": "b"})
        (code / "sub" / "a.py").symlink_to("../a.py")
        (code / "deep").symlink_to("sub")
        (code / "later").symlink_to("sub/not-yet")
        found = members(pack([source(code)], LIMIT))
        links = {name: member.linkname for name, member in found.items() if member.issym()}
        assert links == {"0/code/sub/a.py": "../a.py", "0/code/deep": "sub", "0/code/later": "sub/not-yet"}
        assert "0/code/deep/b.py" not in found

    @pytest.mark.parametrize(
        "goal", ["/etc/passwd", "../secret", "sub/../../secret", "../code/a.py", "CODE/a.py", "nowhere/../../x"]
    )
    def test_one_that_leaves_is_refused(self, code: Path, goal: str) -> None:
        plant(code, {"a.py": "a", "sub/b.py": ""})
        (code.parent / "secret").write_text("s")
        goal = goal.replace("CODE", str(code))
        (code / "link").symlink_to(goal)
        with pytest.raises(SkyRequestError) as caught:
            pack([source(code)], LIMIT)
        assert f"workdir: {str(code / 'link')!r} is a link to {goal!r}, which leads out of" in str(caught.value)
        assert "copy what it leads to" in str(caught.value)

    def test_one_that_leaves_by_another(self, code: Path) -> None:
        (code.parent / "outside").mkdir()
        (code / "z").symlink_to("/usr")
        (code / "a").symlink_to("z/bin")
        with pytest.raises(SkyRequestError, match=r"/a' is a link to 'z/bin', which leads out of"):
            pack([source(code)], LIMIT)

    @pytest.mark.parametrize(
        ("link", "goal"), [("one", "two"), ("one", "one"), ("one", "."), ("sub/one", ".."), ("sub/one", "../sub")]
    )
    def test_one_in_circles_is_refused(self, code: Path, link: str, goal: str) -> None:
        (code / "sub").mkdir()
        (code / "two").symlink_to("one")
        (code / link).symlink_to(goal)
        with pytest.raises(SkyRequestError, match="goes in circles"):
            pack([source(code)], LIMIT)

    def test_files_of_a_config_map(self, code: Path) -> None:
        plant(
            code,
            {"..2026_01_01/dag.py": "d", "..2026_01_01/lib/a.py": "a", "..2026_01_01/.gitignore": "x.py", "x.py": ""},
        )
        (code / "..data").symlink_to("..2026_01_01")
        for name in ("dag.py", "lib", ".gitignore"):
            (code / name).symlink_to(f"..data/{name}")
        found = members(pack([source(code)], LIMIT))
        assert found.keys() == {"0/code", "0/code/dag.py", "0/code/lib", "0/code/lib/a.py"}
        assert not any(member.issym() for member in found.values())


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


class TestBadSources:
    def test_one_that_does_not_exist(self, code: Path) -> None:
        with pytest.raises(SkyRequestError) as caught:
            pack([source(code / "none")], LIMIT)
        assert str(caught.value).startswith(f"workdir: {str(code / 'none')!r} does not exist where the task starts")
        assert "~/sky_workdir/" in str(caught.value)

    def test_one_below_a_file(self, code: Path) -> None:
        plant(code, {"a.py": ""})
        with pytest.raises(SkyRequestError, match="cannot be read"):
            pack([source(code / "a.py" / "x")], LIMIT)

    def test_one_that_is_a_loop(self, code: Path) -> None:
        (code / "loop").symlink_to("loop")
        with pytest.raises(SkyRequestError, match=r"workdir: '.*/loop' cannot be read"):
            pack([source(code / "loop")], LIMIT)

    def test_a_file_for_a_folder(self, code: Path) -> None:
        plant(code, {"a.py": ""})
        with pytest.raises(SkyRequestError, match=r"workdir: '.*/a\.py' is a file, and must be a folder"):
            pack([source(code / "a.py")], LIMIT)

    @pytest.mark.parametrize("is_alone", [False, True])
    @pytest.mark.parametrize(
        ("make", "kind"),
        [
            (os.mkfifo, "a named pipe"),
            (_make_socket, "a socket"),
        ],
        ids=["pipe", "socket"],
    )
    def test_what_is_no_file(self, make: Callable[[Path], None], kind: str, is_alone: bool) -> None:
        # The path of a socket may not be long.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x"
            make(path)
            given = source(path, is_folder=False) if is_alone else source(Path(folder))
            with pytest.raises(SkyRequestError, match=f"workdir: '{path}' is {kind}, which cannot be sent"):
                pack([given], LIMIT)

    def test_a_device(self) -> None:
        with pytest.raises(SkyRequestError, match="'/dev/null' is a device"):
            pack([source(Path("/dev/null"), is_folder=False)], LIMIT)

    @pytest.mark.parametrize("is_link", [False, True])
    def test_a_name_that_is_not_utf_8(self, code: Path, is_link: bool) -> None:
        if is_link:
            (code / "link").symlink_to(os.fsdecode(b"caf\xe9"))
        else:
            (code / os.fsdecode(b"caf\xe9")).touch()
        with pytest.raises(
            SkyRequestError, match=r"workdir: '.*/code' has the name b'caf\\xe9' in it, which is not UTF-8"
        ):
            pack([source(code)], LIMIT)

    @pytest.mark.parametrize("what", ["a.py", "sub"])
    def test_what_cannot_be_read(self, somebody: Path, what: str) -> None:
        (somebody / what).chmod(0)
        os.seteuid(65534) if os.geteuid() == 0 else None
        with pytest.raises(SkyRequestError, match=f"workdir: '{somebody}/{what}.*' cannot be read"):
            pack([source(somebody)], LIMIT)

    @pytest.fixture
    def somebody(self) -> Iterator[Path]:
        """Return a folder that everybody sees, and be oneself again at the end."""
        with tempfile.TemporaryDirectory() as name:
            folder = plant(Path(name), {"a.py": "", "sub/b.py": ""})
            folder.chmod(0o755)
            me = os.geteuid()
            yield folder
            os.seteuid(me)
            (folder / "sub").chmod(0o755)


class TestLimits:
    def test_what_fits_exactly(self, code: Path) -> None:
        (code / "a").write_bytes(os.urandom(1000))
        size = len(pack([source(code)], LIMIT))
        assert len(pack([source(code)], size)) == size
        with pytest.raises(SkyRequestError):
            pack([source(code)], size - 1)

    def test_too_large_names_the_largest_and_the_ways_out(self, code: Path) -> None:
        for number in range(12):
            (code / f"{number:02}.bin").write_bytes(os.urandom(100_000 + number * 1000))
        with pytest.raises(SkyRequestError) as caught:
            pack([source(code)], LIMIT)
        text = str(caught.value)
        assert "workdir: the 13 files have 1.3 MB and do not fit, packed, into the 1.0 MB" in text
        for way_out in ("local_files_limit_mb", ".skyignore", ".gitignore", "git_url", "~/sky_workdir/", "s3://"):
            assert way_out in text
        listed = text.splitlines()[1:]
        assert listed == [f"  0.1 MB  {code}/{number:02}.bin" for number in range(11, 1, -1)]

    def test_gigabytes_are_not_read(self, code: Path) -> None:
        with (code / "huge").open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(SkyRequestError, match=r"have 1099511\.6 MB and do not fit"):
            pack([source(code)], LIMIT)

    def test_not_many_megabytes_are_read_that_would_be_packed_small(
        self, code: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packing, "MOST_BYTES", 2_000_000)
        (code / "zeros").write_bytes(bytes(1_500_000))
        assert names(code) == {"zeros"}
        (code / "more").write_bytes(bytes(1_500_000))
        with pytest.raises(SkyRequestError, match="do not fit"):
            pack([source(code)], LIMIT)
        (code / "more").unlink()
        monkeypatch.setattr(packing, "MOST_UNPACKED", 1)
        with pytest.raises(SkyRequestError, match="do not fit"):
            pack([source(code)], LIMIT)

    def test_reading_stops_at_the_limit(self, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("a", "b"):
            (code / name).write_bytes(os.urandom(3 * LIMIT))
        opened = []
        really = os.open

        def open_noted(path: Path, *more: int) -> int:
            opened.append(str(path))
            return really(path, *more)

        monkeypatch.setattr(os, "open", open_noted)
        with pytest.raises(SkyRequestError, match="do not fit"):
            pack([source(code)], LIMIT)
        assert opened == [str(code / "a")]

    def test_too_many_files(self, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packing, "MOST_FILES", 5)
        plant(code, dict.fromkeys("abcd", ""))
        assert len(names(code)) == 4
        file = Source(field="file_mounts./x", path=code / "a", name="1/a")
        with pytest.raises(SkyRequestError, match=r"file_mounts\./x: .* no more than 5 may travel"):
            pack([source(code), file], LIMIT)
        plant(code, {"e": ""})
        with pytest.raises(SkyRequestError, match=r"workdir: '.*/code' has too many files: no more than 5 may travel"):
            pack([source(code)], LIMIT)

    def test_too_many_to_look_at(self, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packing, "MOST_ENTRIES", 3)
        plant(code, {".gitignore": "*.log\nlogs/\n", "a.log": "", "logs/a": "", "logs/b": "", "logs/c": ""})
        assert names(code) == set()
        plant(code, {"b.log": ""})
        with pytest.raises(SkyRequestError, match="more than 3 files, with the ignored ones"):
            pack([source(code)], LIMIT)

    def test_a_file_that_changes_while_it_is_packed(self, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(code, {"a.py": "a"})
        really = os.open

        def open_later(path: Path, *more: int) -> int:
            Path(path).write_text("aa")
            return really(path, *more)

        monkeypatch.setattr(os, "open", open_later)
        with pytest.raises(SkyRequestError, match=r"workdir: '.*/a\.py' has changed while it was packed; try again"):
            pack([source(code)], LIMIT)
