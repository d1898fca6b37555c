"""Operators that run a task on a cluster: launch, exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators.arguments import (
    as_choice,
    as_flag,
    as_whole_number,
    check_choice,
    check_cluster_name,
    check_flags,
    is_known,
    rendered_cluster_name,
)
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

DEFAULT_IDLE_MINUTES = 60
"""Minutes without a job after which a launched cluster ends, unless somebody says otherwise."""

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
        A cluster that no task of this DAG run has made keeps its own, whatever is said here or in the task (templated)
    :param down: whether idleness takes the cluster down or stops it; by default down (templated)
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
        check_cluster_name(cluster_name)
        check_choice("on_failure", on_failure, ON_FAILURE)
        check_flags(
            auto_down=auto_down,
            wait=wait,
            retry_until_up=retry_until_up,
            no_setup=no_setup,
            fast=fast,
            resize=resize,
            dryrun=dryrun,
        )
        if down is not None:
            check_flags(down=down)
        if is_known(idle_minutes_to_autostop):
            _idle_minutes(idle_minutes_to_autostop)
        if wait_for is not None:
            check_choice("wait_for", wait_for, WAIT_FOR)
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

    @property
    def default_on_cancel(self) -> OnCancel:
        """Take down what would have been taken down anyway; otherwise only end the job.

        Airflow skips the teardown of a setup that was killed, so the cluster that it alone uses goes with it.
        """
        has_no_teardown = self.is_setup and self.cluster_name is None and self._leaves_nothing()
        return OnCancel.DOWN if has_no_teardown or as_flag("auto_down", self.auto_down) else OnCancel.CANCEL

    def _leaves_nothing(self) -> bool:
        return as_choice("on_failure", self.on_failure, ON_FAILURE) == "down"

    def known_xcoms(self, context: Context) -> dict[str, Any]:
        """Return the cluster's name."""
        return {XCOM_RETURN_KEY: self._rendered_cluster_name(context)}

    def _rendered_cluster_name(self, context: Context | None) -> str:
        if self.cluster_name is None:
            return cluster_name_for(self.request_owner(context))
        return rendered_cluster_name(self.cluster_name)

    def more_resources(self) -> dict[str, Any]:
        """Return the autostop that the arguments ask for."""
        minutes = _idle_minutes(self.idle_minutes_to_autostop)
        if minutes is None and as_flag("auto_down", self.auto_down) and not as_flag("wait", self.wait):
            minutes = 1
        autostop = self._autostop(minutes)
        if minutes is not None and minutes < 0:
            return {"autostop": False}
        if minutes is None and self.down is None and self.wait_for is None:
            return {}
        return {"autostop": autostop}

    def default_resources(self) -> dict[str, Any]:
        """Return the autostop of a task that says nothing of it."""
        return {"autostop": self._autostop(None)}

    def _autostop(self, minutes: int | None) -> dict[str, Any]:
        return {
            "idle_minutes": DEFAULT_IDLE_MINUTES if minutes is None else minutes,
            "down": self.down is None or as_flag("down", self.down),
            **({} if self.wait_for is None else {"wait_for": as_choice("wait_for", self.wait_for, WAIT_FOR)}),
        }

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``launch``."""
        if self.clone_disk_from is not None and self.settings.uses_api_server:
            raise SkyRequestError(
                "clone_disk_from: SkyPilot cannot do it by way of an API server: leave it out or use another state_mode"
            )
        return {
            **self.task_arguments(context),
            "cluster_name": self._rendered_cluster_name(context),
            "auto_down": as_flag("auto_down", self.auto_down),
            "down_after": self.final_exit_codes(context) if self._leaves_nothing() else [],
            "wait": as_flag("wait", self.wait),
            "retry_until_up": as_flag("retry_until_up", self.retry_until_up),
            "no_setup": as_flag("no_setup", self.no_setup),
            "fast": as_flag("fast", self.fast),
            "resize": as_flag("resize", self.resize),
            "clone_disk_from": self.clone_disk_from,
            "dryrun": as_flag("dryrun", self.dryrun),
        }


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
        check_cluster_name(cluster_name)
        check_flags(wait=wait)
        self.cluster_name = cluster_name
        self.wait = wait

    @property
    def default_on_cancel(self) -> OnCancel:
        """End the job; the cluster is somebody else's."""
        return OnCancel.CANCEL

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``exec``."""
        return {
            **self.task_arguments(context),
            "cluster_name": rendered_cluster_name(self.cluster_name),
            "wait": as_flag("wait", self.wait),
        }


def _idle_minutes(minutes: object) -> int | None:
    if minutes is None:
        return None
    if minutes in (-1, "-1"):
        return -1
    try:
        return as_whole_number("idle_minutes_to_autostop", minutes)
    except SkyRequestError:
        raise SkyRequestError(
            f"idle_minutes_to_autostop: {minutes!r} is neither minutes from 1 up nor -1 for never"
        ) from None
