"""sky_cluster: the tasks of the block run between launch and down, however they are arranged."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowSkipException,
    BaseOperator,
    TaskGroup,
    XComArg,
    task_group,
)
from airflow.utils.dag_cycle_tester import check_cycle

from k8s_sky_provider.decorators import sky_cluster, sky_task
from k8s_sky_provider.decorators.cluster import SkyClusterDownOperator, _states_of
from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import SkyExecOperator, SkyLaunchOperator
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.protocol import Owner
from unit.k8s_sky_provider.airflow_version import FAIL_FAST, serialized
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")


def step(task_id: str, **options: Any) -> BaseOperator:
    return BaseOperator(task_id=task_id, **options)


def before(dag: DAG, task_id: str) -> set[str]:
    """Return the tasks that are done before a task starts."""
    return dag.task_dict[task_id].get_flat_relative_ids(upstream=True)


def number(n: int) -> int:
    return n


class TestOrder:
    """launch, the block, down."""

    def test_the_tasks_of_a_block_are_between(self) -> None:
        with make_dag() as dag, sky_cluster("gpu") as cluster:
            first = SkyExecOperator(task_id="first", cluster_name=cluster, sky_task_yaml={"run": "echo"})
            second = step("second")
            first >> second
            step("other")
        assert before(dag, "first") == before(dag, "other") == {"launch_gpu"}
        assert before(dag, "second") == {"launch_gpu", "first"}
        assert before(dag, "down_gpu") == {"launch_gpu", "first", "second", "other"}
        assert dag.task_dict["down_gpu"].upstream_task_ids == {"launch_gpu", "second", "other"}

    def test_a_task_with_neighbours_outside_is_between_too(self) -> None:
        with make_dag() as dag:
            prepare, report = step("prepare"), step("report")
            with sky_cluster():
                inside = step("inside")
                prepare >> inside >> report
        assert before(dag, "launch_cluster") == {"prepare"}
        assert before(dag, "inside") == {"prepare", "launch_cluster"}
        assert before(dag, "down_cluster") == {"prepare", "launch_cluster", "inside"}
        assert before(dag, "report") == {"prepare", "launch_cluster", "inside"}

    def test_an_empty_block_launches_and_takes_down(self) -> None:
        with make_dag() as dag, sky_cluster():
            pass
        assert before(dag, "down_cluster") == {"launch_cluster"}

    def test_blocks_in_blocks_and_one_after_the_other(self) -> None:
        with make_dag() as dag:
            with sky_cluster("outer"):
                step("one")
                with sky_cluster("inner"):
                    step("two")
            with sky_cluster("later"):
                step("three")
        assert before(dag, "two") == {"launch_outer", "launch_inner"}
        assert before(dag, "down_inner") == {"launch_outer", "launch_inner", "two"}
        assert before(dag, "down_outer") == {"launch_outer", "launch_inner", "one", "two", "down_inner"}
        assert before(dag, "three") == {"launch_later"}

    def test_groups_and_mapped_tasks_in_a_block(self) -> None:
        with make_dag() as dag, sky_cluster() as cluster:

            @task_group
            def part(n: Any) -> Any:
                return sky_task(cluster_name=cluster)(number)(n)

            part.expand(n=[1, 2])
            sky_task(cluster_name=cluster, task_id="mapped")(number).expand(n=[1, 2])
        assert before(dag, "part.number") == before(dag, "mapped") == {"launch_cluster"}
        assert before(dag, "down_cluster") == {"launch_cluster", "part.number", "mapped"}

    def test_a_block_in_a_group(self) -> None:
        with make_dag() as dag, TaskGroup("group"), sky_cluster("gpu"):
            step("one")
        assert before(dag, "group.down_gpu") == {"group.launch_gpu", "group.one"}
        assert cast("Any", dag.task_dict["group.down_gpu"]).launch_task_id == "group.launch_gpu"

    def test_launch_and_down_are_setup_and_teardown_that_always_runs(self) -> None:
        with make_dag() as dag, sky_cluster():
            step("one")
        cast("Any", dag).validate()
        launch, down = dag.task_dict["launch_cluster"], dag.task_dict["down_cluster"]
        assert (launch.is_setup, down.is_teardown, down.trigger_rule) == (True, True, "all_done")
        # What Airflow clears together with the task.
        assert {task.task_id for task in dag.task_dict["one"].get_upstreams_only_setups_and_teardowns()} == {
            "launch_cluster",
            "down_cluster",
        }
        assert serialized(dag).task_dict.keys() == dag.task_dict.keys()

    def test_a_dag_that_fails_fast_takes_it(self) -> None:
        with make_dag(**FAIL_FAST) as dag, sky_cluster():
            step("one")
        assert before(dag, "down_cluster") == {"launch_cluster", "one"}


def sky(task_id: str, cluster: XComArg, **options: Any) -> BaseOperator:
    return SkyExecOperator(task_id=task_id, cluster_name=cluster, sky_task_yaml={"run": "echo"}, **options)


class TestGate:
    """What a task of the block waits for keeps the cluster from being launched."""

    def test_what_is_upstream_of_a_task_in_the_block_is_upstream_of_the_launch(self) -> None:
        with make_dag() as dag:
            new_data, more = step("new_data"), step("more")
            with sky_cluster() as cluster:
                train, evaluate = sky("train", cluster), sky("evaluate", cluster)
                new_data >> train >> evaluate
                more >> evaluate
        assert before(dag, "launch_cluster") == {"new_data", "more"}

    def test_what_an_argument_waits_for_is_too(self) -> None:
        with make_dag() as dag:
            data = SkyExecOperator(task_id="data", cluster_name="other", sky_task_yaml={"run": "echo"})
            with sky_cluster() as cluster:
                sky("train", cluster, envs={"DATA": data.output})
        assert before(dag, "launch_cluster") == {"data"}

    def test_what_waits_for_the_block_itself_is_not(self) -> None:
        with make_dag() as dag:
            report = step("report")
            with sky_cluster() as cluster:
                sky("train", cluster) >> report >> sky("publish", cluster)
        check_cycle(dag)
        assert before(dag, "launch_cluster") == set()

    def test_what_waits_for_an_outer_block_is(self) -> None:
        with make_dag() as dag, sky_cluster("outer") as outer:
            first = sky("first", outer)
            with sky_cluster("inner") as inner:
                first >> sky("second", inner)
        assert before(dag, "launch_inner") == {"launch_outer", "first"}
        assert before(dag, "launch_outer") == set()

    @pytest.mark.parametrize("mapped", [False, True])
    def test_a_task_of_the_block_that_may_be_one_has_to_say_so(self, mapped: bool) -> None:
        def write() -> None:
            with make_dag(), sky_cluster() as cluster:
                new_data = step("new_data")
                train = (
                    SkyExecOperator.partial(task_id="train", cluster_name=cluster).expand(sky_task_yaml=[{"run": "x"}])
                    if mapped
                    else sky("train", cluster)
                )
                new_data >> train

        with pytest.raises(SkyRequestError, match="new_data comes before train and uses no cluster") as caught:
            write()
        assert "new_data >> cluster" in str(caught.value)
        assert "cluster >> new_data" in str(caught.value)

    @pytest.mark.parametrize("gates", [True, False])
    def test_what_it_says_is_what_is_done(self, gates: bool) -> None:
        with make_dag() as dag, sky_cluster() as cluster:
            new_data = step("new_data")
            new_data >> sky("train", cluster)
            if gates:
                new_data >> cluster
            else:
                cluster >> new_data
        check_cycle(dag)
        assert before(dag, "launch_cluster") == ({"new_data"} if gates else set())
        assert before(dag, "train") == {"new_data", "launch_cluster"}
        assert before(dag, "down_cluster") == {"new_data", "launch_cluster", "train"}

    def test_one_that_comes_after_the_block_fails_before_there_is_a_cluster(self, kubernetes: FakeKubernetes) -> None:
        with make_dag() as dag:
            with sky_cluster() as cluster:
                train = sky("train", cluster)
            step("new_data") >> train
        with pytest.raises(SkyRequestError, match="new_data became an upstream of train after the block had ended"):
            run_task(lambda: cast("Any", dag.task_dict["launch_cluster"]), kubernetes)
        assert kubernetes.created == []

    @pytest.mark.parametrize("state", ["skipped", "upstream_failed"])
    @pytest.mark.parametrize("map_index", [-1, 2])
    def test_where_the_launch_was_skipped_so_is_the_down(
        self, kubernetes: FakeKubernetes, state: str, map_index: int
    ) -> None:
        with make_dag() as dag, sky_cluster():
            pass
        ti = TaskInstance(task_id="down_cluster", task_states={"launch_cluster": state}, map_index=map_index)
        with pytest.raises(AirflowSkipException):
            run_task(lambda: cast("Any", dag.task_dict["down_cluster"]), kubernetes, ti)
        assert kubernetes.created == []

    @pytest.mark.parametrize("state", ["success", "failed"])
    def test_where_it_ran_the_cluster_goes(self, kubernetes: FakeKubernetes, state: str) -> None:
        with make_dag() as dag, sky_cluster():
            pass
        ti = TaskInstance(task_id="down_cluster", task_states={"launch_cluster": state})
        run_task(lambda: cast("Any", dag.task_dict["down_cluster"]), kubernetes, ti)
        assert kubernetes.request.action == "down"


@pytest.mark.parametrize(("map_index", "asked"), [(-1, -1), (None, -1), (2, 2)])
@pytest.mark.parametrize(("state", "states"), [("skipped", ["skipped"]), (None, [])])
def test_airflow_2_knows_the_launchs_state_by_the_run(
    map_index: int | None, asked: int, state: str | None, states: list[str]
) -> None:
    def get_task_instance(task_id: str, map_index: int) -> Any:
        assert (task_id, map_index) == ("launch_gpu", asked)
        return SimpleNamespace(state=state) if state else None

    run = SimpleNamespace(get_task_instance=get_task_instance)
    context: Any = {"ti": SimpleNamespace(map_index=map_index), "dag_run": run, "run_id": "run"}
    assert _states_of(context, "launch_gpu") == states


class TestCluster:
    """What is launched is what is taken down."""

    @pytest.mark.parametrize(
        ("arguments", "ti"),
        [
            ({}, {}),
            ({}, {"map_index": 3}),
            ({"cluster_name": "demo"}, {}),
            ({"cluster_name": "demo-{{ params.who | length }}"}, {}),
        ],
    )
    def test_down_names_the_cluster_without_hearing_of_the_launch(
        self, arguments: dict[str, Any], ti: dict[str, Any]
    ) -> None:
        with make_dag() as dag, sky_cluster("gpu", **arguments):
            pass
        names = []
        for task_id in ("launch_gpu", "down_gpu"):
            operator: Any = dag.task_dict[task_id]
            context = context_of(operator, TaskInstance(task_id=task_id, **ti))
            operator.render_template_fields(context)
            names.append(operator.build_arguments(context)["cluster_name"])
        assert names[0] == names[1]

    def test_a_cluster_that_never_was_is_no_error(self, kubernetes: FakeKubernetes) -> None:
        def make() -> Any:
            with make_dag() as dag, sky_cluster("gpu"):
                pass
            return dag.task_dict["down_gpu"]

        run_task(make, kubernetes, TaskInstance(task_id="down_gpu"))
        request = kubernetes.request
        owner = Owner(deployment="airflow", dag_id="dag", run_id="manual__2026-01-01", task_id="launch_gpu")
        assert request.action == "down"
        assert request.arguments["cluster_name"] == cluster_name_for(owner)
        assert request.arguments["missing_ok"] is True

    def test_the_block_gets_the_name_as_another_tasks_output(self) -> None:
        with make_dag() as dag, sky_cluster("gpu") as cluster:
            pass
        assert isinstance(cluster, XComArg)
        assert cast("Any", cluster).operator is dag.task_dict["launch_gpu"]


class TestArguments:
    """What is for every Sky operator is for both tasks, the rest for the launch."""

    def test_they_are_shared_out(self) -> None:
        common: dict[str, Any] = {
            "deferrable": True,
            "pool": "gpus",
            "retries": 4,
            "credentials": [{"secret": "aws", "path": ".aws"}],
            "namespace": "elsewhere",
        }
        of_the_launch: dict[str, Any] = {
            "accelerators": "A100:1",
            "sky_task_yaml": {"setup": "make"},
            "idle_minutes_to_autostop": 5,
            "envs": {"A": "1"},
            "trigger_rule": "none_failed",
        }
        with make_dag() as dag, sky_cluster("gpu", **common, **of_the_launch):
            pass
        launch, down = dag.task_dict["launch_gpu"], dag.task_dict["down_gpu"]
        for name, value in common.items():
            assert (getattr(launch, name), getattr(down, name)) == (value, value)
        for name, value in of_the_launch.items():
            assert getattr(launch, name) == value
        assert down.trigger_rule == "all_done"

    def test_default_args_reach_both_and_decide_nothing_that_the_block_needs(self) -> None:
        with (
            make_dag(default_args={"deferrable": True, "auto_down": True, "wait": False, "dryrun": True}) as dag,
            sky_cluster(),
        ):
            pass
        launch, down = dag.task_dict["launch_cluster"], dag.task_dict["down_cluster"]
        assert isinstance(launch, SkyLaunchOperator)
        assert isinstance(down, SkyClusterDownOperator)
        assert launch.deferrable
        assert down.deferrable
        assert (launch.auto_down, launch.wait, launch.dryrun) == (False, True, False)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"auto_down": False}, "auto_down: sky_cluster sets it itself"),
            ({"wait": True}, "wait: sky_cluster sets it itself"),
            ({"cluster_name": "-"}, "cluster_name: '-' must start with a letter"),
        ],
    )
    def test_a_wrong_one_is_named_when_the_dag_is_read(self, arguments: dict[str, Any], message: str) -> None:
        with make_dag(), pytest.raises(SkyRequestError, match=re.escape(message)), sky_cluster("gpu", **arguments):
            pass

    def test_an_error_in_the_block_comes_through(self) -> None:
        with make_dag(), pytest.raises(ZeroDivisionError), sky_cluster():
            raise ZeroDivisionError
