"""The operators of volumes, buckets, infrastructure and shell commands: their arguments become the runner's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import (
    SkyBaseOperator,
    SkyBashOperator,
    SkyCheckOperator,
    SkyGpusOperator,
    SkyStorageDeleteOperator,
    SkyStorageListOperator,
    SkyVolumeApplyOperator,
    SkyVolumeDeleteOperator,
    SkyVolumeListOperator,
)
from unit.k8s_sky_provider.operators.running import context_of, make_dag, run_task

if TYPE_CHECKING:
    from pathlib import Path

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

VOLUME = {"name": "data", "type": "k8s-pvc", "size": "1Gi"}


def arguments_of(operator: SkyBaseOperator) -> dict[str, Any]:
    context = context_of(operator)
    operator.render_template_fields(context)
    return operator.build_arguments(context)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (SkyVolumeApplyOperator, {"volume": VOLUME}, {"volume": VOLUME, "overrides": {}}),
        (
            SkyVolumeApplyOperator,
            {"volume": "~/sky_workdir/volume.yaml", "size": "{{ params.who }}", "use_existing": False},
            {"volume": "~/sky_workdir/volume.yaml", "overrides": {"size": "Zoë", "use_existing": False}},
        ),
        (
            SkyVolumeApplyOperator,
            {"volume_name": "data", "volume_type": "k8s-pvc", "infra": "k8s", "size": "1Gi"},
            {"volume": {}, "overrides": {"name": "data", "type": "k8s-pvc", "infra": "k8s", "size": "1Gi"}},
        ),
        (SkyBashOperator, {"bash_command": "echo"}, {"bash_command": "echo", "env": {}}),
        (
            SkyBashOperator,
            {"bash_command": "echo {{ params.who }}", "env": {"A": "{{ params.who }}"}},
            {"bash_command": "echo Zoë", "env": {"A": "Zoë"}},
        ),
        (SkyVolumeDeleteOperator, {"names": "a*"}, {"names": ["a*"], "missing_ok": False, "purge": False}),
        (
            SkyVolumeDeleteOperator,
            {"names": ["a", "{{ params.who }}"], "missing_ok": True, "purge": True},
            {"names": ["a", "Zoë"], "missing_ok": True, "purge": True},
        ),
        (SkyVolumeListOperator, {}, {"names": None, "refresh": False}),
        (SkyVolumeListOperator, {"names": "a", "refresh": True}, {"names": ["a"], "refresh": True}),
        (SkyStorageDeleteOperator, {"names": "a"}, {"names": ["a"], "all": False, "missing_ok": False}),
        (SkyStorageDeleteOperator, {"all_storage": True}, {"names": [], "all": True, "missing_ok": False}),
        (SkyStorageListOperator, {}, {}),
        (SkyCheckOperator, {}, {"infra": None, "require": []}),
        (SkyCheckOperator, {"infra": ["aws"], "require": "k8s"}, {"infra": ["aws"], "require": ["k8s"]}),
        (SkyGpusOperator, {}, {"accelerator": None, "count": None, "infra": None}),
        (
            SkyGpusOperator,
            {"accelerator": "A100", "count": 8, "infra": "aws"},
            {"accelerator": "A100", "count": 8, "infra": "aws"},
        ),
    ],
)
class TestArguments:
    """What the operator was given is what the runner gets."""

    def test_of_the_action(self, kind: type[SkyBaseOperator], given: dict[str, Any], expected: dict[str, Any]) -> None:
        assert arguments_of(kind(task_id="task", dag=make_dag(), **given)) == expected

    def test_the_request_has_the_action_of_the_class(
        self,
        kind: type[SkyBaseOperator],
        given: dict[str, Any],
        expected: dict[str, Any],  # of the class's table
        kubernetes: FakeKubernetes,
    ) -> None:
        run_task(lambda: kind(task_id="task", dag=make_dag(), **given), kubernetes)
        assert kubernetes.request.action == kind.action
        assert kind.__name__ == f"Sky{kind.action.title().replace('_', '')}Operator"


@pytest.mark.parametrize(
    ("content", "expected"), [("{name: data, type: k8s-pvc}", None), ("[a]", "the volume must be a mapping, not list")]
)
def test_a_volume_beside_the_dag_is_read_by_the_worker(tmp_path: Path, content: str, expected: str | None) -> None:
    (tmp_path / "volume.yaml").write_text(content)
    operator = SkyVolumeApplyOperator(task_id="apply", volume="volume.yaml", dag=make_dag(tmp_path))
    if expected:
        with pytest.raises(SkyRequestError, match=expected):
            arguments_of(operator)
    else:
        assert arguments_of(operator)["volume"] == {"name": "data", "type": "k8s-pvc"}


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SkyVolumeApplyOperator, {}, "volume: give the volume as YAML or dict, or volume_name and volume_type"),
        (SkyVolumeApplyOperator, {"volume_name": "a"}, "volume: give the volume"),
        (SkyVolumeApplyOperator, {"volume": {"nme": "a"}}, "volume: nme is not a key of a SkyPilot volume"),
        (SkyVolumeDeleteOperator, {"names": []}, "names: [] names none"),
        (SkyVolumeDeleteOperator, {"names": ""}, "names: must be a name or a list of names, not ''"),
        (SkyStorageDeleteOperator, {}, "names and all_storage: give one of them"),
        (SkyStorageDeleteOperator, {"names": "a", "all_storage": True}, "names and all_storage: give one of them"),
        (SkyBashOperator, {"bash_command": " "}, "bash_command: ' ' is no command"),
        (SkyGpusOperator, {"count": 0}, "count: 0 is not a number above 0"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_read(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        kind(task_id="task", **arguments)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SkyVolumeApplyOperator, {"volume": "missing.yaml"}, "does not exist beside the DAG file"),
        (SkyVolumeDeleteOperator, {"names": "{{ '' }}"}, "names: must be a name or a list of names, not ''"),
        (SkyVolumeDeleteOperator, {"names": ["{{ '' }}"]}, "names: must be a name or a list of names, not ['']"),
        (SkyCheckOperator, {"require": ["{{ '' }}"]}, "require: must be a name or a list of names"),
    ],
)
def test_a_wrong_argument_that_only_shows_after_jinja(
    kind: type[SkyBaseOperator], arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SkyRequestError, match=re.escape(message)):
        arguments_of(kind(task_id="task", dag=make_dag(tmp_path), **arguments))


@pytest.mark.parametrize("kind", [SkyVolumeDeleteOperator, SkyStorageDeleteOperator])
def test_a_wildcard_that_the_author_did_not_write_deletes_nothing(kind: type[SkyBaseOperator]) -> None:
    with pytest.raises(SkyRequestError, match=r"names: .* has a wildcard that comes from a template"):
        arguments_of(kind(task_id="task", dag=make_dag(), names="{{ '*' }}"))
    assert arguments_of(kind(task_id="task", dag=make_dag(), names="{{ 'a' }}-*"))["names"] == ["a-*"]
