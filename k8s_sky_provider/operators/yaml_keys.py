"""The keys of SkyPilot's YAML files, to find typing errors before a pod exists.

A key or value that is like a known one is a typing error. Any other is left to SkyPilot in the pod, which may be newer.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from k8s_sky_provider.exceptions import SkyRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_LIKENESS = 0.8
"""How alike a typing error and what was meant are: ``env`` and ``envs`` 0.86, ``accelerator`` and ``accelerators`` 0.96."""


class Key(NamedTuple):
    """What SkyPilot takes for a key: values of these types, and of texts only these where there are some."""

    types: tuple[type, ...]
    texts: tuple[str, ...] = ()


_TEXT = Key((str,))
_TEXT_OR_NUMBER = Key((str, int, float))
_TEXT_OR_INTEGER = Key((str, int))
_INTEGER = Key((int,))
_NUMBER = Key((int, float))
_FLAG = Key((bool,))
_MAPPING = Key((dict,))
_LIST = Key((list,))

CLOUDS = (
    "aws azure gcp ibm lambda scp oci kubernetes runpod vast vsphere cudo fluidstack paperspace primeintellect do nebius "
    "ssh slurm hyperbolic seeweb shadeform yotta mithril verda"
)

TASK = {
    "name": _TEXT,
    "workdir": Key((str, dict)),
    "event_callback": _TEXT,
    "num_nodes": _INTEGER,
    "resources": _MAPPING,
    "file_mounts": _MAPPING,
    "service": _MAPPING,
    "pool": _MAPPING,
    "setup": _TEXT,
    "run": _TEXT,
    "envs": _MAPPING,
    "secrets": Key((dict, list)),
    "managed_secrets": _LIST,
    "inputs": _MAPPING,
    "outputs": _MAPPING,
    "file_mounts_mapping": _MAPPING,
    "config": _MAPPING,
    "volumes": _MAPPING,
    "volume_mounts": _LIST,
    "api_server_access": _FLAG,
}

RESOURCES = {
    "cloud": Key((str,), tuple(CLOUDS.split())),
    "region": _TEXT,
    "zone": _TEXT,
    "infra": _TEXT,
    "cpus": _TEXT_OR_NUMBER,
    "memory": _TEXT_OR_NUMBER,
    "instance_type": _TEXT,
    "use_spot": _FLAG,
    "job_recovery": Key((str, dict)),
    "volumes": _LIST,
    "disk_size": _TEXT_OR_INTEGER,
    "ephemeral_storage": _TEXT_OR_INTEGER,
    "disk_tier": _TEXT,
    "network_tier": _TEXT,
    "local_disk": _TEXT,
    "max_hourly_cost": _NUMBER,
    "ports": Key((str, int, list)),
    "labels": _MAPPING,
    "accelerator_args": _MAPPING,
    "image_id": Key((str, dict)),
    "autostop": Key((bool, str, int, dict)),
    "priority": _INTEGER,
    "priority_class": _TEXT,
    "accelerators": Key((str, dict, list)),
    "gpus": Key((str, dict, list)),
    "any_of": _LIST,
    "ordered": _LIST,
}

STORAGE = {
    "name": _TEXT,
    "source": Key((str, list)),
    "store": Key((str,), tuple("S3 GCS AZURE R2 IBM OCI NEBIUS COREWEAVE VASTDATA HF VOLUME".split())),
    "persistent": _FLAG,
    "mode": Key((str,), ("MOUNT", "COPY", "MOUNT_CACHED")),
    "type": Key((str,), ("MODEL_CHECKPOINT_RO", "MODEL_CHECKPOINT_RW", "DATASET_RO", "DATASET_RW")),
    "config": _MAPPING,
}

SERVICE = {
    "readiness_probe": Key((str, dict)),
    "load_balancer": _MAPPING,
    "pool": _MAPPING,
    "replica_policy": _MAPPING,
    "ports": _INTEGER,
    "replicas": _INTEGER,
    "workers": _INTEGER,
    "load_balancing_policy": Key((str,), ("round_robin", "least_load", "instance_aware_least_load")),
    "tls": _MAPPING,
}

POOL = {
    "workers": _INTEGER,
    "min_workers": _INTEGER,
    "queue_length_threshold": _INTEGER,
    "max_workers": _INTEGER,
    "upscale_delay_seconds": _NUMBER,
    "downscale_delay_seconds": _NUMBER,
}

JOB_GROUP = {
    "name": _TEXT,
    "execution": Key((str,), ("parallel", "serial")),
    "primary_tasks": _LIST,
    "termination_delay": Key((str, int, dict)),
    "inter_connection": Key((object,)),
}

VOLUME = {
    "name": _TEXT,
    "type": Key((str,), ("k8s-pvc", "k8s-hostpath", "runpod-network-volume")),
    "infra": _TEXT,
    "size": _TEXT,
    "use_existing": _FLAG,
    "config": _MAPPING,
    "labels": _MAPPING,
}


def check_keys(
    section: object, where: str, keys: Mapping[str, Key], *, is_known: Callable[[object], bool]
) -> dict[str, Any]:
    """Return a section of a YAML as a plain dict.

    :param where: what errors call the section, as ``task.yaml: resources``
    :param is_known: tells whether a value is not still to be rendered, or to come from another task
    :raises SkyRequestError: if it is no mapping, or a key or value is like a known one, or a value is of another type
    """
    if not isinstance(section, Mapping):
        raise SkyRequestError(f"{where}: must be a mapping, not {_type_name(section)}")
    for key, value in section.items():
        known = keys.get(key)
        if known is None:
            if (meant := _meant(key, keys)) is not None:
                raise SkyRequestError(f"{where}: {key!r} is not a key of SkyPilot's; did you mean {meant!r}?")
        elif value is not None and is_known(value):
            if not _is_of(value, known.types):
                wanted = " or ".join(kind.__name__ for kind in known.types)
                raise SkyRequestError(f"{where}: {key} must be of type {wanted}, not {_type_name(value)} ({value!r})")
            if (meant := _meant(value, known.texts)) is not None and str(value).lower() != meant.lower():
                raise SkyRequestError(f"{where}: {key}: {value!r} is not one of SkyPilot's; did you mean {meant!r}?")
    return dict(section)


def _meant(word: object, known: Collection[str]) -> str | None:
    """Return the known word that one is meant to be; None if it is like none, or one of SkyPilot's own, with ``_``."""
    if not isinstance(word, str) or word.startswith("_"):
        return None
    as_known = {one.lower(): one for one in known}
    close = difflib.get_close_matches(word.lower(), as_known, n=1, cutoff=_LIKENESS)
    return as_known[close[0]] if close else None


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    return (bool in kinds or object in kinds) if isinstance(value, bool) else isinstance(value, kinds)


def _type_name(value: object) -> str:
    return "empty" if value is None else type(value).__name__
