"""A runner reads its own pod at the Kubernetes API, with nothing but Python's standard library."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from k8s_sky_provider.protocol import OnEviction, Owner, SkyRequest
from k8s_sky_provider.runner import own_pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ERROR = {"kind": "Status", "metadata": {}, "status": "Failure"}
"""What the Kubernetes API answers with when it refuses something."""


class Api(http.server.BaseHTTPRequestHandler):
    """Answers as the Kubernetes API does."""

    answers: list[tuple[int, Any]]
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None: ...


def make_certificate(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = dt.datetime.now(tz=dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Api]]:
    make_certificate(tmp_path)
    (tmp_path / "token").write_text("secret-token\n")
    handler = type("Handler", (Api,), {"answers": [], "asked": []})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(server.server_port),
        "K8S_SKY_POD_NAME": "launch-1",
        "K8S_SKY_POD_NAMESPACE": "sky",
        "HTTPS_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    yield handler
    server.shutdown()
    server.server_close()


def test_it_has_its_annotations(api: type[Api], tmp_path: Path) -> None:
    api.answers.append((200, {"metadata": {"annotations": {"k8s-sky/kill": "1"}}}))
    assert own_pod.read_metadata(tmp_path) == {"annotations": {"k8s-sky/kill": "1"}}
    assert api.asked == [("/api/v1/namespaces/sky/pods/launch-1", "Bearer secret-token")]


def test_an_api_that_comes_back_is_asked_again(api: type[Api], tmp_path: Path) -> None:
    api.answers += [(503, ERROR), (200, {"metadata": {"annotations": {"a": "b"}}})]
    assert own_pod.read_metadata(tmp_path) == {"annotations": {"a": "b"}}


@pytest.mark.parametrize("answer", [(403, ERROR), (200, [])], ids=["forbidden", "no pod"])
def test_what_cannot_be_read_is_no_word(
    api: type[Api], tmp_path: Path, answer: tuple[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers.append(answer)
    assert own_pod.read_metadata(tmp_path) == {}
    assert "This pod cannot be read" in capsys.readouterr().out


@pytest.mark.usefixtures("api")
def test_a_server_that_the_pods_authority_does_not_vouch_for_is_not_trusted(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    assert own_pod.read_metadata(tmp_path) == {}


def test_outside_of_kubernetes_there_is_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert own_pod.read_metadata(tmp_path) == {}
    assert waits == [1, 1], "the rest of the time is for what is to be ended"


def test_an_api_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_certificate(tmp_path)
    (tmp_path / "token").write_text("secret-token")
    monkeypatch.setattr(own_pod, "SECONDS_TO_ANSWER", 0.1)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name, value in {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(silent.getsockname()[1]),
            "K8S_SKY_POD_NAME": "launch-1",
            "K8S_SKY_POD_NAMESPACE": "sky",
        }.items():
            monkeypatch.setenv(name, value)
        assert own_pod.read_metadata(tmp_path) == {}
    assert "TimeoutError" in capsys.readouterr().out


class Clock:
    """A clock that goes on only while somebody sleeps, and what the pod's metadata are from which second on."""

    def __init__(self, metadata: dict[int, dict[str, Any]]) -> None:
        self.seconds = 0.0
        self._metadata = metadata

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def metadata(self) -> dict[str, Any]:
        return self._metadata[max(since for since in self._metadata if since <= self.seconds)]


FOLLOWED = {"k8s-sky/try": "1", "k8s-sky/tries-left": "1"}
KILLED = {**FOLLOWED, "k8s-sky/kill": "1"}


OWNER = Owner(deployment="d", dag_id="dag", run_id="run", task_id="task")


@pytest.mark.parametrize(
    ("annotations", "on_eviction"),
    [({**FOLLOWED, "k8s-sky/tries-left": "0"}, OnEviction.FOLLOW), (FOLLOWED, OnEviction.KILL)],
    ids=["the last try", "on_eviction"],
)
def test_with_nobody_to_go_on_it_is_killed_at_once(
    annotations: dict[str, str], on_eviction: OnEviction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        own_pod, "read_metadata", lambda: {"annotations": annotations, "deletionGracePeriodSeconds": 300}
    )
    monkeypatch.setattr(time, "sleep", pytest.fail)
    request = SkyRequest(action="launch", arguments={}, owner=OWNER, on_eviction=on_eviction)
    assert own_pod.why_told_to_stop(request) is own_pod.Reason.KILLED


@pytest.mark.parametrize(
    ("grace", "word_after", "expected", "seconds"),
    [
        (300, None, own_pod.Reason.EVICTED, 15),
        (300, 12, own_pod.Reason.KILLED, 12),
        (30, None, own_pod.Reason.EVICTED, 10),
        (None, None, own_pod.Reason.EVICTED, 0),
    ],
    ids=["no word comes", "a late word", "with little time to end", "its node shuts down"],
)
def test_a_word_may_come_after_the_signal(
    monkeypatch: pytest.MonkeyPatch, grace: int | None, word_after: int | None, expected: own_pod.Reason, seconds: int
) -> None:
    time_to_end = {} if grace is None else {"deletionGracePeriodSeconds": grace}
    clock = Clock({0: {"annotations": FOLLOWED, **time_to_end}})
    if word_after is not None:
        clock = Clock({0: {"annotations": FOLLOWED, **time_to_end}, word_after: {"annotations": KILLED, **time_to_end}})
    monkeypatch.setattr(own_pod, "read_metadata", clock.metadata)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.seconds)
    assert own_pod.why_told_to_stop(SkyRequest(action="launch", arguments={}, owner=OWNER)) is expected
    assert clock.seconds == seconds
