"""What SkyPilot takes, our operators and runner take: a corpus of task files with every form of SkyPilot's schemas."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from unit.k8s_sky_provider.operators.running import context_of, make_dag

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import (
    SkyJobLaunchOperator,
    SkyLaunchOperator,
    SkyPoolApplyOperator,
    SkyServeUpOperator,
    SkyVolumeApplyOperator,
    sections,
)
from k8s_sky_provider.protocol import LOCAL_FILES_DIRECTORY
from skypilot.schema import forms, forms_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8s_sky_provider.operators import SkyBaseOperator

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
CORPUS = HERE / "corpus"
SKYPILOT = REPOSITORY / ".build" / "skypilot-venv" / "bin" / "python"
FILES = sorted(CORPUS.rglob("*.yaml"))

OURS_ALONE = {
    "tasks/empty_sections.yaml": "SkyPilot fails of an empty `envs:`, with an AttributeError",
    "tasks/secrets_names.yaml": "a list of names: those of Kubernetes Secrets in the pod's environment",
    "tasks/resources_image_private.yaml": "a list of names, as above",
}
"""Files that SkyPilot does not take as they are, and what they mean to us."""

_LOGIN = "SkyPilot writes it into a cluster's task, with a password, and cannot read it from YAML"
_TEXT = "SkyPilot's code rounds it, and fails of a text"
OF_NO_FILE = {
    ".envs.*:null": "an environment variable without a value is an error of SkyPilot's own",
    ".file_mounts.*.config.disk_size:string": _TEXT,
    **{
        f".resources{where}{form}": reason
        for where in ("", ".any_of[]", ".ordered[]")
        for form, reason in {
            ".volumes[].disk_size:string": _TEXT,
            **dict.fromkeys(("._docker_login_config:object", "._docker_login_config.username:string"), _LOGIN),
            **dict.fromkeys(("._docker_login_config.password:string", "._docker_login_config.server:string"), _LOGIN),
        }.items()
    },
}
"""Forms of SkyPilot's schemas that no file can have, with the reason."""

PLACES = {"task": "", "resources": ".resources", "storage": ".file_mounts.*", "service": ".service", "volume": ""}
"""Where in a file each of SkyPilot's schemas holds."""


def operator_for(file: Path) -> SkyBaseOperator:
    """Return the operator that takes a file, with nothing else said."""
    path, dag = file.name, make_dag(file.parent)
    match file.parent.name:
        case "volumes":
            return SkyVolumeApplyOperator(task_id="task", dag=dag, volume=path)
        case "jobs":
            return SkyJobLaunchOperator(task_id="task", dag=dag, sky_task_yaml=path)
        case "services":
            return SkyServeUpOperator(task_id="task", dag=dag, sky_task_yaml=path, service_name="demo")
        case "pools":
            return SkyPoolApplyOperator(task_id="task", dag=dag, sky_task_yaml=path, pool_name="demo")
    return SkyLaunchOperator(task_id="task", dag=dag, sky_task_yaml=path)


def sent(file: Path) -> Any:
    """Return the task or volume of the request for a file."""
    operator = operator_for(file)
    context = context_of(operator)
    operator.render_template_fields(context)
    arguments = operator.build_arguments(context)
    return arguments["volume" if file.parent.name == "volumes" else "task"]


def name_of(file: Path) -> str:
    """Return a file's name in the corpus."""
    return str(file.relative_to(CORPUS))


@pytest.fixture(scope="module", autouse=True)
def settings() -> Iterator[None]:
    """Set the options of [skypilot] that have no default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__SKYPILOT__IMAGE", "registry.example.com/skypilot:1")
        patch.setenv("AIRFLOW__SKYPILOT__VOLUME_CLAIM", "sky-state")
        yield


@pytest.fixture(scope="module")
def requests() -> dict[str, Any]:
    """Return what is sent for each file that is not refused."""
    requests: dict[str, Any] = {}
    for file in FILES:
        with contextlib.suppress(SkyRequestError):
            requests[name_of(file)] = sent(file)
    return requests


@pytest.fixture(scope="module")
def skypilot(requests: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what SkyPilot makes of each file, and of what is sent for it, and its schemas."""
    home = tmp_path_factory.mktemp("home")
    answers = home / "answers.json"
    subprocess.run(
        [SKYPILOT, HERE / "in_skypilot.py", answers],
        input=json.dumps({str(file): requests.get(name_of(file)) for file in FILES}),
        text=True,
        check=True,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(REPOSITORY)},
    )
    known: dict[str, Any] = json.loads(answers.read_text())
    return known


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_an_operator_takes_it(file: Path) -> None:
    assert sent(file)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_the_runner_makes_of_it_what_skypilot_makes_of_it(file: Path, skypilot: dict[str, Any]) -> None:
    made = skypilot["files"][str(file)]
    assert "error" not in made["request"], made["request"]
    if name_of(file) in OURS_ALONE:
        assert "error" in made["file"]
    else:
        assert normal(made["request"], file.parent) == normal(made["file"], file.parent)


@pytest.mark.parametrize("name", PLACES)
def test_every_form_of_skypilots_schemas_is_in_a_file(name: str, skypilot: dict[str, Any]) -> None:
    is_volume = name == "volume"
    files = [file for file in FILES if (file.parent.name == "volumes") is is_volume]
    had = {form for file in files for document in yaml.safe_load_all(file.read_text()) for form in forms_of(document)}
    known = {PLACES[name] + form for form in forms(skypilot["schemas"][name])}
    assert len(known) > 20  # the schema was found
    assert known - had - OF_NO_FILE.keys() == set()
    assert {form for form in OF_NO_FILE if form in known and form in had} == set()


TYPES: dict[str, set[type]] = {
    "string": {str}, "integer": {int}, "number": {int, float}, "boolean": {bool}, "object": {dict}, "array": {list},
    "null": set(),
}  # fmt: skip


def differences(ours: Mapping[str, sections.Kinds], schema: Mapping[str, Any], place: str = "") -> list[str]:
    """Return where the keys of a section, their types and words are others than those of SkyPilot's schema."""
    known = {key: one for key, one in schema["properties"].items() if not key.startswith("_")}
    found = [f"{place}{key}" for key in ours.keys() ^ known.keys()]
    for key in ours.keys() & known.keys():
        here = [form for form in forms(known[key]) if form.startswith((":", "="))]
        types = {kind for form in here if form[0] == ":" for kind in TYPES[form[1:]]}
        words = {form[1:] for form in here if form[0] == "="}
        kinds = ours[key]
        if object not in kinds and {sections.kind_as_type(kind) for kind in kinds} != types:
            found.append(f"{place}{key}: {types}")
        if {word.lower() for kind in kinds if isinstance(kind, frozenset) for word in kind} != words:
            found.append(f"{place}{key}: {words}")
        for kind in kinds:
            below = kind[0] if isinstance(kind, list) else kind
            if isinstance(below, Mapping) and "*" not in below:
                found += differences(below, with_properties(known[key]), f"{place}{key}.")
    return found


def with_properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a mapping, of those that one is made of."""
    below = [schema, *schema.get("anyOf", []), *schema.get("oneOf", []), schema.get("items", {})]
    return next(one for one in below if "properties" in one)


def test_what_is_looked_at_before_a_pod_is_skypilots(skypilot: dict[str, Any]) -> None:
    schemas = skypilot["schemas"]
    task, resources = schemas["task"], schemas["resources"]
    options = [resources, *(resources["properties"][key]["items"] for key in ("any_of", "ordered"))]
    for option in options:
        option["properties"] |= {alias: option["properties"][key] for alias, key in skypilot["aliases"].items()}
    task["properties"]["resources"] = resources
    task["properties"]["service"] = schemas["service"]
    task["properties"]["pool"] = schemas["service"]["properties"]["pool"]
    assert differences(sections.TASK, task) == []
    assert differences(sections.STORAGE, schemas["storage"]) == []
    assert differences(sections.VOLUME, schemas["volume"]) == []
    assert sections.JOB_GROUP.keys() == schemas["job_group"]["properties"].keys()


def normal(value: Any, folder: Path) -> Any:
    """Return a task as SkyPilot has written it, without what says where it came from."""
    if isinstance(value, dict):
        # The file's own text, and the commit that its folder is at.
        kept = {key: one for key, one in value.items() if key not in {"_user_specified_yaml", "_metadata"}}
        normalized = {key: normal(one, folder) for key, one in kept.items()}
        if isinstance(normalized.get("any_of"), list):
            # SkyPilot has it as a set.
            normalized["any_of"].sort(key=str)
        return normalized
    if isinstance(value, list):
        return [normal(one, folder) for one in value]
    if isinstance(value, str) and value.startswith(LOCAL_FILES_DIRECTORY):
        # What travels is at "<number>/<name>" there.
        return Path(*Path(value.removeprefix(LOCAL_FILES_DIRECTORY + "/")).parts[1:]).name
    if isinstance(value, str) and (folder / value).exists():
        return (folder / value).resolve().name
    return value
