"""A stand-in for SkyPilot, which Airflow's environment has not: the one seam at which the tests of runner/sky fake it.

It has the modules and the names of SkyPilot's source in .build/skypilot, which make brings, and no others. A function
is a mock that takes what SkyPilot's takes. Errors have the bases of SkyPilot's, enumerations are SkyPilot's. All else
is a mock. Modules of ours that import ``sky`` are forgotten when the tests are over.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import enum
import functools
import importlib.abc
import importlib.machinery
import inspect
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OURS = "k8s_sky_provider.runner.sky"
SKYPILOT = Path(__file__).parents[3] / ".build" / "skypilot"
MINORS = ("0.12", "0.13", "0.14")


def version_of(minor: str) -> str:
    """Return the version of SkyPilot whose source is there."""
    (about,) = (SKYPILOT / minor).glob("skypilot-*.dist-info")
    return about.name.removeprefix("skypilot-").removesuffix(".dist-info")


def source_of(minor: str, module: str) -> Path | None:
    """Return the file of a module of SkyPilot's, None if there is no such module."""
    root = SKYPILOT / minor
    if not root.is_dir():
        raise FileNotFoundError(f"{root} has SkyPilot's source for these tests: make .build/skypilot/installed")
    path = root.joinpath(*module.split("."))
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


@functools.cache
def names_of(minor: str, module: str) -> dict[str, ast.AST]:
    """Return what a module of SkyPilot's defines or imports."""
    source = source_of(minor, module)
    assert source, module
    found: dict[str, ast.AST] = {}
    nodes: list[ast.AST] = [ast.parse(source.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0]: node for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id: node for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        else:
            nodes.extend(ast.iter_child_nodes(node))
    return found


def signature_of(node: ast.FunctionDef) -> inspect.Signature:
    """Return which arguments a function takes."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    without = len(positional) - len(given.defaults)
    kinds = inspect.Parameter

    def parameter(name: str, kind: Any, *, has_default: bool) -> inspect.Parameter:
        return kinds(name, kind, default=... if has_default else kinds.empty)

    return inspect.Signature(
        [
            *(
                parameter(one.arg, kinds.POSITIONAL_OR_KEYWORD, has_default=index >= without)
                for index, one in enumerate(positional)
            ),
            *([kinds(given.vararg.arg, kinds.VAR_POSITIONAL)] if given.vararg else []),
            *(
                parameter(one.arg, kinds.KEYWORD_ONLY, has_default=default is not None)
                for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
            ),
            *([kinds(given.kwarg.arg, kinds.VAR_KEYWORD)] if given.kwarg else []),
        ]
    )


calls: list[str] = []
"""What SkyPilot was asked for since the last :func:`installed`, as ``core.stop('demo', purge=True)``."""


class Function(MagicMock):
    """A function of SkyPilot's: what it does not take is an error."""

    def __init__(self, *args: Any, signature: inspect.Signature | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.__dict__["_takes"] = signature

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.__dict__["_takes"].bind(*args, **options)
        words = [*map(word, args), *(f"{name}={word(value)}" for name, value in sorted(options.items()))]
        calls.append(f"{word(self)}({', '.join(words)})")
        return super().__call__(*args, **options)

    def _get_child_mock(self, /, **options: Any) -> MagicMock:
        return MagicMock(**options)


def word(value: Any) -> str:
    """Return how a value is shown in :data:`calls`."""
    if isinstance(value, enum.Enum):
        return str(value)
    return value._extract_mock_name().removeprefix("sky.") if isinstance(value, MagicMock) else repr(value)


class _Module(types.ModuleType):
    def __init__(self, name: str, minor: str) -> None:
        super().__init__(name)
        self._minor = minor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._make(name)
        setattr(self, name, value)
        return value

    def _make(self, name: str) -> Any:
        if source_of(self._minor, f"{self.__name__}.{name}"):
            return importlib.import_module(f"{self.__name__}.{name}")
        names = names_of(self._minor, self.__name__)
        if name not in names:
            raise AttributeError(f"SkyPilot {self._minor} has no {self.__name__}.{name}")
        node = names[name]
        if isinstance(node, ast.FunctionDef):
            return Function(name=f"{self.__name__}.{name}", signature=signature_of(node))
        if isinstance(node, ast.ClassDef) and (value := self._class(node)):
            return value
        return MagicMock(name=f"{self.__name__}.{name}")

    def _class(self, node: ast.ClassDef) -> Any:
        bases = [ast.unparse(base) for base in node.bases]
        if any(base.startswith("enum.") for base in bases):
            scope = {"enum": enum, "Enum": enum.Enum}
            exec(f"from __future__ import annotations\n{ast.unparse(node)}", scope)  # noqa: S102  # of SkyPilot's source
            return scope[node.name]
        if self.__name__ != "sky.exceptions":
            return None
        known = [getattr(builtins, base, None) or getattr(self, base) for base in bases]
        return type(node.name, tuple(known), {"cluster_status": None, "failover_history": []})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, minor: str) -> None:
        self._minor = minor

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] != "sky" or source_of(self._minor, fullname) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name, self._minor)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "sky":
            module.__version__ = version_of(self._minor)  # type: ignore[attr-defined]  # a module takes any attribute
        if module.__name__ == "sky.server.common":
            module.RequestId = str  # type: ignore[attr-defined]  # as above


@contextlib.contextmanager
def installed(minor: str = MINORS[-1]) -> Iterator[None]:
    """Let ``sky``, and ``filelock`` that comes with it, be imported."""
    locks = types.ModuleType("filelock")
    locks.Timeout = type("Timeout", (TimeoutError,), {})  # type: ignore[attr-defined]  # as above
    before = dict(sys.modules)
    calls.clear()
    finder = _Finder(minor)
    sys.meta_path.insert(0, finder)
    sys.modules["filelock"] = locks
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [*sys.modules]:
            if name not in before and f"{name}.".startswith(("sky.", f"{OURS}.", "filelock.")):
                del sys.modules[name]
