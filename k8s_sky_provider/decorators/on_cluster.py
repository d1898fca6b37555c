"""Runs one Python function on a cluster: ``@task.sky`` sends this file there as it is.

It uses the standard library alone and is written for Python 3.7 and later: it runs with the cluster's
``python3``, and goes on with the function's interpreter where that is another one. Its directory has

* ``sky_function.py``: the source of the function;
* ``call.json``: ``function``, ``args``, ``kwargs``, ``python``, ``requirements`` and ``limit``;
* ``result.json``, which it writes: ``{"return_value": ...}``, or ``{"reason": ...}`` where there is none.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

LONGEST_REASON = 1000
"""Letters: the whole is in the job's log."""

# The directories of packages that an interpreter has by itself.
_PRINT_PACKAGES = "import sys; print(*[path for path in sys.path if path.endswith('-packages')], sep='\\n')"


class CallFailedError(Exception):
    """The call gave no value; the text says why."""


def main(directory: Path, stage: str = "prepare") -> None:
    """Make the call that a directory describes and write its result there; end with 1 if it failed."""
    call = json.loads((directory / "call.json").read_text())
    result: dict[str, Any] = {}
    try:
        if stage == "prepare":
            python = interpreter_for(call["python"], call["requirements"])
            if python != sys.executable:
                # The process stays the same, so that cancelling the job ends the function too.
                os.execv(python, [python, __file__, str(directory), "call"])  # noqa: S606  # argv is what is meant
        result["return_value"] = value_of(directory, call)
    except CallFailedError as error:
        result["reason"] = str(error)[:LONGEST_REASON]
        sys.stdout.flush()
        print(result["reason"], file=sys.stderr)
    except BaseException as error:  # noqa: BLE001  # whatever the function raises is its result
        place = error.__traceback__
        while place is not None and place.tb_frame.f_code.co_filename == __file__:
            place = place.tb_next
        sys.stdout.flush()
        traceback.print_exception(type(error), error, place)
        result["reason"] = "".join(traceback.format_exception_only(type(error), error)).strip()[:LONGEST_REASON]
    # The first node speaks for all of them.
    if os.environ.get("SKYPILOT_NODE_RANK", "0") == "0":
        new = directory / "result.json.new"
        new.write_text(json.dumps(result))
        new.replace(directory / "result.json")
    if "reason" in result:
        sys.exit(1)


def value_of(directory: Path, call: dict[str, Any]) -> Any:
    """Call the function and return its value, if that can be sent back.

    :raises CallFailedError: if it is no JSON, or too long
    """
    sys.path.insert(0, str(directory))
    function = getattr(importlib.import_module("sky_function"), call["function"])
    value = function(*call["args"], **call["kwargs"])
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise CallFailedError(
            f"what {call['function']} returns, of type {type(value).__name__}, cannot be sent back as JSON: {error}. "
            "Return None, booleans, finite numbers, texts, and lists and dicts of them"
        ) from error
    size = len(text.encode(errors="replace"))
    if size > call["limit"]:
        raise CallFailedError(
            f"what {call['function']} returns has {size} bytes of JSON and at most {call['limit']} can be sent back: "
            "write it to a bucket or a volume, and return its path"
        )
    return value


def interpreter_for(python: str, requirements: list[str]) -> str:
    """Return the interpreter of that name or path; one of a virtual environment if there are requirements.

    :raises CallFailedError: if there is none, or the requirements cannot be installed
    """
    found = shutil.which(str(Path(python).expanduser())) if "/" in python else shutil.which(python)
    uv = shutil.which("uv") or shutil.which(str(Path("~/.local/bin/uv").expanduser()))
    if found is not None and not requirements:
        return found
    if found is None and uv is None:
        raise CallFailedError(
            f"python: the cluster has no {python!r}, and no uv to bring it: install it in the setup or the image"
        )
    key = hashlib.sha256(json.dumps([python, requirements]).encode()).hexdigest()[:16]
    venv = Path("~/.k8s_sky/venvs").expanduser() / key
    venv.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{venv}.lock").open("w") as lock:
        # Jobs that run side by side share it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / ".ready").exists():
            make_venv(venv, found or python, uv, requirements)
            (venv / ".ready").touch()
    os.environ["VIRTUAL_ENV"] = str(venv)
    os.environ["PATH"] = f"{venv / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return str(venv / "bin" / "python")


def make_venv(venv: Path, python: str, uv: str | None, requirements: list[str]) -> None:
    """Make a virtual environment with the requirements; what the interpreter has by itself is there too.

    :raises CallFailedError: if a command fails
    """
    # A URL may have a password in it.
    shown = re.sub(r"//[^/@\s]+@", "//***@", ", ".join(requirements))
    print(f"Installing into {venv}: {shown or python}", flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    own = str(venv / "bin" / "python")
    run([uv, "venv", "--quiet", "--python", python, str(venv)] if uv else [python, "-m", "venv", str(venv)])
    if shutil.which(python):
        where = output_of([own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
        (Path(where.strip()) / "_interpreter.pth").write_text(output_of([python, "-c", _PRINT_PACKAGES]))
    if requirements:
        file = Path(f"{venv}.txt")
        file.write_text("".join(f"{requirement}\n" for requirement in requirements))
        installer = [uv, "pip", "install", "--python", own] if uv else [own, "-m", "pip", "install"]
        run([*installer, "-r", str(file)])


def run(command: list[str]) -> None:
    """Run a command, with its output in the job's log.

    :raises CallFailedError: if it fails
    """
    exit_code = subprocess.call(command)  # noqa: S603  # the author's own command on the author's own cluster
    if exit_code != 0:
        what = "requirements" if "install" in command else "python"
        raise CallFailedError(
            f"{what}: {' '.join(command)!r} ended with exit code {exit_code}; what it says is in the log"
        )


def output_of(command: list[str]) -> str:
    """Return what a command prints."""
    return subprocess.check_output(command).decode()  # noqa: S603  # as above


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
