"""What is done to volumes and buckets, and when a cloud that is missing is an error. SkyPilot is a fake."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from k8s_sky_provider.protocol import ExitCode, Owner, SkyRequest
from k8s_sky_provider.runner.actions import ACTIONS, Outcome, Run
from k8s_sky_provider.runner.failure import ActionFailedError
from k8s_sky_provider.runner.store import FileStore
from unit.k8s_sky_provider.fake_engine import FakeEngine

OWNER = Owner(deployment="airflow", dag_id="dag", run_id="run", task_id="task")


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.volumes = ["data-1", "data-2", "models"]
    engine.buckets = ["data-1", "data-2", "models"]
    return engine


def do(engine: FakeEngine, action: str, **arguments: Any) -> Outcome:
    request = SkyRequest(action=action, arguments=arguments, owner=OWNER)
    home = Path("/home/sky")
    return ACTIONS[action](Run(request=request, engine=engine, home=home, store=FileStore(home)))


@pytest.mark.parametrize("volume", [{"name": "data"}, "~/sky_workdir/volume.yaml"])
def test_a_volume_is_applied(engine: FakeEngine, volume: Any) -> None:
    assert do(engine, "volume_apply", volume=volume, overrides={"size": "1Gi"}).return_value == "data"
    assert engine.applied == [(volume, {"size": "1Gi"})]


@pytest.mark.parametrize(("names", "expected"), [(None, 3), (["models", "none"], 1)])
def test_volumes_are_listed(engine: FakeEngine, names: list[str] | None, expected: int) -> None:
    assert len(do(engine, "volume_list", names=names, refresh=True).return_value) == expected
    assert engine.calls == ["list_volumes refresh"]


def test_buckets_are_listed(engine: FakeEngine) -> None:
    assert [row["name"] for row in do(engine, "storage_list").return_value] == engine.buckets


@pytest.mark.parametrize(
    ("action", "arguments", "lists"),
    [
        ("volume_list", {"names": None, "refresh": False}, "list_volumes"),
        ("storage_list", {}, "list_storage"),
        ("gpus", {"accelerator": None, "count": None, "infra": None}, "list_gpus"),
        ("check", {"infra": None, "require": []}, "check_infra"),
    ],
)
def test_a_list_that_is_too_long_is_an_error(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, action: str, arguments: dict[str, Any], lists: str
) -> None:
    row = {"price": None, "reason": "", "cloud": "", "enabled": True}
    rows = [{**row, "name": f"{number:x}" * 8} for number in range(2000, 4000)]
    monkeypatch.setattr(engine, lists, lambda *_, **__: rows, raising=False)
    outcome = do(engine, action, **arguments)
    assert outcome.exit_code is ExitCode.REQUEST_WRONG
    assert outcome.reason.startswith("the list has 2000 rows, which do not fit")
    assert len(outcome.return_value) == 2000


@pytest.mark.parametrize(
    ("action", "more", "left"),
    [("volume_delete", {"purge": False}, "volumes"), ("storage_delete", {"all": False}, "buckets")],
)
class TestDelete:
    """Volumes and buckets are deleted by the same rules."""

    @pytest.mark.parametrize(
        ("names", "deleted"),
        [(["models"], ["models"]), (["data-*"], ["data-1", "data-2"]), (["data-1", "data-?"], ["data-1", "data-2"])],
    )
    def test_of_names(
        self, engine: FakeEngine, action: str, more: dict[str, Any], left: str, names: list[str], deleted: list[str]
    ) -> None:
        assert do(engine, action, names=names, missing_ok=False, **more).return_value == deleted
        assert set(getattr(engine, left)) == {"data-1", "data-2", "models"} - set(deleted)

    def test_of_a_name_that_is_not_there_deletes_nothing(
        self, engine: FakeEngine, action: str, more: dict[str, Any], left: str
    ) -> None:
        with pytest.raises(
            ActionFailedError, match=r"names: there is no .* 'none'; there are: data-1, data-2"
        ) as caught:
            do(engine, action, names=["models", "none"], missing_ok=False, **more)
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG
        assert len(getattr(engine, left)) == 3

    def test_of_a_name_that_may_be_missing(
        self, engine: FakeEngine, action: str, more: dict[str, Any], left: str
    ) -> None:
        assert do(engine, action, names=["none", "models"], missing_ok=True, **more).return_value == ["models"]
        assert "models" not in getattr(engine, left)


def test_a_volume_can_be_purged(engine: FakeEngine) -> None:
    do(engine, "volume_delete", names=["models"], missing_ok=False, purge=True)
    assert engine.calls[-1] == "delete_volume models purge"


def test_all_buckets_can_be_deleted(engine: FakeEngine) -> None:
    assert len(do(engine, "storage_delete", names=[], all=True, missing_ok=False).return_value) == 3
    assert engine.buckets == []


class TestCheck:
    """A check tells which clouds can be used, and fails where a required one cannot."""

    @pytest.mark.parametrize(
        ("infra", "require", "asked"),
        [
            (None, [], "check_infra"),
            (["aws"], [], "check_infra aws"),
            (None, ["kubernetes"], "check_infra kubernetes"),
            (["aws"], ["kubernetes"], "check_infra aws kubernetes"),
        ],
    )
    def test_it_asks_for(self, engine: FakeEngine, infra: list[str] | None, require: list[str], asked: str) -> None:
        assert do(engine, "check", infra=infra, require=require).exit_code is ExitCode.OK
        assert engine.calls == [asked]

    def test_what_can_be_used_comes_first_and_reasons_are_cut(self, engine: FakeEngine) -> None:
        engine.clouds["aws"] = "x" * 999
        rows = do(engine, "check", infra=None, require=[]).return_value
        assert [(row["cloud"], row["enabled"], len(row["reason"])) for row in rows] == [
            ("kubernetes", True, 0),
            ("aws", False, 200),
        ]

    def test_all_clouds_fit_whatever_their_reasons(self, engine: FakeEngine) -> None:
        engine.clouds.update({f"cloud{number}": token_hex(100) for number in range(30)})
        outcome = do(engine, "check", infra=None, require=[])
        assert (outcome.exit_code, len(outcome.return_value)) == (ExitCode.OK, len(engine.clouds))
        assert {row["reason"] for row in outcome.return_value} == {""}

    def test_a_required_one_that_cannot_be_used_fails_with_the_reason(self, engine: FakeEngine) -> None:
        outcome = do(engine, "check", infra=None, require=["aws", "kubernetes"])
        assert outcome.exit_code is ExitCode.CREDENTIALS_REFUSED
        assert outcome.reason == "require: SkyPilot cannot use aws (no credentials)"
        assert len(outcome.return_value) == 2


def test_the_cheapest_accelerator_comes_first(engine: FakeEngine) -> None:
    engine.offers = [{"cloud": "a", "price": None}, {"cloud": "b", "price": 2.0}, {"cloud": "c", "price": 1.0}]
    rows = do(engine, "gpus", accelerator="A100", count=8, infra="aws").return_value
    assert [row["cloud"] for row in rows] == ["c", "b", "a"]
    assert engine.calls == ["list_gpus A100 8 aws"]
