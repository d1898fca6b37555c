"""Adds numbers up: a package beside the task that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def total(file: Path) -> int:
    return sum(map(int, file.read_text().split()))
