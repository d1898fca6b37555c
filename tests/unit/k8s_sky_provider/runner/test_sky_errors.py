"""What the engine makes of the texts of errors, which may have a machine's output in them. SkyPilot is a fake."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def errors() -> Iterator[Any]:
    with fake_sky.installed():
        yield importlib.import_module("k8s_sky_provider.runner.sky.errors")


@pytest.mark.parametrize(
    "unit", ["HTTP response body: ", 'HTTP response body: "message": "', "ErrImage", "Failed to access repository x"]
)
def test_no_output_of_a_machine_holds_the_runner_up(errors: Any, unit: str) -> None:
    text = unit * (1024 * 1024 // len(unit))
    began = time.process_time()
    errors.explain(RuntimeError(text))
    errors.explain(importlib.import_module("sky.exceptions").ResourcesUnavailableError(text))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('(403) HTTP response body: {"kind": "Status", "message": "no \\"right\\"", "code": 403}', 'no "right"'),
        ('HTTP response body: {} HTTP response body: {"message":"late"}', "late"),
        ("HTTP response body: none", "HTTP response body: none"),
        ('"message": "of nobody"', '"message": "of nobody"'),
    ],
)
def test_of_an_answer_of_kubernetes_only_its_message_is_said(errors: Any, text: str, reason: str) -> None:
    assert errors.explain(RuntimeError(text)).reason == f"RuntimeError: {reason}"
