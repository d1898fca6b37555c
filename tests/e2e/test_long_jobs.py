"""Long jobs: their logs come whole, whatever breaks on the way."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import pytest
from conftest import names_of_pods, pods_of_clusters, wait_until
from kubernetes_outage import kubernetes_is_away
from local_airflow import AIRFLOW_NAME
from numbered_lines import NumberedLines, count_lines

if TYPE_CHECKING:
    from faults import FaultTable
    from local_airflow import Kubectl, LocalAirflow

MODES = [pytest.param("", id="synchronous"), pytest.param("_deferred", id="deferred")]
SECONDS_TO_BEGIN = 400


def words(mode: str) -> str:
    return "deferred" if mode else "synchronous"


def is_printing(kubectl: Kubectl, dag_id: str) -> bool:
    pods = names_of_pods(kubectl, f"kubernetes_pod_operator=True,dag_id={dag_id}")
    return any("number 0" in kubectl("logs", "--tail=5", pod, check=False) for pod in pods)


def finish(airflow: LocalAirflow, kubectl: Kubectl, dag_id: str, run_id: str, timeout: float) -> NumberedLines:
    """Wait for the run and count its lines; fail if its task did not succeed at the first try."""
    airflow.wait_for_run(dag_id, run_id, timeout)
    task = airflow.task(dag_id, run_id, "task")
    counted = count_lines(kubectl, dag_id, run_id)
    assert task["state"] == "success", "\n".join(counted.other[-60:])
    assert task["try_number"] == 1
    return counted


@pytest.fixture(scope="module")
def printed(airflow: LocalAirflow, kubectl: Kubectl) -> dict[str, NumberedLines]:
    """Run both modes side by side."""
    runs = {mode: airflow.trigger(f"e2e_long_task{mode}") for mode in ("", "_deferred")}
    return {mode: finish(airflow, kubectl, f"e2e_long_task{mode}", run_id, 300) for mode, run_id in runs.items()}


@pytest.mark.parametrize("mode", MODES)
def test_each_of_many_lines_comes_once_and_in_order(printed: dict[str, NumberedLines], mode: str) -> None:
    counted = printed[mode]
    assert (counted.lost(20_000), counted.doubled, counted.highest) == (0, 0, 19_999)
    assert counted.in_order


@pytest.mark.parametrize("mode", MODES)
def test_the_last_line_before_a_silence_is_in_the_log_while_it_lasts(
    airflow: LocalAirflow, kubectl: Kubectl, mode: str
) -> None:
    dag_id = f"e2e_long_task{mode}"
    run_id = airflow.trigger(dag_id, {"lines": 1, "silent": 40, "heartbeat": 0})
    wait_until(
        "the line",
        lambda: any("[base] silent" in line for line in count_lines(kubectl, dag_id, run_id).other),
        SECONDS_TO_BEGIN,
    )
    (pod,) = names_of_pods(kubectl, f"kubernetes_pod_operator=True,dag_id={dag_id}")
    assert "number 0" not in kubectl("logs", pod), "the silence is over"
    finish(airflow, kubectl, dag_id, run_id, 300)


MANY_LINES = {"": 1_000_000, "_deferred": 300_000}
"""100 MB, which fill ten log files of Kubernetes' usual 10 MiB, and a part of that at the pace of a deferred task."""


@pytest.fixture(scope="module")
def printed_many(airflow: LocalAirflow, kubectl: Kubectl) -> dict[str, NumberedLines]:
    """Run both modes side by side."""
    runs = {mode: airflow.trigger(f"e2e_long_task{mode}", {"lines": lines}) for mode, lines in MANY_LINES.items()}
    return {mode: finish(airflow, kubectl, f"e2e_long_task{mode}", run_id, 1500) for mode, run_id in runs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_many_lines_come_whole_over_the_rotation_of_the_log(
    printed_many: dict[str, NumberedLines], faults: FaultTable, mode: str
) -> None:
    counted = printed_many[mode]
    faults.record(
        "the log is rotated by Kubernetes",
        f"while {MANY_LINES[mode] // 10_000} MB are printed, {words(mode)}",
        times=1,
        lost=counted.lost(MANY_LINES[mode]),
        doubled=counted.doubled,
        leaked=0,
        falsely_green=0,
    )
    assert counted.in_order


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_silent_task_says_that_it_is_at_work(airflow: LocalAirflow, kubectl: Kubectl, mode: str) -> None:
    run_id = airflow.trigger(f"e2e_long_task{mode}", {"lines": 1, "silent": 35, "heartbeat": 10})
    counted = finish(airflow, kubectl, f"e2e_long_task{mode}", run_id, 300)
    heartbeats = [line for line in counted.other if "No output for" in line]
    assert [seconds for seconds in (10, 20, 30) if any(f"for {seconds} s: bash" in line for line in heartbeats)] == [
        10,
        20,
        30,
    ]


@pytest.mark.slow
def test_a_kubernetes_api_that_is_away_for_a_minute_costs_nothing(
    airflow: LocalAirflow, kubectl: Kubectl, clusters: Kubectl, faults: FaultTable
) -> None:
    """The worker and the triggerer lose their pods, and those the jobs that they follow."""
    lines = 1500
    dag_ids = {mode: f"e2e_long_job{mode}" for mode in ("", "_deferred")}
    runs = {mode: airflow.trigger(dag_ids[mode], {"lines": lines, "per_second": 10}) for mode in dag_ids}
    for dag_id in dag_ids.values():
        wait_until(f"the job of {dag_id}", functools.partial(is_printing, kubectl, dag_id), SECONDS_TO_BEGIN)
    selector = f"kubernetes_pod_operator=True,dag_id in ({','.join(dag_ids.values())})"
    before = names_of_pods(kubectl, selector)
    with kubernetes_is_away(60):
        pass
    assert names_of_pods(kubectl, selector) == before
    counted = {mode: finish(airflow, kubectl, dag_ids[mode], runs[mode], 900) for mode in runs}
    for mode, of_mode in counted.items():
        faults.record(
            "the Kubernetes API is away for a minute",
            f"while a job is followed, {words(mode)}",
            times=1,
            lost=of_mode.lost(lines),
            doubled=of_mode.doubled,
            leaked=len(pods_of_clusters(clusters, "e2e-long-job")),
            falsely_green=0,
        )
        assert of_mode.in_order


@pytest.mark.slow
def test_a_triggerer_that_is_restarted_goes_on_where_it_was(
    airflow: LocalAirflow, kubectl: Kubectl, faults: FaultTable
) -> None:
    lines = 900
    run_id = airflow.trigger("e2e_long_task_deferred", {"lines": lines, "per_second": 10})
    wait_until("the task", lambda: is_printing(kubectl, "e2e_long_task_deferred"), SECONDS_TO_BEGIN)
    time.sleep(20)
    restarts = restarts_of_triggerer(kubectl)
    # As Kubernetes stops it, on a node that is drained or for another version.
    kubectl("exec", f"deployment/{AIRFLOW_NAME}", "-c", "triggerer", "--", "sh", "-c", "kill -TERM 1")
    wait_until("the triggerer's restart", lambda: restarts_of_triggerer(kubectl) > restarts, 120)
    counted = finish(airflow, kubectl, "e2e_long_task_deferred", run_id, 600)
    faults.record(
        "the triggerer is restarted",
        "while a deferred task's pod runs",
        times=1,
        lost=counted.lost(lines),
        doubled=counted.doubled,
        leaked=0,
        falsely_green=0,
    )


def restarts_of_triggerer(kubectl: Kubectl) -> int:
    return sum(
        status["restartCount"]
        for pod in kubectl.get("pods", "-l", "app.kubernetes.io/component=airflow")["items"]
        for status in pod["status"].get("containerStatuses", [])
        if status["name"] == "triggerer"
    )
