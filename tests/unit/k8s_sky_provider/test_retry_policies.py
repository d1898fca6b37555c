"""The retry policy: what may pass soon is tried again soon, resources later, and the rest as the task says."""

from __future__ import annotations

import importlib
import sys
import types
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

import k8s_sky_provider
from k8s_sky_provider import exceptions
from unit.k8s_sky_provider.airflow_version import AIRFLOW

if TYPE_CHECKING:
    from airflow.sdk import Context

if AIRFLOW >= (3, 3):
    from airflow.sdk import RetryAction

    from k8s_sky_provider.retry_policies import SkyRetryPolicy

has_policies = pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has retry policies since 3.3")

MINUTE = 60


def delays(error: BaseException, tries: int = 8) -> list[float | None]:
    decisions = [SkyRetryPolicy().evaluate(error, number, max_tries=tries) for number in range(1, tries + 1)]
    assert {decision.action for decision in decisions} == {RetryAction.RETRY}
    return [decision.retry_delay.total_seconds() if decision.retry_delay else None for decision in decisions]


@has_policies
@pytest.mark.parametrize(
    "error",
    [
        exceptions.SkyTransientError,
        exceptions.SkyPodFailedError,
        exceptions.SkyCancelledError,
        exceptions.SkyEvictedError,
    ],
)
def test_what_may_pass_soon_is_tried_again_soon_and_ever_later(error: type[exceptions.SkyPilotError]) -> None:
    assert delays(error("lost")) == [30, 60, 120, 240, 480, 600, 600, 600]


@has_policies
def test_resources_are_asked_for_again_after_minutes() -> None:
    error = exceptions.SkyResourcesUnavailableError("none")
    assert delays(error) == [5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, *[60 * MINUTE] * 4]


@has_policies
def test_the_delay_has_a_bound_however_often_was_tried() -> None:
    decision = SkyRetryPolicy().evaluate(exceptions.SkyTransientError("lost"), 100_000, max_tries=100_000)
    assert decision.retry_delay == timedelta(minutes=10)


@has_policies
@pytest.mark.parametrize(
    "error",
    [
        exceptions.SkyJobFailedError("its code"),
        exceptions.SkySetupFailedError("its packages"),
        exceptions.SkyPilotError("nobody foresaw it"),
        ValueError("not ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_rest_is_as_the_task_says(error: BaseException) -> None:
    assert SkyRetryPolicy().evaluate(error, 1, max_tries=3).action is RetryAction.DEFAULT


@has_policies
def test_a_cleared_task_begins_with_the_first_delay() -> None:
    ti = types.SimpleNamespace(task=types.SimpleNamespace(retries=3))
    context = cast("Context", {"ti": ti})
    # Three tries, and cleared: Airflow lets the fourth to the seventh come.
    decision = SkyRetryPolicy().evaluate(exceptions.SkyTransientError("lost"), 4, max_tries=6, context=context)
    assert decision.retry_delay == timedelta(seconds=30)


@has_policies
def test_the_delays_can_be_chosen_and_survive_serialization() -> None:
    policy = SkyRetryPolicy(soon=timedelta(seconds=1), resources=timedelta(seconds=2))
    copy = SkyRetryPolicy.deserialize(policy.serialize())
    assert vars(copy) == vars(policy)
    decision = copy.evaluate(exceptions.SkyResourcesUnavailableError("none"), 1, max_tries=1)
    assert decision.retry_delay == timedelta(seconds=2)


def test_an_airflow_without_policies_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # None is how a module that cannot be imported stands there.
    monkeypatch.setitem(sys.modules, "airflow.sdk", None)
    monkeypatch.delitem(sys.modules, "k8s_sky_provider.retry_policies", raising=False)
    with pytest.raises(
        ImportError, match=r"SkyRetryPolicy needs Airflow 3\.3 or newer, not \d.*: leave out retry_policy"
    ):
        importlib.import_module("k8s_sky_provider.retry_policies")


def test_no_other_module_needs_it_because_older_airflows_have_no_policies() -> None:
    package = Path(k8s_sky_provider.__file__).parent
    others = [path for path in package.rglob("*.py") if path.name != "retry_policies.py"]
    assert not [path for path in others if "retry_policies" in path.read_text()]
