"""The scripts for clusters' machines, run by the bash of this one."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.runner import remote_shell

if TYPE_CHECKING:
    from pathlib import Path

SECONDS_TO_WAIT = 20.0
AWKWARD = 'it\'s "$HOME" `id` \\ $(id)\nnext'


def bash(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def command(text: str, **options: Any) -> str:
    return remote_shell.command(text, **{"mark": "mark", "environment": {}, **options})


@pytest.mark.parametrize(
    ("text", "options", "output"),
    [
        ("echo one; echo two", {}, "one\ntwo\n"),
        ("echo 'a b' # and a remark", {}, "a b\n"),
        ('printf %s "$A"', {"environment": {"A": AWKWARD}}, AWKWARD),
        ('printf %s "${OMP_NUM_THREADS-none}"', {}, "none"),
        ('basename "$PWD"', {"working_dir": "~/my dir"}, "my dir\n"),
        ('basename "$PWD"', {"working_dir": "my dir"}, "my dir\n"),
        ("pwd", {"working_dir": "/"}, "/\n"),
        ('test "$PWD" = "$HOME" && echo home', {}, "home\n"),
        ('test "$PWD" = "$HOME" && echo home', {"working_dir": "~"}, "home\n"),
        ("test -t 1 || echo no terminal", {}, "no terminal\n"),
    ],
    ids=str,
)
def test_a_command_prints(text: str, options: dict[str, Any], output: str, tmp_path: Path) -> None:
    (tmp_path / "my dir").mkdir()
    assert bash(command(text, **options), tmp_path).stdout == output


@pytest.mark.parametrize("get_pty", [False, True])
def test_its_exit_code_is_that_of_the_script(get_pty: bool, tmp_path: Path) -> None:
    assert bash(command("exit 7", get_pty=get_pty), tmp_path).returncode == 7


def test_it_can_have_a_terminal(tmp_path: Path) -> None:
    assert "it's one" in bash(command('test -t 1 && echo "it\'s one"', get_pty=True), tmp_path).stdout


def test_a_machine_that_has_no_terminal_to_give_says_so(tmp_path: Path) -> None:
    # There are no programs but those of bash itself.
    done = bash(f"PATH={tmp_path}\n{command('echo ran', get_pty=True)}", tmp_path)
    assert (done.returncode, done.stdout) == (127, "")
    assert "get_pty: this machine lacks the program script (util-linux)" in done.stderr


def test_it_does_not_run_elsewhere(tmp_path: Path) -> None:
    done = bash(command("echo ran", working_dir="~/none"), tmp_path)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "none" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "sleep 60",
        "sleep 60 & setsid sleep 60 & wait",
        "trap '' TERM; while :; do sleep 1; done",
        "exec env -i sleep 60 &\nwait",
    ],
)
def test_ending_it_ends_whatever_it_started(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_shell, "SECONDS_TO_END", 1)
    mark = uuid.uuid4().hex
    ready = tmp_path / "ready"
    script = command(f"touch {ready}\n{text}", mark=mark)
    other = subprocess.Popen(["bash", "-c", command("sleep 60", mark="other")])
    # Whoever lives on holds the pipe open.
    running = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE)
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    assert bash(remote_shell.end(mark), tmp_path).returncode == 0
    running.communicate(timeout=SECONDS_TO_WAIT)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_ending_what_has_ended_is_fine(tmp_path: Path) -> None:
    assert bash(remote_shell.end("none"), tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.csv", ["a.csv"]),
        ("*.csv", ["a.csv", "b c.csv"]),
        ("b c.csv", ["b c.csv"]),
        ("b ?.csv", ["b c.csv"]),
        ("[x].txt", ["[x].txt"]),
        ("sub/", ["sub/"]),
        ("s*/", ["sub/"]),
        ("none", []),
        ("none*", []),
        ("$(touch here)", []),
        ("it's*", ["it's $HOME"]),
        ("two*", ["two\nlines"]),
        ("d?ngling", ["dangling"]),
        ("-*", ["-e"]),
    ],
)
def test_paths_are_found(pattern: str, names: list[str], tmp_path: Path) -> None:
    for name in ("a.csv", "b c.csv", "[x].txt", "it's $HOME", "two\nlines", "-e"):
        (tmp_path / name).touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "sub").mkdir()
    done = bash(f"echo a greeting\n{remote_shell.find(f'{tmp_path}/{pattern}')}", tmp_path)
    found = remote_shell.found(f"{done.stdout}goodbye\n")
    assert found == [f"{tmp_path}/{name}" for name in names]
    assert all(remote_shell.is_answer(path, f"{tmp_path}/{pattern}") for path in found)
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/h/out/", "/h/out/"),
        ("/h/../x", "/h/../x"),
        ("/h/a.csv", "/h/*.csv"),
        ("/h/b/a.csv", "/h/?/*"),
        ("/h/b/", "/h/*/"),
        ("/h/a1", "/h/[^b][[:digit:]]"),
        ("/h/a]", "/h/a[]x]"),
        ("/h/a-", "/h/a[!]a]"),
        ("/h/[x].txt", "/h/[x].txt"),
        ("/h/a*b", "/h/a\\*?"),
        ("/h/a[b]c", "/h/a\\[b]*"),
        ("/h/ä", "/h/??"),
        ("/h//a", "/h///*"),
    ],
)
def test_an_answer(path: str, asked: str) -> None:
    assert remote_shell.is_answer(path, asked)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/evil/", "/h/out/*.csv"),
        ("/h/out/sub/a.csv", "/h/out/*.csv"),
        ("/h/out/a.csv/", "/h/out/*.csv"),
        ("/h/out", "/h/out/"),
        ("/h/out/..", "/h/out/*"),
        ("/h/out/..", "/h/out/.*"),
        ("/h/out/.", "/h/out/?"),
        ("/h/out/a.txt", "/h/out/*.csv"),
        ("/h/a*b", "/h/a\\*c"),
        ("/h/aab", "/h/a\\*?"),
        ("/h/abb", "/h/a[b]"),
        ("h/out/a", "/h/out/*"),
        ("", "/h/*"),
    ],
)
def test_no_answer(path: str, asked: str) -> None:
    assert not remote_shell.is_answer(path, asked)


def test_a_long_answer_takes_no_time() -> None:
    started = time.monotonic()
    assert not remote_shell.is_answer(f"/h/{'a' * 100_000}", f"/h/{'*a' * 20}*b")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("path", ["/a b/$c", "/*?[x]", "/größe", "/a;b", '/"a"'])
def test_a_path_that_skypilot_quotes_well(path: str) -> None:
    assert remote_shell.is_quotable(path)


@pytest.mark.parametrize("path", ["/it's", "/x'$(id)'", "/a\\b", "/a\nb", "/a\x1bb", "/a\udcffb", "/a\u2028b"])
def test_one_that_it_does_not(path: str) -> None:
    assert not remote_shell.is_quotable(path)


def test_a_directory_is_made(tmp_path: Path) -> None:
    bash(remote_shell.make_directory(f"{tmp_path}/a b/$c"), tmp_path)
    assert (tmp_path / "a b" / "$c").is_dir()
