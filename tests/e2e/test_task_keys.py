"""The check of a task before its pod knows the very keys of the SkyPilot that is in the image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from local_airflow import BUILD, RESTRICTED_CONTAINER, RESTRICTED_POD, read_env_file

from k8s_sky_provider.operators.task import RESOURCES_KEYS, TASK_KEYS

if TYPE_CHECKING:
    from local_airflow import Kubectl

PRINT_KEYS = (
    "import json; from sky.utils import schemas; "
    "print(json.dumps([list(s['properties']) for s in (schemas.get_task_schema(), schemas.get_resources_schema())]))"
)


@pytest.fixture(scope="module")
def skypilots_keys(kubectl: Kubectl) -> list[list[str]]:
    image = read_env_file(BUILD / "images.env")["SKYPILOT_IMAGE"]
    kubectl("delete", "pod", "task-keys", "--ignore-not-found", "--now")
    container = {
        "name": "task-keys",
        "image": image,
        "command": ["python", "-c", PRINT_KEYS],
        "securityContext": RESTRICTED_CONTAINER,
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "securityContext": {**RESTRICTED_POD, "runAsUser": 1000},
    }
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "task-keys"}, "spec": spec})
    kubectl("wait", "pod/task-keys", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    keys: list[list[str]] = json.loads(kubectl("logs", "task-keys").splitlines()[-1])
    kubectl("delete", "pod", "task-keys", "--now")
    return keys


@pytest.mark.parametrize(("number", "ours"), [(0, TASK_KEYS), (1, RESOURCES_KEYS)], ids=["task", "resources"])
def test_the_keys_are_skypilots(number: int, ours: dict[str, object], skypilots_keys: list[list[str]]) -> None:
    assert sorted(ours) == sorted(key for key in skypilots_keys[number] if not key.startswith("_"))
