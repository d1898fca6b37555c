"""The sections of SkyPilot's YAML files: their keys, and the types and words of their values, before a pod exists.

A key or word that is like a known one is a typing error. Any other is for the SkyPilot in the pod to judge: it may be
newer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read

Kinds = tuple[Any, ...]
"""Types that a value may have: a mapping with those of its keys stands for dict, a list of one for a list of these, a
frozenset of words for str. The key ``*`` is any key."""

_LIKENESS, _OF_SHORT_WORDS, _SHORT = 0.8, 0.66, 4
"""How alike a typing error and what was meant are (difflib): ``resource`` and ``resources`` 0.94, ``rum`` and ``run``
0.67; and how many letters a short word has."""

_NUMBER = (int, float)
_NUMBER_OR_TEXT = (int, float, str)


def _numbers(*keys: str) -> dict[str, Kinds]:
    return dict.fromkeys(keys, _NUMBER)


def _whole_numbers(*keys: str) -> dict[str, Kinds]:
    return dict.fromkeys(keys, (int,))


def _texts(*keys: str) -> dict[str, Kinds]:
    return dict.fromkeys(keys, (str,))


def _words(words: str) -> Kinds:
    return (frozenset(words.split()),)


_CLOUDS = _words(
    "aws azure gcp ibm lambda scp oci kubernetes runpod vast vsphere cudo fluidstack paperspace primeintellect do "
    "nebius ssh slurm hyperbolic seeweb shadeform yotta mithril verda"
)

STORAGE: dict[str, Kinds] = {
    "name": (str,),
    "source": (str, list),
    "store": _words("S3 GCS AZURE R2 IBM OCI NEBIUS COREWEAVE VASTDATA HF VOLUME"),
    "persistent": (bool,),
    "mode": _words("MOUNT COPY MOUNT_CACHED"),
    "type": _words("MODEL_CHECKPOINT_RO MODEL_CHECKPOINT_RW DATASET_RO DATASET_RW"),
    "config": (dict,),
}
"""What is mounted by ``file_mounts``."""

POOL: dict[str, Kinds] = {
    **_whole_numbers("workers", "min_workers", "max_workers", "queue_length_threshold"),
    **_numbers("upscale_delay_seconds", "downscale_delay_seconds"),
}

SERVICE: dict[str, Kinds] = {
    **_whole_numbers("replicas", "workers", "ports"),
    "load_balancer": (_numbers("stream_timeout_seconds"),),
    "load_balancing_policy": _words("round_robin least_load instance_aware_least_load"),
    "pool": (POOL,),
    "tls": (_texts("keyfile", "certfile"),),
    "readiness_probe": (
        str,
        {
            **_numbers("initial_delay_seconds", "timeout_seconds", "endpoint_probe_interval_seconds"),
            **_numbers("consecutive_failure_threshold_timeout"),
            "path": (str,),
            "post_data": (str, dict),
            "headers": (dict,),
        },
    ),
    "replica_policy": (
        {
            **_whole_numbers("min_replicas", "max_replicas", "num_overprovision", "base_ondemand_fallback_replicas"),
            **_numbers("upscale_delay_seconds", "downscale_delay_seconds"),
            "target_qps_per_replica": (int, float, {"*": _NUMBER}),
            "dynamic_ondemand_fallback": (bool,),
            "spot_placer": _words("dynamic_fallback"),
        },
    ),
}

_ACCELERATORS: Kinds = (str, {"*": _NUMBER})
_OPTION: dict[str, Kinds] = {
    **_texts("region", "zone", "infra", "instance_type", "disk_tier", "network_tier", "local_disk", "priority_class"),
    "cloud": _CLOUDS,
    "cpus": _NUMBER_OR_TEXT,
    "memory": _NUMBER_OR_TEXT,
    "use_spot": (bool,),
    "job_recovery": (
        str,
        {"strategy": (str,), "max_restarts_on_errors": (int,), "recover_on_exit_codes": (int, list)},
    ),
    "volumes": (
        [
            {
                **_texts("disk_tier", "path", "storage_type", "name", "attach_mode"),
                "disk_size": (int, str),
                "auto_delete": (bool,),
            }
        ],
    ),
    "disk_size": (int, str),
    "ephemeral_storage": (int, str),
    "max_hourly_cost": _NUMBER,
    "ports": (int, str, list),
    "labels": (dict,),
    "accelerator_args": ({**_texts("runtime_version", "tpu_name"), "tpu_vm": (bool,), "gcp_queued_resource": (bool,)},),
    "image_id": (str, dict),
    "autostop": (
        bool,
        int,
        str,
        {
            **_whole_numbers("idle_minutes", "hook_timeout"),
            "down": (bool,),
            "wait_for": _words("jobs_and_ssh jobs none"),
            "hook": (str,),
        },
    ),
    "priority": (int,),
    "accelerators": _ACCELERATORS,
    "gpus": _ACCELERATORS,
}

RESOURCES: dict[str, Kinds] = {
    **_OPTION,
    "accelerators": (*_ACCELERATORS, list),
    "gpus": (*_ACCELERATORS, list),
    "any_of": ([_OPTION],),
    "ordered": ([_OPTION],),
}

TASK: dict[str, Kinds] = {
    **_texts("name", "event_callback", "setup", "run"),
    "workdir": (str, _texts("url", "ref")),
    "num_nodes": (int,),
    "resources": (RESOURCES,),
    "file_mounts": ({"*": (str, STORAGE)},),
    "service": (SERVICE,),
    "pool": (POOL,),
    "envs": (dict,),
    "secrets": (dict, list),
    "managed_secrets": (list,),
    "inputs": ({"*": _NUMBER},),
    "outputs": ({"*": _NUMBER},),
    "file_mounts_mapping": (dict,),
    "config": (dict,),
    "volumes": (dict,),
    "volume_mounts": (list,),
    "api_server_access": (bool,),
}

JOB_GROUP: dict[str, Kinds] = {
    "name": (str,),
    "execution": _words("parallel serial"),
    "primary_tasks": (list,),
    "termination_delay": (str, int, dict),
    "inter_connection": (object,),
}
"""The first document of a pipeline or job group."""

VOLUME: dict[str, Kinds] = {
    **_texts("name", "infra", "size"),
    "type": _words("k8s-pvc k8s-hostpath runpod-network-volume"),
    "labels": (dict,),
    "use_existing": (bool,),
    "config": (
        {
            **_texts("storage_class_name", "namespace", "host_path"),
            "access_mode": _words("ReadWriteOnce ReadWriteOncePod ReadWriteMany ReadOnlyMany"),
            "cleanup_on_deletion": (bool,),
        },
    ),
}


def read_section(data: object, keys: Mapping[str, Kinds], source: str, what: str, place: str = "") -> dict[str, Any]:
    """Return a mapping of a YAML, with its values in their types.

    :param source: what errors call the YAML
    :param what: what it is: a task, a volume
    :param place: where in it the mapping is, as ``resources.``
    :raises SkyRequestError: if it is no mapping, or a key or word is like a known one, or a value of a wrong type
    """
    if not isinstance(data, Mapping):
        name = place.rstrip(".") or f"the {what}"
        raise SkyRequestError(f"{source}: {name} must be a mapping, not {type_name(data)}")
    checked = {}
    for key, value in data.items():
        kinds = keys.get(key) or keys.get("*")
        if kinds is None and (meant := _meant(key, keys)) is not None:
            raise SkyRequestError(f"{source}: {place}{key} is not a key of a SkyPilot {what}; did you mean {meant!r}?")
        checked[key] = _value(value, kinds or (object,), source, what, f"{place}{key}")
    return checked


def _value(value: object, kinds: Kinds, source: str, what: str, place: str) -> Any:
    if value is None or value is read.UNKNOWN:
        return value
    types = tuple(kind_as_type(kind) for kind in kinds)
    value = _of_text(value, types)
    if not (isinstance(value, types) and (not isinstance(value, bool) or bool in types or object in types)):
        wanted = " or ".join(kind.__name__ for kind in types)
        raise SkyRequestError(
            f"{source}: {place} must be of type {wanted}, not {type_name(value)} ({read.shown(value)})"
        )
    for kind in kinds:
        if isinstance(kind, Mapping) and isinstance(value, Mapping):
            return read_section(value, kind, source, what, f"{place}.")
        if isinstance(kind, list) and isinstance(value, list):
            return [read_section(item, kind[0], source, what, f"{place}.") for item in value]
        if isinstance(kind, frozenset) and (meant := _meant(value, kind)) not in {None, value}:
            raise SkyRequestError(f"{source}: {place} is {value!r}; did you mean {meant!r}?")
    return value


def kind_as_type(kind: Any) -> type:
    """Return the type that one of :data:`Kinds` stands for."""
    if isinstance(kind, type):
        return kind
    return str if isinstance(kind, frozenset) else type(kind)


def _meant(word: object, known: Collection[str]) -> str | None:
    """Return the known word that one is meant to be, itself if only its case is another; None if it is like none."""
    if not isinstance(word, str) or word.startswith("_"):
        return None
    as_known = {one.lower(): one for one in known}
    if word.lower() in as_known and word not in known:
        return word if isinstance(known, frozenset) else as_known[word.lower()]
    likeness = _OF_SHORT_WORDS if len(word) <= _SHORT else _LIKENESS
    close = difflib.get_close_matches(word.lower(), as_known, n=1, cutoff=likeness)
    return as_known[close[0]] if close else None


def _of_text(value: object, types: tuple[type, ...]) -> object:
    """Return a text, as Jinja leaves numbers and flags, with the type that is wanted; anything else as it is."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if bool in types and word in ({"true", "false"} if str in types else read.FLAGS):
        return read.FLAGS[word]
    if str in types:
        return value
    if int in types and (whole := read.whole(word)) is not None:
        return whole
    return float(word) if float in types and re.fullmatch(r"[0-9]{0,99}\.[0-9]{1,99}", word) else value


def type_name(value: object) -> str:
    """Return what an error calls the type of a value."""
    return "empty" if value is None else type(value).__name__
