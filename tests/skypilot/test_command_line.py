"""Every command and option of the newest SkyPilot's command line has its operator and argument, or a reason why not."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unit.k8s_sky_provider.operators.every_parameter import EXPORTED, parameters_of

from k8s_sky_provider.operators import (
    SkyBaseOperator,
    SkyBashOperator,
    SkyReapOperator,
    SkyRsyncDownOperator,
    SkyRsyncUpOperator,
    SkySSHOperator,
)
from skypilot.command_line import ARGUMENTS, LEFT_OUT, OPERATORS, argument_of, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
SKYPILOT = REPOSITORY / ".build" / "skypilot-venv" / "bin" / "python"
PAGE = REPOSITORY / "docs" / "operators.md"
MARK = "<!-- `make golden` writes this, of tests/skypilot/command_line.py -->\n\n"
"""What the tables in the page come after; they are the end of it."""

OF_NO_COMMAND = {
    SkyBaseOperator,
    SkyBashOperator,
    SkyReapOperator,
    SkyRsyncDownOperator,
    SkyRsyncUpOperator,
    SkySSHOperator,
}
"""Operators that do what SkyPilot's users do with other commands, or with none."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return the options of each command of SkyPilot's."""
    home = tmp_path_factory.mktemp("home")
    answer = home / "commands.json"
    subprocess.run(
        [SKYPILOT, HERE / "commands_in_skypilot.py", answer], check=True, env={**os.environ, "HOME": str(home)}
    )
    commands: dict[str, list[str]] = json.loads(answer.read_text())
    assert len(commands) > 50  # they were found
    return commands


def arguments_of(operator: type[SkyBaseOperator]) -> set[str]:
    """Return the names of an operator's arguments, without those of the pod."""
    return {*parameters_of(operator), *inspect.signature(SkyBaseOperator.__init__).parameters}


def options(commands: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield the options of the commands that an operator wraps."""
    for command, names in commands.items():
        if command in OPERATORS:
            for name in names:
                yield command, name


def has_argument(command: str, option: str) -> bool:
    """Tell whether an argument stands for an option; what is left out of one command has none, whatever its name."""
    is_left_out = f"{command} {option}" in LEFT_OUT
    return not is_left_out and argument_of(command, option) in arguments_of(OPERATORS[command])


def test_every_command_has_an_operator_or_a_reason(commands: dict[str, list[str]]) -> None:
    assert commands.keys() - LEFT_OUT.keys() == OPERATORS.keys()


def test_every_option_has_an_argument_or_a_reason(commands: dict[str, list[str]]) -> None:
    missing = [
        f"{command} {option}"
        for command, option in options(commands)
        if not has_argument(command, option) and not {f"{command} {option}", option} & LEFT_OUT.keys()
    ]
    assert missing == []


def test_what_the_tables_name_is_there(commands: dict[str, list[str]]) -> None:
    left_out = {
        key
        for command, option in options(commands)
        if not has_argument(command, option)
        for key in (f"{command} {option}", option)
    }
    assert LEFT_OUT.keys() - left_out - commands.keys() == set()
    renamed = {
        f"{command} {option}" if f"{command} {option}" in ARGUMENTS else option
        for command, option in options(commands)
        if has_argument(command, option)
    }
    assert ARGUMENTS.keys() - renamed == set()


def test_what_is_left_out_is_no_argument(commands: dict[str, list[str]]) -> None:
    both = [
        f"{command} {option}"
        for command, option in options(commands)
        if f"{command} {option}" in LEFT_OUT and argument_of(command, option) in arguments_of(OPERATORS[command])
    ]
    assert both == []


def test_every_operator_wraps_a_command() -> None:
    assert set(EXPORTED) == {*OPERATORS.values(), *OF_NO_COMMAND}


def test_the_page_has_the_tables() -> None:
    text, mark, had = PAGE.read_text().partition(MARK)
    assert mark
    if os.environ.get("GOLDEN") == "rewrite":
        PAGE.write_text(f"{text}{mark}{tables()}\n")
    assert had == f"{tables()}\n"
