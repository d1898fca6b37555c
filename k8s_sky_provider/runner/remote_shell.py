"""What a cluster's machine is told to run: bash, with everything that users give quoted."""

from __future__ import annotations

import base64
import dataclasses
import fnmatch
import glob
import os
import re
import shlex
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import LONGEST_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "K8S_SKY_COMMAND"
"""Environment variable by which the processes of one command are found again, wherever they have gone to."""

FOUND = "K8S_SKY_FOUND:"
"""Begins :func:`find`'s answer: a login shell may print lines of its own."""

SECONDS_TO_END = 5

_BRACKETS = r"\[[!^]?\]?(?:\[[:.=][^]]*+\]|[^]])*\]"

_DESCENDANTS = r"""
descendants() {
  cat /proc/[0-9]*/stat 2> /dev/null | sed 's/ (.*) . / /' | awk -v given="$1" '
    BEGIN { split(given, pids); for (i in pids) wanted[pids[i]] }
    { parent[$1] = $2 }
    END {
      do {
        more = 0
        for (pid in parent) if (!(pid in wanted) && parent[pid] in wanted) { wanted[pid]; more = 1 }
      } while (more)
      for (pid in wanted) print pid
    }'
}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandOutput:
    """What a command left on one machine.

    :param exit_code: the command's own
    :param output: its standard output
    :param timed_out: whether it was ended because it took too long
    """

    exit_code: int
    output: str
    timed_out: bool = False


def command(
    text: str, *, mark: str, environment: Mapping[str, str], working_dir: str | None = None, get_pty: bool = False
) -> str:
    """Return the script that runs a user's command in bash, in the home directory unless told otherwise.

    :param mark: tells this command's processes from others
    :param working_dir: absolute, or below the home
    :param get_pty: give the command a terminal
    """
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in {**environment, MARK: mark}.items())
    run = shlex.join(["bash", "-c", text])
    lines = [
        # SkyPilot sets them for its own commands; a user's program would be bound to one core.
        "unset OMP_NUM_THREADS PYTHONWARNINGS",
        f"export {variables}",
        f"cd -- {_directory(working_dir)} || exit",
    ]
    if get_pty:
        complaint = "get_pty: this machine lacks the program script (util-linux)"
        lines.append(f"command -v script > /dev/null || {{ echo '{complaint}' >&2; exit 127; }}")
        run = f"script --quiet --return --command {shlex.quote(run)} /dev/null"
    return "\n".join([*lines, f"exec {run}"])


def end(mark: str) -> str:
    """Return the script that ends a command with all processes it started: SIGTERM, and SIGKILL for what stays."""
    return "\n".join(
        [
            f"marked() {{ grep -lzxF '{MARK}={mark}' /proc/[0-9]*/environ 2> /dev/null | cut -d/ -f3; }}",
            # What runs by sudo has another environment, and may not be read: it is found as a child.
            _DESCENDANTS,
            'pids=$(descendants "$(marked)")',
            "signal() { kill $1 $pids 2> /dev/null; sudo -n kill $1 $pids 2> /dev/null; }",
            "signal -TERM",
            f"for _ in $(seq {SECONDS_TO_END * 5}); do",
            "  pids=$(for pid in $pids $(marked); do [ -d /proc/$pid ] && echo $pid; done)",
            '  [ -z "$pids" ] && exit 0',
            "  sleep 0.2",
            "done",
            "signal -KILL",
            "exit 0",
        ]
    )


def find(path: str) -> str:
    """Return the script that prints what exists at an absolute path, wildcards included."""
    exists = '[ -e "$path" ] || [ -L "$path" ]'
    return "\n".join(
        [
            f"IFS= pattern={shlex.quote(path)}",
            'if [ -e "$pattern" ]; then set -- "$pattern"; else set -- $pattern; fi',
            f'found() {{ for path in "$@"; do if {exists}; then printf "%s\\0" "$path"; fi; done | base64 -w0; }}',
            f'printf \'{FOUND}%s\\n\' "$(found "$@")"',
        ]
    )


def found(output: str) -> list[str]:
    """Return the paths of :func:`find`'s answer.

    :raises ValueError: if that is no answer
    """
    answers = re.findall(rf"{FOUND}([\w+/=]*)", output)
    if not answers:
        raise ValueError(f"no answer in {output[-300:]!r}")
    return [os.fsdecode(path) for path in base64.b64decode(answers[-1], validate=True).split(b"\0")[:-1]]


def is_answer(path: str, asked: str) -> bool:
    """Tell whether a path is one that :func:`find` was asked for."""
    if max(len(path), len(asked)) > LONGEST_PATH:
        return False
    names, patterns = (re.sub("/+", "/", text).split("/") for text in (path, asked))
    return len(names) == len(patterns) and all(map(_matches, names, patterns))


def _matches(name: str, pattern: str) -> bool:
    if name == pattern:
        return True
    # What a bracket expression means, and what is one character, is for the machine's bash and locale to say.
    # Behind the last bracket that closes none is an expression: nothing there is to look for its end.
    brackets, closes, rest = pattern.rpartition("]")
    escaped = re.sub(rf"\\(.)|{_BRACKETS}", _without_meaning, brackets + closes)
    text = escaped + re.sub(r"\\(.)|(\[)", _without_meaning, rest)
    return name not in {"", ".", ".."} and (
        fnmatch.fnmatchcase(name, text) or fnmatch.fnmatchcase(os.fsencode(name), os.fsencode(text))
    )


def _without_meaning(found: re.Match[str]) -> str:
    literal = next(filter(None, found.groups()), "")
    return glob.escape(literal) if literal else "?"


def is_quotable(path: str) -> bool:
    """Tell whether SkyPilot quotes a path well: it writes paths as Python does, and has a shell read them."""
    return repr(path) == f"'{path}'"


def make_directory(path: str) -> str:
    """Return the script that makes a directory and those above it."""
    return f"mkdir -p -- {shlex.quote(path)}"


def _directory(path: str | None) -> str:
    if path is None or path in {"~", "~/"}:
        return '"$HOME"'
    return f'"$HOME"/{shlex.quote(path.removeprefix("~/"))}' if not path.startswith("/") else shlex.quote(path)
