"""How the volume provisioner follows Kubernetes objects (hack/local-kubernetes/volume_provisioner/api.py)."""

from collections.abc import Iterator
from typing import Any

import pytest
from volume_provisioner import api


def service(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "demo", "name": name, "resourceVersion": version}}


class FakeApi:
    """Gives one list, then the given watches, each a list of events."""

    def __init__(self, *watches: list[dict[str, Any]]) -> None:
        self.watches = list(watches)
        self.versions: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/services"
        return {"metadata": {"resourceVersion": "10"}, "items": [service("old", "1")]}

    def watch(self, path: str, resource_version: str) -> Iterator[dict[str, Any]]:
        assert path == "/api/v1/services"
        self.versions.append(resource_version)
        yield from self.watches.pop(0)


FORGOTTEN = {"type": "ERROR", "object": {"code": 410}}


def test_it_holds_what_is_listed_added_and_not_deleted() -> None:
    fake = FakeApi(
        [{"type": "ADDED", "object": service("new", "11")}],
        [{"type": "DELETED", "object": service("old", "12")}, FORGOTTEN],
    )
    mirror = api.Mirror(fake, "/api/v1/services")  # type: ignore[arg-type]  # a fake
    mirror._follow()
    assert list(mirror.objects) == [("demo", "new")]
    assert fake.versions == ["10", "11"]


def test_what_failed_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    told: list[str] = []

    def fails_first(item: dict[str, Any]) -> None:
        told.append(item["metadata"]["name"])
        if len(told) == 1:
            raise ConnectionError

    mirror = api.Mirror(FakeApi([FORGOTTEN]), "/api/v1/services", fails_first)  # type: ignore[arg-type]  # a fake
    mirror._follow()
    mirror._follow()
    assert told == ["old", "old"]
