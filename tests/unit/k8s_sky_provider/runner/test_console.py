"""What SkyPilot and its children print becomes plain lines. Real file descriptors, in processes of their own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.parse
from pathlib import Path

import pytest

from k8s_sky_provider.runner.console import TAIL_LINES, Console, _duration, clean_line, without_terminal_codes

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain\n", "plain"),
        ("trailing space  \n", "trailing space"),
        ("  indented\n", "  indented"),
        ("windows\r\n", "windows"),
        ("\n", ""),
        ("\x1b[1m\x1b[32mgreen\x1b[0m\n", "green"),
        ("\x1b[38;5;196mred\x1b[39m\n", "red"),
        ("\x1b[2K\x1b[1Gline again\n", "line again"),
        ("\x1b]8;;https://example.com\x07link\x1b]8;;\x07\n", "link"),
        ("\x1b]0;title\x1b\\text\n", "text"),
        ("10%\r50%\r100%\n", "100%"),
        ("loading\r   \r\n", "loading"),
        ("<sky-payload type='x'>{\"a\": 1}</sky-payload>\n", None),
        ("a<sky-payload>b</sky-payload>c\n", "ac"),
        ("\x1b[?25l\n", None),
        ("⠋ größer\n", "⠋ größer"),
        ("\x1bcreset \x1b(Bcharset \x1b7saved\x1b8\n", "reset charset saved"),
        ("NUL \x00bell \x07back\x08 C1 \x9b31m\ttab\x1b\n", "NUL bell back C1 31m\ttab"),
        ("\x00\x07\n", None),
    ],
)
def test_a_line_is_shown_as_plain_text(line: str, expected: str | None) -> None:
    assert clean_line(line) == expected


def test_no_job_can_end_the_tail() -> None:
    print_it = "from k8s_sky_provider.runner.console import END_OF_TAIL; print(repr(END_OF_TAIL))"
    ends = {
        subprocess.check_output([sys.executable, "-c", print_it], env={"PYTHONPATH": str(REPOSITORY)}) for _ in "ab"
    }
    assert len(ends) == 2


def test_terminal_codes_are_taken_out_of_a_text() -> None:
    assert without_terminal_codes("\x1b[31mred\x1b[0m\nnext") == "red\nnext"


def run(body: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has the Console and return what came out."""
    program = "import os, subprocess, sys\nfrom k8s_sky_provider.runner.console import Console\n" + textwrap.dedent(
        body
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


def test_everything_that_the_process_and_its_children_print_comes_out_clean() -> None:
    done = run("""
        with Console():
            print("\\x1b[32mpython\\x1b[0m")
            print("python's errors", file=sys.stderr)
            os.write(1, b"\\x1b[1mdescriptor\\x1b[0m\\n")
            subprocess.run(["sh", "-c", "printf 'child\\\\rchild again\\\\n'; echo errors of the child >&2"])
            print("<sky-payload>{}</sky-payload>")
            print("no end of line", end="")
        """)
    assert sorted(done.stdout.splitlines()) == sorted(
        ["python", "python's errors", "descriptor", "child again", "errors of the child", "no end of line"]
    )
    assert done.stderr == ""


def test_the_order_of_the_lines_is_kept() -> None:
    done = run("""
        with Console():
            for number in range(3):
                print(f"python {number}")
                subprocess.run(["echo", f"child {number}"])
        """)
    assert done.stdout.splitlines() == [f"{who} {n}" for n in range(3) for who in ("python", "child")]


def test_empty_lines_come_out_once_and_never_first() -> None:
    done = run("""
        with Console():
            print("\\n\\n\\nfirst\\n\\n\\nsecond")
        """)
    assert done.stdout == "first\n\nsecond\n"


def test_secrets_are_masked_in_the_log_and_in_its_tail() -> None:
    done = run("""
        console = Console(frozenset({"hunter2", "hunter2-long"}))
        with console:
            print("a hunter2-long and a hunter2")
            subprocess.run(["echo", "from a child: hunter2"])
        print(console.tail, console.mask("reason: hunter2"))
        """)
    assert done.stdout.splitlines() == [
        "a *** and a ***",
        "from a child: ***",
        "['a *** and a ***', 'from a child: ***'] reason: ***",
    ]


@pytest.mark.parametrize("secret", ['a"b\\c%/d', "größe+1", "plain-secret"])
def test_a_secret_is_masked_as_json_urls_and_base64_write_it(secret: str) -> None:
    console = Console(frozenset({secret}))
    encoded = base64.b64encode(secret.encode()).decode()
    for form in (secret, json.dumps(secret), urllib.parse.quote(secret, safe=""), encoded):
        assert console.mask(f"x {form} y").strip("=") in {"x *** y", 'x "***" y', "x ***= y", "x ***== y"}


def test_afterwards_both_outputs_are_what_they_were() -> None:
    done = run("""
        with Console():
            pass
        print("\\x1b[32mout\\x1b[0m")
        print("err", file=sys.stderr)
        """)
    assert (done.stdout, done.stderr) == ("\x1b[32mout\x1b[0m\n", "err\n")


def test_the_tail_has_the_last_lines_without_the_empty_ones() -> None:
    done = run(f"""
        console = Console()
        with console:
            for number in range(2 * {TAIL_LINES}):
                print(number, end="\\n\\n")
        print(console.tail[0], console.tail[-1], len(console.tail))
        """)
    assert done.stdout.splitlines()[-1] == f"{TAIL_LINES} {2 * TAIL_LINES - 1} {TAIL_LINES}"


def test_bytes_that_are_no_text_do_not_stop_the_log() -> None:
    done = run("""
        with Console():
            os.write(1, b"caf\\xe9\\n")
            print("after")
        """)
    assert done.stdout.splitlines() == ["caf\N{REPLACEMENT CHARACTER}", "after"]


def test_a_very_long_output_is_not_lost() -> None:
    done = run("""
        with Console():
            for _ in range(200):
                print("x" * 5000)
        """)
    assert len(done.stdout) == 200 * 5001


def test_what_tidies_up_after_a_failure_is_shown_and_is_not_in_the_tail() -> None:
    done = run("""
        from k8s_sky_provider.runner.console import END_OF_TAIL
        with Console() as console:
            print("bad data")
            print(END_OF_TAIL)
            subprocess.run(["echo", "taking it down"])
        print(console.tail)
        """)
    assert done.stdout.splitlines() == ["bad data", "taking it down", "['bad data']"]


def test_a_long_silence_is_told_of_and_not_in_the_tail() -> None:
    done = run("""
        import time
        os.environ["K8S_SKY_HEARTBEAT_SECONDS"] = "0.3"
        console = Console(frozenset({"hunter2"}))
        console.doing = lambda: "exec, cluster demo, job 3 is RUNNING, hunter2"
        with console:
            print("begun")
            time.sleep(0.5)
            print("on")
        print(console.tail)
        """)
    assert done.stdout.splitlines() == [
        "begun",
        "No output for 0 s: exec, cluster demo, job 3 is RUNNING, ***, 0 s since the pod began",
        "on",
        "['begun', 'on']",
    ]


@pytest.mark.parametrize("what", ["the end", "a kill"])
def test_what_is_held_back_delays_neither_the_end_nor_a_kill(what: str) -> None:
    done = run(f"""
        import time
        from k8s_sky_provider.runner import output
        output.BURST = 0
        os.environ["K8S_SKY_LOG_BYTES_PER_SECOND"] = "1000"
        console = Console()
        began = time.monotonic()
        with console:
            for number in range(100):
                print(number)
            time.sleep(0.5)
            if {what == "a kill"}:
                console.hurry()
                sys.stdout.write("x" * 200_000 + chr(10))
        took = time.monotonic() - began
        print("in time" if took < 4 else took)
        """)
    lines = done.stdout.splitlines()
    assert lines[:100] == [str(number) for number in range(100)]
    assert lines[-1] == "in time"


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (119, "2 min"), (300, "5 min"), (7200, "2 h 0 min"), (9000, "2 h 30 min")]
)
def test_a_duration_is_told_in_words(seconds: float, words: str) -> None:
    assert _duration(seconds) == words


@pytest.mark.parametrize(("value", "said"), [("0", []), ("soon", ["K8S_SKY_HEARTBEAT_SECONDS is no number: 'soon'"])])
def test_without_a_number_of_seconds_nothing_breaks(value: str, said: list[str]) -> None:
    done = run(f"""
        import time
        os.environ["K8S_SKY_HEARTBEAT_SECONDS"] = {value!r}
        with Console():
            time.sleep(0.3)
            print("on")
        """)
    assert done.stdout.splitlines() == [*said, "on"]


@pytest.mark.parametrize("unit", ["<sky-payload>", "<sky-payload", "<sky-payload><a", "\x1b]", "\x1b[0;"])
def test_no_line_of_a_job_holds_the_runner_up(unit: str) -> None:
    began = time.process_time()
    clean_line(unit * (1024 * 1024 // len(unit)))
    assert time.process_time() - began < 5


def test_what_python_holds_back_is_masked_too() -> None:
    program = (
        "from k8s_sky_provider.runner.console import Console\n"
        "print('before ', end='')\n"
        "with Console(frozenset({'secret-value'})):\n"
        "    print('a secret-value', end='')\n"
        "print('after')\n"
    )
    # Or it would hold nothing back.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["before", "a", "***", "after"]
