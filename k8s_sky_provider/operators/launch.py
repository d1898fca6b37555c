"""Operators that run a task on a cluster: launch, exec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

DEFAULT_IDLE_MINUTES = 60
"""Minutes without a job after which a launched cluster ends, unless somebody says otherwise."""

_DEFAULT_AUTOSTOP = {"idle_minutes": DEFAULT_IDLE_MINUTES, "down": True}
_MINUTES = {"": 1, "m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}

ON_FAILURE = ("down", "leave")

WAIT_FOR = ("jobs_and_ssh", "jobs", "none")


class SkyLaunchOperator(SkyTaskOperator):
    """Launch a cluster, or use the one of that name, and run a task on it. Returns the cluster's name.

    Wraps ``sky.launch``. The task waits for the job, with the job's output in its log.

    :param cluster_name: name of the cluster; by default one derived from the DAG, the run, the task and
        its map index, so that a retry meets its own cluster (templated)
    :param auto_down: take the cluster down when its job has ended, whatever came of it; one that no task of this
        DAG run has made stays, with the autostop that it has (templated)
    :param on_failure: without ``auto_down``: take a cluster that this task has made ``down`` when the task fails and
        is not tried again, or ``leave`` it; the default is ``down``, because Airflow skips what comes after a failed
        task, the teardown of a failed setup too (templated)
    :param wait: wait for the job. Otherwise the task ends when the job is submitted (SkyLogsOperator waits for it),
        and ``auto_down`` lets the cluster take itself down a minute after its last job (templated)
    :param idle_minutes_to_autostop: the net below that: minutes without a job after which the cluster
        takes itself down, or stops with ``down=False``; -1 for never; by default what the task says, or else 60.
        What no argument says of an autostop, the task does, unless it is on the volume. A cluster that no task of this
        DAG run has made keeps its own, whatever is said here or in the task (templated)
    :param down: whether idleness takes the cluster down or stops it; by default what the task says, or else down
        (templated)
    :param wait_for: what counts as no idleness: ``jobs_and_ssh``, ``jobs`` or ``none`` (templated)
    :param retry_until_up: wait for resources instead of failing; bound it with ``execution_timeout`` (templated)
    :param no_setup: do not run the task's setup (templated)
    :param fast: skip provisioning and setup if the cluster is up (templated)
    :param resize: change the number of nodes of a cluster that exists (templated)
    :param clone_disk_from: start with a copy of this stopped cluster's disk (templated)
    :param dryrun: only check the task and find resources for it; nothing is started (templated)
    """

    action: ClassVar[str] = "launch"
    operator_extra_links = (*SkyTaskOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (
        *SkyTaskOperator.template_fields,
        "cluster_name",
        "auto_down",
        "on_failure",
        "wait",
        "idle_minutes_to_autostop",
        "down",
        "wait_for",
        "retry_until_up",
        "no_setup",
        "fast",
        "resize",
        "clone_disk_from",
        "dryrun",
    )

    def __init__(
        self,
        *,
        cluster_name: str | XComArg | None = None,
        auto_down: bool | str | XComArg = True,
        on_failure: str | XComArg = "down",
        wait: bool | str | XComArg = True,
        idle_minutes_to_autostop: int | str | XComArg | None = None,
        down: bool | str | XComArg | None = None,
        wait_for: str | XComArg | None = None,
        retry_until_up: bool | str | XComArg = False,
        no_setup: bool | str | XComArg = False,
        fast: bool | str | XComArg = False,
        resize: bool | str | XComArg = False,
        clone_disk_from: str | None = None,
        dryrun: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.auto_down = auto_down
        self.on_failure = on_failure
        self.wait = wait
        self.idle_minutes_to_autostop = idle_minutes_to_autostop
        self.down = down
        self.wait_for = wait_for
        self.retry_until_up = retry_until_up
        self.no_setup = no_setup
        self.fast = fast
        self.resize = resize
        self.clone_disk_from = clone_disk_from
        self.dryrun = dryrun
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            **super()._readers(),
            "cluster_name": read.optional(read.cluster),
            "auto_down": read.flag,
            "on_failure": read.one_of(ON_FAILURE),
            "wait": read.flag,
            "idle_minutes_to_autostop": read.optional(_idle_minutes),
            "down": read.optional(read.flag),
            "wait_for": read.optional(read.one_of(WAIT_FOR)),
            **dict.fromkeys(("retry_until_up", "no_setup", "fast", "resize", "dryrun"), read.flag),
            "clone_disk_from": read.optional(read.cluster),
        }

    @property
    def default_on_cancel(self) -> OnCancel:
        """Take down what would have been taken down anyway; otherwise only end the job.

        Airflow skips the teardown of a setup that was killed, so the cluster that it alone uses goes with it.
        """
        has_no_teardown = self.is_setup and self.cluster_name is None and self._leaves_nothing()
        return OnCancel.DOWN if has_no_teardown or read.flag("auto_down", self.auto_down) else OnCancel.CANCEL

    def _leaves_nothing(self) -> bool:
        return self.on_failure == "down"

    def known_xcoms(self, context: Context) -> dict[str, Any]:
        """Return the cluster's name."""
        return {XCOM_RETURN_KEY: self._rendered_cluster_name(context)}

    def _rendered_cluster_name(self, context: Context | None) -> str:
        if self.cluster_name is None:
            return cluster_name_for(self.request_owner(context))
        return read.cluster("cluster_name", self.cluster_name)

    def more_resources(self, values: Mapping[str, Any], task: object) -> dict[str, Any]:
        """Return the autostop that the arguments ask for, over that of the task."""
        minutes, down, wait_for = (values[name] for name in ("idle_minutes_to_autostop", "down", "wait_for"))
        if minutes is None and values["auto_down"] and not values["wait"]:
            minutes, down = 1, down is None or down
        if minutes is not None and minutes < 0:
            return {"autostop": False}
        if minutes is None and down is None and wait_for is None:
            return {}
        resources = (task.get("resources") if isinstance(task, Mapping) else None) or {}
        if resources.get("autostop") is False and minutes is None:
            return {}
        said = {"idle_minutes": minutes, "down": down, "wait_for": wait_for}
        return {"autostop": _laid_over(_autostop_of(resources.get("autostop")), said)}

    def default_resources(self) -> dict[str, Any]:
        """Return the autostop of a task that says nothing of it."""
        said = {"down": read.optional(read.flag)("down", self.down), "wait_for": self.wait_for}
        return {"autostop": _laid_over(_DEFAULT_AUTOSTOP, said)}

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``launch``."""
        arguments = super().build_arguments(context)
        if arguments["clone_disk_from"] is not None and self.settings.uses_api_server:
            raise SkyRequestError(
                "clone_disk_from: SkyPilot cannot do it by way of an API server: leave it out or use another state_mode"
            )
        for name in ("idle_minutes_to_autostop", "down", "wait_for", "on_failure"):
            del arguments[name]
        arguments["cluster_name"] = self._rendered_cluster_name(context)
        return {**arguments, "down_after": self.final_exit_codes(context) if self._leaves_nothing() else []}


class SkyExecOperator(SkyTaskOperator):
    """Run a task on a cluster that is up, without provisioning or setup. Returns the cluster's name.

    Wraps ``sky.exec``. The task waits for the job, with the job's output in its log. What is said of resources
    is what the job asks for of the cluster.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param wait: wait for the job. Otherwise the task ends when the job is submitted (SkyLogsOperator waits for it)
        (templated)
    """

    action: ClassVar[str] = "exec"
    operator_extra_links = (*SkyTaskOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (*SkyTaskOperator.template_fields, "cluster_name", "wait")

    uses_default_resources: ClassVar[bool] = False

    def __init__(self, *, cluster_name: str | XComArg, wait: bool | str | XComArg = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.wait = wait
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {**super()._readers(), "cluster_name": read.cluster, "wait": read.flag}

    @property
    def default_on_cancel(self) -> OnCancel:
        """End the job; the cluster is somebody else's."""
        return OnCancel.CANCEL


def _idle_minutes(name: str, value: object) -> int:
    minutes = read.whole(value)
    if minutes is None or minutes < -1 or minutes == 0:
        raise SkyRequestError(f"{name}: {read.shown(value)} is neither minutes from 1 up nor -1 for never")
    return minutes


def _laid_over(autostop: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    return {**autostop, **{name: value for name, value in said.items() if value is not None}}


def _autostop_of(autostop: object) -> dict[str, Any]:
    """Return what a task says of autostop as a dict, and the default of one that says nothing."""
    found = re.fullmatch(r"([0-9]{1,9})([mhdw]?)", str(autostop).lower())
    if found is not None:
        return {"idle_minutes": int(found[1]) * _MINUTES[found[2]]}
    if isinstance(autostop, Mapping):
        return dict(autostop)
    return {"idle_minutes": 0} if autostop is True else _DEFAULT_AUTOSTOP
