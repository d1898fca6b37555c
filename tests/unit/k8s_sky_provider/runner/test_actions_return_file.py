"""What a job writes into return_file is the task's value, or the reason why it failed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import RETURN_VALUE_LIMIT, ExitCode, Owner, SkyRequest, SkyResult, TaskOverrides
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import JOB_ID, FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".k8s_sky/calls/train/result.json"
COMMON: dict[str, Any] = {
    "task": {"run": "python3 train.py"},
    "cluster_name": "demo",
    "overrides": dataclasses.asdict(TaskOverrides()),
    "wait": True,
    "return_file": FILE,
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "exec": COMMON,
    "launch": {
        **COMMON,
        "auto_down": True,
        "retry_until_up": False,
        "no_setup": False,
        "fast": False,
        "resize": False,
        "clone_disk_from": None,
        "dryrun": False,
    },
}


@pytest.fixture(params=sorted(ARGUMENTS))
def action(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine("demo")


def perform(home: Path, engine: FakeEngine, action: str, **arguments: Any) -> Outcome:
    owner = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="train")
    request = SkyRequest(action=action, arguments={**ARGUMENTS[action], **arguments}, owner=owner)
    return ACTIONS[action](Run(request=request, engine=engine, home=home, store=FileStore(home)))


@pytest.mark.parametrize(
    ("content", "value"),
    [(b'{"return_value": {"loss": 0.5}}', {"loss": 0.5}), (b'{"return_value": null}', None)],
)
def test_the_value_is_returned(tmp_path: Path, engine: FakeEngine, action: str, content: bytes, value: object) -> None:
    engine.files[FILE] = content
    outcome = perform(tmp_path, engine, action)
    assert (outcome.exit_code, outcome.return_value, outcome.job_status) == (ExitCode.OK, value, "SUCCEEDED")


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}"])
def test_a_job_that_wrote_no_value_has_failed(
    tmp_path: Path, engine: FakeEngine, action: str, content: bytes | None
) -> None:
    if content is not None:
        engine.files[FILE] = content
    with pytest.raises(ActionFailedError, match="wrote no return value into ~/") as error:
        perform(tmp_path, engine, action)
    assert error.value.exit_code == ExitCode.JOB_FAILED


def test_the_reason_of_a_failed_job_comes_first(tmp_path: Path, engine: FakeEngine, action: str) -> None:
    engine.job_ends_as, engine.exit_codes = "FAILED", [1]
    engine.files[FILE] = b'{"reason": "ValueError: no data\\nin part 3"}'
    outcome = perform(tmp_path, engine, action)
    assert outcome.exit_code == ExitCode.JOB_FAILED
    assert outcome.reason == (
        f"ValueError: no data in part 3 (Job {JOB_ID} on cluster demo ended as FAILED, exit codes by node: [1])"
    )


@pytest.mark.parametrize("content", [None, b"{", b'{"return_value": 1}'])
def test_a_failed_job_that_gave_no_reason_is_one_like_any_other(
    tmp_path: Path, engine: FakeEngine, action: str, content: bytes | None
) -> None:
    engine.job_ends_as = "FAILED"
    if content is not None:
        engine.files[FILE] = content
    outcome = perform(tmp_path, engine, action)
    assert outcome.reason == f"Job {JOB_ID} on cluster demo ended as FAILED"


def test_a_failed_job_stays_one_when_its_file_cannot_be_read(tmp_path: Path, engine: FakeEngine, action: str) -> None:
    engine.job_ends_as = "FAILED"
    engine.fail("read_file")
    assert perform(tmp_path, engine, action).exit_code == ExitCode.JOB_FAILED


def test_a_failed_setup_has_written_nothing(tmp_path: Path, engine: FakeEngine, action: str) -> None:
    engine.job_ends_as = "FAILED_SETUP"
    assert perform(tmp_path, engine, action).exit_code == ExitCode.SETUP_FAILED
    assert f"read_file demo {FILE}" not in engine.calls


def test_the_file_is_read_before_the_cluster_goes(tmp_path: Path, engine: FakeEngine) -> None:
    engine.clusters.clear()
    engine.files[FILE] = b'{"return_value": 1}'
    assert perform(tmp_path, engine, "launch").return_value == 1
    assert engine.calls[-2:] == [f"read_file demo {FILE}", "down demo"]


@pytest.mark.parametrize("failing", ["job", "read_file"])
def test_the_cluster_goes_whatever_came_of_the_file(tmp_path: Path, engine: FakeEngine, failing: str) -> None:
    engine.clusters.clear()
    if failing == "job":
        engine.job_ends_as = "FAILED"
        perform(tmp_path, engine, "launch")
    else:
        engine.fail("read_file")
        with pytest.raises(ActionFailedError):
            perform(tmp_path, engine, "launch")
    assert engine.calls[-1] == "down demo"


def test_without_a_file_the_value_is_the_clusters_name(tmp_path: Path, engine: FakeEngine, action: str) -> None:
    assert perform(tmp_path, engine, action, return_file=None).return_value == "demo"


@pytest.mark.parametrize("letter", ["x", "é", "\x01"])
def test_a_value_within_the_limit_arrives_whole(letter: str) -> None:
    result = SkyResult(
        action="launch",
        exit_code=ExitCode.OK,
        return_value=letter * ((RETURN_VALUE_LIMIT - 2) // len(letter.encode() if letter != "\x01" else r"\u0001")),
        cluster_name="c" * 63,
        job_id=10**6,
        job_status="SUCCEEDED",
    )
    assert result.fits()


class TestDown:
    """Taking down what may never have been there."""

    @pytest.mark.parametrize(("missing_ok", "fails"), [(True, False), (False, True), (None, True)])
    def test_a_name_that_skypilot_never_had(self, tmp_path: Path, *, missing_ok: bool | None, fails: bool) -> None:
        owner = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="down")
        arguments: dict[str, Any] = {
            "cluster_name": "demo",
            "purge": False,
            "graceful": False,
            "graceful_timeout": None,
            **({} if missing_ok is None else {"missing_ok": missing_ok}),
        }
        run = Run(
            request=SkyRequest(action="down", arguments=arguments, owner=owner),
            engine=FakeEngine(),
            home=tmp_path,
            store=FileStore(tmp_path),
        )
        if fails:
            with pytest.raises(ActionFailedError, match="SkyPilot never had a cluster 'demo'"):
                ACTIONS["down"](run)
        else:
            assert ACTIONS["down"](run).return_value == "demo"


DEEP = b"[" * 500 + b"]" * 500


@pytest.mark.parametrize("content", [b'{"return_value": ' + DEEP + b"}", b"[" * 60_000], ids=["deep", "bottomless"])
@pytest.mark.parametrize(
    ("ends_as", "exit_code"), [("SUCCEEDED", ExitCode.JOB_FAILED), ("FAILED", ExitCode.JOB_FAILED)]
)
def test_a_value_that_nobody_can_copy_fails_the_job_and_keeps_no_cluster(
    tmp_path: Path, engine: FakeEngine, content: bytes, ends_as: str, exit_code: ExitCode
) -> None:
    engine.clusters.clear()
    engine.files[FILE] = content
    engine.job_ends_as = ends_as
    if ends_as == "FAILED":
        assert perform(tmp_path, engine, "launch").exit_code == exit_code
    else:
        with pytest.raises(ActionFailedError) as caught:
            perform(tmp_path, engine, "launch")
        assert caught.value.exit_code == exit_code
    assert engine.clusters == set()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999"])
def test_a_number_that_json_has_not_fails_the_job(tmp_path: Path, action: str, engine: FakeEngine, number: str) -> None:
    engine.files[FILE] = f'{{"return_value": [{number}]}}'.encode()
    with pytest.raises(ActionFailedError, match="has NaN or an infinite number") as caught:
        perform(tmp_path, engine, action)
    assert caught.value.exit_code is ExitCode.JOB_FAILED
