"""``sky_cluster``: a cluster for the tasks of a block."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TriggerRule

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.base import SkyBaseOperator, cluster_name_for
from k8s_sky_provider.operators.cluster import SkyDownOperator
from k8s_sky_provider.operators.launch import SkyLaunchOperator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg


class SkyClusterDownOperator(SkyDownOperator):
    """Take down the cluster of a ``sky_cluster`` block, as far as it came. Returns the cluster's name.

    A launch that failed tells no name, and SkyPilot may never have heard of it: both are fine.

    :param launch_task_id: the task that launches the cluster
    :param cluster_name: the cluster's name, if the launch was given one (templated)
    """

    def __init__(self, *, launch_task_id: str, cluster_name: str | XComArg | None = None, **kwargs: Any) -> None:
        super().__init__(cluster_name=cluster_name, **kwargs)  # type: ignore[arg-type]  # its check lets None pass
        self.launch_task_id = launch_task_id

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``down``."""
        if self.cluster_name is None:
            launch = dataclasses.replace(self.request_owner(context), task_id=self.launch_task_id)
            self.cluster_name = cluster_name_for(launch)
        return {**super().build_arguments(context), "missing_ok": True}


@contextlib.contextmanager
def sky_cluster(
    name: str = "cluster",
    *,
    sky_task_yaml: str | Mapping[str, Any] | XComArg | None = None,
    cluster_name: str | XComArg | None = None,
    **kwargs: Any,
) -> Iterator[XComArg]:
    """Launch a cluster before the first task of a block, and take it down after the last, whatever came of them.

    The tasks are ``launch_NAME``, an Airflow setup, and ``down_NAME``, its teardown: a run in which a task of
    the block failed has failed, and clearing a task launches the cluster again.

    :param name: ends the ids of the two tasks
    :param sky_task_yaml: the task of the launch: setup, file_mounts, resources ..., and a run if there is
        something to run before the block
    :param cluster_name: name of the cluster; by default one derived from the DAG, the run and the task
    :param kwargs: other parameters of :class:`~k8s_sky_provider.operators.SkyLaunchOperator`; those that every
        Sky operator has, such as ``deferrable``, ``pool`` and ``credentials``, are for both tasks
    :return: the cluster's name, as the ``cluster_name`` of the tasks in the block
    :raises SkyRequestError: if an argument is wrong
    """
    for argument in sorted({"auto_down", "task_id", "wait", "dryrun"} & set(kwargs)):
        raise SkyRequestError(f"{argument}: sky_cluster sets it itself; leave it out")
    of_the_launch = {"trigger_rule", *_parameters_of(SkyLaunchOperator)}
    launch = SkyLaunchOperator(
        task_id=f"launch_{name}",
        sky_task_yaml={} if sky_task_yaml is None else sky_task_yaml,
        cluster_name=cluster_name,
        # All given, so that no default_args decide them.
        auto_down=False,
        wait=True,
        dryrun=False,
        **kwargs,
    )
    down = SkyClusterDownOperator(
        task_id=f"down_{name}",
        launch_task_id=launch.task_id,
        cluster_name=cluster_name,
        **{key: value for key, value in kwargs.items() if key not in of_the_launch},
    )
    down.as_teardown(setups=launch)
    # A teardown does not run by itself when its setup failed; this one does, for what a lost launch has left behind.
    down.trigger_rule = TriggerRule.ALL_DONE
    dag = launch.dag
    before = set(dag.task_dict)
    yield launch.output
    # Airflow's own block leaves out a task that has a neighbour outside of it.
    inside = set(dag.task_dict) - before
    for task in [dag.task_dict[task_id] for task_id in sorted(inside)]:
        if not inside & task.upstream_task_ids:
            launch >> task
        if not inside & task.downstream_task_ids:
            task >> down


def _parameters_of(operator: type[SkyBaseOperator]) -> Sequence[str]:
    """Return the parameters that an operator has besides those of all Sky operators."""
    classes = operator.__mro__[: operator.__mro__.index(SkyBaseOperator)]
    return [name for cls in classes for name in inspect.signature(cls).parameters if name != "kwargs"]
