"""What the engine does with a task. SkyPilot is a fake."""

from __future__ import annotations

import importlib
from unittest.mock import MagicMock

from unit.k8s_sky_provider import fake_sky


def test_a_task_without_autostop_leaves_that_of_its_cluster() -> None:
    task = MagicMock()
    with fake_sky.installed():
        importlib.import_module("k8s_sky_provider.runner.sky.tasks").Tasks().keep_autostop(task)
    task.set_resources_override.assert_called_once_with({"autostop": None})
