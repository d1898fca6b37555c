"""``sky_cluster``: a cluster for the tasks of a block."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, TriggerRule

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator, cluster_name_for
from k8s_sky_provider.operators.cluster import SkyDownOperator
from k8s_sky_provider.operators.launch import SkyLaunchOperator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import DAG, Context, XComArg


NOT_LAUNCHED = {"skipped", "upstream_failed", "removed"}
"""States of a launch that has not run."""


class SkyClusterLaunchOperator(SkyLaunchOperator):
    """Launch the cluster of a ``sky_cluster`` block. Returns the cluster's name."""

    block: frozenset[str] = frozenset()
    """Ids of the tasks of the block, once it has ended."""

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``launch``.

        :raises SkyRequestError: if something else than this launch would have to be waited for
        """
        for gate, task_id in _gates(self.dag, self.task_id, self.block):
            raise SkyRequestError(
                f"sky_cluster: {gate} became an upstream of {task_id} after the block had ended, so that the cluster "
                f"would not wait for it: write it inside the block, or write {gate} >> cluster"
            )
        return super().build_arguments(context)


class SkyClusterDownOperator(SkyDownOperator):
    """Take down the cluster of a ``sky_cluster`` block, as far as it came. Returns the cluster's name.

    It is skipped where the launch was. A launch that failed may have told no name, and SkyPilot may never have heard of
    it: both are fine.

    :param launch_task_id: the task that launches the cluster
    :param cluster_name: the cluster's name, if the launch was given one (templated)
    """

    def __init__(self, *, launch_task_id: str, cluster_name: str | XComArg | None = None, **kwargs: Any) -> None:
        super().__init__(cluster_name=cluster_name, **kwargs)  # type: ignore[arg-type]  # read as None below
        self.launch_task_id = read.text("launch_task_id", launch_task_id)

    def _readers(self) -> dict[str, read.Reader]:
        return {**super()._readers(), "cluster_name": read.optional(read.cluster)}

    def execute(self, context: Context) -> Any:
        """Take the cluster down, unless its launch has not run."""
        if NOT_LAUNCHED & set(_states_of(context, self.launch_task_id)):
            raise AirflowSkipException(f"{self.launch_task_id} has not run: there is no cluster to take down")
        return super().execute(context)

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``down``, with the name that the launch has given its cluster."""
        arguments = super().build_arguments(context)
        if arguments["cluster_name"] is None:
            launch = dataclasses.replace(self.request_owner(context), task_id=self.launch_task_id)
            arguments["cluster_name"] = cluster_name_for(launch)
        return {**arguments, "missing_ok": True}


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
    the block failed has failed, and clearing a task launches the cluster again. What a task of the block waits for
    outside of it, the launch waits for; where that skips the launch, there is no cluster and nothing to take down.

    :param name: ends the ids of the two tasks
    :param sky_task_yaml: the task of the launch: setup, file_mounts, resources ..., and a run if there is
        something to run before the block
    :param cluster_name: name of the cluster; by default one derived from the DAG, the run and the task
    :param kwargs: other parameters of :class:`~k8s_sky_provider.operators.SkyLaunchOperator`; those that every
        Sky operator has, such as ``deferrable``, ``pool`` and ``credentials``, are for both tasks
    :return: the cluster's name, as the ``cluster_name`` of the tasks in the block
    :raises SkyRequestError: if an argument is wrong, or it is not clear whether a task of the block needs the cluster
    """
    for argument in sorted({"auto_down", "task_id", "wait", "dryrun"} & set(kwargs)):
        raise SkyRequestError(f"{argument}: sky_cluster sets it itself; leave it out")
    of_the_launch = {"trigger_rule", *_parameters_of(SkyLaunchOperator)}
    launch = SkyClusterLaunchOperator(
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
    inside = frozenset(dag.task_dict) - before - launch.get_flat_relative_ids(upstream=True)
    _check_order(dag, launch.task_id, inside)
    for task in [dag.task_dict[task_id] for task_id in sorted(inside)]:
        if not inside & task.upstream_task_ids:
            launch >> task
        if not inside & task.downstream_task_ids:
            task >> down
    for gate, _ in _gates(dag, launch.task_id, inside):
        dag.task_dict[gate] >> launch
    launch.block = inside


def _gates(dag: DAG, launch_id: str, block: frozenset[str]) -> list[tuple[str, str]]:
    """Return what tasks of a block wait for outside of it, and its launch does not: it, and the first that does."""
    known = {launch_id} | dag.task_dict[launch_id].get_flat_relative_ids(upstream=True)
    gates = {
        gate: task_id
        for task_id in sorted(block, reverse=True)
        for gate in dag.task_dict[task_id].upstream_task_ids - block - known
        # One that waits for the launch itself cannot be waited for.
        if launch_id not in dag.task_dict[gate].get_flat_relative_ids(upstream=True)
    }
    return sorted(gates.items())


def _check_order(dag: DAG, launch_id: str, block: frozenset[str]) -> None:
    """Refuse a task of a block that tasks with the cluster wait for, and that may or may not need it itself."""
    users = {
        task_id
        for task_id in block
        if _is_sky(dag.task_dict[task_id]) or launch_id in dag.task_dict[task_id].get_flat_relative_ids(upstream=True)
    }
    for task_id in sorted(block - users):
        later = sorted(users & dag.task_dict[task_id].get_flat_relative_ids(upstream=False))
        if later and not users & dag.task_dict[task_id].get_flat_relative_ids(upstream=True):
            raise SkyRequestError(
                f"sky_cluster: {task_id} comes before {later[0]} and uses no cluster: should the launch wait for it? "
                f"Then create it before the block, or write {task_id} >> cluster; otherwise write cluster >> {task_id}"
            )


def _is_sky(task: Any) -> bool:
    # A mapped operator has the class of its tasks as an attribute.
    return issubclass(getattr(task, "operator_class", type(task)), SkyBaseOperator)


def _states_of(context: Context, task_id: str) -> list[Any]:
    """Return the states that the task of this run has; none if Airflow does not tell."""
    ti: Any = context["ti"]
    map_index = None if ti.map_index is None or ti.map_index < 0 else ti.map_index
    if not hasattr(ti, "get_task_states"):
        # Airflow 2 has no such method; there a task has its run from the database.
        run: Any = context["dag_run"]
        other = run.get_task_instance(task_id, map_index=-1 if map_index is None else map_index)
        return [other.state] if other else []
    run_id = str(context["run_id"])
    states = ti.get_task_states(dag_id=ti.dag_id, map_index=map_index, task_ids=[task_id], run_ids=[run_id])
    return list(states.get(run_id, {}).values())


def _parameters_of(operator: type[SkyBaseOperator]) -> Sequence[str]:
    """Return the parameters that an operator has besides those of all Sky operators."""
    classes = operator.__mro__[: operator.__mro__.index(SkyBaseOperator)]
    return [name for cls in classes for name in inspect.signature(cls).parameters if name != "kwargs"]
