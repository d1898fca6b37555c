"""Only clusters whose run is over are taken down, and only those that nobody keeps on purpose."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import UserList
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import SkyLaunchOperator, SkyReapOperator
from k8s_sky_provider.operators.base import cluster_name_for
from k8s_sky_provider.operators.earlier_pods import OWNER_ANNOTATION
from k8s_sky_provider.protocol import Owner
from unit.k8s_sky_provider.airflow_version import AIRFLOW
from unit.k8s_sky_provider.fake_kubernetes import running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")

ALIVE = {("dag", "running"), ("dag", "queued")}
OVER_HERE = {("dag", "over")}


@dataclasses.dataclass
class Airflow(TaskInstance):
    """A task instance that knows which runs are alive."""

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        known = ALIVE if states == ["queued", "running"] else OVER_HERE
        assert states in (["queued", "running"], ["success", "failed"])
        return sum((dag_id, run_id) in known for run_id in run_ids)


def row(run_id: str, name: str | None = None) -> dict[str, Any]:
    owner = {"dag_id": "dag", "run_id": run_id, "task_id": "launch", "map_index": -1}
    return {"name": name or cluster_name_for(Owner(deployment="airflow", **owner)), "status": "UP", **owner}  # type: ignore[arg-type]  # the keys are the fields


OVER, RUNNING, QUEUED = row("over"), row("running"), row("queued")
NAMED, NAMED_RUNNING = row("over", "dev-box"), row("running", "dev-box-2")
ROWS = [OVER, RUNNING, QUEUED, NAMED, NAMED_RUNNING, {"name": "by-hand", "status": "UP"}]


def arguments_of(clusters: Any, ti: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    operator = SkyReapOperator(task_id="reap", dag=make_dag(), clusters=clusters, **arguments)
    context = context_of(operator, ti or Airflow())
    operator.render_template_fields(context)
    return operator.build_arguments(context)


@pytest.mark.parametrize("kind", [list, tuple, UserList])
def test_a_cluster_of_a_run_that_is_over_goes(kind: Any) -> None:
    assert arguments_of(kind(ROWS)) == {
        "clusters": {OVER["name"]: {"dag_id": "dag", "run_id": "over", "task_id": "launch", "map_index": -1}},
        "half_made": [],
        "dryrun": False,
    }


def test_a_half_made_one_goes_whatever_its_name() -> None:
    half_made = {**row("over", "dev-box"), "status": "INIT"}
    with_autostop = {**row("over", "dev-box-3"), "status": "INIT", "autostop": 60}
    running = {**row("running", "dev-box-2"), "status": "INIT"}
    arguments = arguments_of([half_made, with_autostop, running, NAMED])
    assert (set(arguments["clusters"]), arguments["half_made"]) == ({"dev-box"}, ["dev-box", "dev-box-2"])


def test_one_with_a_name_of_its_own_goes_when_asked_for() -> None:
    assert set(arguments_of(ROWS, named=True)["clusters"]) == {OVER["name"], "dev-box"}


@pytest.mark.parametrize("known_runs_only", [True, "yes", "{{ 1 == 1 }}"])
def test_a_run_of_another_airflow_is_left(known_runs_only: Any) -> None:
    rows = [*ROWS, row("of another Airflow")]
    assert set(arguments_of(rows)["clusters"]) == {OVER["name"], rows[-1]["name"]}
    assert set(arguments_of(rows, known_runs_only=known_runs_only)["clusters"]) == {OVER["name"]}


def test_a_dry_run_is_one() -> None:
    assert arguments_of([], dryrun=True) == {"clusters": {}, "half_made": [], "dryrun": True}


def test_airflow_is_asked_once_about_each_run(kubernetes: FakeKubernetes) -> None:
    class Counting(Airflow):
        def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
            asked.extend(run_ids)
            return super().get_dr_count(dag_id=dag_id, run_ids=run_ids, states=states)

    asked: list[str] = []
    rows = [*ROWS, row("over", "second"), row("running", "third")]
    run_task(lambda: SkyReapOperator(task_id="reap", dag=make_dag(), clusters=rows, named=True), kubernetes, Counting())
    assert sorted(asked) == ["over", "queued", "running"]
    assert set(kubernetes.request.arguments["clusters"]) == {OVER["name"], "dev-box", "second"}


@pytest.mark.parametrize("clusters", [None, 7, {"name": "demo"}, ["demo"], [{"status": "UP"}]], ids=str)
def test_what_is_no_status_is_refused(clusters: Any) -> None:
    with pytest.raises(SkyRequestError, match="clusters: must be what SkyStatusOperator"):
        arguments_of(clusters)


@pytest.mark.skipif(AIRFLOW >= (3, 0), reason="a task of Airflow 3 asks its API server; that of Airflow 2 the database")
def test_airflow_2_looks_for_the_runs_itself() -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    make_run: Any = DagRun
    with create_session() as session:
        for run_id, state in {"running": "running", "queued": "queued", "done": "success"}.items():
            now = dt.datetime.now(tz=dt.UTC)
            session.add(make_run(dag_id="dag", run_id=run_id, state=state, run_type="manual", execution_date=now))
    rows = [*ROWS, row("done")]
    assert set(arguments_of(rows, ti=TaskInstance())["clusters"]) == {OVER["name"], row("done")["name"]}
    assert set(arguments_of(rows, ti=TaskInstance(), known_runs_only=True)["clusters"]) == {row("done")["name"]}


class TestPods:
    """A task that is ended between two tries reaches its pod no more."""

    def reap(
        self, kubernetes: FakeKubernetes, states: dict[str, str], **arguments: Any
    ) -> list[tuple[str, str | None]]:
        """Return which pods are deleted of a task that has been left at work, and what they were told."""
        kubernetes.life = lambda _: [running()]
        launch = SkyLaunchOperator(task_id="task", dag=make_dag(), cluster_name="demo", sky_task_yaml={"run": "echo"})
        context = context_of(launch, Airflow(try_number=2, max_tries=2))
        launch._begin_try(context)
        launch.get_or_create_pod(launch.build_pod_request_obj(context), context)
        operator = SkyReapOperator(task_id="reap", dag=make_dag(), clusters=[], **arguments)
        context = context_of(operator, Airflow(task_id="reap", task_states=states))
        operator._begin_try(context)
        operator.get_or_create_pod(operator.build_pod_request_obj(context), context)
        return [(one.name, one.word) for one in kubernetes.deleted]

    @pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed"])
    def test_one_whose_task_has_ended_is_killed(self, kubernetes: FakeKubernetes, state: str) -> None:
        assert self.reap(kubernetes, {"task": state}) == [(kubernetes.created[0].metadata.name, "2")]

    @pytest.mark.parametrize(
        "states",
        [{}, *({"task": state} for state in ("up_for_retry", "running", "deferred", "queued", "restarting"))],
        ids=str,
    )
    def test_others_are_left(self, kubernetes: FakeKubernetes, states: dict[str, str]) -> None:
        assert self.reap(kubernetes, states) == []

    @pytest.mark.parametrize(
        "said",
        ["", "{", "[]", '"x"', '{"dag_id": "dag"}', '{"dag_id": 1, "run_id": "", "task_id": "", "map_index": ""}'],
    )
    def test_one_that_does_not_say_whose_it_is_is_left(
        self, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, said: str
    ) -> None:
        make = kubernetes.create_namespaced_pod

        def forged(body: Any, namespace: str) -> Any:
            body["metadata"]["annotations"][OWNER_ANNOTATION] = said
            return make(body, namespace)

        monkeypatch.setattr(kubernetes, "create_namespaced_pod", forged)
        assert self.reap(kubernetes, {"task": "failed"}) == []

    def test_a_dry_run_ends_none(self, kubernetes: FakeKubernetes) -> None:
        assert self.reap(kubernetes, {"task": "failed"}, dryrun=True) == []


def test_a_name_that_is_a_path_is_refused() -> None:
    with pytest.raises(SkyRequestError, match=r"clusters: '\.\./.*evil' must start with a letter"):
        arguments_of([row("over", "../../../sky_workdir/evil")], named=True)
