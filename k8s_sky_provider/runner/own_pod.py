"""What Kubernetes says of the runner's own pod: whether somebody wants its end, and whether a try goes on with it.

It is read when the pod is told to stop. A file with the annotations is no help then: the kubelet writes none anew in a
pod that terminates.
"""

from __future__ import annotations

import enum
import http.client
import os
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8s_sky_provider.protocol import (
    KILL_ANNOTATION,
    POD_ACCESS_DIRECTORY,
    POD_NAME,
    POD_NAMESPACE,
    TRIES_LEFT_ANNOTATION,
    TRY_ANNOTATION,
    OnEviction,
    read_json,
    read_kill_word,
)

if TYPE_CHECKING:
    from k8s_sky_provider.protocol import SkyRequest

ATTEMPTS = 3
SECONDS_TO_ANSWER = 3.0
SECONDS_BETWEEN_ATTEMPTS = 1.0

SECONDS_FOR_A_WORD = 15.0
"""How long after its SIGTERM a pod may still be told that it is killed: Airflow looks every 5 s whether its task is."""

PART_FOR_A_WORD = 3
"""No more than one part in so many of the pod's time to end: the rest is for what is to be ended."""


class Reason(enum.Enum):
    """Why a pod is told to stop."""

    EVICTED = enum.auto()
    KILLED = enum.auto()
    CLEARED = enum.auto()
    """Killed, because its task was cleared while it ran: that begins anew."""


def why_told_to_stop(request: SkyRequest) -> Reason:
    """Tell whether a pod that is told to stop is killed, or evicted; with nobody to go on with its work it is killed.

    One that nobody has told is asked again for a while: its task may have been killed at the very same time. A pod that
    cannot be read is evicted: what is left costs money until its autostop, what is taken down is lost.
    """
    pod = read_metadata()
    seconds = min(SECONDS_FOR_A_WORD, (pod.get("deletionGracePeriodSeconds") or 0) / PART_FOR_A_WORD)
    deadline = time.monotonic() + seconds
    while True:
        found = pod.get("annotations") or {}
        try_number, is_cleared = read_kill_word(found.get(KILL_ANNOTATION, ""))
        # What an earlier try has said counts no more once another one follows the pod.
        if KILL_ANNOTATION in found and try_number == found.get(TRY_ANNOTATION):
            return Reason.CLEARED if is_cleared else Reason.KILLED
        if request.on_eviction is not OnEviction.FOLLOW or found.get(TRIES_LEFT_ANNOTATION) == "0":
            return Reason.KILLED
        if time.monotonic() >= deadline:
            return Reason.EVICTED
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        pod = read_metadata()


def read_metadata(directory: Path = Path(POD_ACCESS_DIRECTORY)) -> dict[str, Any]:
    """Return the metadata of this pod as the Kubernetes API has it; nothing if it cannot be read."""
    for attempt in range(ATTEMPTS):
        try:
            return _read(directory)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            print(f"This pod cannot be read: {type(error).__name__}: {error}")
            if attempt < ATTEMPTS - 1:
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
    return {}


def _read(directory: Path) -> dict[str, Any]:
    name, namespace = os.environ[POD_NAME], os.environ[POD_NAMESPACE]
    connection = http.client.HTTPSConnection(
        os.environ["KUBERNETES_SERVICE_HOST"],
        int(os.environ["KUBERNETES_SERVICE_PORT"]),
        timeout=SECONDS_TO_ANSWER,
        context=ssl.create_default_context(cafile=str(directory / "ca.crt")),
    )
    try:
        token = (directory / "token").read_text().strip()
        connection.request(
            "GET", f"/api/v1/namespaces/{namespace}/pods/{name}", headers={"Authorization": f"Bearer {token}"}
        )
        response = connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise OSError(f"the Kubernetes API answers {response.status} {response.reason}")
        return dict(read_json(body)["metadata"])
    finally:
        connection.close()
