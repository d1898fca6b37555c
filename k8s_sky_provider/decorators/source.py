"""Takes a function's source out of its DAG file, as something that runs elsewhere."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import types
from typing import TYPE_CHECKING

from k8s_sky_provider.exceptions import SkyRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_READS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_WRITES = {"STORE_GLOBAL", "STORE_NAME"}


def source_of(function: Callable[..., object]) -> str:
    """Return the source of a function as a module of its own, without its decorators.

    :raises SkyRequestError: if it is no plain function, its source cannot be found, or it uses names of
        its DAG file or of a function around it
    """
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise SkyRequestError(f"@task.sky: {function!r} is no function that was made with def")
    name = function.__name__
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise SkyRequestError(f"@task.sky: {name} must be a plain function, without yield and async")
    if hasattr(function, "__wrapped__"):
        raise SkyRequestError(f"@task.sky: {name} has another decorator below @task.sky, which is not on the cluster")
    if function.__code__.co_freevars:
        raise SkyRequestError(
            f"@task.sky: {name} uses {', '.join(function.__code__.co_freevars)} of the function around it, which is "
            "not on the cluster: pass it as an argument"
        )
    source = _without_decorators(function)
    strangers = sorted(set(_global_names(source)) & set(function.__globals__) - set(dir(builtins)))
    strangers = [stranger for stranger in strangers if not stranger.startswith("__")]
    if strangers:
        raise SkyRequestError(
            f"@task.sky: {name} uses {', '.join(strangers)} of its DAG file, which is not on the cluster: "
            "import or define it inside the function, or pass it as an argument"
        )
    return source


def _without_decorators(function: types.FunctionType) -> str:
    try:
        lines = inspect.getsource(function).splitlines(keepends=True)
    except (OSError, TypeError) as error:
        raise SkyRequestError(f"@task.sky: the source of {function.__name__} cannot be found: {error}") from error
    # A block keeps an indented function as it is; to shift it would change texts of several lines in it.
    opening = ["if True:\n"] if lines[0][0].isspace() else []
    tree: ast.AST = ast.parse("".join([*opening, *lines]))
    definition = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    body = lines[definition.lineno - 1 - len(opening) :]
    # Annotations are not looked at, so that they may name what only the DAG file knows.
    return "".join(["from __future__ import annotations\n\n", *opening, *body])


def _global_names(source: str) -> Iterator[str]:
    """Yield the names that a module reads and does not define."""
    instructions = [
        instruction
        for code in _codes_of(compile(source, "sky_function.py", "exec", dont_inherit=True))
        for instruction in dis.get_instructions(code)
    ]
    written = {instruction.argval for instruction in instructions if instruction.opname in _WRITES}
    yield from {instruction.argval for instruction in instructions if instruction.opname in _READS} - written


def _codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes_of(constant)
