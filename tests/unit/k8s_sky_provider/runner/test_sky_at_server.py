"""What the engine makes of a SkyPilot API server's answers, and of its silence. The client itself is faked."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
import requests

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError, CancelledActionError
from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Iterator

CLUSTER = "demo"
PACKAGE = "k8s_sky_provider.runner.sky.at_server"


@pytest.fixture
def modules() -> Iterator[SimpleNamespace]:
    with fake_sky.installed():
        names = ("server", "clusters", "cluster_jobs", "machines", "infra")
        engine = importlib.import_module(PACKAGE).EngineAtServer
        yield SimpleNamespace(
            # The server is checked when one is made.
            engine=object.__new__(engine),
            exceptions=importlib.import_module("sky.exceptions"),
            **{name: importlib.import_module(f"{PACKAGE}.{name}") for name in names},
        )


@pytest.fixture
def sdk(modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return SkyPilot's client: what a function returns is its request, got by ``get``."""
    fake = modules.server.sdk
    fake.get.side_effect = lambda request: request
    fake.stream_and_get.side_effect = lambda request: request
    monkeypatch.setattr(modules.server, "SECONDS_BETWEEN_LOOKS", 0.0)
    modules.server.common.get_server_url.return_value = "http://sky:46580"
    modules.server.versions.get_remote_version.return_value = "unknown"
    return fake


@pytest.fixture
def server(modules: SimpleNamespace, sdk: Any) -> Any:
    del sdk
    return modules.server


def http_error(status: int) -> requests.exceptions.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.exceptions.HTTPError(f"{status} for url", response=response)


ERRORS: list[tuple[Any, ExitCode, str]] = [
    (http_error(401), ExitCode.CREDENTIALS_REFUSED, "does not accept the token"),
    (http_error(403), ExitCode.CREDENTIALS_REFUSED, "does not accept the token"),
    (http_error(502), ExitCode.TRY_AGAIN, "the SkyPilot API server failed: 502"),
    (http_error(404), ExitCode.INTERNAL_ERROR, "404 for url"),
    (requests.exceptions.ConnectTimeout("late"), ExitCode.TRY_AGAIN, "out of reach: late"),
    (requests.exceptions.ChunkedEncodingError("cut"), ExitCode.TRY_AGAIN, "out of reach: cut"),
    (ConnectionResetError("reset"), ExitCode.TRY_AGAIN, "out of reach: reset"),
    ("ApiServerConnectionError", ExitCode.TRY_AGAIN, "ApiServerConnectionError: the SkyPilot API server is out"),
    ("ServerTemporarilyUnavailableError", ExitCode.TRY_AGAIN, "out of reach"),
    ("RequestInterruptedError", ExitCode.TRY_AGAIN, "out of reach"),
    ("ApiServerAuthenticationError", ExitCode.CREDENTIALS_REFUSED, "api_server_token_secret"),
    ("PermissionDeniedError", ExitCode.CREDENTIALS_REFUSED, "PermissionDeniedError: text"),
    ("APIVersionMismatchError", ExitCode.DEPLOYMENT_WRONG, "the image has SkyPilot 0.14.1: text"),
    ("APINotSupportedError", ExitCode.DEPLOYMENT_WRONG, "the image has SkyPilot 0.14.1: text"),
    ("RequestCancelled", ExitCode.CANCELLED, "was cancelled at the SkyPilot API server"),
    ("ResourcesUnavailableError", ExitCode.RESOURCES_UNAVAILABLE, "ResourcesUnavailableError: text"),
    ("ClusterDoesNotExist", ExitCode.REQUEST_WRONG, "ClusterDoesNotExist: text"),
    (NotImplementedError("clone_disk_from"), ExitCode.REQUEST_WRONG, "cannot do this: clone_disk_from"),
    (RuntimeError("odd"), ExitCode.INTERNAL_ERROR, "RuntimeError: odd"),
]


@pytest.mark.parametrize(
    ("error", "exit_code", "text"), ERRORS, ids=[f"{error!r}"[:40].replace("/", "") for error, _, _ in ERRORS]
)
def test_what_an_error_means(
    modules: SimpleNamespace, server: Any, sdk: Any, error: Any, exit_code: ExitCode, text: str
) -> None:
    raised = getattr(modules.exceptions, error)("text") if isinstance(error, str) else error
    sdk.get.side_effect = raised
    with pytest.raises(ActionFailedError) as failure:
        server.ask(lambda: "request")
    assert failure.value.exit_code is exit_code
    assert text in failure.value.reason


class TestTheServer:
    """Whether it can be used at all."""

    def check(self, server: Any, status: str, **fields: Any) -> None:
        info = {"version": "0.14.1", "error": None, "user": {"name": "airflow"}, "basic_auth_enabled": False, **fields}
        server.common.get_api_server_status.return_value = SimpleNamespace(
            status=getattr(server.common.ApiServerStatus, status), **info
        )
        server.check_server()

    def test_one_that_is_well(self, server: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.check(server, "HEALTHY", version="0.14.0")
        assert "at http://sky:46580, version 0.14.0; this is SkyPilot 0.14.1" in capsys.readouterr().out

    @pytest.mark.parametrize("userinfo", ["ghp_token", "sky:ghp_token", "sky:a:b@c"])
    def test_its_password_is_not_said(self, server: Any, capsys: pytest.CaptureFixture[str], userinfo: str) -> None:
        server.common.get_server_url.return_value = f"https://{userinfo}@sky:46580/path"
        self.check(server, "HEALTHY")
        assert "at https://***@sky:46580/path, version" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("status", "fields", "exit_code", "text"),
        [
            ("UNHEALTHY", {}, ExitCode.TRY_AGAIN, "out of reach"),
            ("NEEDS_AUTH", {}, ExitCode.CREDENTIALS_REFUSED, "or none was given"),
            ("HEALTHY", {"basic_auth_enabled": True, "user": None}, ExitCode.CREDENTIALS_REFUSED, "does not accept"),
            (
                "VERSION_MISMATCH",
                {"version": "0.9.0"},
                ExitCode.DEPLOYMENT_WRONG,
                "has version 0.9.0 and the image has SkyPilot 0.14.1",
            ),
            (
                "VERSION_MISMATCH",
                {"version": None, "error": "\x1b[33mtoo old\x1b[0m"},
                ExitCode.DEPLOYMENT_WRONG,
                "has version unknown (too old)",
            ),
        ],
    )
    def test_one_that_is_not(
        self, server: Any, status: str, fields: dict[str, Any], exit_code: ExitCode, text: str
    ) -> None:
        with pytest.raises(ActionFailedError) as failure:
            self.check(server, status, **fields)
        assert failure.value.exit_code is exit_code
        assert text in failure.value.reason


class TestRequests:
    """A request that changes something."""

    def test_it_is_awaited(self, server: Any, sdk: Any) -> None:
        assert server.order(lambda: "request") == "request"
        sdk.stream_and_get.assert_called_once_with("request")
        sdk.api_cancel.assert_not_called()

    @pytest.mark.parametrize("when", ["while it is made", "while it is awaited"])
    def test_a_runner_that_is_told_to_stop_cancels_it(
        self,
        server: Any,
        sdk: Any,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        when: str,
    ) -> None:
        if when == "while it is awaited":
            sdk.stream_and_get.side_effect = CancelledActionError
        else:
            wait = server.concurrent.futures.Future.result
            signals = iter([CancelledActionError])

            def result(future: Any, timeout: float | None = None) -> Any:
                for error in signals:
                    raise error
                return wait(future, timeout)

            monkeypatch.setattr(server.concurrent.futures.Future, "result", result)
        with pytest.raises(CancelledActionError):
            server.order(lambda: "request")
        # Whose request it is, the server knows: a token's user is not the one that this pod is.
        sdk.api_cancel.assert_called_once_with(["request"], all_users=True, silent=True)
        assert "Cancelling request request at the SkyPilot API server" in capsys.readouterr().out

    def test_that_it_cannot_be_cancelled_is_said(
        self, server: Any, sdk: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sdk.stream_and_get.side_effect = CancelledActionError
        sdk.api_cancel.side_effect = ConnectionRefusedError("refused")
        with pytest.raises(CancelledActionError):
            server.order(lambda: "request")
        assert "could not be cancelled: ConnectionRefusedError" in capsys.readouterr().out

    @pytest.mark.parametrize("error", [requests.exceptions.ConnectionError("gone"), http_error(503)])
    def test_a_broken_connection_does_not_end_it(self, server: Any, sdk: Any, error: Exception) -> None:
        sdk.stream_and_get.side_effect = error
        sdk.get.side_effect = [error, "result"]
        assert server.order(lambda: "request") == "result"

    def test_a_server_that_stays_away_is_worth_a_retry(self, server: Any, sdk: Any) -> None:
        sdk.stream_and_get.side_effect = sdk.get.side_effect = ConnectionResetError("gone")
        with pytest.raises(ActionFailedError) as failure:
            server.order(lambda: "request")
        assert failure.value.exit_code is ExitCode.TRY_AGAIN
        assert sdk.stream_and_get.call_count + sdk.get.call_count == server.ATTEMPTS_TO_REACH

    def test_a_server_that_is_busy_is_asked_again(self, modules: SimpleNamespace, server: Any, sdk: Any) -> None:
        del sdk
        busy = modules.exceptions.ApiServerConnectionError("busy")
        assert server.ask(MagicMock(side_effect=[busy, "request"])) == "request"
        assert server.order(MagicMock(side_effect=[busy, "request"])) == "request"

    def test_a_request_that_may_have_arrived_is_not_made_again(self, server: Any, sdk: Any) -> None:
        del sdk
        make_request = MagicMock(side_effect=requests.exceptions.ReadTimeout("late"))
        with pytest.raises(ActionFailedError) as failure:
            server.order(make_request)
        assert failure.value.exit_code is ExitCode.TRY_AGAIN
        make_request.assert_called_once_with()

    def test_a_refusal_is_not_asked_again(self, server: Any, sdk: Any) -> None:
        sdk.stream_and_get.side_effect = http_error(401)
        with pytest.raises(ActionFailedError) as failure:
            server.order(lambda: "request")
        assert failure.value.exit_code is ExitCode.CREDENTIALS_REFUSED
        sdk.get.assert_not_called()

    def test_a_server_that_was_started_again_has_forgotten_it(self, server: Any, sdk: Any) -> None:
        sdk.stream_and_get.side_effect = RuntimeError("Failed to get request abc: 404")
        with pytest.raises(ActionFailedError) as failure:
            server.order(lambda: "request")
        assert failure.value.exit_code is ExitCode.TRY_AGAIN
        assert "has forgotten request request" in failure.value.reason


class TestClusters:
    """Clusters and their jobs."""

    def test_one_that_is_gone_needs_not_be_taken_down(self, modules: SimpleNamespace, sdk: Any) -> None:
        sdk.stream_and_get.side_effect = modules.exceptions.ClusterDoesNotExist("no such cluster")
        modules.engine.down(CLUSTER)
        sdk.stream_and_get.side_effect = ValueError("no such thing")
        with pytest.raises(ActionFailedError):
            modules.engine.down(CLUSTER)

    def test_what_a_lost_pod_asked_for_is_awaited(self, modules: SimpleNamespace, sdk: Any) -> None:
        sdk.api_status.return_value = [
            SimpleNamespace(name=name, request_id=f"id of {name}", cluster_name=cluster)
            for name, cluster in (
                ("sky.launch", CLUSTER),
                ("sky.launch", "other"),
                ("sky.status", CLUSTER),
                ("sky.logs", CLUSTER),
                ("sky.exec", CLUSTER),
            )
        ]
        sdk.stream_and_get.side_effect = ["result", ValueError("it failed")]
        modules.engine.await_submissions(CLUSTER)
        assert [call.args for call in sdk.stream_and_get.call_args_list] == [("id of sky.launch",), ("id of sky.exec",)]

    @pytest.mark.parametrize("body", [None, '{"task": "name: train-12345678-1"}'], ids=["not found", "found"])
    def test_a_launch_that_was_not_answered_is_looked_for(
        self, modules: SimpleNamespace, sdk: Any, body: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sdk.exec.side_effect = requests.exceptions.ReadTimeout("late")
        sdk.stream_and_get.side_effect = lambda request: (7, request)
        other = SimpleNamespace(name="sky.exec", request_id="other", request_body='{"task": "name: train-12345678-10"}')
        own = SimpleNamespace(name="sky.exec", request_id="own", request_body=body)
        sdk.api_status.return_value = [other, own]
        task = SimpleNamespace(name="train-12345678-1")
        if body is None:
            with pytest.raises(ActionFailedError) as failure:
                modules.engine.exec(task, CLUSTER)
            assert failure.value.exit_code is ExitCode.TRY_AGAIN
        else:
            assert modules.engine.exec(task, CLUSTER) == 7
            sdk.stream_and_get.assert_called_once_with("own")
        assert sdk.exec.call_count == 1
        assert "did not answer, looking whether it got the request: late" in capsys.readouterr().out

    def test_one_without_a_name_of_its_own_is_not(self, modules: SimpleNamespace, sdk: Any) -> None:
        sdk.exec.side_effect = requests.exceptions.ReadTimeout("late")
        sdk.api_status.return_value = [SimpleNamespace(name="sky.exec", request_id="other", request_body="None")]
        with pytest.raises(ActionFailedError, match="late") as failure:
            modules.engine.exec(SimpleNamespace(name=None), CLUSTER)
        assert failure.value.exit_code is ExitCode.TRY_AGAIN

    def test_a_log_that_cannot_be_read_is_given_up(self, modules: SimpleNamespace, sdk: Any) -> None:
        sdk.tail_logs.side_effect = requests.exceptions.ConnectionError("gone")
        with pytest.raises(ActionFailedError, match="gone") as failure:
            modules.engine.follow_job(CLUSTER, 7)
        assert failure.value.exit_code is ExitCode.TRY_AGAIN
        assert sdk.tail_logs.call_count == modules.server.ATTEMPTS_TO_REACH
        sdk.tail_logs.side_effect = ValueError("odd")
        with pytest.raises(ActionFailedError, match="odd"):
            modules.engine.follow_job(CLUSTER, 7)
        assert sdk.tail_logs.call_count == modules.server.ATTEMPTS_TO_REACH + 1

    def follow(self, modules: SimpleNamespace, statuses: list[str]) -> tuple[str, list[str]]:
        """Follow a job whose log breaks off once, and which has these statuses when it is looked at."""
        seen: list[str] = []
        left = iter(statuses)
        modules.server.sdk.job_status.side_effect = lambda name, ids: {
            ids[0]: SimpleNamespace(value=next(left), name=name)
        }
        return modules.engine.follow_job(CLUSTER, 7, on_status=seen.append), seen

    def test_a_job_is_followed_over_a_break_and_each_line_comes_once(
        self, modules: SimpleNamespace, sdk: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pieces = iter(["one\ntwo\n", "one\ntwo\nthree\n"])

        def tail_logs(*arguments: Any, output_stream: Any, **options: Any) -> None:
            del arguments, options
            piece = next(pieces)
            for line in piece.splitlines(keepends=True):
                output_stream.write(line)
            if "three" not in piece:
                raise requests.exceptions.ConnectionError("broken")

        sdk.tail_logs.side_effect = tail_logs
        assert self.follow(modules, ["RUNNING", "SUCCEEDED"]) == ("SUCCEEDED", ["RUNNING", "SUCCEEDED"])
        printed = [line for line in capsys.readouterr().out.splitlines() if "out of reach" not in line]
        assert "".join(printed) == "onetwothree"

    def test_between_two_looks_there_is_a_pause(
        self, modules: SimpleNamespace, sdk: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del sdk
        waited: list[float] = []
        monkeypatch.setattr(modules.server, "SECONDS_BETWEEN_LOOKS", 7.0)
        monkeypatch.setattr("time.sleep", waited.append)
        assert self.follow(modules, ["PENDING", "RUNNING", "FAILED"]) == ("FAILED", ["PENDING", "RUNNING", "FAILED"])
        assert waited == [7, 7]

    def test_a_job_that_the_cluster_does_not_have(self, modules: SimpleNamespace, sdk: Any) -> None:
        sdk.tail_logs.side_effect = None
        sdk.job_status.side_effect = lambda *_: {7: None}
        with pytest.raises(ActionFailedError, match="has no job 7"):
            modules.engine.follow_job(CLUSTER, 7)

    @pytest.mark.parametrize(
        ("answer", "codes"),
        [
            ((0, "[7]\n", ""), [7]),
            ((0, "{0: 7, 1: 0}\n", ""), [7, 0]),
            ((255, "", "no way"), []),
            (ActionFailedError(ExitCode.TRY_AGAIN, "no way"), []),
        ],
    )
    def test_exit_codes_are_told_if_the_cluster_can_be_reached(
        self, modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, answer: Any, codes: list[int]
    ) -> None:
        monkeypatch.setattr(type(modules.engine), "run_on_head", MagicMock(side_effect=[answer]))
        assert modules.engine.job_exit_codes(CLUSTER, 7) == codes


class TestMachines:
    """How a machine is reached."""

    def machines(
        self, modules: SimpleNamespace, sdk: Any, cloud: Any, user: str = "sky", docker_user: str | None = None
    ) -> list[Any]:
        handle = SimpleNamespace(
            cluster_name=CLUSTER,
            cached_external_ips=["10.0.0.1", "10.0.0.2"],
            cached_external_ssh_ports=[22, 22],
            ssh_user=user,
            docker_user=docker_user,
            launched_resources=SimpleNamespace(cloud=cloud),
        )
        up = modules.machines.status_lib.ClusterStatus.UP
        credentials = {"ssh_user": "sky", "ssh_proxy_command": None, "ssh_private_key_content": "key"}
        sdk.status.return_value = [SimpleNamespace(status=up, handle=handle, credentials=credentials)]
        modules.machines.cluster_utils.SSHConfigHelper.generate_local_key_file.return_value = "/keys/demo.key"
        modules.machines.directory_utils.get_sky_dir.return_value = "/opt/sky"
        runner = modules.machines.command_runner.SSHCommandRunner
        runner.reset_mock()
        modules.engine.machines(CLUSTER)
        return list(runner.call_args_list)

    @pytest.fixture(autouse=True)
    def clouds(self, modules: SimpleNamespace, sdk: Any) -> None:
        del sdk
        modules.machines.clouds.Kubernetes = type("Kubernetes", (), {})
        modules.machines.clouds.Slurm = type("Slurm", (), {})

    def test_pods_are_reached_through_the_server(self, modules: SimpleNamespace, sdk: Any) -> None:
        first, second = self.machines(modules, sdk, modules.machines.clouds.Kubernetes())
        assert (first.args[0], second.args[0]) == (("10.0.0.1", 22), ("10.0.0.2", 22))
        proxy = first.kwargs["ssh_proxy_command"]
        assert "/opt/sky/templates/websocket_proxy.py http://sky:46580 demo kubernetes-pod-ssh-proxy" in proxy
        assert "-W '[%h]:%p' sky@127.0.0.1" in proxy

    def test_a_command_is_run_on_the_first(self, modules: SimpleNamespace, sdk: Any) -> None:
        head = MagicMock(**{"run.return_value": (0, "out", "complaint")})
        modules.machines.command_runner.SSHCommandRunner.side_effect = [head, MagicMock(), head, MagicMock()]
        self.machines(modules, sdk, object())
        assert modules.engine.run_on_head(CLUSTER, "date") == (0, "out", "complaint")
        head.run.assert_called_once_with("date", require_outputs=True, separate_stderr=True, stream_logs=False)

    @pytest.mark.parametrize("refreshed", ["UP", "STOPPED"])
    def test_the_cloud_is_asked_about_a_cluster_that_is_not_up(
        self, modules: SimpleNamespace, sdk: Any, refreshed: str
    ) -> None:
        known = modules.machines.status_lib.ClusterStatus
        handle = SimpleNamespace(cached_external_ips=[])
        records = [[SimpleNamespace(status=known(name), handle=handle)] for name in ("INIT", refreshed)]
        for (record,) in records:
            record.credentials = None
        sdk.status.side_effect = records
        reason = "does not say how cluster demo is reached" if refreshed == "UP" else "not up: its status is STOPPED"
        with pytest.raises(ActionFailedError, match=reason) as failure:
            modules.engine.machines(CLUSTER)
        assert failure.value.exit_code is ExitCode.TRY_AGAIN
        modes = [call.kwargs["refresh"].name for call in sdk.status.call_args_list]
        assert modes == ["NONE", "FORCE"]
        assert [call.kwargs["_include_credentials"] for call in sdk.status.call_args_list] == [True, False]

    @pytest.mark.parametrize("missing", ["handle", "credentials", "addresses"])
    def test_one_that_the_server_does_not_describe(self, modules: SimpleNamespace, sdk: Any, missing: str) -> None:
        handle = SimpleNamespace(cached_external_ips=[] if missing == "addresses" else ["10.0.0.1"])
        record = SimpleNamespace(
            status=modules.machines.status_lib.ClusterStatus.UP,
            handle=None if missing == "handle" else handle,
            credentials=None if missing == "credentials" else {"ssh_user": "sky"},
        )
        sdk.status.return_value = [record]
        with pytest.raises(ActionFailedError, match="does not say how cluster demo is reached") as failure:
            modules.engine.machines(CLUSTER)
        assert failure.value.exit_code is ExitCode.TRY_AGAIN

    def test_other_machines_as_skypilot_says(self, modules: SimpleNamespace, sdk: Any) -> None:
        assert self.machines(modules, sdk, object())[0].kwargs["ssh_proxy_command"] is None

    def test_those_of_slurm_are_not(self, modules: SimpleNamespace, sdk: Any) -> None:
        with pytest.raises(ActionFailedError, match="SkyExecOperator") as failure:
            self.machines(modules, sdk, modules.machines.clouds.Slurm())
        assert failure.value.exit_code is ExitCode.REQUEST_WRONG

    @pytest.mark.parametrize(("user", "docker_user"), [("x$(id)", None), ("sky", "x;id"), ("-oProxyCommand", None)])
    def test_those_that_mean_ill_by_the_name_of_their_user_are_not(
        self, modules: SimpleNamespace, sdk: Any, user: str, docker_user: str | None
    ) -> None:
        with pytest.raises(ActionFailedError, match="cluster demo says that its user is"):
            self.machines(modules, sdk, modules.machines.clouds.Kubernetes(), user, docker_user)

    def test_a_cluster_that_is_not_there(self, modules: SimpleNamespace, sdk: Any) -> None:
        sdk.status.return_value = []
        with pytest.raises(ActionFailedError) as failure:
            modules.engine.machines(CLUSTER)
        assert failure.value.exit_code is ExitCode.REQUEST_WRONG


@pytest.mark.parametrize(("method", "arguments"), [("managed_jobs", {}), ("services", {"names": None, "pool": False})])
def test_without_a_controller_there_is_nothing(
    modules: SimpleNamespace, sdk: Any, method: str, arguments: dict[str, Any]
) -> None:
    sdk.get.side_effect = modules.exceptions.ClusterNotUpError("no controller")
    ask = getattr(modules.engine, method)
    assert ask(**arguments) == []
    sdk.get.side_effect.cluster_status = "STOPPED"
    with pytest.raises(ActionFailedError) as failure:
        ask(**arguments)
    assert failure.value.exit_code is ExitCode.TRY_AGAIN


def test_clouds_that_the_server_can_use(modules: SimpleNamespace, sdk: Any) -> None:
    modules.infra.skypilot_config.get_active_workspace.return_value = "default"
    sdk.check.return_value = {"default": {"Kubernetes": ["compute"]}}
    modules.infra.cloud_name = lambda name: name.upper()
    rows = modules.engine.check_infra(["kubernetes", "aws"])
    assert [(row["cloud"], row["enabled"], row["capabilities"]) for row in rows] == [
        ("kubernetes", True, ["compute"]),
        ("aws", False, []),
    ]
    sdk.check.assert_called_once_with(("kubernetes", "aws"), verbose=False)
