"""Runs in SkyPilot's environment, without Airflow: what SkyPilot makes of each file of the corpus.

Reads JSON from the standard input: path of a file -> the request's ``task`` or ``volume`` that an operator sends for
it, or null if it refuses the file. Writes JSON into the file that is its argument: of each file what SkyPilot's command
line makes of it and what the runner makes of the request, as SkyPilot writes it or ``{"error": ...}``; and SkyPilot's
schemas and aliases.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sky
import yaml
from sky.resources import RESOURCE_CONFIG_ALIASES
from sky.utils import dag_utils, schemas
from sky.volumes import volume as sky_volume

from k8s_sky_provider.protocol import TaskOverrides
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.sky.jobs import ManagedJobs
from k8s_sky_provider.runner.sky.storage import wanted_volume
from k8s_sky_provider.runner.sky.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECRETS = ("SKYPILOT_DOCKER_USERNAME", "SKYPILOT_DOCKER_PASSWORD", "SKYPILOT_DOCKER_SERVER")
SCHEMAS = ("task", "resources", "storage", "service", "volume")


def of_the_file(path: Path) -> Any:
    """Return what SkyPilot's command line makes of a file."""
    if path.parent.name == "volumes":
        volume = sky_volume.Volume.from_yaml_config(yaml.safe_load(path.read_text()))
        volume.validate()
        return written_volume(volume)
    if path.parent.name == "jobs":
        return written_job(dag_utils.load_dag_from_yaml(str(path)))
    return written_task(sky.Task.from_yaml(str(path)))


def of_the_request(kind: str, sent: Any) -> Any:
    """Return what the runner makes of the task or volume of a request."""
    if kind == "volumes":
        return written_volume(wanted_volume(sent, {}))
    if kind == "jobs":
        return written_job(ManagedJobs().load_job(sent, TaskOverrides(), "job", show_nothing))
    return written_task(Tasks().load_task(sent, TaskOverrides(), show_nothing))


def show_nothing(secrets: Iterable[str]) -> None:
    """Mask secrets in a log that is not there."""


def written_task(task: Any) -> Any:
    """Return a task as SkyPilot writes it, checked as far as no cloud is asked."""
    # As the command line does in any case, and it leaves out what is null.
    task.set_resources_override({})
    task.validate_name()
    task.validate_run()
    return task.to_yaml_config()


def written_job(job: sky.Dag) -> Any:
    """Return a job as SkyPilot writes it, but for the names, which the runner gives."""
    tasks = [written_task(task) for task in job.tasks]
    header = {"execution": job.execution, "primary": job.primary_tasks, "delay": job.termination_delay}
    return [header, *({**task, "name": None} for task in tasks)]


def written_volume(volume: sky_volume.Volume) -> Any:
    """Return a volume as SkyPilot's API server gets it."""
    return vars(volume)


def tried(load: Callable[[], Any]) -> Any:
    """Return what a call returns, in JSON's types, or its error."""
    try:
        return json.loads(json.dumps(load(), default=str))
    except Exception as error:  # noqa: BLE001  # each is a verdict on a file
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer."""
    # It asks the repository, which is on the internet.
    setattr(sky.Task, "update_envs_and_secrets_from_workdir", lambda task: task)  # noqa: B010  # it is a method
    # The keys of the pod's Secrets.
    os.environ.update(dict.fromkeys(SECRETS, "of-the-pod"))
    setattr(state, "names_for_jobs", lambda: frozenset(SECRETS))  # noqa: B010  # it is a function
    answers: dict[str, Any] = {}
    requests: dict[str, Any] = json.load(sys.stdin)
    output = Path(sys.argv[1]).resolve()
    for name, sent in requests.items():
        path = Path(name)
        os.chdir(path.parent)
        answers[name] = {"file": tried(partial(of_the_file, path))}
        if sent is not None:
            answers[name]["request"] = tried(partial(of_the_request, path.parent.name, sent))
    known = {name: getattr(schemas, f"get_{name}_schema")() for name in SCHEMAS}
    # This one is a set of names in SkyPilot.
    known["job_group"] = {"properties": {name: {} for name in dag_utils._JOB_GROUP_HEADER_FIELDS}}
    output.write_text(json.dumps({"files": answers, "schemas": known, "aliases": RESOURCE_CONFIG_ALIASES}))


if __name__ == "__main__":
    main()
