"""A function's source leaves its DAG file only if it can run without it."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.decorators.source import source_of
from k8s_sky_provider.exceptions import SkyRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

FACTOR = 2


def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper() -> Any:
        return function()

    return wrapper


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function by nothing but its source."""
    names: dict[str, Any] = {}
    exec(source_of(function), names)  # noqa: S102  # what the cluster does with it
    return names[function.__name__](*args, **kwargs)


@decorator
@decorator
def area(radius: Decimal, *, factor: float = 1) -> Iterator[float]:
    # A comment stays where it is.
    from math import pi

    return pi * radius * factor  # type: ignore[operator,no-any-return]  # annotations are not looked at


def outer(n: int) -> Any:
    class Box:
        size = 3
        double = size * 2

    def inner(x: int) -> int:
        return x + factor_of_its_own

    factor_of_its_own = 10
    return outer(n - 1) if n else [inner(Box.double), *(x for x in range(2))]


def of_the_file(radius: float) -> float:
    return math.pi * radius * FACTOR


def default_of_the_file(factor: int = FACTOR) -> int:
    return factor


def deep_in_a_comprehension() -> Any:
    return [lambda: math.pi for _ in range(1)]


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None:
    pass


@wrapping
def wrapped() -> None:
    pass


def test_a_function_runs_without_its_decorators_and_annotations() -> None:
    assert call(area, 1, factor=2) == pytest.approx(2 * math.pi)


def test_names_that_the_function_defines_itself_are_its_own() -> None:
    assert call(outer, 1) == [16, 0, 1]


def test_a_function_inside_a_block_keeps_its_texts_as_they_are() -> None:
    def script() -> str:
        return """#!/bin/sh
# not a comment of Python
  echo hello
"""

    assert call(script) == "#!/bin/sh\n# not a comment of Python\n  echo hello\n"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (of_the_file, "of_the_file uses FACTOR, math of its DAG file"),
        (default_of_the_file, "default_of_the_file uses FACTOR of its DAG file"),
        (deep_in_a_comprehension, "uses math of its DAG file"),
        (generator, "generator must be a plain function"),
        (coroutine, "coroutine must be a plain function"),
        (wrapped, "wrapped has another decorator below @task.sky"),
        (lambda: 1, "is no function that was made with def"),
        (print, "is no function that was made with def"),
        (functools.partial(area, 1), "is no function that was made with def"),
    ],
)
def test_what_could_not_run_on_a_cluster_is_named(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        source_of(function)


def test_a_variable_of_the_function_around_is_named() -> None:
    learning_rate = 0.1

    def train() -> float:
        return learning_rate

    with pytest.raises(SkyRequestError, match="train uses learning_rate of the function around it"):
        source_of(train)


def test_a_function_without_a_file_is_refused() -> None:
    names: dict[str, Any] = {}
    exec("def made_up(): pass", names)  # noqa: S102  # what an interpreter's prompt does
    with pytest.raises(SkyRequestError, match="the source of made_up cannot be found"):
        source_of(names["made_up"])
