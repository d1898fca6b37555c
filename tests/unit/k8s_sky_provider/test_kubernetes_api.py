"""A Kubernetes API that is away for a while, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes_asyncio import client as async_client
from urllib3.exceptions import HTTPError

from k8s_sky_provider import kubernetes_api
from k8s_sky_provider.exceptions import SkyTransientError
from k8s_sky_provider.kubernetes_api import Patience, PatientAsyncHook, make_patient

if TYPE_CHECKING:
    from collections.abc import Iterator

POD = b'{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "pod"}}'


class Api:
    """Answers with :attr:`answers` in turn, then with the pod; None breaks the connection."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.asked: list[str] = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                api.asked.append(self.command)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = api.answers.pop(0) if api.answers else 200
                if status is None:
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(POD)))
                self.end_headers()
                self.wfile.write(POD)

            do_GET = do_POST = answer  # noqa: N815  # the names are http.server's

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def client(self) -> client.CoreV1Api:
        api = client.CoreV1Api(client.ApiClient(client.Configuration(host=self.url)))
        make_patient(api)
        return api

    def hook(self) -> PatientAsyncHook:
        hook = PatientAsyncHook(conn_id=None, config_dict={})
        hook.client_configuration = async_client.Configuration(host=self.url)
        hook._config_loaded = True
        return hook


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(kubernetes_api, "SECONDS_BETWEEN_ATTEMPTS", 0.01)
    monkeypatch.setattr(Patience, "away_at", -kubernetes_api.SECONDS_TO_SETTLE)
    with contextlib.closing(Api()) as api:
        yield api


@pytest.mark.parametrize(
    "answers", [[None], [503, 500, 429], [None, None, 403, 401]], ids=["broken", "overloaded", "just started"]
)
def test_a_worker_waits_until_the_api_is_back(api: Api, answers: list[int | None]) -> None:
    api.answers = list(answers)
    assert api.client().read_namespaced_pod("pod", "ns").metadata.name == "pod"
    assert len(api.asked) == len(answers) + 1


def test_a_refusal_is_no_outage(api: Api) -> None:
    api.answers = [403]
    with pytest.raises(ApiException, match="403"):
        api.client().read_namespaced_pod("pod", "ns")


def test_what_may_have_been_done_is_not_asked_for_twice(api: Api) -> None:
    api.answers = [None]
    with pytest.raises(HTTPError):
        api.client().create_namespaced_pod("ns", client.V1Pod())
    assert api.asked == ["POST"]


def test_a_worker_waits_until_it_can_connect_and_not_for_ever(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_api, "SECONDS_OF_PATIENCE", 0.5)
    core = api.client()
    api.close()
    with pytest.raises(HTTPError):
        core.read_namespaced_pod("pod", "ns")
    with pytest.raises(HTTPError):
        core.create_namespaced_pod("ns", client.V1Pod())


@pytest.mark.parametrize("answers", [[None], [503], [None, 403]], ids=["broken", "overloaded", "just started"])
def test_a_triggerer_waits_until_the_api_is_back(
    api: Api, answers: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncio.sleep", _no_sleep)
    api.answers = list(answers)
    assert asyncio.run(api.hook().get_pod("pod", "ns")).metadata.name == "pod"


def test_a_triggerer_hands_the_task_back_when_the_api_stays_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.sleep", _no_sleep)
    monkeypatch.setattr(kubernetes_api, "TRIGGERER_SECONDS_OF_PATIENCE", 0.1)
    api.answers = [503] * 1000
    with pytest.raises(SkyTransientError, match="pod pod may run on"):
        asyncio.run(api.hook().get_pod("pod", "ns"))


async def _no_sleep(_: float) -> None:
    pass
