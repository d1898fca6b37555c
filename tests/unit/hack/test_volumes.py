"""The volume provisioner of the local cluster (hack/local-kubernetes/volume_provisioner/volumes.py)."""

import copy
import io
import pathlib
import urllib.error
from email.message import Message
from typing import Any

import pytest
from volume_provisioner import volumes

CLAIM: dict[str, Any] = {
    "metadata": {
        "name": "sky-state",
        "namespace": "demo",
        "uid": "1234",
        "annotations": {volumes.CLAIM_ANNOTATION: volumes.PROVISIONER, volumes.NODE_ANNOTATION: "node-2"},
    },
    "spec": {
        "storageClassName": "standard",
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "5Gi"}},
    },
    "status": {"phase": "Pending"},
}
VOLUME: dict[str, Any] = {
    "metadata": {"name": "pvc-1234", "annotations": {volumes.VOLUME_ANNOTATION: volumes.PROVISIONER}},
    "spec": {"persistentVolumeReclaimPolicy": "Delete"},
    "status": {"phase": "Released"},
}

NODES = ["node-1", "node-2"]


class FakeApi:
    def __init__(self, error: int | None = None) -> None:
        self.calls: list[tuple[str, str]] = []
        self.error = error

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/apis/storage.k8s.io/v1/storageclasses/standard"
        return {"reclaimPolicy": "Delete"}

    def create(self, path: str, body: dict[str, Any]) -> None:
        self._call("create", f"{path}/{body['metadata']['name']}")

    def delete(self, path: str) -> None:
        self._call("delete", path)

    def _call(self, verb: str, path: str) -> None:
        self.calls.append((verb, path))
        if self.error is not None:
            raise urllib.error.HTTPError(path, self.error, "", Message(), io.BytesIO())


def changed(original: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    result = copy.deepcopy(original)
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place[parent]
    place[last] = value
    return result


def provisioner(api: FakeApi, directory: pathlib.Path) -> volumes.Provisioner:
    return volumes.Provisioner(api, NODES, directory)  # type: ignore[arg-type]  # a fake


def test_a_pending_claim_gets_a_local_volume_on_its_nodes(tmp_path: pathlib.Path) -> None:
    volume = volumes.volume_for(CLAIM, NODES, tmp_path, "Delete")
    spec = volume["spec"]
    assert spec["local"] == {"path": str(tmp_path / "pvc-1234")}
    assert spec["claimRef"]["uid"] == "1234"
    assert spec["storageClassName"] == "standard"
    assert spec["accessModes"] == ["ReadWriteMany"]
    assert spec["capacity"] == {"storage": "5Gi"}
    assert spec["persistentVolumeReclaimPolicy"] == "Delete"
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": NODES}]


def test_the_directory_is_there_before_the_volume_and_open_to_any_user(tmp_path: pathlib.Path) -> None:
    api = FakeApi()
    provisioner(api, tmp_path / "volumes").claim_changed(CLAIM)
    assert (tmp_path / "volumes" / "pvc-1234").stat().st_mode & 0o777 == 0o777
    assert api.calls == [("create", f"{volumes.VOLUMES_PATH}/pvc-1234")]


@pytest.mark.parametrize(
    ("mode", "nodes"),
    [
        ("ReadWriteOnce", ["node-2"]),
        ("ReadWriteOncePod", ["node-2"]),
        ("ReadWriteMany", NODES),
        ("ReadOnlyMany", NODES),
    ],
)
def test_a_volume_of_one_node_belongs_to_that_of_its_first_pod(mode: str, nodes: list[str]) -> None:
    assert volumes.nodes_of(changed(CLAIM, "spec.accessModes", [mode]), NODES) == nodes


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(changed(CLAIM, "metadata.annotations", None), id="not asked for yet"),
        pytest.param(changed(CLAIM, "metadata.annotations", {volumes.CLAIM_ANNOTATION: "other"}), id="of another"),
        pytest.param(changed(CLAIM, "status.phase", "Bound"), id="bound"),
        pytest.param(changed(CLAIM, "spec.volumeName", "mine"), id="has a volume"),
        pytest.param(changed(CLAIM, "metadata.deletionTimestamp", "now"), id="being deleted"),
    ],
)
def test_other_claims_are_left_alone(claim: dict[str, Any], tmp_path: pathlib.Path) -> None:
    api = FakeApi()
    provisioner(api, tmp_path).claim_changed(claim)
    assert api.calls == []
    assert list(tmp_path.iterdir()) == []


def test_a_claim_seen_twice_is_no_error(tmp_path: pathlib.Path) -> None:
    provisioner(FakeApi(volumes.HTTP_CONFLICT), tmp_path).claim_changed(CLAIM)


def test_a_refused_volume_is_an_error_so_that_it_is_tried_again(tmp_path: pathlib.Path) -> None:
    with pytest.raises(urllib.error.HTTPError):
        provisioner(FakeApi(500), tmp_path).claim_changed(CLAIM)


def test_a_released_volume_goes_with_its_data(tmp_path: pathlib.Path) -> None:
    (tmp_path / "pvc-1234").mkdir()
    (tmp_path / "pvc-1234" / "state.db").touch()
    (tmp_path / "pvc-5678").mkdir()
    api = FakeApi()
    provisioner(api, tmp_path).volume_changed(VOLUME)
    assert [path.name for path in tmp_path.iterdir()] == ["pvc-5678"]
    assert api.calls == [("delete", f"{volumes.VOLUMES_PATH}/pvc-1234")]


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(changed(VOLUME, "status.phase", "Bound"), id="in use"),
        pytest.param(changed(VOLUME, "spec.persistentVolumeReclaimPolicy", "Retain"), id="to be kept"),
        pytest.param(changed(VOLUME, "metadata.annotations", None), id="made by hand"),
    ],
)
def test_other_volumes_are_left_alone(volume: dict[str, Any], tmp_path: pathlib.Path) -> None:
    (tmp_path / "pvc-1234").mkdir()
    api = FakeApi()
    provisioner(api, tmp_path).volume_changed(volume)
    assert api.calls == []
    assert (tmp_path / "pvc-1234").exists()
