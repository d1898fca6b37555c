"""What docs/versions.md says of a worker that is stopped, on the Airflow that the tests run on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from k8s_sky_provider.operators import SkyLaunchOperator
from unit.k8s_sky_provider.airflow_version import AIRFLOW
from unit.k8s_sky_provider.operators.running import TaskInstance, context_of, make_dag, run_task

if TYPE_CHECKING:
    from unit.k8s_sky_provider.fake_kubernetes import FakeKubernetes

pytestmark = pytest.mark.usefixtures("deployment")


def make_launch(**arguments: Any) -> SkyLaunchOperator:
    return SkyLaunchOperator(
        task_id="task", dag=make_dag(), cluster_name="demo", sky_task_yaml={"run": "echo"}, **arguments
    )


def lose_worker(operator: SkyLaunchOperator) -> None:
    """Run a task until its pod is there, and no further: nothing tells it that its worker goes."""
    context = context_of(operator)
    operator.render_template_fields(context)
    operator.get_or_create_pod(operator.build_pod_request_obj(context), context)


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_next_try_goes_on_with_the_pod(kubernetes: FakeKubernetes, deferrable: bool) -> None:
    lose_worker(make_launch(deferrable=deferrable))
    ti = run_task(lambda: make_launch(deferrable=deferrable), kubernetes, TaskInstance(try_number=2))
    assert len(kubernetes.created) == 1
    assert ti.xcom["return_value"] == "demo"
    assert kubernetes.left_over == []


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has no supervisor; its LocalTaskJob passes SIGTERM on")
def test_a_task_is_told_that_its_worker_is_stopped_since_airflow_3_3() -> None:
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess

    before = signal.getsignal(signal.SIGTERM)
    meanwhile = []
    process = MagicMock(_exit_code=None)
    process._monitor_subprocess = lambda: meanwhile.append(signal.getsignal(signal.SIGTERM))
    ActivitySubprocess.wait(process)
    assert (meanwhile[0] is not before) == (AIRFLOW >= (3, 3))
