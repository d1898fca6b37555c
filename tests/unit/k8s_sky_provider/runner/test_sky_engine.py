"""What the engine makes of SkyPilot's answers, and does around its functions in this process. SkyPilot is a fake."""

from __future__ import annotations

import importlib
import logging
import math
import os
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = "k8s_sky_provider.runner.sky"
DISABLED = "SKYPILOT_DISABLE_LOCAL_API_SERVER"


@pytest.fixture
def engine() -> Iterator[Any]:
    """Return an engine of this process that was not set up."""
    with fake_sky.installed():
        yield object.__new__(importlib.import_module(PACKAGE).Engine)


@pytest.fixture
def at_server() -> Iterator[Any]:
    """Return an engine of an API server that was not looked at; what a function returns is its request."""
    with fake_sky.installed():
        made = object.__new__(importlib.import_module(f"{PACKAGE}.at_server").EngineAtServer)
        sdk = sky("client.sdk")
        sdk.get.side_effect = sdk.stream_and_get.side_effect = lambda request: request
        yield made


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that were waited for, for which nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def sky(name: str) -> Any:
    return importlib.import_module(f"sky.{name}")


def ours(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


class Status:
    """A status of SkyPilot's."""

    def __init__(self, value: str) -> None:
        self.value = value


class TestRows:
    """What a list has of each thing."""

    def cluster(self, **cells: Any) -> SimpleNamespace:
        return SimpleNamespace(
            **{
                "name": "demo",
                "status": sky("utils.status_lib").ClusterStatus.UP,
                "cloud": "AWS",
                "region": "us-east-1",
                "nodes": 2,
                "resources_str": "2x(m5)",
                "launched_at": 1700000000,
                "autostop": 5,
                "to_down": True,
                "user_name": "eve",
                "handle": SimpleNamespace(head_ip="10.0.0.1"),
                **cells,
            }
        )

    def test_of_a_cluster(self, engine: Any) -> None:
        core, status = sky("core"), sky("utils.status_lib").ClusterStatus
        stopped = self.cluster(
            name="old", status=status.STOPPED, cloud=None, region=None, autostop=-1, to_down=False, handle=None
        )
        core.status.return_value = [self.cluster(), stopped]
        core.endpoints.return_value = {8080: "http://10.0.0.1:8080"}
        plain: dict[str, Any] = {
            "name": "demo",
            "status": "UP",
            "infra": "aws/us-east-1",
            "nodes": 2,
            "resources": "2x(m5)",
            "launched_at": 1700000000,
            "autostop": 5,
            "to_down": True,
        }
        of_old: dict[str, Any] = {"name": "old", "status": "STOPPED", "infra": ""}
        of_old |= {key: plain[key] for key in ("nodes", "resources", "launched_at")}
        assert engine.status(None, refresh=False) == [plain, of_old]
        more = {"user": "eve", "ip": "10.0.0.1", "endpoints": {8080: "http://10.0.0.1:8080"}}
        rows = engine.status(None, refresh=False, ip=True, endpoints=True, all_users=True)
        # Only a cluster that is up has endpoints to ask for.
        assert rows == [{**plain, **more}, {**of_old, "user": "eve"}]
        core.endpoints.assert_called_once_with("demo")

    @pytest.mark.parametrize(
        ("refresh", "ip", "all_users"), [(False, False, False), (True, True, False), (True, False, True)]
    )
    def test_a_status_is_asked_for_as_wished(self, engine: Any, refresh: bool, ip: bool, all_users: bool) -> None:
        fake_sky.calls.clear()
        engine.status(["demo"], refresh=refresh, ip=ip, all_users=all_users)
        mode = "FORCE" if refresh else "NONE"
        given = f"['demo'], all_users={all_users}, include_handle={ip}, refresh=StatusRefreshMode.{mode}"
        assert fake_sky.calls == [f"core.status({given})"]

    def test_a_server_sends_the_handles_unasked(self, at_server: Any) -> None:
        core, sdk = sky("core"), sky("client.sdk")
        sdk.status.return_value = [self.cluster()]
        sdk.endpoints.return_value = {1: "x"}
        fake_sky.calls.clear()
        (row,) = at_server.status(["demo"], refresh=True, ip=True, endpoints=True)
        assert (row["ip"], row["endpoints"]) == ("10.0.0.1", {1: "x"})
        assert fake_sky.calls[0] == "client.sdk.status(['demo'], all_users=False, refresh=StatusRefreshMode.FORCE)"
        core.status.assert_not_called()

    @pytest.mark.parametrize(("status", "shown"), [(Status("UP"), "UP"), (None, "TERMINATED")])
    def test_of_costs(self, engine: Any, status: Any, shown: str) -> None:
        report = {"name": "demo", "status": status, "resources_str": "m5", "launched_at": 1, "duration": 60}
        sky("core").cost_report.return_value = [{**report, "total_cost": 1.23456}]
        assert engine.cost_report(None) == [
            {"name": "demo", "status": shown, "resources": "m5", "launched_at": 1, "duration": 60, "total_cost": 1.2346}
        ]

    def test_of_a_job(self, engine: Any) -> None:
        running, new = (
            SimpleNamespace(
                job_id=job_id,
                job_name=name,
                status=Status(status),
                submitted_at=1.5,
                start_at=start,
                end_at=None,
                resources="1x",
                username="eve",
            )
            for job_id, name, status, start in ((2, "train", "RUNNING", 2.5), (1, "-", "PENDING", None))
        )
        sky("core").queue.return_value = [running, new]
        rows = [
            {
                "job_id": 2,
                "job_name": "train",
                "status": "RUNNING",
                "submitted_at": 1,
                "start_at": 2,
                "resources": "1x",
            },
            {"job_id": 1, "status": "PENDING", "submitted_at": 1, "resources": "1x"},
        ]
        rows = [{**row, "submitted_at": 1, "resources": "1x"} for row in rows]
        assert engine.cluster_queue("demo", skip_finished=False, all_users=False) == rows
        of_users = engine.cluster_queue("demo", skip_finished=False, all_users=True)
        assert of_users == [{**row, "user": "eve"} for row in rows]

    def test_statuses_of_jobs_that_a_cluster_has(self, engine: Any) -> None:
        sky("core").job_status.return_value = {1: Status("RUNNING"), 2: None, None: None}
        assert engine.job_statuses("demo", [1, 2]) == {1: "RUNNING"}

    def test_of_a_volume(self, engine: Any) -> None:
        volumes = [
            SimpleNamespace(
                name=name,
                type="k8s-pvc",
                status="READY",
                size="1",
                cloud="kubernetes",
                region="context",
                zone=None,
                name_on_cloud=f"{name}-1",
                usedby_clusters=["demo"],
                error_message=None,
            )
            for name in ("data", "other")
        ]
        sky("volumes.server.core").volume_list.return_value = volumes
        rows = engine.list_volumes(["data"], refresh=False)
        assert rows == [
            {
                "name": "data",
                "type": "k8s-pvc",
                "status": "READY",
                "size": "1",
                "infra": "kubernetes/context",
                "name_on_cloud": "data-1",
                "used_by": ["demo"],
                "error": None,
            }
        ]
        assert [row["name"] for row in engine.list_volumes(None, refresh=False)] == ["data", "other"]

    def test_of_a_bucket(self, engine: Any) -> None:
        bucket = SimpleNamespace(name="data", status=Status("READY"), store=[Status("S3")], launched_at=1)
        sky("core").storage_ls.return_value = [bucket]
        assert engine.list_storage() == [{"name": "data", "status": "READY", "stores": ["S3"], "launched_at": 1}]

    def test_of_services_and_pools(self, engine: Any) -> None:
        replica = {"replica_id": 1, "status": Status("READY"), "version": 2, "endpoint": "http://r"}
        record = {
            "name": "web",
            "status": Status("READY"),
            "version": 2,
            "active_versions": [1, 2],
            "uptime": 60,
            "endpoint": "http://web",
            "replica_info": [replica],
        }
        sky("serve.server.core").status.return_value = [record]
        sky("jobs.server.core").pool_status.return_value = [{"name": "web", "status": Status("FAILED")}]
        shown = {"id": 1, "status": "READY", "version": 2, "endpoint": "http://r"}
        row = {"name": "web", "status": "READY", "version": 2, "active_versions": [1, 2], "uptime": 60}
        assert engine.services(None, pool=False) == [{**row, "endpoint": "http://web", "replicas": [shown]}]
        bare: dict[str, Any] = {
            "name": "web",
            "status": "FAILED",
            "version": None,
            "active_versions": [],
            "uptime": None,
        }
        assert engine.services(None, pool=True) == [{**bare, "workers": []}]

    def test_of_offers(self, engine: Any) -> None:
        where = SimpleNamespace(cloud="AWS", region="us-east-1")
        sky("utils.infra_utils").InfraInfo.from_str.side_effect = [where, SimpleNamespace(cloud=None, region=None)]
        offers = [
            SimpleNamespace(
                accelerator_name="A100",
                accelerator_count=8,
                cloud="AWS",
                instance_type="p4d",
                price=price,
                spot_price=spot,
            )
            for price, spot in ((32.5, math.nan), (math.nan, 10.0))
        ]
        sky("catalog").list_accelerators.return_value = {"A100": offers}
        fake_sky.calls.clear()
        row = {"accelerator": "A100", "count": 8, "cloud": "AWS", "instance_type": "p4d"}
        assert engine.list_gpus("A100", count=8, infra="aws/us-east-1") == [
            {**row, "price": 32.5, "spot_price": None},
            {**row, "price": None, "spot_price": 10.0},
        ]
        engine.list_gpus(None, count=None, infra=None)
        in_aws = "case_sensitive=False, clouds='aws', gpus_only=True, name_filter='A100', quantity_filter=8"
        anywhere = "case_sensitive=False, clouds=None, gpus_only=True, name_filter=None, quantity_filter=None"
        assert fake_sky.calls == [
            f"catalog.list_accelerators({in_aws}, region_filter='us-east-1')",
            f"catalog.list_accelerators({anywhere}, region_filter=None)",
        ]


class TestInProcess:
    """What an API server would do around SkyPilot's functions."""

    TASK = SimpleNamespace(name="train")
    LAUNCH: dict[str, Any] = {  # noqa: RUF012  # nobody changes it
        **dict.fromkeys(("no_setup", "fast", "resize", "dryrun"), False),
        "clone_disk_from": None,
    }

    def busy(self) -> Exception:
        error: Exception = sky("exceptions").ExecutionRetryableError("no resources")
        error.retry_wait_seconds = 30  # type: ignore[attr-defined]  # it is SkyPilot's own
        return error

    def test_a_launch_is_tried_until_it_is_up(
        self, engine: Any, sleeps: list[float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        sky("execution").launch.side_effect = [self.busy(), self.busy(), (7, None)]
        assert engine.launch(self.TASK, "demo", retry_until_up=True, **self.LAUNCH) == 7
        assert sleeps == [30, 30]
        assert "no resources; trying again in 30 s" in capsys.readouterr().out

    def test_a_start_is_tried_until_it_is_up(self, engine: Any, sleeps: list[float]) -> None:
        sky("core").start.side_effect = [self.busy(), None]
        options: dict[str, Any] = {"idle_minutes_to_autostop": None, "wait_for": None, "down": False, "force": False}
        engine.start("demo", retry_until_up=True, **options)
        assert sleeps == [30]

    def test_another_is_not(self, engine: Any, sleeps: list[float]) -> None:
        sky("execution").launch.side_effect = sky("execution").exec.side_effect = self.busy()
        with pytest.raises(ActionFailedError, match="no resources") as caught:
            engine.launch(self.TASK, "demo", retry_until_up=False, **self.LAUNCH)
        assert caught.value.exit_code is ExitCode.TRY_AGAIN
        with pytest.raises(ActionFailedError):
            engine.exec(self.TASK, "demo")
        assert sleeps == []

    def test_a_task_without_commands_has_no_job(self, engine: Any) -> None:
        sky("execution").exec.return_value = (None, None)
        assert engine.exec(self.TASK, "demo") is None

    @pytest.mark.parametrize("disabled", [None, "1"])
    @pytest.mark.parametrize("fails", [False, True])
    def test_what_starts_a_controller_lets_it_start_its_server(
        self, engine: Any, monkeypatch: pytest.MonkeyPatch, disabled: str | None, fails: bool
    ) -> None:
        if disabled is None:
            monkeypatch.delenv(DISABLED, raising=False)
        else:
            monkeypatch.setenv(DISABLED, disabled)
        seen: list[str | None] = []

        def start(*_: Any, **__: Any) -> tuple[Any, Any]:
            seen.append(os.environ.get(DISABLED))
            if fails:
                raise RuntimeError("no controller")
            return [1], "http://web"

        jobs, serve = sky("jobs.server.core"), sky("serve.server.core")
        jobs.launch.side_effect = jobs.pool_apply.side_effect = serve.up.side_effect = start
        service = SimpleNamespace(service=SimpleNamespace(pool=False, ports="80"))
        asks: list[Callable[[], Any]] = [
            lambda: engine.launch_managed_job(SimpleNamespace(name="train"), pool=None, num_jobs=None),
            lambda: engine.pool_apply(None, "workers", workers=1, mode="rolling"),
            lambda: engine.service_up(service, "web"),
        ]
        for ask in asks:
            if fails:
                with pytest.raises(ActionFailedError, match="no controller"):
                    ask()
            else:
                ask()
            assert os.environ.get(DISABLED) == disabled
        assert seen == [None, None, None]

    def test_nothing_else_does(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(DISABLED, "1")
        seen: list[str | None] = []
        sky("core").down.side_effect = lambda *_, **__: seen.append(os.environ.get(DISABLED))
        engine.down("demo")
        assert seen == ["1"]

    @pytest.mark.parametrize("pool", [False, True])
    def test_services_are_asked_for_without_the_internet(self, engine: Any, pool: bool) -> None:
        backend_utils = sky("backends.backend_utils")
        looked = backend_utils.check_network_connection

        def status(_: Any) -> list[Any]:
            backend_utils.check_network_connection()
            return []

        sky("serve.server.core").status.side_effect = sky("jobs.server.core").pool_status.side_effect = status
        assert engine.services(None, pool=pool) == []
        looked.assert_not_called()

    def test_without_a_controller_no_job_is_asked_for(self, engine: Any) -> None:
        sky("global_user_state").cluster_with_name_exists.return_value = False
        assert engine.managed_jobs() == []
        sky("jobs.server.core").queue_v2.assert_not_called()

    @pytest.mark.parametrize("status", [None, "STOPPED"])
    def test_without_a_controller_there_is_no_service(self, engine: Any, status: str | None) -> None:
        error = sky("exceptions").ClusterNotUpError("no controller")
        error.cluster_status = status
        sky("serve.server.core").status.side_effect = error
        if status is None:
            assert engine.services(None, pool=False) == []
        else:
            with pytest.raises(ActionFailedError, match="no controller") as caught:
                engine.services(None, pool=False)
            assert caught.value.exit_code is ExitCode.TRY_AGAIN

    def test_one_that_is_gone_needs_not_be_taken_down(self, engine: Any, capsys: pytest.CaptureFixture[str]) -> None:
        sky("core").down.side_effect = [sky("exceptions").ClusterDoesNotExist("no cluster"), ValueError("odd")]
        engine.down("demo")
        assert "Cluster demo is gone already" in capsys.readouterr().out
        with pytest.raises(ActionFailedError, match="odd"):
            engine.down("demo")

    @pytest.mark.parametrize(
        ("method", "function", "arguments"),
        [
            ("stop", "core.stop", ("demo",)),
            ("cluster_exists", "global_user_state.cluster_with_name_exists", ("demo",)),
            ("cluster_existed", "global_user_state.get_clusters_from_history", ("demo",)),
            ("list_storage", "core.storage_ls", ()),
            ("print_job_log", "core.tail_logs", ("demo", 1)),
            ("check_cluster_up", "backends.backend_utils.check_cluster_available", ("demo",)),
            ("machines", "global_user_state.get_cluster_from_name", ("demo",)),
            ("check_infra", "check.check", (None,)),
            ("run_on_head", "global_user_state.get_handle_from_cluster_name", ("demo", "date")),
            ("job_exit_codes", "global_user_state.get_handle_from_cluster_name", ("demo", 1)),
            ("provision_log", "global_user_state.get_cluster_provision_log_path", ("demo", None)),
        ],
    )
    def test_what_skypilot_raises_is_explained(
        self, engine: Any, method: str, function: str, arguments: tuple[Any, ...]
    ) -> None:
        module, _, name = function.rpartition(".")
        getattr(sky(module), name).side_effect = sky("exceptions").NetworkError("no way")
        with pytest.raises(ActionFailedError, match="NetworkError: no way") as caught:
            getattr(engine, method)(*arguments)
        assert caught.value.exit_code is ExitCode.TRY_AGAIN


class TestSetUp:
    """What is done once in a process."""

    def test_in_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listeners: list[Any] = []
        monkeypatch.setattr("sqlalchemy.event.listen", lambda *given: listeners.append(given))
        handler = logging.NullHandler()
        logger = logging.getLogger("sky")
        monkeypatch.setattr(logger, "handlers", [handler])
        with fake_sky.installed():
            module = importlib.import_module(PACKAGE)
            user = sky("models").User.get_current_user.return_value
            module.Engine()
            sky("global_user_state").add_or_update_user.assert_called_once_with(user)
            assert sky("utils.annotations").is_on_api_server is False
        ((_, event, wait),) = listeners
        connection = sqlite3.connect(":memory:")
        wait(connection, None)
        wait(object(), None)
        assert (event, connection.execute("PRAGMA busy_timeout").fetchone()) == ("connect", (60_000,))
        connection.close()
        records = [logging.makeLogRecord({"msg": text}) for text in ("MethodNotAllowed: services", "up")]
        assert [bool(handler.filter(record)) for record in records] == [False, True]

    def test_a_user_that_cannot_be_noted_is_explained(self) -> None:
        with fake_sky.installed():
            sky("global_user_state").add_or_update_user.side_effect = OSError(28, "No space left")
            with pytest.raises(ActionFailedError, match="volume with SkyPilot's state is full") as caught:
                importlib.import_module(PACKAGE).Engine()
        assert caught.value.exit_code is ExitCode.DEPLOYMENT_WRONG

    def test_at_a_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with fake_sky.installed():
            module = importlib.import_module(f"{PACKAGE}.at_server")
            checked: list[bool] = []
            monkeypatch.setattr(module.server, "check_server", lambda: checked.append(True))
            engine = module.EngineAtServer()
            assert sky("utils.annotations").is_on_api_server is False
            assert (checked, type(engine.call).__name__) == ([True], "AtServer")
            sky("global_user_state").add_or_update_user.assert_not_called()


class TestKnownClusters:
    """What is known of a cluster's name."""

    @pytest.mark.parametrize("there", [False, True])
    def test_in_this_process(self, engine: Any, there: bool) -> None:
        state = sky("global_user_state")
        state.cluster_with_name_exists.return_value = there
        state.get_clusters_from_history.return_value = [object()] if there else []
        assert engine.cluster_exists("demo") is there
        assert engine.cluster_existed("demo") is there
        assert engine.await_submissions("demo") is None

    @pytest.mark.parametrize("there", [False, True])
    def test_at_a_server(self, at_server: Any, there: bool) -> None:
        sdk = sky("client.sdk")
        sdk.status.return_value = [object()] if there else []
        sdk.cost_report.return_value = [{"name": "other"}, *([{"name": "demo"}] if there else [])]
        assert at_server.cluster_exists("demo") is there
        assert at_server.cluster_existed("demo") is there
        sdk.status.assert_called_once_with(["demo"], all_users=True)
        sdk.cost_report.assert_called_once_with(36500)


class TestInfra:
    """Clouds that can be used."""

    @pytest.fixture(autouse=True)
    def registry(self, engine: Any) -> None:
        del engine

        def from_str(name: str) -> Any:
            if name not in {"aws", "k8s", "kubernetes"}:
                raise ValueError(name)
            return Named("Kubernetes" if name != "aws" else "AWS")

        class Named:
            def __init__(self, name: str) -> None:
                self.name = name

            def __repr__(self) -> str:
                return self.name

        sky("utils.registry").CLOUD_REGISTRY.from_str.side_effect = from_str
        sky("check").STORAGE_ONLY_CLOUDS = ("Cloudflare",)
        sky("skypilot_config").get_active_workspace.return_value = "default"
        sky("check").check.return_value = {"default": {"Kubernetes": ["storage", "compute"]}}
        sky("global_user_state").get_cached_check_results.return_value = {
            "Kubernetes": {"in-cluster": {"reason": "\x1b[1mfine\x1b[0m"}, "other": {"reason": "no\n  way"}},
            "AWS": {"": {"reason": "no credentials"}},
        }

    KUBERNETES: dict[str, Any] = {  # noqa: RUF012  # nobody changes it
        "enabled": True,
        "capabilities": ["compute", "storage"],
        "reason": "in-cluster: fine; other: no way",
    }
    NONE: dict[str, Any] = {"enabled": False, "capabilities": []}  # noqa: RUF012  # as above

    def test_some_by_the_names_that_were_asked_for(self, engine: Any) -> None:
        assert engine.check_infra(["k8s", "aws", "cloudflare-r2"]) == [
            {"cloud": "k8s", **self.KUBERNETES},
            {"cloud": "aws", **self.NONE, "reason": "no credentials"},
            {"cloud": "cloudflare-r2", **self.NONE, "reason": ""},
        ]
        sky("check").check.assert_called_once_with(clouds=["k8s", "aws", "cloudflare-r2"], workspace="default")

    def test_all(self, engine: Any) -> None:
        rows = engine.check_infra(None)
        assert [(row["cloud"], row["enabled"]) for row in rows] == [("Kubernetes", True), ("AWS", False)]

    @pytest.mark.parametrize(("name", "own"), [("aws", "AWS"), ("cloudflare", "Cloudflare"), ("other", "other")])
    def test_a_name_that_only_stores_is_known_too(self, engine: Any, name: str, own: str) -> None:
        del engine
        assert ours("infra").cloud_name(name) == own


class TestVolumes:
    """Volumes that are made."""

    def wanted(self, **fields: Any) -> Any:
        names = ("cloud", "region", "zone", "size", "labels", "use_existing")
        given = {**dict.fromkeys(names), "name": "data", "type": "k8s-pvc", "config": {}, **fields}
        volume = sky("volumes.volume").Volume
        volume.from_yaml_config.return_value = SimpleNamespace(**given, validate=lambda: None)
        sky("utils.volume").VolumeType = SimpleNamespace(PVC=Status("k8s-pvc"))
        sky("utils.volume").VolumeAccessMode = SimpleNamespace(READ_WRITE_ONCE=Status("ReadWriteOnce"))
        return volume

    @pytest.mark.parametrize(
        ("fields", "config"),
        [
            ({}, {"access_mode": "ReadWriteOnce", "use_existing": None}),
            (
                {"config": {"access_mode": "ReadWriteMany"}, "use_existing": True},
                {"access_mode": "ReadWriteMany", "use_existing": True},
            ),
            ({"type": "other"}, {"use_existing": None}),
        ],
    )
    def test_in_this_process(self, engine: Any, fields: dict[str, Any], config: dict[str, Any]) -> None:
        volume = self.wanted(**fields, cloud="kubernetes")
        assert engine.apply_volume({"name": "data", "size": "1"}, {"size": "2"}) == "data"
        volume.from_yaml_config.assert_called_once_with({"name": "data", "size": "2"})
        given = sky("volumes.server.core").volume_apply.call_args.kwargs
        assert (given["name"], given["config"]) == ("data", config)
        assert (given["cloud"], given["use_existing"]) == ("kubernetes", fields.get("use_existing"))

    def test_at_a_server(self, at_server: Any) -> None:
        volume = self.wanted()
        assert at_server.apply_volume({"name": "data"}, {}) == "data"
        sky("volumes.client.sdk").apply.assert_called_once_with(volume.from_yaml_config.return_value)
        sky("volumes.server.core").volume_apply.assert_not_called()

    def test_one_on_the_volume(self, engine: Any, tmp_path: Path) -> None:
        volume = self.wanted()
        (tmp_path / "v.yaml").write_text("name: data\n")
        engine.apply_volume(str(tmp_path / "v.yaml"), {})
        volume.from_yaml_config.assert_called_once_with({"name": "data"})

    @pytest.mark.parametrize("text", ["- a\n", "a: 1\n---\nb: 1\n", ""])
    def test_a_file_that_is_none(self, engine: Any, tmp_path: Path, text: str) -> None:
        (tmp_path / "v.yaml").write_text(text)
        with pytest.raises(ActionFailedError, match="must be one YAML mapping") as caught:
            engine.apply_volume(str(tmp_path / "v.yaml"), {})
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    def test_one_that_skypilot_does_not_take(self, engine: Any) -> None:
        sky("volumes.volume").Volume.from_yaml_config.side_effect = RuntimeError("no size")
        with pytest.raises(ActionFailedError, match="RuntimeError: no size") as caught:
            engine.apply_volume({"name": "data"}, {})
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG


class TestServices:
    """The port that requests go to."""

    def service(self, *options: str, pool: bool = False, ports: str | None = None) -> Any:
        chosen: list[str] = []
        section = SimpleNamespace(pool=pool, ports=ports, set_ports=chosen.append)
        sky("utils.resources_utils").port_ranges_to_set.side_effect = lambda ports: set(map(int, ports.split(",")))
        return SimpleNamespace(
            service=section, resources=[SimpleNamespace(ports=option) for option in options], chosen=chosen
        )

    def test_the_only_one_is_taken(self, engine: Any) -> None:
        task = self.service("8080", "8080")
        sky("serve.server.core").up.return_value = ("web", "http://web")
        assert engine.service_up(task, "web") == "http://web"
        assert task.chosen == ["8080"]

    def test_one_that_is_named_stays(self, engine: Any) -> None:
        task = self.service("1,2", ports="2")
        engine.service_update(task, "web", "rolling")
        assert task.chosen == []

    @pytest.mark.parametrize(("options", "number"), [((), 0), (("1,2",), 2), (("1", "2"), 2)])
    def test_none_or_several_are_an_error(self, engine: Any, options: tuple[str, ...], number: int) -> None:
        with pytest.raises(ActionFailedError, match=f"resources.ports opens {number}") as caught:
            engine.service_up(self.service(*options), "web")
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize("pool", [False, True])
    def test_no_service(self, engine: Any, pool: bool) -> None:
        task = self.service("1", pool=True) if pool else SimpleNamespace(service=None)
        with pytest.raises(ActionFailedError, match="needs a section `service`"):
            engine.service_update(task, "web", "rolling")

    def test_ports_that_cannot_be_read_are_an_error_of_the_task(self, at_server: Any) -> None:
        task = self.service("a")
        with pytest.raises(ActionFailedError, match="ValueError") as caught:
            at_server.service_up(task, "web")
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG


class TestLogs:
    """Logs of clusters and of their jobs."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        return tmp_path

    def test_files_of_a_job(self, engine: Any, home: Path) -> None:
        sky("core").download_logs.return_value = {"7": "~/sky_logs/demo/run"}
        assert engine.download_job_log("demo", 7) == f"{home}/sky_logs/demo/run"
        with pytest.raises(ActionFailedError, match="job 8 on cluster demo has no log files") as caught:
            engine.download_job_log("demo", 8)
        assert caught.value.exit_code is ExitCode.REQUEST_WRONG

    def test_files_that_a_client_puts_elsewhere_are_brought_to_the_volume(self, at_server: Any, home: Path) -> None:
        elsewhere = home / "users" / "eve" / "sky_logs" / "demo" / "run"
        elsewhere.mkdir(parents=True)
        (elsewhere / "run.log").write_text("hello\n")
        sky("client.sdk").download_logs.return_value = {"7": str(elsewhere)}
        for _ in range(2):
            assert at_server.download_job_log("demo", 7) == f"{home}/sky_logs/demo/run"
        assert (home / "sky_logs" / "demo" / "run" / "run.log").read_text() == "hello\n"

    @pytest.mark.parametrize(
        ("of_now", "of_the_past", "text"),
        [("~/now.log", None, "now\n"), (None, "~/past.log", "past\n"), (None, None, ""), ("~/none.log", None, "")],
    )
    def test_of_the_last_provisioning(
        self, engine: Any, home: Path, of_now: str | None, of_the_past: str | None, text: str
    ) -> None:
        for name in ("now", "past"):
            (home / f"{name}.log").write_text(f"{name}\n")
        state = sky("global_user_state")
        state.get_cluster_provision_log_path.return_value = of_now
        state.get_cluster_history_provision_log_path.return_value = of_the_past
        assert engine.provision_log("demo", None) == text

    @pytest.mark.parametrize("worker", [0, 1, 2])
    def test_of_the_provisioning_of_a_node(self, engine: Any, home: Path, worker: int) -> None:
        (home / "logs").mkdir()
        for name in ("b.log", "a.log", "c.txt"):
            (home / "logs" / name).write_text(f"{name}\n")
        handle = SimpleNamespace(instance_ids=["i-0", "i-1"], get_cluster_name_on_cloud=lambda: "demo-1")
        sky("global_user_state").get_handle_from_cluster_name.return_value = handle
        where = sky("provision.metadata_utils").get_instance_log_dir
        where.return_value = home / "logs"
        if worker < 2:
            assert engine.provision_log("demo", worker) == "a.log\nb.log\n"
            where.assert_called_once_with("demo-1", f"i-{worker}")
        else:
            with pytest.raises(ActionFailedError, match="worker: 2 is none of the 2 nodes of cluster demo"):
                engine.provision_log("demo", worker)

    def test_no_node_of_a_cluster_that_is_gone(self, engine: Any) -> None:
        sky("global_user_state").get_handle_from_cluster_name.return_value = None
        with pytest.raises(ActionFailedError, match="none of the 0 nodes"):
            engine.provision_log("demo", 0)

    @pytest.mark.parametrize(("worker", "asked"), [(None, None), (0, None), (1, 1)])
    def test_of_the_provisioning_at_a_server(self, at_server: Any, worker: int | None, asked: int | None) -> None:
        sdk = sky("client.sdk")
        sdk.tail_provision_logs.side_effect = lambda *_, output_stream, **__: output_stream.write("hello\n")
        assert at_server.provision_log("demo", worker) == "hello\n"
        given = sdk.tail_provision_logs.call_args.kwargs
        assert (given["worker"], given["follow"]) == (asked, False)

    @pytest.mark.parametrize(("status", "reason"), [(404, None), (400, "none of the nodes"), (500, "CommandError")])
    def test_what_a_server_says_instead_of_it(self, at_server: Any, status: int, reason: str | None) -> None:
        error = sky("exceptions").CommandError("no log")
        error.returncode = status
        sky("client.sdk").tail_provision_logs.side_effect = error
        if reason is None:
            assert at_server.provision_log("demo", 1) == ""
        else:
            with pytest.raises(ActionFailedError, match=reason):
                at_server.provision_log("demo", 1)

    @pytest.mark.parametrize(
        ("answer", "codes"), [((0, "hello\n[7, 0]\n", ""), [7, 0]), ((255, "[7]\n", ""), []), ((0, "odd", ""), [])]
    )
    def test_exit_codes(self, engine: Any, answer: Any, codes: list[int]) -> None:
        backend = sky("backends").CloudVmRayBackend.return_value
        backend.run_on_head.return_value = answer
        assert engine.job_exit_codes("demo", 7) == codes
        sky("skylet.job_lib").JobLibCodeGen.get_job_exit_codes.assert_called_once_with(7)

    def test_a_file_of_the_head(self, engine: Any) -> None:
        backend = sky("backends").CloudVmRayBackend.return_value
        backend.run_on_head.return_value = (0, "hello\ncontent:aGVsbG8=\n", "")
        assert engine.read_file("demo", "a b", limit=10) == b"hello"
        (_, command), options = backend.run_on_head.call_args
        assert "head -c 10 'a b'" in command
        assert options == {"require_outputs": True, "separate_stderr": True}
        backend.run_on_head.return_value = (0, "no such file\n", "")
        assert engine.read_file("demo", "x", limit=10) is None

    @pytest.mark.parametrize("answer", [(1, "no such file\n", "no way"), (0, "", "no way"), (0, "content:a", "no way")])
    def test_a_file_that_cannot_be_read(self, engine: Any, answer: Any) -> None:
        sky("backends").CloudVmRayBackend.return_value.run_on_head.return_value = answer
        with pytest.raises(ActionFailedError, match="file 'x' on cluster demo could not be read: no way") as caught:
            engine.read_file("demo", "x", limit=10)
        assert caught.value.exit_code is ExitCode.TRY_AGAIN


class TestFollowing:
    """A job that is followed in this process."""

    @pytest.fixture
    def looks(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Return what each look at the log does: change the log, or raise."""
        steps: list[Any] = []

        def read_on(machine: str, log: Any) -> float | None:
            assert machine == "head"
            step = steps.pop(0)
            if isinstance(step, Exception):
                raise step
            for name, value in step.items():
                setattr(log, name, value)
            return None

        module = ours("cluster_jobs")
        monkeypatch.setattr(module, "read_on", read_on)
        monkeypatch.setattr(type(engine), "machines", lambda *_: ["head", "worker"])
        return steps

    def test_until_its_log_is_whole(
        self, engine: Any, looks: list[Any], sleeps: list[float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        looks += [{}, sky("exceptions").NetworkError("gone"), {"is_whole": True, "status": "FAILED"}]
        assert engine.follow_job("demo", 7) == "FAILED"
        assert sleeps == [5, 5]
        # A cluster that is gone need not be waited for.
        asked = sky("backends.backend_utils").check_cluster_available
        asked.assert_called_once_with("demo", operation="reaching its machines")
        output = capsys.readouterr().out
        assert "following job 7 again: the connection to its head node broke" in output
        assert "following job 7 again: NetworkError: gone" in output

    def test_one_that_the_cluster_does_not_have(self, engine: Any, looks: list[Any]) -> None:
        looks.append({"is_whole": True, "status": None})
        with pytest.raises(ActionFailedError, match="cluster demo has no job 7") as caught:
            engine.follow_job("demo", 7)
        assert caught.value.exit_code is ExitCode.INTERNAL_ERROR

    def test_an_error_that_does_not_pass_is_one(self, engine: Any, looks: list[Any], sleeps: list[float]) -> None:
        looks.append(ValueError("odd"))
        with pytest.raises(ActionFailedError, match="odd"):
            engine.follow_job("demo", 7)
        assert sleeps == []

    def test_a_cluster_that_stays_away_is_given_up(
        self, engine: Any, looks: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
        looks += [sky("exceptions").NetworkError("gone") for _ in range(100)]
        with pytest.raises(ActionFailedError, match="gone") as caught:
            engine.follow_job("demo", 7)
        assert caught.value.exit_code is ExitCode.TRY_AGAIN
        assert now[0] == 305


class TestReading:
    """What reads a job's log on its cluster, and gives up a dead connection."""

    FRAME = b"\x1ek8s-sky-log 0 6 RUNNING no\nhello\n\x1ek8s-sky-log 6 0 SUCCEEDED end\n"

    def log(self, shown: list[bytes]) -> Any:
        return importlib.import_module("k8s_sky_provider.runner.job_log").JobLog(7, shown.append, lambda _: None)

    @pytest.fixture
    def read_on(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        del engine
        module = ours("log_reader")
        monkeypatch.setattr(sky("skylet.constants"), "SKY_PYTHON_CMD", "python")
        monkeypatch.setattr(module, "SECONDS_OF_SILENCE", 0.5)
        return module.read_on

    def test_until_it_is_whole(self, read_on: Any) -> None:
        shown: list[bytes] = []
        log = self.log(shown)

        def run(command: str, *, log_path: str, process_stream: bool, stream_logs: bool) -> int:
            assert command.startswith("python -u -c")
            assert (process_stream, stream_logs) == (False, False)
            Path(log_path).write_bytes(self.FRAME)
            return 0

        assert read_on(SimpleNamespace(run=run), log) > 0
        assert (b"".join(shown), log.status, log.is_whole) == (b"hello\n", "SUCCEEDED", True)

    def test_without_a_sign_of_life_it_ends(self, read_on: Any) -> None:
        over = threading.Event()

        def run(command: str, **_: Any) -> int:
            del command
            over.wait(30)
            return 255

        log = self.log([])
        assert read_on(SimpleNamespace(run=run), log) is None
        over.set()
        assert not log.is_whole

    def test_what_the_way_there_raises_is_raised(self, read_on: Any) -> None:
        def run(command: str, **_: Any) -> int:
            raise RuntimeError(f"no way for {command[:6]}")

        with pytest.raises(RuntimeError, match="no way for python"):
            read_on(SimpleNamespace(run=run), self.log([]))

    def test_a_program_that_waits_on_is_ended(self, read_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        begun = threading.Event()
        clock = SimpleNamespace(monotonic=lambda: 100.0 if begun.is_set() else 0.0, sleep=time.sleep)
        monkeypatch.setattr(ours("log_reader"), "time", clock)
        programs: list[subprocess.Popen[bytes]] = []

        def run(command: str, *, log_path: str, **_: Any) -> int:
            del command
            programs.append(subprocess.Popen(["sh", "-c", f"sleep 60; : {log_path}"]))
            begun.set()
            return programs[0].wait()

        assert read_on(SimpleNamespace(run=run), self.log([])) is None
        # The shell may end by itself once its program has been ended.
        assert programs[0].wait(30) in {0, -9}
