"""A stand-in for SkyPilot, which Airflow's environment has not: for tests of what an engine makes of its answers.

Every name that is imported from ``sky`` is a mock. Errors are the exception: they are classes, with the bases that
SkyPilot's own have. Modules of ours that import ``sky`` are forgotten when the tests are over.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
import types
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OURS = "k8s_sky_provider.runner.sky"
BASES: dict[str, type[Exception]] = {
    "ApiServerAuthenticationError": RuntimeError,
    "ApiServerConnectionError": RuntimeError,
    "APINotSupportedError": RuntimeError,
    "APIVersionMismatchError": RuntimeError,
    "ClusterDoesNotExist": ValueError,
}


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._make(name)
        setattr(self, name, value)
        return value

    def _make(self, name: str) -> Any:
        return MagicMock(name=f"{self.__name__}.{name}")


class _Exceptions(_Module):
    def _make(self, name: str) -> Any:
        if name == "JobExitCode":
            return MagicMock(name=name)
        return type(name, (BASES.get(name, Exception),), {"cluster_status": None, "failover_history": []})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] != "sky":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Exceptions(spec.name) if spec.name == "sky.exceptions" else _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "sky":
            module.__version__ = "0.14.1"  # type: ignore[attr-defined]  # a module takes any attribute


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Let ``sky``, and ``filelock`` that comes with it, be imported."""
    locks = types.ModuleType("filelock")
    locks.Timeout = type("Timeout", (TimeoutError,), {})  # type: ignore[attr-defined]  # a module takes any attribute
    before = dict(sys.modules)
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    sys.modules["filelock"] = locks
    try:
        importlib.import_module("sky.exceptions")
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [*sys.modules]:
            if (name not in before and f"{name}.".startswith(("sky.", f"{OURS}."))) or name in {"sky", "filelock"}:
                del sys.modules[name]
