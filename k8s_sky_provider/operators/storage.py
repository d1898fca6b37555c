"""Operators for SkyPilot's volumes and buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators.arguments import (
    as_flag,
    check_flags,
    check_globs,
    is_known,
    rendered_names,
    rendered_text,
    written,
)
from k8s_sky_provider.operators.base import SkyBaseOperator, bundle_root, dag_folder
from k8s_sky_provider.operators.task import TO_BE_RENDERED, read_documents

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

VOLUME_KEYS = ("name", "type", "infra", "size", "labels", "use_existing", "config")
"""The keys of a SkyPilot 0.14 volume."""


class SkyVolumeApplyOperator(SkyBaseOperator):
    """Make a volume that tasks can mount, or register one that exists. Returns the volume's name.

    Wraps ``sky.volumes.apply``. A volume of that name that SkyPilot has already is left as it is. Arguments beat what
    the YAML says.

    :param volume: the volume: a path beside the DAG file, a path on the shared volume
        (``~/sky_workdir/volume.yaml``) or a dict; not needed where the arguments below say all (templated)
    :param volume_name: the volume's name (templated)
    :param volume_type: ``k8s-pvc``, ``k8s-hostpath`` or ``runpod-network-volume`` (templated)
    :param infra: where, as ``kubernetes/context`` (templated)
    :param size: its size, as ``100Gi`` (templated)
    :param use_existing: register what exists under that name instead of making it (templated)
    """

    action: ClassVar[str] = "volume_apply"

    template_fields: Sequence[str] = (
        *SkyBaseOperator.template_fields,
        "volume",
        "volume_name",
        "volume_type",
        "infra",
        "size",
        "use_existing",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **SkyBaseOperator.template_fields_renderers,
        "volume": "yaml",
    }

    def __init__(
        self,
        *,
        volume: str | Mapping[str, Any] | XComArg | None = None,
        volume_name: str | XComArg | None = None,
        volume_type: str | XComArg | None = None,
        infra: str | None = None,
        size: str | None = None,
        use_existing: bool | str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_given(volume, volume_name, volume_type)
        if use_existing is not None:
            check_flags(use_existing=use_existing)
        if isinstance(volume, Mapping):
            _check_volume(volume, "volume")
        self.volume = volume
        self.volume_name = volume_name
        self.volume_type = volume_type
        self.infra = infra
        self.size = size
        self.use_existing = use_existing

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``volume_apply``."""
        _check_given(self.volume, self.volume_name, self.volume_type)
        overrides = {
            "name": rendered_text("volume_name", self.volume_name),
            "type": rendered_text("volume_type", self.volume_type),
            "infra": rendered_text("infra", self.infra),
            "size": rendered_text("size", self.size),
            "use_existing": None if self.use_existing is None else as_flag("use_existing", self.use_existing),
        }
        return {
            "volume": {} if self.volume is None else _read_volume(self.volume, context),
            "overrides": {name: value for name, value in overrides.items() if value is not None},
        }


class SkyVolumeDeleteOperator(SkyBaseOperator):
    """Delete volumes with what is on them. Returns the names of the deleted ones.

    Wraps ``sky.volumes.delete``. One that a cluster uses is an error, and so is a name that SkyPilot does not have; no
    volume is deleted then.

    :param names: name or names, with the wildcards ``*``, ``?`` and ``[...]`` (templated)
    :param missing_ok: a name that SkyPilot does not have is no error (templated)
    :param purge: forget a volume even when the cloud could not delete it, or it is in use; you then look after it
        yourself (templated)
    """

    action: ClassVar[str] = "volume_delete"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "names", "missing_ok", "purge")

    def __init__(
        self,
        *,
        names: str | XComArg | Sequence[str | XComArg],
        missing_ok: bool | str | XComArg = False,
        purge: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_names(names)
        check_flags(missing_ok=missing_ok, purge=purge)
        self._written = {"names": written(names)}
        self.names = names
        self.missing_ok = missing_ok
        self.purge = purge

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``volume_delete``."""
        return {
            "names": _rendered_names(self.names, texts=self.as_written("names", context)),
            "missing_ok": as_flag("missing_ok", self.missing_ok),
            "purge": as_flag("purge", self.purge),
        }


class SkyVolumeListOperator(SkyBaseOperator):
    """List volumes. Returns dicts with name, type, status, size, infra, name_on_cloud, used_by and error.

    Wraps ``sky.volumes.ls``.

    :param names: the volumes to list; all by default (templated)
    :param refresh: ask the clouds, instead of what SkyPilot noted last (templated)
    """

    action: ClassVar[str] = "volume_list"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "names", "refresh")

    def __init__(
        self,
        *,
        names: str | XComArg | Sequence[str | XComArg] | None = None,
        refresh: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(refresh=refresh)
        self.names = names
        self.refresh = refresh

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``volume_list``."""
        return {"names": rendered_names("names", self.names), "refresh": as_flag("refresh", self.refresh)}


class SkyStorageDeleteOperator(SkyBaseOperator):
    """Delete buckets that SkyPilot made, with what is in them. Returns the names of the deleted ones.

    Wraps ``sky.storage_delete``. A name that SkyPilot does not have is an error, and no bucket is deleted then.

    :param names: name or names, with the wildcards ``*``, ``?`` and ``[...]`` (templated)
    :param all_storage: all buckets that SkyPilot knows of, instead of ``names`` (templated)
    :param missing_ok: a name that SkyPilot does not have is no error (templated)
    """

    action: ClassVar[str] = "storage_delete"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "names", "all_storage", "missing_ok")

    def __init__(
        self,
        *,
        names: str | XComArg | Sequence[str | XComArg] | None = None,
        all_storage: bool | str | XComArg = False,
        missing_ok: bool | str | XComArg = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(all_storage=all_storage, missing_ok=missing_ok)
        _check_which(names, all_storage)
        if names is not None:
            _check_names(names)
        self._written = {"names": written(names)}
        self.names = names
        self.all_storage = all_storage
        self.missing_ok = missing_ok

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``storage_delete``."""
        _check_which(self.names, self.all_storage)
        everything = as_flag("all_storage", self.all_storage)
        return {
            "names": [] if everything else _rendered_names(self.names, texts=self.as_written("names", context)),
            "all": everything,
            "missing_ok": as_flag("missing_ok", self.missing_ok),
        }


class SkyStorageListOperator(SkyBaseOperator):
    """List the buckets that SkyPilot made. Returns dicts with name, status, stores and launched_at.

    Wraps ``sky.storage_ls``.
    """

    action: ClassVar[str] = "storage_list"

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``storage_list``, which has none."""
        return {}


def _check_given(volume: object, name: object, kind: object) -> None:
    if is_known(volume) and volume is None and (name is None or kind is None):
        raise SkyRequestError("volume: give the volume as YAML or dict, or volume_name and volume_type")


def _check_which(names: object, everything: object) -> None:
    if is_known(names) and is_known(everything) and (names is None) is not as_flag("all_storage", everything):
        raise SkyRequestError(f"names and all_storage: give one of them ({names!r} and {everything!r})")


def _read_volume(volume: object, context: Context | None) -> str | dict[str, Any]:
    """Return a volume as the request carries it: its content, or the path where the pod finds it."""
    if isinstance(volume, Mapping):
        return _check_volume(volume, "volume")
    documents = read_documents(volume, "volume", dag_folder(context), bundle_root(context))
    if isinstance(documents, str):
        return documents
    if len(documents) != 1:
        raise SkyRequestError(f"volume: {volume!r} has {len(documents)} YAML documents; one volume is one document")
    return _check_volume(documents[0], str(volume))


def _check_volume(volume: object, source: str) -> dict[str, Any]:
    if not isinstance(volume, Mapping):
        raise SkyRequestError(f"{source}: a volume must be a mapping, not {type(volume).__name__}")
    for key in volume:
        if key not in VOLUME_KEYS:
            raise SkyRequestError(
                f"{source}: {key} is not a key of a SkyPilot volume; known keys are: {', '.join(VOLUME_KEYS)}"
            )
    return dict(volume)


def _check_names(names: object) -> None:
    if isinstance(names, str) and not TO_BE_RENDERED.search(names):
        _rendered_names(names, texts=written(names))
    elif isinstance(names, (list, tuple)) and not names:
        raise SkyRequestError("names: is empty; give the names of what to delete")


def _rendered_names(names: object, *, texts: Collection[str]) -> list[str]:
    rendered = rendered_names("names", names)
    if not rendered or not all(name.strip() for name in rendered):
        raise SkyRequestError(f"names: {names!r} names nothing; give the names of what to delete")
    check_globs("names", rendered, texts=texts)
    return rendered
