"""A task instance never has two runners at work, and no job is orphaned between two tries."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.exceptions import SkyTransientError
from k8s_sky_provider.operators import SkyLaunchOperator
from unit.k8s_sky_provider.fake_kubernetes import api_error, ended, evicted, running
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag
from unit.k8s_sky_provider.operators.test_other_containers import beside_a_log_shipper

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubernetes.client import models as k8s

    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")


def take_up(ti: TaskInstance | None = None, store: Any = None, **arguments: Any) -> Any:
    """Return the pod that a try of the task gets."""
    operator = SkyLaunchOperator(
        task_id="task", dag=make_dag(), cluster_name="demo", sky_task_yaml={"run": "echo"}, **arguments
    )
    context = context_of(operator, ti or TaskInstance(max_tries=2))
    context["task_state_store"] = store
    operator._begin_try(context)
    operator.render_template_fields(context)
    return operator.get_or_create_pod(operator.build_pod_request_obj(context), context)


NEXT = TaskInstance(try_number=2, max_tries=2)


@pytest.fixture
def earlier(kubernetes: FakeKubernetes) -> Any:
    """Return the pod of a first try, at work on a node."""
    kubernetes.life = lambda _: [running()]
    take_up()
    kubernetes.pod.spec.node_name = "node"
    return kubernetes.pod


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[float]]:
    """Return what lets something happen while the next try waits."""

    def wait(happen: Callable[[], None]) -> list[float]:
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) > 5:
                pytest.fail("it waits for ever")
            if len(waits) == 3:
                happen()

        monkeypatch.setattr(time, "sleep", sleep)
        return waits

    return wait


def terminate(pod: Any, *, seconds_ago: float) -> None:
    pod.metadata.deletion_timestamp = dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=seconds_ago)


class TestAtWork:
    """A pod at work is taken up."""

    @pytest.mark.parametrize(
        "changed",
        [{}, {"image": "registry.example.com/skypilot:2"}, {"labels": {"team": "b"}}, {"auto_down": False}],
        ids=["nothing", "the image", "the labels", "the arguments"],
    )
    def test_whatever_a_deployment_has_changed(
        self, earlier: Any, kubernetes: FakeKubernetes, changed: dict[str, Any]
    ) -> None:
        assert take_up(NEXT, **changed).metadata.name == earlier.metadata.name
        assert len(kubernetes.created) == 1

    def test_nor_what_kubernetes_writes_where_a_pod_names_no_service_account(self, earlier: Any) -> None:
        earlier.spec.service_account_name = "default"
        assert take_up(NEXT).metadata.name == earlier.metadata.name

    def test_but_not_one_of_another_service_account(self, earlier: Any, kubernetes: FakeKubernetes) -> None:
        earlier.spec.service_account_name = "somebody"
        assert take_up(NEXT).metadata.name != earlier.metadata.name
        assert kubernetes.deleted == []

    def test_one_of_before_a_clear_is_killed_first(
        self, earlier: Any, kubernetes: FakeKubernetes, meanwhile: Callable[[Any], list[float]]
    ) -> None:
        meanwhile(lambda: None)
        taken = take_up(TaskInstance(try_number=2, max_tries=3))
        assert taken.metadata.name != earlier.metadata.name
        assert [(one.name, one.word) for one in kubernetes.deleted] == [(earlier.metadata.name, "1")]

    def test_without_reattach_it_is_evicted_first(
        self, earlier: Any, kubernetes: FakeKubernetes, meanwhile: Callable[[Any], list[float]]
    ) -> None:
        meanwhile(lambda: None)
        taken = take_up(NEXT, reattach_on_restart=False)
        assert taken.metadata.name != earlier.metadata.name
        assert [(one.name, one.word) for one in kubernetes.deleted] == [(earlier.metadata.name, None)]

    def test_one_that_is_gone_before_it_is_taken_up_is_followed_by_a_new_one(
        self, earlier: Any, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patch = kubernetes.patch_namespaced_pod

        def patch_late(*arguments: Any, **options: Any) -> Any:
            kubernetes.remove()
            return patch(*arguments, **options)

        monkeypatch.setattr(kubernetes, "patch_namespaced_pod", patch_late)
        assert take_up(NEXT).metadata.name != earlier.metadata.name

    def test_nobody_goes_on_with_one_that_cannot_be_told(
        self, earlier: Any, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise api_error(403, 'User "airflow" cannot patch resource "pods"')

        monkeypatch.setattr(kubernetes, "patch_namespaced_pod", refuse)
        with pytest.raises(SkyTransientError, match="cannot patch"):
            take_up(NEXT)
        assert kubernetes.left_over == [earlier.metadata.name]

    @pytest.mark.parametrize(
        ("error", "is_ended_already"),
        [(api_error(404, "gone"), True), (api_error(403, "no"), False)],
        ids=["gone", "no right"],
    )
    def test_one_that_cannot_be_ended_is_left_only_if_it_is_gone(
        self,
        earlier: Any,
        kubernetes: FakeKubernetes,
        meanwhile: Callable[[Any], list[float]],
        monkeypatch: pytest.MonkeyPatch,
        *,
        error: Any,
        is_ended_already: bool,
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise error

        meanwhile(kubernetes.remove)
        monkeypatch.setattr(kubernetes, "delete_namespaced_pod", refuse)
        with contextlib.nullcontext() if is_ended_already else pytest.raises(SkyTransientError):
            assert take_up(NEXT, reattach_on_restart=False).metadata.name != earlier.metadata.name


class TestEnded:
    """The result of a pod that has ended is taken, unless somebody has seen it."""

    @pytest.fixture
    def ended_one(self, earlier: Any, kubernetes: FakeKubernetes) -> Any:
        kubernetes._stages[earlier.metadata.name] = [ended(0)]
        return earlier

    def test_it_is_taken_where_it_is_kept(self, ended_one: Any) -> None:
        assert take_up(NEXT, on_finish_action="keep_pod").metadata.name == ended_one.metadata.name

    def test_not_where_it_is_deleted(self, ended_one: Any, kubernetes: FakeKubernetes) -> None:
        assert take_up(NEXT).metadata.name != ended_one.metadata.name
        assert [one.name for one in kubernetes.deleted] == [ended_one.metadata.name]

    def test_nor_where_reattach_on_restart_says_so(self, ended_one: Any) -> None:
        taken = take_up(NEXT, on_finish_action="keep_pod", reattach_on_restart=False)
        assert taken.metadata.name != ended_one.metadata.name

    def test_nor_one_of_before_a_clear(self, ended_one: Any) -> None:
        taken = take_up(TaskInstance(try_number=2, max_tries=3), on_finish_action="keep_pod")
        assert taken.metadata.name != ended_one.metadata.name

    def test_nor_one_that_a_try_has_seen(self, ended_one: Any) -> None:
        ended_one.metadata.labels["already_checked"] = "True"
        assert take_up(NEXT, on_finish_action="keep_pod").metadata.name != ended_one.metadata.name


class TestEnding:
    """A pod that ends is waited for, as long as there is somebody who ends it."""

    @pytest.mark.parametrize("reattach", [True, False])
    def test_the_next_pod_is_made_when_it_has_ended(
        self, earlier: Any, kubernetes: FakeKubernetes, meanwhile: Callable[[Any], list[float]], reattach: bool
    ) -> None:
        terminate(earlier, seconds_ago=-200)
        waits = meanwhile(kubernetes.remove)
        assert take_up(NEXT, reattach_on_restart=reattach).metadata.name != earlier.metadata.name
        assert len(waits) == 3
        assert kubernetes.deleted == []

    def test_nor_does_airflows_store_bring_it_back(
        self, earlier: Any, kubernetes: FakeKubernetes, meanwhile: Callable[[Any], list[float]]
    ) -> None:
        terminate(earlier, seconds_ago=-200)
        meanwhile(kubernetes.remove)
        store = {"pod_identifier": {"name": earlier.metadata.name, "namespace": "sky"}}
        assert take_up(NEXT, store).metadata.name != earlier.metadata.name

    @pytest.mark.parametrize(
        "end",
        [ended(143), evicted("The node was low on resource: memory."), beside_a_log_shipper(ended(143))],
        ids=["ended", "evicted before it started", "beside a container that goes on"],
    )
    def test_one_whose_runner_has_ended_is_not_waited_for(
        self, earlier: Any, kubernetes: FakeKubernetes, end: k8s.V1PodStatus
    ) -> None:
        terminate(earlier, seconds_ago=-200)
        kubernetes._stages[earlier.metadata.name] = [end]
        assert take_up(NEXT, on_finish_action="keep_pod").metadata.name != earlier.metadata.name

    def test_one_that_no_node_has_is_removed_by_force(
        self, earlier: Any, kubernetes: FakeKubernetes, meanwhile: Callable[[Any], list[float]]
    ) -> None:
        terminate(earlier, seconds_ago=60)
        earlier.spec.node_name = None
        meanwhile(kubernetes.remove)
        take_up(NEXT)
        assert [one.grace_period_seconds for one in kubernetes.deleted] == [0]

    @pytest.mark.parametrize(
        ("overdue", "node", "is_removed"),
        [
            (-10, False, False),
            (60, False, True),
            (60, True, False),
            (60, api_error(404, "gone"), True),
            (60, api_error(403, "no"), False),
            (600, api_error(403, "no"), True),
        ],
        ids=["in time", "not ready", "ready", "no node", "no right to look", "no right to look for long"],
    )
    def test_one_on_a_lost_node_is_removed_by_force(
        self,
        earlier: Any,
        kubernetes: FakeKubernetes,
        meanwhile: Callable[[Any], list[float]],
        *,
        overdue: float,
        node: Any,
        is_removed: bool,
    ) -> None:
        terminate(earlier, seconds_ago=overdue)
        kubernetes.nodes["node"] = node
        waits = meanwhile(kubernetes.remove)
        take_up(NEXT)
        assert len(waits) == (1 if is_removed else 3)
        assert [one.grace_period_seconds for one in kubernetes.deleted] == ([0] if is_removed else [])
