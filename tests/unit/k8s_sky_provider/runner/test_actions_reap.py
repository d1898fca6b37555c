"""A cluster is taken down if it is still of the run that is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode, Owner, SkyRequest
from k8s_sky_provider.runner import state
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

JANITOR = Owner(deployment="airflow", dag_id="maintenance", run_id="now", task_id="reap")
OLD = Owner(deployment="airflow", dag_id="dag", run_id="over", task_id="launch")
NEW = Owner(deployment="airflow", dag_id="dag", run_id="running", task_id="launch")
CLUSTERS = {name: {"dag_id": "dag", "run_id": "over"} for name in ("old", "taken-over", "gone", "ownerless")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, owner in (("old", OLD), ("taken-over", NEW), ("gone", OLD)):
        state.record_owner(FileStore(tmp_path), name, owner)
    return tmp_path


def act(home: Path, engine: FakeEngine, action: str, arguments: dict[str, Any]) -> Outcome:
    request = SkyRequest(action=action, arguments=arguments, owner=JANITOR)
    return ACTIONS[action](Run(request=request, engine=engine, home=home, store=FileStore(home)))


def test_only_what_is_still_of_that_run_goes(home: Path) -> None:
    engine = FakeEngine("old", "taken-over", "ownerless", "other")
    assert act(home, engine, "reap", {"clusters": CLUSTERS, "half_made": [], "dryrun": False}).return_value == ["old"]
    assert engine.clusters == {"taken-over", "ownerless", "other"}


def test_a_dry_run_names_them_and_takes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine("old")
    assert act(home, engine, "reap", {"clusters": CLUSTERS, "half_made": [], "dryrun": True}).return_value == ["old"]
    assert engine.calls == []
    assert "Cluster old: its run over of DAG dag is over" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "taken"), [("INIT", ["old"]), ("UP", [])])
def test_a_half_made_one_goes_unless_somebody_has_launched_it_again(status: str, taken: list[str], home: Path) -> None:
    engine = FakeEngine("old")
    engine.cluster_status = status
    arguments = {"clusters": CLUSTERS, "half_made": ["old"], "dryrun": False}
    assert act(home, engine, "reap", arguments).return_value == taken
    assert engine.clusters == {"old"} - set(taken)


def test_one_that_cannot_be_taken_down_does_not_keep_the_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    state.record_owner(FileStore(home), "older", OLD)
    engine = FakeEngine("old", "older")
    engine.fail("down", times=3, exit_code=ExitCode.CREDENTIALS_REFUSED)
    clusters = {name: {"dag_id": "dag", "run_id": "over"} for name in ("old", "older")}
    with pytest.raises(ActionFailedError, match="cluster old could not be taken down and may still cost") as caught:
        act(home, engine, "reap", {"clusters": clusters, "half_made": [], "dryrun": False})
    assert caught.value.exit_code is ExitCode.TRY_AGAIN
    assert engine.clusters == {"old"}


@pytest.mark.parametrize("owners", [False, True])
def test_the_status_tells_who_launched_a_cluster(owners: bool, home: Path) -> None:
    arguments = dict.fromkeys(("cluster_names", "refresh", "ip", "endpoints", "all_users")) | {"owners": owners}
    rows = act(home, FakeEngine("old", "by-hand"), "status", arguments).return_value
    cells = {"dag_id": "dag", "run_id": "over", "task_id": "launch", "map_index": -1} if owners else {}
    assert {row["name"]: row for row in rows} == {
        "old": {"name": "old", "status": "UP", **cells},
        "by-hand": {"name": "by-hand", "status": "UP"},
    }
