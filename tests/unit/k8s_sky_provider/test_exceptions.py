"""Each exit code is one exception, and those that a second try cannot help are not retried."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from k8s_sky_provider import exceptions
from k8s_sky_provider.exceptions import SkyPilotError, error_for
from k8s_sky_provider.protocol import SkyResult


@pytest.mark.parametrize(
    ("exit_code", "fail_fast", "expected", "retried"),
    [
        (64, False, exceptions.SkyRequestError, False),
        (65, False, exceptions.SkyJobFailedError, True),
        (66, False, exceptions.SkySetupFailedError, True),
        (69, False, exceptions.SkyResourcesUnavailableError, True),
        (70, False, exceptions.SkyPilotError, True),
        (75, False, exceptions.SkyTransientError, True),
        (77, False, exceptions.SkyCredentialsError, False),
        (78, False, exceptions.SkyDeploymentError, False),
        (79, False, exceptions.SkyEvictedError, True),
        (143, False, exceptions.SkyCancelledError, True),
        (99, False, exceptions.SkyPilotError, True),
        (64, True, exceptions.SkyRequestError, False),
        (65, True, exceptions.SkyJobFailedFastError, False),
        (66, True, exceptions.SkySetupFailedFastError, False),
        (69, True, exceptions.SkyResourcesUnavailableError, True),
        (75, True, exceptions.SkyTransientError, True),
    ],
)
def test_an_exit_code_has_its_exception(
    *, exit_code: int, fail_fast: bool, expected: type[SkyPilotError], retried: bool
) -> None:
    error = error_for(SkyResult(action="launch", exit_code=exit_code, reason="because"), fail_fast=fail_fast)
    assert type(error) is expected
    assert isinstance(error, AirflowException)
    assert isinstance(error, AirflowFailException) is not retried


def test_a_failed_setup_is_a_failed_job_for_those_who_catch_it() -> None:
    assert issubclass(exceptions.SkySetupFailedError, exceptions.SkyJobFailedError)
    assert issubclass(exceptions.SkySetupFailedFastError, exceptions.SkyJobFailedFastError)


def test_the_text_has_the_reason_first_and_the_log_after_it() -> None:
    result = SkyResult(action="exec", exit_code=65, reason="Job 7 failed", log_tail=["line 1", "line 2"])
    error = error_for(result, fail_fast=False)
    assert str(error) == "Job 7 failed\nLast lines of the log:\nline 1\nline 2"
    assert error.reason == "Job 7 failed"
    assert error.result is result


def test_a_result_without_a_reason_still_says_what_failed() -> None:
    assert str(error_for(SkyResult(action="down", exit_code=70), fail_fast=False)) == "sky down ended with exit code 70"
