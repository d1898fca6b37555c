"""Runs in SkyPilot's environment, without Airflow: every command of SkyPilot's command line, with its options.

Writes JSON into the file that is its argument: a command's name without ``sky`` -> its options by their long names,
and its positional arguments in angle brackets.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from sky.client.cli import command as command_line

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands_of(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands below a group, those that are hidden too."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands_of(command, *above, name)
        else:
            yield " ".join((*above, name)), command


def name_of(parameter: click.Parameter) -> str:
    """Return what stands for a parameter in the tables."""
    if isinstance(parameter, click.Argument):
        return f"<{parameter.name}>"
    return max(parameter.opts, key=len)


def main() -> None:
    """Answer."""
    # A group with two names, as `sky volume` and `sky volumes`, has its commands twice.
    once = {id(command): (name, command) for name, command in commands_of(command_line.cli)}
    answer = {name: [name_of(parameter) for parameter in command.params] for name, command in once.values()}
    Path(sys.argv[1]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
