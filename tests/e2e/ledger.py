"""A small pod beside the clusters that jobs call: what ran, and how often, is known when the cluster is long gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_airflow import BUILD, read_env_file

if TYPE_CHECKING:
    from local_airflow import Kubectl

NAME = "e2e-ledger"
"""Jobs call ``http://e2e-ledger/KEY``."""

_SERVER = r"""
import http.server, os

class Ledger(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        # One write: calls come at the same time.
        os.write(1, f"CALL {self.path}\n".encode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("", 8000), Ledger).serve_forever()
"""


class Ledger:
    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def start(self) -> None:
        self.stop()
        labels = {"app": NAME}
        image = read_env_file(BUILD / "images.env")["SKYPILOT_IMAGE"]
        container = {
            "name": "ledger",
            "image": image,
            "command": ["python", "-c", _SERVER],
            "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
        }
        objects = [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": NAME, "labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": NAME},
                "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]},
            },
        ]
        self._kubectl.apply(*objects)
        self._kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=120s")

    def stop(self) -> None:
        self._kubectl("delete", f"pod/{NAME}", f"service/{NAME}", "--ignore-not-found")

    def count(self, key: str) -> int:
        """Return how often jobs have called ``http://e2e-ledger/KEY``."""
        return self._kubectl("logs", NAME).splitlines().count(f"CALL /{key}")

    def calls(self, prefix: str) -> set[str]:
        """Return the different keys with a prefix that jobs have called."""
        start = f"CALL /{prefix}"
        return {line.removeprefix(start) for line in self._kubectl("logs", NAME).splitlines() if line.startswith(start)}
