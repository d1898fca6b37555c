"""What SkyPilot runs in and writes of directories that it uploads to a bucket or an API server.

A machine may have brought such a directory, with a repository's configuration and with names of its own.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sky.data import storage, storage_utils

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

# SkyPilot asks git in each directory for what is ignored, and trusts it whoever owns it.
_GIT_SETTINGS = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}

_READ_BY_A_SHELL = frozenset('"$`\\')


def protect() -> None:
    """Have git run no program that a repository names, and SkyPilot write no name that a shell would read.

    :raises ActionFailedError: if this SkyPilot does not have what is to be replaced
    """
    _set_up_git()
    try:
        store: Any = storage.AzureBlobStore
        store.batch_az_blob_sync = _checked(store.batch_az_blob_sync)
    except AttributeError as error:
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG,
            f"the image's SkyPilot uploads in another way: {error}; build it from images/skypilot",
        ) from error


def _set_up_git() -> None:
    """Add settings that go before those of any repository."""
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    count = int(given) if given.isdecimal() else 0
    present = {os.environ.get(f"GIT_CONFIG_KEY_{index}") for index in range(count)}
    for key in sorted(_GIT_SETTINGS.keys() - present):
        os.environ[f"GIT_CONFIG_KEY_{count}"] = key
        os.environ[f"GIT_CONFIG_VALUE_{count}"] = _GIT_SETTINGS[key]
        count += 1
    os.environ["GIT_CONFIG_COUNT"] = str(count)


def _checked(sync: Callable[..., None]) -> Callable[..., None]:
    """Return ``AzureBlobStore.batch_az_blob_sync`` with a check of the names that it puts between double quotes."""

    @functools.wraps(sync)
    def checked(store: Any, source_path_list: list[str], *options: Any, **more: Any) -> None:
        for source in map(Path, source_path_list):
            ignored = storage_utils.get_excluded_files(str(source)) if source.expanduser().is_dir() else []
            for name in (source.name, *ignored):
                if _READ_BY_A_SHELL & set(name):
                    raise ActionFailedError(
                        ExitCode.REQUEST_WRONG,
                        f"{str(source)!r} cannot be uploaded to Azure: the name {name!r} has a quote, dollar, backtick "
                        "or backslash, which SkyPilot would have a shell read; rename or delete it",
                    )
        sync(store, source_path_list, *options, **more)

    return checked
