"""What SkyPilot's errors mean, whose texts may have a machine's output in them. SkyPilot is a fake."""

from __future__ import annotations

import errno
import importlib
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
import sqlalchemy.exc
import urllib3.exceptions

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError
from unit.k8s_sky_provider import fake_sky

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def errors() -> Iterator[Any]:
    with fake_sky.installed():
        yield importlib.import_module("k8s_sky_provider.runner.sky.errors")


@pytest.mark.parametrize(
    "unit", ["HTTP response body: ", 'HTTP response body: "message": "', "ErrImage", "Failed to access repository x"]
)
def test_no_output_of_a_machine_holds_the_runner_up(errors: Any, unit: str) -> None:
    text = unit * (1024 * 1024 // len(unit))
    began = time.process_time()
    errors.explain(RuntimeError(text))
    errors.explain(importlib.import_module("sky.exceptions").ResourcesUnavailableError(text))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('(403) HTTP response body: {"kind": "Status", "message": "no \\"right\\"", "code": 403}', 'no "right"'),
        ('HTTP response body: {} HTTP response body: {"message":"late"}', "late"),
        ("HTTP response body: none", "HTTP response body: none"),
        ('"message": "of nobody"', '"message": "of nobody"'),
    ],
)
def test_of_an_answer_of_kubernetes_only_its_message_is_said(errors: Any, text: str, reason: str) -> None:
    assert errors.explain(RuntimeError(text)).reason == f"RuntimeError: {reason}"


def raised(name: str, text: str = "text", **fields: Any) -> Exception:
    """Return an error of SkyPilot's."""
    error: Exception = getattr(importlib.import_module("sky.exceptions"), name)(text)
    vars(error).update(fields)
    return error


MEANINGS = {
    ExitCode.TRY_AGAIN: (
        *("KubeAPIUnreachableError", "ExecutionRetryableError", "NetworkError", "FetchClusterInfoError"),
        *("ClusterStatusFetchingError", "ClusterNotUpError", "CommandError", "ServerTemporarilyUnavailableError"),
        *("SkyletUnavailableError", "VolumeNotReadyError"),
        *(ConnectionResetError("x"), TimeoutError("x"), requests.exceptions.ReadTimeout("x")),
        *(requests.exceptions.ConnectionError("x"), urllib3.exceptions.HTTPError("x")),
        sqlalchemy.exc.OperationalError("SELECT", {}, Exception("locked")),
        *(ValueError("connection refused"), RuntimeError("Temporary failure in name resolution")),
    ),
    ExitCode.RESOURCES_UNAVAILABLE: (
        "ResourcesUnavailableError",
        "ProvisionPrechecksError",
        "ProvisionUnsupportedError",
    ),
    ExitCode.CREDENTIALS_REFUSED: (
        *("NoCloudAccessError", "InvalidCloudCredentials", "InvalidCloudConfigs", "CloudUserIdentityError"),
        *("ClusterOwnerIdentityMismatchError", "PermissionDeniedError"),
    ),
    ExitCode.DEPLOYMENT_WRONG: (
        "InvalidSkyPilotConfigError",
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EDQUOT, "full"),
    ),
    ExitCode.REQUEST_WRONG: (
        *("InvalidClusterNameError", "NotSupportedError", "ResourcesMismatchError", "KubernetesValidationError"),
        *("StorageSpecError", "UserRequestRejectedByPolicy", "VolumeNotFoundError", "ClusterDoesNotExist"),
        ValueError("x"),
    ),
    ExitCode.INTERNAL_ERROR: (RuntimeError("x"), KeyError("x"), OSError(errno.EACCES, "x")),
}


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(error, code) for code, kinds in MEANINGS.items() for error in kinds],
    ids=lambda value: str(value) if isinstance(value, str) else repr(value)[:40],
)
def test_what_an_error_means(errors: Any, error: Any, exit_code: ExitCode) -> None:
    failure = errors.explain(raised(error) if isinstance(error, str) else error)
    assert failure.exit_code is exit_code
    assert failure.error == (error if isinstance(error, str) else type(error).__name__)
    assert failure.reason.partition(": ")[0].endswith((failure.error, "room there"))


def test_a_wrong_value_that_comes_from_a_broken_connection_is_none(errors: Any) -> None:
    error = ValueError("no such repository")
    error.__cause__ = ConnectionError("gone")
    assert errors.explain(error).exit_code is ExitCode.TRY_AGAIN
    error = ValueError("no such repository")
    error.__context__ = ConnectionError("gone")
    assert errors.explain(error).exit_code is ExitCode.TRY_AGAIN
    error.__suppress_context__ = True
    assert errors.explain(error).exit_code is ExitCode.REQUEST_WRONG


class TestReasons:
    """What an error says."""

    def test_is_one_line_without_the_codes_of_a_terminal(self, errors: Any) -> None:
        assert errors.explain(RuntimeError("\x1b[31ma\n  b\x1b[0m")).reason == "RuntimeError: a b"
        assert errors.explain(RuntimeError()).reason == "RuntimeError: RuntimeError"

    def test_has_an_end(self, errors: Any) -> None:
        assert len(errors.explain(RuntimeError("x" * 5000)).reason) == 1000

    def test_has_no_statement_of_a_database(self, errors: Any) -> None:
        error = sqlalchemy.exc.OperationalError("INSERT INTO keys", {"key": "secret"}, Exception("locked"))
        assert errors.explain(error).reason == "OperationalError: locked"

    def test_has_what_skypilot_has_printed_above(self, errors: Any) -> None:
        error = RuntimeError("see the log above")
        assert errors.explain(error).reason == "RuntimeError: see the log above"
        error.__cause__ = KeyError("zone")
        assert errors.explain(error).reason == "RuntimeError: see the log above ('zone')"
        other = RuntimeError("see there")
        other.__cause__ = KeyError("zone")
        assert errors.explain(other).reason == "RuntimeError: see there"

    @pytest.mark.parametrize("cause", [OSError(errno.ENOSPC, "full"), None])
    def test_names_a_volume_that_is_full(self, errors: Any, cause: Exception | None) -> None:
        error: Exception = sqlalchemy.exc.OperationalError("x", {}, Exception("database or disk is full"))
        if cause is not None:
            error = RuntimeError("odd")
            error.__cause__ = cause
        failure = errors.explain(error)
        assert failure.exit_code is ExitCode.DEPLOYMENT_WRONG
        assert failure.reason.startswith("The volume with SkyPilot's state is full, make room there: ")

    @pytest.mark.parametrize(("events", "said"), [(["autodowned"], " (autodowned)"), ([], ""), (None, "")])
    def test_names_what_became_of_a_cluster(self, errors: Any, events: list[str] | None, said: str) -> None:
        state = importlib.import_module("sky.global_user_state")
        if events is None:
            state.get_cluster_events.side_effect = RuntimeError("no table")
        else:
            state.get_cluster_events.return_value = events
        error = raised("ClusterNotUpError", "not up", handle=type("Handle", (), {"cluster_name": "demo"}))
        assert errors.explain(error).reason == f"ClusterNotUpError: not up{said}"
        assert state.get_cluster_events.call_args.args[0] == "demo"

    @pytest.mark.parametrize(
        ("code", "exit_code", "begin"),
        [
            (socket.EAI_AGAIN, ExitCode.TRY_AGAIN, "github.com: Later"),
            (socket.EAI_NONAME, ExitCode.REQUEST_WRONG, "ValueError: Failed"),
            (None, ExitCode.REQUEST_WRONG, "ValueError: Failed"),
        ],
    )
    @pytest.mark.parametrize("url", ["https://github.com/a/b", "git@github.com:a/b"])
    def test_names_the_host_of_a_repository_that_is_not_found_now(
        self,
        errors: Any,
        monkeypatch: pytest.MonkeyPatch,
        code: int | None,
        exit_code: ExitCode,
        begin: str,
        url: str,
    ) -> None:
        asked: list[str] = []

        def look_up(host: str, port: None) -> None:
            asked.append(host)
            if code is not None:
                raise socket.gaierror(code, "Later")

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        failure = errors.explain(ValueError(f"Failed to access repository {url}. No rights"))
        assert (asked, failure.exit_code) == (["github.com"], exit_code)
        assert failure.reason.startswith(begin)


class TestResources:
    """Why there were none, place by place."""

    @pytest.mark.parametrize(
        ("text", "exit_code", "way_out"),
        [
            ("Quota exceeded", ExitCode.RESOURCES_UNAVAILABLE, None),
            ("no more spot", ExitCode.RESOURCES_UNAVAILABLE, None),
            ("pods is forbidden", ExitCode.CREDENTIALS_REFUSED, "SkyCheckOperator"),
            ("status (403)", ExitCode.CREDENTIALS_REFUSED, "SkyCheckOperator"),
            ("ErrImagePull: not found", ExitCode.REQUEST_WRONG, "image_id"),
            ("InvalidImageName", ExitCode.REQUEST_WRONG, "image_id"),
            ("ErrImagePull", ExitCode.TRY_AGAIN, None),
        ],
    )
    def test_words_of_a_reason(self, errors: Any, text: str, exit_code: ExitCode, way_out: str | None) -> None:
        failure = errors.explain(raised("ResourcesUnavailableError", f"Failed. Reason: {text}"))
        assert failure.exit_code is exit_code
        assert failure.reason.startswith(f"ResourcesUnavailableError: {text}")
        assert (way_out is None) or (way_out in failure.reason)
        assert ("; " in failure.reason) is (way_out is not None)

    def test_a_place_that_lacks_them_decides(self, errors: Any) -> None:
        history = [ValueError("is forbidden"), ValueError("no GPUs"), ValueError("no GPUs"), ConnectionError("gone")]
        error = raised("ResourcesUnavailableError", failover_history=history)
        failure = errors.explain(error)
        assert failure.exit_code is ExitCode.RESOURCES_UNAVAILABLE
        assert failure.reason == "ResourcesUnavailableError: is forbidden; no GPUs; gone"
        error = raised("ResourcesUnavailableError", failover_history=[history[0], history[3]])
        assert errors.explain(error).exit_code is ExitCode.TRY_AGAIN

    @pytest.mark.parametrize(
        ("logger", "message", "is_kept"),
        [
            ("sky.provisioner", "bulk_provision for %s failed", True),
            ("sky.clouds.kubernetes", "Excluding Kubernetes context", True),
            ("sky.provisioner", "something else", False),
            ("sky.other", "bulk_provision for x failed", False),
        ],
    )
    def test_what_skypilot_only_logs_is_the_reason(self, errors: Any, logger: str, message: str, is_kept: bool) -> None:
        try:
            raise ConnectionError("(401) Unauthorized")
        except ConnectionError:
            logging.getLogger(logger).exception(message, *(["x"] if "%" in message else []))
        failure = errors.explain(raised("ResourcesUnavailableError", "none"))
        assert ("Unauthorized" in failure.reason) is is_kept
        # What was said once is not said again.
        assert "Unauthorized" not in errors.explain(raised("ResourcesUnavailableError", "none")).reason

    def test_without_an_error_at_hand_nothing_is_kept(self, errors: Any) -> None:
        logging.getLogger("sky.provisioner").error("bulk_provision for x failed")
        assert errors.explain(raised("ResourcesUnavailableError", "none")).reason == "ResourcesUnavailableError: none"


def test_ours_stay_as_they_are(errors: Any) -> None:
    ours = ActionFailedError(ExitCode.REQUEST_WRONG, "ours")
    with pytest.raises(ActionFailedError) as caught, errors.explained():
        raise ours
    assert caught.value is ours
    with pytest.raises(KeyboardInterrupt), errors.explained():
        raise KeyboardInterrupt
