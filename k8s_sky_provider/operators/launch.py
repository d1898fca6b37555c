"""Operators that run a task on a cluster: launch, exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.links.skypilot import SkyJobLogLink
from k8s_sky_provider.operators.arguments import check_cluster_name, rendered_cluster_name
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.operators.task_operator import SkyTaskOperator
from k8s_sky_provider.protocol import OnCancel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

DEFAULT_IDLE_MINUTES = 60
"""Minutes without a job after which a launched cluster ends, unless somebody says otherwise."""

WAIT_FOR = ("jobs_and_ssh", "jobs", "none")


class SkyLaunchOperator(SkyTaskOperator):
    """Launch a cluster, or use the one of that name, and run a task on it. Returns the cluster's name.

    Wraps ``sky.launch``. The task waits for the job, with the job's output in its log.

    :param cluster_name: name of the cluster; by default one derived from the DAG, the run, the task and
        its map index, so that a retry meets its own cluster (templated)
    :param auto_down: take the cluster down when its job has ended, whatever came of it
    :param wait: wait for the job. Otherwise the task ends when the job is submitted (SkyLogsOperator waits for it),
        and ``auto_down`` lets the cluster take itself down a minute after its last job
    :param idle_minutes_to_autostop: the net below that: minutes without a job after which the cluster
        takes itself down, or stops with ``down=False``; -1 for never; by default what the task says, or else 60
    :param down: whether idleness takes the cluster down or stops it; by default down
    :param wait_for: what counts as no idleness: ``jobs_and_ssh``, ``jobs`` or ``none``
    :param retry_until_up: wait for resources instead of failing; bound it with ``execution_timeout``
    :param no_setup: do not run the task's setup
    :param fast: skip provisioning and setup if the cluster is up
    :param resize: change the number of nodes of a cluster that exists
    :param clone_disk_from: start with a copy of this stopped cluster's disk (templated)
    :param dryrun: only check the task and find resources for it; nothing is started
    """

    action: ClassVar[str] = "launch"
    operator_extra_links = (*SkyTaskOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (*SkyTaskOperator.template_fields, "cluster_name", "clone_disk_from")

    def __init__(
        self,
        *,
        cluster_name: str | XComArg | None = None,
        auto_down: bool = True,
        wait: bool = True,
        idle_minutes_to_autostop: int | None = None,
        down: bool | None = None,
        wait_for: str | None = None,
        retry_until_up: bool = False,
        no_setup: bool = False,
        fast: bool = False,
        resize: bool = False,
        clone_disk_from: str | None = None,
        dryrun: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cluster_name(cluster_name)
        minutes = idle_minutes_to_autostop
        if minutes is not None and (not isinstance(minutes, int) or minutes < -1 or minutes == 0):
            raise SkyRequestError(
                f"idle_minutes_to_autostop: {minutes!r} is neither minutes from 1 up nor -1 for never"
            )
        if wait_for is not None and wait_for not in WAIT_FOR:
            raise SkyRequestError(f"wait_for: {wait_for!r} is not one of {', '.join(WAIT_FOR)}")
        self.cluster_name = cluster_name
        self.auto_down = auto_down
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
        """Take down what would have been taken down anyway; otherwise only end the job."""
        return OnCancel.DOWN if self.auto_down else OnCancel.CANCEL

    def more_resources(self) -> dict[str, Any]:
        """Return the autostop that the arguments ask for."""
        minutes = self.idle_minutes_to_autostop
        if self.auto_down and not self.wait and minutes is None:
            minutes = 1
        if minutes is not None and minutes < 0:
            return {"autostop": False}
        if minutes is None and self.down is None and self.wait_for is None:
            return {}
        return {"autostop": self._autostop(minutes)}

    def default_resources(self) -> dict[str, Any]:
        """Return the autostop of a task that says nothing of it."""
        return {"autostop": self._autostop(None)}

    def _autostop(self, minutes: int | None) -> dict[str, Any]:
        return {
            "idle_minutes": DEFAULT_IDLE_MINUTES if minutes is None else minutes,
            "down": self.down is not False,
            **({"wait_for": self.wait_for} if self.wait_for is not None else {}),
        }

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``launch``."""
        if self.clone_disk_from is not None and self.resolve_workspace().uses_api_server:
            raise SkyRequestError(
                "clone_disk_from: SkyPilot cannot do it by way of an API server: leave it out or use another state_mode"
            )
        return {
            **self.task_arguments(context),
            "cluster_name": cluster_name_for(self.request_owner(context))
            if self.cluster_name is None
            else rendered_cluster_name(self.cluster_name),
            "auto_down": self.auto_down,
            "wait": self.wait,
            "retry_until_up": self.retry_until_up,
            "no_setup": self.no_setup,
            "fast": self.fast,
            "resize": self.resize,
            "clone_disk_from": self.clone_disk_from,
            "dryrun": self.dryrun,
        }


class SkyExecOperator(SkyTaskOperator):
    """Run a task on a cluster that is up, without provisioning or setup. Returns the cluster's name.

    Wraps ``sky.exec``. The task waits for the job, with the job's output in its log. What is said of resources
    is what the job asks for of the cluster.

    :param cluster_name: the cluster, for example ``launch.output`` (templated)
    :param wait: wait for the job. Otherwise the task ends when the job is submitted (SkyLogsOperator waits for it)
    """

    action: ClassVar[str] = "exec"
    operator_extra_links = (*SkyTaskOperator.operator_extra_links, SkyJobLogLink())

    template_fields: Sequence[str] = (*SkyTaskOperator.template_fields, "cluster_name")

    uses_default_resources: ClassVar[bool] = False

    def __init__(self, *, cluster_name: str | XComArg, wait: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_cluster_name(cluster_name)
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
            "wait": self.wait,
        }
