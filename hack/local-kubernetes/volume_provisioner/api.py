"""The little of the Kubernetes API that the provisioner uses, with the standard library only."""

import http.client
import json
import logging
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

log = logging.getLogger(__name__)

Object = dict[str, Any]
Key = tuple[str, str]

WATCH_SECONDS = 60


class Api:
    """Kubernetes at one address, with a client certificate."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        self.server = server
        self.context = context

    def get(self, path: str) -> Object:
        """Read one object or list."""
        with self._open("GET", path) as response:
            answer: Object = json.load(response)
            return answer

    def create(self, path: str, body: Object) -> None:
        """Create an object in a collection."""
        self._open("POST", path, body).close()

    def delete(self, path: str) -> None:
        """Delete one object."""
        self._open("DELETE", path).close()

    def watch(self, path: str, resource_version: str) -> Iterator[Object]:
        """Yield the changes since resource_version, for at most WATCH_SECONDS."""
        query = f"watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={resource_version}"
        with self._open("GET", f"{path}?{query}") as response:
            for line in response:
                yield json.loads(line)

    def _open(self, method: str, path: str, body: Object | None = None) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        url = self.server + path
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - always our https server
        response: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310 - as above
            request, context=self.context, timeout=WATCH_SECONDS + 30
        )
        return response


def key_of(item: Object) -> Key:
    """Return (namespace, name); the namespace is empty for objects of the whole cluster."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Mirror:
    """A live copy of all objects of one kind, by (namespace, name)."""

    def __init__(self, api: Api, path: str, changed: Callable[[Object], None] | None = None) -> None:
        self.api = api
        self.path = path
        self.changed = changed
        self.objects: dict[Key, Object] = {}

    def start(self) -> threading.Thread:
        """Follow the objects from now on, in a thread."""
        thread = threading.Thread(target=self._run, name=self.path)
        thread.start()
        return thread

    def _run(self) -> None:
        while True:
            try:
                self._follow()
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                log.warning("%s: %s; trying again", self.path, error)
                time.sleep(1)

    def _follow(self) -> None:
        """List everything, then apply changes; return when the list has to be read again."""
        listing = self.api.get(self.path)
        self.objects = {key_of(item): item for item in listing["items"]}
        told = [self._tell(item) for item in listing["items"]]
        if not all(told):
            time.sleep(1)
            return
        version = listing["metadata"]["resourceVersion"]
        while True:
            for event in self.api.watch(self.path, version):
                # ERROR: the server has forgotten our place.
                if event["type"] == "ERROR" or not self._apply(event):
                    return
                version = event["object"]["metadata"]["resourceVersion"]

    def _apply(self, event: Object) -> bool:
        item = event["object"]
        if event["type"] == "DELETED":
            self.objects.pop(key_of(item), None)
            return True
        self.objects[key_of(item)] = item
        return self._tell(item)

    def _tell(self, item: Object) -> bool:
        """Return False if what depends on the object failed and must be tried again."""
        try:
            if self.changed is not None:
                self.changed(item)
        except OSError as error:
            log.warning("%s %s: %s; trying again", self.path, "/".join(key_of(item)), error)
            return False
        return True
