"""The volume provisioner: a directory of the machine for each claim, as a `local` volume.

All nodes see the directory. A ReadWriteOnce volume belongs to the node of the first pod all the same, as a disk does;
a ReadWriteMany one to all nodes, as a file server's directory does.

Not hostPath: Kubernetes applies a pod's fsGroup to `local` volumes and never to hostPath ones.
"""

import logging
import pathlib
import shutil
import urllib.error

from volume_provisioner.api import Api, Object

log = logging.getLogger(__name__)

PROVISIONER = "k8s-sky/local"
CLAIM_ANNOTATION = "volume.kubernetes.io/storage-provisioner"
NODE_ANNOTATION = "volume.kubernetes.io/selected-node"
VOLUME_ANNOTATION = "pv.kubernetes.io/provisioned-by"
VOLUMES_PATH = "/api/v1/persistentvolumes"
HTTP_NOT_FOUND = 404
HTTP_CONFLICT = 409


def wants_volume(claim: Object) -> bool:
    """Tell whether Kubernetes asks this provisioner for a volume for the claim.

    With WaitForFirstConsumer it names the node when the first pod has been placed.
    """
    annotations = claim["metadata"].get("annotations") or {}
    return (
        annotations.get(CLAIM_ANNOTATION) == PROVISIONER
        and NODE_ANNOTATION in annotations
        and claim.get("status", {}).get("phase") == "Pending"
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
    )


def is_released(volume: Object) -> bool:
    """Tell whether the volume is ours and its claim is gone for good."""
    annotations = volume["metadata"].get("annotations") or {}
    return (
        annotations.get(VOLUME_ANNOTATION) == PROVISIONER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and volume.get("status", {}).get("phase") == "Released"
    )


def nodes_of(claim: Object, nodes: list[str]) -> list[str]:
    """Return the nodes whose pods may use the volume of a claim."""
    if set(claim["spec"]["accessModes"]) & {"ReadWriteMany", "ReadOnlyMany"}:
        return nodes
    return [claim["metadata"]["annotations"][NODE_ANNOTATION]]


def volume_for(claim: Object, nodes: list[str], directory: pathlib.Path, reclaim_policy: str) -> Object:
    """Return the PersistentVolume for a claim."""
    metadata, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{metadata['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {VOLUME_ANNOTATION: PROVISIONER}},
        "spec": {
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": reclaim_policy,
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "local": {"path": str(directory / name)},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]}
                    ]
                }
            },
        },
    }


class Provisioner:
    """Makes volumes for claims and deletes those that were released."""

    def __init__(self, api: Api, nodes: list[str], directory: pathlib.Path) -> None:
        self.api = api
        self.nodes = nodes
        self.directory = directory

    def claim_changed(self, claim: Object) -> None:
        """Make the volume if Kubernetes asks for one."""
        if not wants_volume(claim):
            return
        storage_class = self.api.get(f"/apis/storage.k8s.io/v1/storageclasses/{claim['spec']['storageClassName']}")
        volume = volume_for(claim, nodes_of(claim, self.nodes), self.directory, storage_class["reclaimPolicy"])
        path = pathlib.Path(volume["spec"]["local"]["path"])
        path.mkdir(parents=True, exist_ok=True)
        # Open to all until a pod's fsGroup says more, as other provisioners of node directories do it.
        path.chmod(0o777)
        try:
            self.api.create(VOLUMES_PATH, volume)
        except urllib.error.HTTPError as error:
            if error.code != HTTP_CONFLICT:
                raise
        else:
            log.info("made %s for %s/%s", path.name, claim["metadata"]["namespace"], claim["metadata"]["name"])

    def volume_changed(self, volume: Object) -> None:
        """Delete the volume and its data if its claim is gone."""
        if not is_released(volume):
            return
        name = volume["metadata"]["name"]
        shutil.rmtree(self.directory / name, ignore_errors=True)
        try:
            self.api.delete(f"{VOLUMES_PATH}/{name}")
        except urllib.error.HTTPError as error:
            if error.code != HTTP_NOT_FOUND:
                raise
        else:
            log.info("deleted %s", name)
