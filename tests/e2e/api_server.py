"""A SkyPilot API server in the cluster, as a team may have one: with users, and a token for Airflow.

It is one pod of the SkyPilot image, with the runner's ServiceAccount, and forgets all when it ends.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import yaml
from local_airflow import BUILD, CLUSTERS_NAMESPACE, RESTRICTED_CONTAINER, RESTRICTED_POD, ROOT, read_env_file

if TYPE_CHECKING:
    from local_airflow import Kubectl

PORT = 46580
SECONDS_TO_START = 300
CONFIG = {
    "kubernetes": {
        "namespace": CLUSTERS_NAMESPACE,
        "remote_identity": "sky-cluster",
        "provision_timeout": 600,
        "ports": "podip",
    },
    # What SkyPilot's own chart does: managed jobs need no cluster for their controller.
    "jobs": {"controller": {"consolidation_mode": True}},
}
START = """
mkdir -p ~/.sky
printf '%s' "$CONFIG" > ~/.sky/config.yaml
printf '%s' "$PATCH" > /tmp/patch
sh /tmp/patch "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
hash='import os; from passlib.hash import sha512_crypt; print(sha512_crypt.hash(os.environ["ADMIN_PASSWORD"]))'
export SKYPILOT_INITIAL_BASIC_AUTH="admin:$(python -c "$hash")"
unset ADMIN_PASSWORD CONFIG PATCH SKYPILOT_DISABLE_LOCAL_API_SERVER
exec python -m sky.server.server --host 0.0.0.0
"""
MAKE_TOKEN = """
import requests, socket, sys, time
address = f"http://{socket.gethostbyname(socket.gethostname())}:{sys.argv[1]}"
body = {"token_name": "airflow"}
for _ in range(20):
    answer = requests.post(f"{address}/users/service-account-tokens", json=body, auth=("admin", sys.argv[2]))
    if answer.status_code != 503:  # which it says when a look at a password takes too long
        break
    time.sleep(3)
answer.raise_for_status()
print(answer.json()["token"])
"""
UNDER_WAY = """
from sky.server.requests import requests, storage
wanted = requests.RequestTaskFilter(status=requests.RequestStatus.active_statuses())
found = storage.get_request_backend().query_requests(wanted)
print(*[request.name for request in found if request.user_id.startswith("sa-")])
"""
CLUSTERS = """
from sky import global_user_state
print(*[cluster["name"] for cluster in global_user_state.get_clusters()])
"""


class ApiServer:
    """The server; its token is in a Secret of the same name, under the key ``token``.

    :param kubectl: kubectl in the namespace
    :param name: of the pod, the Service and the Secret
    """

    def __init__(self, kubectl: Kubectl, name: str = "e2e-sky-api") -> None:
        self.kubectl = kubectl
        self.name = name
        self.endpoint = f"http://{name}:{PORT}"
        self._password = secrets.token_urlsafe(16)

    def start(self) -> str:
        """Start the server and return the token that its Secret has."""
        self.stop()
        self.kubectl.apply(self.service(), self.pod())
        self.kubectl("wait", "--for=condition=Ready", f"pod/{self.name}", f"--timeout={SECONDS_TO_START}s")
        token = self.run("-", str(PORT), self._password, stdin=MAKE_TOKEN).strip()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "stringData": {"token": token}}
        self.kubectl.apply(secret)
        return token

    def stop(self) -> None:
        """Delete all of it."""
        kinds = f"pod/{self.name}", f"service/{self.name}", f"secret/{self.name}"
        self.kubectl("delete", *kinds, "--ignore-not-found", "--grace-period=5")

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run Python in the server's pod and return what it prints."""
        return self.kubectl("exec", "-i", self.name, "--", "python", *arguments, stdin=stdin)

    def requests_under_way(self) -> list[str]:
        """Return the names of the requests that the server is at work on, its own ones left out."""
        return self.run("-", stdin=UNDER_WAY).split()

    def clusters(self) -> list[str]:
        """Return the names of the clusters that the server knows."""
        return self.run("-", stdin=CLUSTERS).split()

    def service(self) -> dict[str, Any]:
        """Return the Service."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name},
            "spec": {"selector": {"app": self.name}, "ports": [{"port": PORT}]},
        }

    def pod(self) -> dict[str, Any]:
        """Return the pod."""
        env = {
            "CONFIG": yaml.safe_dump(CONFIG),
            # Its controller of managed jobs wants the internet otherwise.
            "PATCH": (ROOT / "images" / "skypilot-cluster" / "patch-network-check").read_text(),
            "ADMIN_PASSWORD": self._password,
            "ENABLE_BASIC_AUTH": "true",
            "ENABLE_SERVICE_ACCOUNTS": "true",
            "IS_SKYPILOT_SERVER": "true",
            # It counts its workers, and its controllers of jobs, by the machine's memory.
            "SKYPILOT_POD_MEMORY_GB_LIMIT": "4",
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": {"app": self.name}},
            "spec": {
                "serviceAccountName": "sky-runner",
                "restartPolicy": "Never",
                "securityContext": {**RESTRICTED_POD, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
                "containers": [
                    {
                        "name": "server",
                        "image": read_env_file(BUILD / "images.env")["SKYPILOT_IMAGE"],
                        "command": ["tini", "--", "sh", "-c", START],
                        "env": [{"name": name, "value": value} for name, value in env.items()],
                        "resources": {"requests": {"cpu": "50m", "memory": "1Gi"}},
                        "securityContext": RESTRICTED_CONTAINER,
                        "readinessProbe": {
                            "httpGet": {"path": "/api/health", "port": PORT},
                            "periodSeconds": 2,
                            "timeoutSeconds": 5,
                        },
                    }
                ],
            },
        }


OTHER_VERSION = """
import http.server, json

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"status": "healthy", "api_version": "12", "version": "0.9.0", "commit": "abc", "user": None}
        self.send_response(200)
        self.send_header("X-SkyPilot-API-Version", "12")
        self.send_header("X-SkyPilot-Version", "0.9.0")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

http.server.HTTPServer(("", %s), Handler).serve_forever()
"""


def start_other_version(kubectl: Kubectl, name: str) -> None:
    """Start what answers like a SkyPilot API server of a version that is too old; there is no more to it."""
    server = ApiServer(kubectl, name)
    pod = server.pod()
    container = pod["spec"]["containers"][0]
    container["command"] = ["tini", "--", "python", "-c", OTHER_VERSION.replace("%s", str(PORT))]
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    kubectl.apply(server.service(), pod)
    kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={SECONDS_TO_START}s")
