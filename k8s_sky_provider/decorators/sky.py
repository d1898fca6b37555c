"""``@task.sky``: a Python function that runs on a SkyPilot cluster."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import inspect
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import DecoratedOperator, determine_kwargs, task_decorator_factory

from k8s_sky_provider.decorators.source import source_of
from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.launch import SkyLaunchOperator
from k8s_sky_provider.protocol import RETURN_VALUE_LIMIT, OnCancel

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator, XComArg

ON_CLUSTER = Path(__file__).with_name("on_cluster.py")

CONTEXT_KEYS = (
    *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "run_id", "task_instance_key_str"),
    "templates_dict",
)
"""What a function can have of Airflow's context as an argument of that name: the texts in it."""

_SCRIPT = """\
set -e
directory="$HOME/{directory}"
mkdir -p "$directory"
cd "$directory"
rm -f result.json
{files}
cd - >/dev/null
exec python3 "$directory/on_cluster.py" "$directory"
"""
_FILE = "base64 -d > {name} <<'END'\n{content}\nEND"


class SkyDecoratedOperator(DecoratedOperator, SkyLaunchOperator):
    """Run a Python function on a cluster; made by ``@task.sky``. Returns what the function returns.

    Every parameter of :class:`~k8s_sky_provider.operators.SkyLaunchOperator` can be given too, of a task
    everything but its ``run``.

    :param cluster_name: run on this cluster, which is up, for example that of ``sky_cluster``; without a name
        a cluster is launched for the function (templated)
    :param sky_task_yaml: setup, file_mounts, resources ... of the task: a path beside the DAG file or a
        dict, without ``run`` (templated)
    :param requirements: what pip installs on the cluster for the function, in a virtual environment that calls
        with the same requirements share; it also has the packages of ``python`` (templated)
    :param python: the function's interpreter on the cluster, a name or a path; uv brings one that is missing,
        where the cluster has uv (templated)
    :param templates_dict: texts that are rendered and that the function gets as ``templates_dict`` (templated)
    """

    custom_operator_name = "@task.sky"

    template_fields: Sequence[str] = (
        *SkyLaunchOperator.template_fields,
        *("op_args", "op_kwargs", "templates_dict", "requirements", "python"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SkyLaunchOperator.template_fields_renderers,
        **DecoratedOperator.template_fields_renderers,
        "templates_dict": "json",
    }

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        cluster_name: str | XComArg | None = None,
        sky_task_yaml: str | Mapping[str, Any] | XComArg | None = None,
        requirements: Sequence[str] | None = None,
        python: str = "python3",
        templates_dict: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # Here alone what the author wrote can be told from default_args, which are for other tasks too.
        for name in () if cluster_name is None else sorted(_OF_A_LAUNCH & set(kwargs)):
            raise SkyRequestError(
                f"{name}: is for a cluster that is launched, and {cluster_name!r} is up: leave it out"
            )
        for name in sorted({"wait", "dryrun"} & set(kwargs)):
            raise SkyRequestError(
                f"{name}: @task.sky always waits for the value that the function returns; leave it out"
            )
        super().__init__(
            python_callable=python_callable,
            cluster_name=cluster_name,
            sky_task_yaml={} if sky_task_yaml is None else sky_task_yaml,
            # Given, so that no default_args decide it.
            wait=True,
            dryrun=False,
            **kwargs,
        )
        if cluster_name is not None:
            self.action = "exec"  # type: ignore[misc]  # the one operator that has two actions
            self.uses_default_resources = False  # type: ignore[misc]  # as above: the machines are there already
        self.requirements = requirements
        self.python = python
        self.templates_dict = templates_dict
        self.source = source_of(python_callable)
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            **super()._readers(),
            "requirements": _requirements,
            "python": read.text,
            "templates_dict": read.optional(read.mapping),
        }

    @property
    def default_on_cancel(self) -> OnCancel:
        """Take down a cluster that was launched for the function; on any other, only end the job."""
        return OnCancel.CANCEL if self.cluster_name is not None else super().default_on_cancel

    def default_resources(self) -> dict[str, Any]:
        """Return the autostop of a cluster that is launched."""
        return {} if self.cluster_name is not None else super().default_resources()

    def known_xcoms(self, context: Context) -> dict[str, Any]:
        """Return the name of a cluster that is launched; the return value is the function's."""
        return {} if self.cluster_name is not None else {"cluster_name": self._rendered_cluster_name(context)}

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``launch`` or ``exec``."""
        arguments = super().build_arguments(context)
        if self.cluster_name is not None:
            arguments = {name: arguments[name] for name in ("task", "overrides", "cluster_name", "wait")}
        for name in ("requirements", "python", "templates_dict"):
            arguments.pop(name, None)
        return {**arguments, "return_file": f"{self._directory(context)}/result.json"}

    def check_content(self, task: object, source: str) -> dict[str, Any]:
        """Return the checked content of a task, which has no run."""
        checked = super().check_content(task, source)
        if checked.get("run") is not None:
            raise SkyRequestError(f"{source}: has a run; what runs is the function. Leave it out")
        return checked

    def read_task(self, given: Any, context: Context | None) -> dict[str, Any]:
        """Return the task that calls the function."""
        task = super().read_task(given, context)
        if not isinstance(task, dict):
            raise SkyRequestError(
                f"sky_task_yaml: {self.sky_task_yaml!r} is not beside the DAG file; the task of a function must be "
                "there or a dict, and one task"
            )
        # SkyPilot takes no other letters, and none of these at an end.
        name = re.sub(r"[^a-zA-Z0-9]+", "-", self.python_callable.__name__).strip("-") or "function"
        return {"name": name, **task, "run": self._script(context)}

    def _script(self, context: Context | None) -> str:
        args, kwargs = self._call_arguments(context)
        requirements = _requirements("requirements", self.requirements)
        # Here, where they can be read: the script has them encoded.
        read.check_carries_no_secret({"op_args": args, "op_kwargs": kwargs, "requirements": requirements})
        call = {
            "function": self.python_callable.__name__,
            "args": args,
            "kwargs": kwargs,
            "python": self.python,
            "requirements": requirements,
            "limit": RETURN_VALUE_LIMIT,
        }
        contents = {
            "on_cluster.py": ON_CLUSTER.read_text(),
            "sky_function.py": self.source,
            "call.json": json.dumps(call),
        }
        return _SCRIPT.format(
            directory=shlex.quote(self._directory(context)),
            files="\n".join(
                _FILE.format(name=name, content=base64.b64encode(content.encode()).decode())
                for name, content in contents.items()
            ),
        )

    def _call_arguments(self, context: Context | None) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of the call as JSON values, with what the function wants of the context."""
        name = self.python_callable.__name__
        whole: Mapping[str, Any] = context or {}
        given = {key: whole[key] for key in CONTEXT_KEYS if key in whole}
        if self.templates_dict is not None:
            given["templates_dict"] = self.templates_dict
        given.update(self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, given)
        try:
            inspect.signature(self.python_callable).bind(*self.op_args, **kwargs)
        except TypeError as error:
            raise SkyRequestError(
                f"{name}: {error}. Of Airflow's context it can have {', '.join(CONTEXT_KEYS)}; pass anything else "
                "as an argument"
            ) from error
        positional = list(inspect.signature(self.python_callable).parameters)
        return (
            [
                _json_value(value, f"{name}: argument {positional[min(index, len(positional) - 1)]!r}")
                for index, value in enumerate(self.op_args)
            ],
            {key: _json_value(value, f"{name}: argument {key!r}") for key, value in kwargs.items()},
        )

    def _directory(self, context: Context | None) -> str:
        """Return the call's own directory on the cluster, below the home directory."""
        # A retry may go on with the job of the try before, which writes there.
        owner = dataclasses.replace(self.request_owner(context), try_number=1)
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(owner)).encode()).hexdigest()[:16]
        # Plain letters: SkyPilot and a shell read it.
        name = re.sub(r"[^a-zA-Z0-9_]", "_", self.python_callable.__name__)
        return f".k8s_sky/calls/{name}-{digest}"


_OF_A_LAUNCH = {
    name
    for name, parameter in inspect.signature(SkyLaunchOperator.__init__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
} - {"cluster_name", "wait", "dryrun"}


def sky_task(
    python_callable: Callable[..., Any] | None = None, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """Make a task of a Python function that runs on a SkyPilot cluster: ``@task.sky``.

    :param python_callable: the function
    :param multiple_outputs: push each value of a returned dict under its key too
    :param kwargs: parameters of :class:`SkyDecoratedOperator`
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=SkyDecoratedOperator,
        **kwargs,
    )


def _requirements(name: str, value: object) -> list[str]:
    """Read what pip installs."""
    requirements = [] if value is None else read.list_of_texts(name, value)
    for requirement in requirements:
        if not requirement.strip() or len(requirement.splitlines()) > 1 or requirement.lstrip().startswith("-"):
            raise SkyRequestError(
                f"{name}: {requirement!r} is not one requirement, as 'numpy>=2'; options of pip and several in "
                "one text are none: set PIP_INDEX_URL and the like as envs or secrets of the job"
            )
    return requirements


def _json_value(value: object, where: str) -> Any:
    """Return a value as JSON carries it: tuples and what a mapped task returned become lists.

    :param where: what the error calls the value
    :raises SkyRequestError: if JSON cannot carry it
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _json_value(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_json_value(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise SkyRequestError(
        f"{where} of type {type(value).__name__} cannot be sent to the cluster: give None, booleans, numbers, texts, "
        "or lists and dicts (with texts as keys) of them; write anything else to a bucket or a volume and pass its path"
    )
