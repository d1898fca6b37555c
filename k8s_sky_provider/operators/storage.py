"""Operators for SkyPilot's volumes and buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.exceptions import SkyRequestError
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator, bundle_root, dag_folder
from k8s_sky_provider.operators.task import check_volume, read_documents, task_path
from k8s_sky_provider.operators.task_url import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

_OVER_THE_VOLUME = ("volume_name", "volume_type", "infra", "size")


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
        self.volume = volume
        self.volume_name = volume_name
        self.volume_type = volume_type
        self.infra = infra
        self.size = size
        self.use_existing = use_existing
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {
            "volume": read.optional(_given_volume),
            **dict.fromkeys(_OVER_THE_VOLUME, read.optional(read.text)),
            "use_existing": read.optional(read.flag),
        }

    def _check_together(self, values: Mapping[str, Any]) -> None:
        if values["volume"] is None and None in (values["volume_name"], values["volume_type"]):
            raise SkyRequestError("volume: give the volume as YAML or dict, or volume_name and volume_type")

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``volume_apply``."""
        values = super().build_arguments(context)
        volume = values.pop("volume")
        return {
            "volume": _read_volume(volume, context) if isinstance(volume, str) else volume or {},
            "overrides": {name.removeprefix("volume_"): value for name, value in values.items() if value is not None},
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
    wildcards = "names"

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
        self.names = names
        self.missing_ok = missing_ok
        self.purge = purge
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"names": read.some_names, **dict.fromkeys(("missing_ok", "purge"), read.flag)}


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
        self.names = names
        self.refresh = refresh
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"names": read.optional(read.names), "refresh": read.flag}


class SkyStorageDeleteOperator(SkyBaseOperator):
    """Delete buckets that SkyPilot made, with what is in them. Returns the names of the deleted ones.

    Wraps ``sky.storage_delete``. A name that SkyPilot does not have is an error, and no bucket is deleted then.

    :param names: name or names, with the wildcards ``*``, ``?`` and ``[...]`` (templated)
    :param all_storage: all buckets that SkyPilot knows of, instead of ``names`` (templated)
    :param missing_ok: a name that SkyPilot does not have is no error (templated)
    """

    action: ClassVar[str] = "storage_delete"
    renamed: ClassVar[dict[str, str]] = {"all_storage": "all"}
    wildcards = "names"

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
        self.names = names
        self.all_storage = all_storage
        self.missing_ok = missing_ok
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return {"names": read.optional(read.some_names), **dict.fromkeys(("all_storage", "missing_ok"), read.flag)}

    def _check_together(self, values: Mapping[str, Any]) -> None:
        names, everything = values["names"], values["all_storage"]
        if read.UNKNOWN not in (names, everything) and everything == bool(names):
            raise SkyRequestError(f"names and all_storage: give one of them ({names!r} and {everything!r})")

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``storage_delete``."""
        values = super().build_arguments(context)
        return {**values, "names": values["names"] or []}


class SkyStorageListOperator(SkyBaseOperator):
    """List the buckets that SkyPilot made. Returns dicts with name, status, stores and launched_at.

    Wraps ``sky.storage_ls``.
    """

    action: ClassVar[str] = "storage_list"


def _given_volume(name: str, value: object) -> str | dict[str, Any]:
    """Read a volume as an operator is given it: its content, or a path."""
    return check_volume(value, name) if isinstance(value, Mapping) else task_path(name, value)


def _read_volume(path: str, context: Context | None) -> str | dict[str, Any]:
    """Return a volume as the request carries it: its content, or the path where the pod finds it."""
    documents = read_documents(path, "volume", dag_folder(context), bundle_root(context))
    if isinstance(documents, str):
        return documents
    if len(documents) != 1:
        raise SkyRequestError(
            f"volume: {shown(path)!r} has {len(documents)} YAML documents; one volume is one document"
        )
    return check_volume(documents[0], shown(path))
