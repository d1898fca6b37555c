"""Writes docs/reference.md from the operators' own signatures and docstrings: ``make reference``."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8s_sky_provider import operators
from k8s_sky_provider.operators import SkyBaseOperator
from k8s_sky_provider.provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"

HEAD = """# Reference

<!-- Made by `make reference` from the docstrings; change those. -->

All operators are imported from `k8s_sky_provider.operators`. They take every parameter of
[KubernetesPodOperator](https://airflow.apache.org/docs/apache-airflow-providers-cncf-kubernetes/stable/operators.html)
besides those listed here, by keyword only. All work with `deferrable=True`, chain by `.output` and map with `.expand`.
What they have in common is told in [operators.md](operators.md).
"""


def exported() -> list[type[SkyBaseOperator]]:
    """Return the operators that users import, in the order of the alphabet."""
    return [getattr(operators, name) for name in operators.__all__]


def parents(operator: type[SkyBaseOperator]) -> list[type[SkyBaseOperator]]:
    """Return the documented classes of this package that an operator has parameters from besides its own."""
    return [
        parent
        for parent in operator.__mro__[1:]
        if issubclass(parent, SkyBaseOperator) and "__init__" in vars(parent) and not parent.__name__.startswith("_")
    ]


def parameters(operator: type[Any]) -> list[inspect.Parameter]:
    """Return the parameters that a class itself has, or has from one that is not exported."""
    owner = next(cls for cls in operator.__mro__ if "__init__" in vars(cls))
    if owner is not operator and not owner.__name__.startswith("_"):
        return []
    return [p for p in inspect.signature(owner.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]


def descriptions(operator: type[Any]) -> dict[str, str]:
    """Return what the docstring says of each parameter."""
    found = re.findall(r":param (\w+): (.*?)(?=\n\s*:|\n\s*\n|\Z)", operator.__doc__ or "", re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def errors(operator: type[Any]) -> list[tuple[str, str]]:
    """Return the errors that the docstring names, and when they are raised."""
    found = re.findall(r":raises (\w+): (.*?)(?=\n\s*:|\n\s*\n|\Z)", operator.__doc__ or "", re.DOTALL)
    return [(name, " ".join(text.split())) for name, text in found]


def prose(operator: type[Any]) -> str:
    """Return the docstring up to its first field."""
    text = inspect.cleandoc(operator.__doc__ or "")
    return re.split(r"^:(?:param|raises) ", text, maxsplit=1, flags=re.MULTILINE)[0].strip()


def markdown(text: str) -> str:
    """Return reStructuredText of docstrings as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def returned(operator: type[Any]) -> str:
    """Return what the docstring says that the operator returns."""
    found = re.search(r"\bReturns (.*?)\.(?:\s|\Z)", prose(operator), re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def wrapped(operator: type[Any]) -> str:
    """Return the function of SkyPilot that the operator wraps."""
    found = re.search(r"\bWraps (.*?)\.(?:\s|\Z)", prose(operator), re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def link(operator: type[Any]) -> str:
    """Return a link to the section of a class."""
    return f"[{operator.__name__}](#{operator.__name__.lower()})"


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return markdown(text).replace("|", "\\|")


def default_of(parameter: inspect.Parameter) -> str:
    """Return a parameter's default as the tables show it."""
    return "required" if parameter.default is parameter.empty else f"`{parameter.default!r}`"


def section(operator: type[SkyBaseOperator]) -> Iterator[str]:
    """Yield the lines of one class."""
    yield f"\n## {operator.__name__}\n"
    yield markdown(prose(operator))
    own, described = parameters(operator), descriptions(operator)
    if own:
        yield "\n| parameter | default | meaning |\n| --- | --- | --- |"
        for parameter in own:
            yield f"| `{parameter.name}` | {cell(default_of(parameter))} | {cell(described[parameter.name])} |"
    inherited = parents(operator)
    if inherited:
        yield f"\nTakes the parameters of {' and '.join(link(parent) for parent in inherited)} too."
    if raised := errors(operator):
        yield "\n| error | when |\n| --- | --- |"
        yield from (f"| `{name}` | {cell(text)} |" for name, text in raised)


def page() -> str:
    """Return the whole page."""
    lines = [HEAD, "| operator | returns | wraps |", "| --- | --- | --- |"]
    concrete = [operator for operator in exported() if operator is not SkyBaseOperator]
    lines += [f"| {link(o)} | {cell(returned(o))} | {cell(wrapped(o))} |" for o in concrete]
    task_operator = importlib.import_module("k8s_sky_provider.operators.task_operator").SkyTaskOperator
    for operator in (SkyBaseOperator, task_operator, *concrete):
        lines += section(operator)
    lines += [
        "\n## Settings\n",
        "The options of the `[skypilot]` section of `airflow.cfg`, or `AIRFLOW__SKYPILOT__...`; the chart sets them.\n",
        "| option | default | meaning |\n| --- | --- | --- |",
    ]
    for name, option in get_provider_info()["config"]["skypilot"]["options"].items():
        default = "" if option["default"] is None else f"`{option['default']}`"
        example = f" For example `{option['example']}`." if option["example"] else ""
        lines.append(f"| `{name}` | {default} | {cell(option['description'])}{cell(example)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
