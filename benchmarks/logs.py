"""Reading a long log of a pod: our worker and triggerer against KubernetesPodOperator's, from an API in here."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading

from benchmarks.ratio import Ratio

MEGABYTES = 20
LINE = b"x" * 99
STAMP = b"2026-01-01T00:00:01.%09dZ "
LINES = MEGABYTES * 10_000


class _Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "/log" in self.path:
            self._send_log()
        else:
            state = {"terminated": {"exitCode": 0, "finishedAt": "2100-01-01T00:00:00Z"}}
            status = {"name": "base", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}
            pod = {"metadata": {"name": "pod", "namespace": "ns"}, "status": {"containerStatuses": [status]}}
            body = json.dumps(pod).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _send_log(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for first in range(0, LINES, 100):
            piece = b"".join(STAMP % number + LINE + b"\n" for number in range(first, first + 100))
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


def measure() -> list[Ratio]:
    """Let each of the four read the same log in a process of its own; time and peak memory."""
    print(f"Reading {MEGABYTES} MB of log", flush=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = {
            (whose, where): _read(f"http://127.0.0.1:{server.server_port}", whose, where)
            for where in ("worker", "triggerer")
            for whose in ("theirs", "ours")
        }
    finally:
        server.shutdown()
    return [
        Ratio(
            what=f"{MEGABYTES} MB of log in the {where}, {what}",
            ours=found["ours", where][key],
            theirs=found["theirs", where][key],
            unit=unit,
            limit=limit,
        )
        for where, what, key, unit, limit in (
            ("worker", "CPU", "seconds", "s", 1.0),
            ("worker", "memory", "megabytes", "MB", 1.1),
            ("triggerer", "CPU", "seconds", "s", 1.0),
            ("triggerer", "memory", "megabytes", "MB", 0.9),
        )
    ]


def _read(url: str, whose: str, where: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.log_reader", url, whose, where]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stderr.strip().splitlines()[-1])
    return found
