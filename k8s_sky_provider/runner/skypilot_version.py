"""Which SkyPilot is in the image, and whether it may run here: checked before it is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from k8s_sky_provider.runner.store import Store

MINORS = ((0, 12), (0, 13), (0, 14))
"""The minors of SkyPilot that this runner works with, oldest first; requirements/ has a lock for each."""

SELECT_STATE_REVISION = "SELECT version_num FROM alembic_version_state_db"
"""Reads the revision of SkyPilot's state (``sky/setup_files/alembic.ini``)."""

_MIGRATIONS = Path("schemas/db/global_user_state")


def installed() -> str:
    """Return the version of SkyPilot in this image.

    :raises importlib.metadata.PackageNotFoundError: if there is none
    """
    return importlib.metadata.version("skypilot")


def minor(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def check() -> None:
    """Check that this runner works with the image's SkyPilot.

    :raises ActionFailedError: if it is none of :data:`MINORS`
    """
    version = installed()
    if minor(version) not in MINORS:
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG,
            f"the image has SkyPilot {version}, and this runner works with {_words()}: build it with "
            "`hack/build-images --skypilot MINOR` (docs/images.md)",
        )


def check_state(store: Store) -> None:
    """Check that no newer SkyPilot has migrated the state: SkyPilot migrates forward only.

    :raises ActionFailedError: if one has
    """
    revision, newest = store.state_revision(), _newest_revision()
    if revision is not None and newest is not None and revision > newest:
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG,
            f"SkyPilot's state is at revision {revision}, of a newer SkyPilot than the image's {installed()}, which "
            f"knows revision {newest}: use an image with the newer SkyPilot, or another state for this one "
            "(docs/images.md)",
        )


def _newest_revision() -> int | None:
    """Return the revision to which this SkyPilot brings its state."""
    package = importlib.util.find_spec("sky")
    if package is None or package.origin is None:
        return None
    migrations = (Path(package.origin).parent / _MIGRATIONS).glob("[0-9][0-9][0-9]_*.py")
    return max((int(path.name[:3]) for path in migrations), default=None)


def _words() -> str:
    *first, last = [".".join(map(str, numbers)) for numbers in MINORS]
    return f"{', '.join(first)} and {last}"
