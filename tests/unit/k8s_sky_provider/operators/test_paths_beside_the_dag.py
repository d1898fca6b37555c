"""What a YAML beside the DAG file calls beside it is not looked for on the volume, by any operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider import operators
from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from unit.k8s_sky_provider.operators.running import context_of, make_dag

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("deployment")

OF_A_TASK: list[type[SkyTaskOperator]] = [
    operator
    for name in operators.__all__
    if issubclass(operator := getattr(operators, name), SkyTaskOperator) and operator is not SkyTaskOperator
]
NEEDED = {
    "SkyExecOperator": {"cluster_name": "demo"},
    "SkyServeUpOperator": {"service_name": "demo"},
    "SkyServeUpdateOperator": {"service_name": "demo"},
    "SkyPoolApplyOperator": {"pool_name": "demo"},
}
PIPELINE = "name: two\n---\nrun: echo one\n---\n"

in_every_operator = pytest.mark.parametrize("operator", OF_A_TASK, ids=lambda operator: operator.__name__)


def task_of(operator: type[SkyTaskOperator], folder: Path, text: str) -> Any:
    """Return the task of the request, of a YAML beside the DAG file."""
    (folder / "task.yaml").write_text(text)
    arguments: dict[str, Any] = {"task_id": "task", "sky_task_yaml": "task.yaml", **NEEDED.get(operator.__name__, {})}
    task = operator(dag=make_dag(folder), **arguments)
    return task.build_arguments(context_of(task))["task"]


def test_the_operators_are_all_there() -> None:
    assert len(OF_A_TASK) == 6


@in_every_operator
@pytest.mark.parametrize(
    ("text", "key", "path"),
    [
        ("workdir: .", "workdir", "."),
        ("workdir: code/train", "workdir", "code/train"),
        ("file_mounts: {~/train.py: train.py}", "file_mounts.~/train.py", "train.py"),
        ("file_mounts: {/data: ./data}", "file_mounts./data", "./data"),
        ("file_mounts: {/ckpt: {name: ckpt, source: data}}", "file_mounts./ckpt.source", "data"),
        ("file_mounts: {/ckpt: {source: [~/a, b]}}", "file_mounts./ckpt.source", "b"),
        ("service: {tls: {keyfile: key.pem, certfile: /etc/cert.pem}}", "service.tls.keyfile", "key.pem"),
    ],
)
def test_a_relative_path_is_refused(
    operator: type[SkyTaskOperator], tmp_path: Path, text: str, key: str, path: str
) -> None:
    with pytest.raises(SkyRequestError) as caught:
        task_of(operator, tmp_path, f"{text}\nrun: echo")
    assert f"task.yaml: {key} {path!r} lies beside the DAG file, which the pod does not have" in str(caught.value)
    assert "~/sky_workdir/" in str(caught.value)


def test_a_relative_path_of_a_later_task_of_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SkyRequestError, match=r"task\.yaml: workdir '\.' lies beside the DAG file"):
        task_of(operators.SkyJobLaunchOperator, tmp_path, f"{PIPELINE}workdir: .\nrun: echo two")


@in_every_operator
@pytest.mark.parametrize(
    "text",
    [
        "workdir: ~/sky_workdir/code",
        "workdir: /data/code",
        "workdir: {url: https://git.example.com/train.git, ref: main}",
        "workdir: $CODE\nenvs: {CODE: /data/code}",
        "file_mounts: {/data: s3://bucket/data, /more: ~/sky_workdir/more, /env: '${MORE}'}",
        "file_mounts: {/ckpt: {name: ckpt, mode: MOUNT}, /x: {source: s3://bucket}, /y: {source: [~/a, ~/b]}}",
        "service: {tls: {keyfile: ~/sky_workdir/key.pem, certfile: /etc/cert.pem}}",
        "file_mounts:\nworkdir:\nservice:",
    ],
)
def test_a_path_that_the_pod_has_is_sent(operator: type[SkyTaskOperator], tmp_path: Path, text: str) -> None:
    task = task_of(operator, tmp_path, f"{text}\nrun: echo")
    assert (task[0] if isinstance(task, list) else task)["run"] == "echo"
