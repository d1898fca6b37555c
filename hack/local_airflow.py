"""The Airflow of the chart on the local cluster, through its REST API and kubectl. Standard library only."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
NAMESPACE = "k8s-sky"
CLUSTERS_NAMESPACE = "k8s-sky-clusters"
RELEASE = "sky"
AIRFLOW_NAME = f"{RELEASE}-airflow"
RESTRICTED_POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Security contexts that pass Pod Security "restricted"; the image's user must be said as a number besides."""

FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}


def read_env_file(path: Path) -> dict[str, str]:
    """Return the NAME=value lines of a file that ``hack/cluster`` or ``hack/build-images`` wrote."""
    if not path.exists():
        raise SystemExit(f"{path.relative_to(ROOT)} does not exist: run 'make deploy' first")
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


class Kubectl:
    """kubectl on the local cluster, in the namespace of the release or in another."""

    def __init__(self, namespace: str = NAMESPACE) -> None:
        self.kubeconfig = read_env_file(BUILD / "cluster.env")["KUBECONFIG"]
        self.namespace = namespace

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        return [str(BUILD / "bin" / "kubectl"), "--kubeconfig", self.kubeconfig, "-n", self.namespace, *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints; raise with what it complains about."""
        done = subprocess.run(self.command(*arguments), input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Run ``kubectl get ... -o json`` and return what it prints, decoded."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Make objects, or change them."""
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def secret(self, name: str, key: str) -> str:
        """Return one value of a Secret."""
        return base64.b64decode(self.get("secret", name)["data"][key]).decode()


class ApiError(RuntimeError):
    """Airflow's API refused a call.

    :param text: the call, and what came back
    :param status: the answer's HTTP status
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class LocalAirflow:
    """Airflow's REST API behind a port-forward. Use it as a context manager."""

    def __init__(self) -> None:
        self.kubectl = Kubectl()
        self._authorization = ""
        self._api = "/api/v2"

    def __enter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._forward: subprocess.Popen[bytes] | None = None
        self._start_forward()
        self.wait_until_ready()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop_forward()

    def _start_forward(self) -> None:
        self._stop_forward()
        self._forward = subprocess.Popen(
            self.kubectl.command("port-forward", f"service/{AIRFLOW_NAME}", f"{self.port}:8080"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _stop_forward(self) -> None:
        if self._forward is not None:
            self._forward.terminate()
            self._forward.wait()
            self._forward = None

    def wait_until_ready(self, timeout: float = 300) -> None:
        """Wait until the API lets us in."""
        deadline = time.monotonic() + timeout
        password = self.kubectl.secret(AIRFLOW_NAME, "admin-password")
        while True:
            try:
                self._log_in("admin", password)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Airflow did not answer for {timeout:.0f} s: {error}") from error
                time.sleep(1)
                # A port-forward to a pod that is gone may stay open; one that is about to start refuses.
                is_starting = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
                if not is_starting or self._forward is None or self._forward.poll() is not None:
                    self._start_forward()
            else:
                return

    def _log_in(self, username: str, password: str) -> None:
        self._authorization = ""
        try:
            answer = self._send("POST", "/auth/token", {"username": username, "password": password})
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            # Airflow 2 has no tokens.
            self._api = "/api/v1"
            self._authorization = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
            self._send("GET", f"{self._api}/dags?limit=1", None)
        else:
            self._authorization = f"Bearer {answer['access_token']}"

    @property
    def is_airflow_2(self) -> bool:
        """Whether it is Airflow 2, whose API is another."""
        return self._api == "/api/v1"

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call Airflow's REST API and return the decoded answer, over a break of the port-forward."""
        for attempt in range(5):
            try:
                return self._send(method, f"{self._api}{path}", body)
            except urllib.error.HTTPError as error:
                text = f"{method} {path}: {error.code} {error.read().decode()[:500]}"
                raise ApiError(text, error.code) from error
            except OSError:
                if attempt == 4:
                    raise
                self._start_forward()
                time.sleep(2)
        return None

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                **({"Authorization": self._authorization} if self._authorization else {}),
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def wait_for_dag(self, dag_id: str, timeout: float = 240) -> None:
        """Wait until the scheduler knows a DAG; tell of import errors at once."""
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(RuntimeError):
                self.request("GET", f"/dags/{dag_id}")
                self.request("PATCH", f"/dags/{dag_id}", {"is_paused": False})
                return
            errors = self.request("GET", "/importErrors")["import_errors"]
            if errors:
                texts = (f"Airflow cannot read {error['filename']}:\n{error['stack_trace']}" for error in errors)
                raise RuntimeError("\n".join(texts))
            if time.monotonic() > deadline:
                raise TimeoutError(f"Airflow did not list the DAG {dag_id} within {timeout:.0f} s")
            time.sleep(2)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> str:
        """Start a run of a DAG and return its id."""
        self.wait_for_dag(dag_id)
        date = {} if self.is_airflow_2 else {"logical_date": None}
        body = {**date, "conf": conf or {}, **({"dag_run_id": run_id} if run_id else {})}
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 1800) -> str:
        """Wait until a run has ended; return its state."""
        deadline = time.monotonic() + timeout
        while (state := self.run_state(dag_id, run_id)) not in FINISHED:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{dag_id} {run_id} is {state} after {timeout:.0f} s: {self.task_states(dag_id, run_id)}"
                )
            time.sleep(1)
        return state

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, by the time they started."""
        found = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
        return sorted(found, key=lambda task: task["start_date"] or "9")

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return one task instance of a run."""
        found: dict[str, Any] = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return task id -> state."""
        return {task["task_id"]: task["state"] for task in self.tasks(dag_id, run_id)}

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task, as a user does in the user interface."""
        # Airflow 2 only tries it out by default; Airflow 3 knows no such word.
        body = {"new_state": state, **({"dry_run": False} if self.is_airflow_2 else {})}
        self.request("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", body)

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear all tasks of a run, as a user does in the user interface."""
        # Not clearTaskInstances: in Airflow 2.11 it does nothing to a task that runs.
        self.request("POST", f"/dags/{dag_id}/dagRuns/{run_id}/clear", {"dry_run": False})

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, *, map_index: int = -1) -> str:
        """Return a task's log as lines of text, nothing if the task never began."""
        path = (
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
            f"?full_content=true&map_index={map_index}"
        )
        answer = self._request_if_there(path)
        if not answer:
            return ""
        lines = _log_lines_of_airflow_2 if self.is_airflow_2 else _log_lines
        return "\n".join(lines(answer["content"]))

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return an XCom value, or None if there is none."""
        as_it_is = "stringify=false" if self.is_airflow_2 else "deserialize=true"
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?{as_it_is}"
        answer = self._request_if_there(path)
        return answer["value"] if answer else None

    def _request_if_there(self, path: str) -> Any:
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of Airflow, of the operators and of SkyPilot's clusters."""
        return [pod for kubectl in (self.kubectl, Kubectl(CLUSTERS_NAMESPACE)) for pod in kubectl.get("pods")["items"]]

    def refusals(self, seconds: int) -> list[str]:
        """Return why Kubernetes refused pods in which tasks were to begin, by the scheduler's log."""
        log = self.kubectl("logs", f"deployment/{AIRFLOW_NAME}", "-c", "scheduler", f"--since={seconds}s")
        return refusals_in(log)


def refusals_in(log: str) -> list[str]:
    """Return what answers of Kubernetes in a log say, each once."""
    messages = []
    for body in re.findall(r"HTTP response body: (\{.*\})", log):
        with contextlib.suppress(ValueError, KeyError):
            messages.append(str(json.loads(body)["message"]))
    return list(dict.fromkeys(messages))


def _log_lines(content: Any) -> Iterator[str]:
    for entry in content if isinstance(content, list) else [content]:
        if isinstance(entry, str):
            yield entry
            continue
        yield str(entry.get("event", ""))
        for error in entry.get("error_detail") or []:
            yield f"{error.get('exc_type')}: {error.get('exc_value')}"


def _log_lines_of_airflow_2(content: str) -> Iterator[str]:
    for _, text in ast.literal_eval(content):
        for line in text.splitlines():
            yield re.sub(r"^\[[^]]+\] \{[^}]+\} [A-Z]+ - ", "", line)


def without_noise(log: str) -> str:
    """Return only what the sky pod itself printed."""
    return "\n".join(
        re.sub(r"^\[base\] (logs: )?", "", line) for line in log.splitlines() if line.startswith("[base] ")
    )


def password_hint() -> str:
    """Return the commands that open the user interface."""
    return (
        "  set -a; . .build/cluster.env; set +a\n"
        f"  .build/bin/kubectl -n {NAMESPACE} port-forward service/{AIRFLOW_NAME} 8080:8080\n"
        f"  open http://localhost:8080 as admin; the password:\n"
        f"  .build/bin/kubectl -n {NAMESPACE} get secret {AIRFLOW_NAME} "
        "-o jsonpath='{.data.admin-password}' | base64 -d"
    )
