"""The files that travel with a task: from the Secrets of this pod to a place that SkyPilot reads."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import time
from pathlib import Path

from k8s_sky_provider.protocol import LOCAL_FILES_DIRECTORY, LOCAL_FILES_MOUNT, ExitCode
from k8s_sky_provider.runner.failure import ActionFailedError


def unpack(digest: str, *, mount: Path = Path(LOCAL_FILES_MOUNT), target: Path = Path(LOCAL_FILES_DIRECTORY)) -> None:
    """Put the parts of the archive together, check it, and unpack it.

    :param digest: the archive's SHA-256, of the request
    :param mount: directory with the parts, which are in order by their names
    :param target: directory of the pod's own
    :raises ActionFailedError: if a part is missing or another one than that of the request, or there is no room
    """
    try:
        # The kubelet's own `..data` is where the parts that it shows really are.
        parts = [path for path in sorted(mount.iterdir()) if not path.name.startswith("..")]
        archive = b"".join(part.read_bytes() for part in parts)
    except OSError as error:
        raise ActionFailedError(
            ExitCode.TRY_AGAIN, f"the files that travel with the task have not arrived: {error}"
        ) from error
    if hashlib.sha256(archive).hexdigest() != digest:
        # A Secret of an earlier try, or one that somebody changed: the next try packs and sends its own.
        raise ActionFailedError(
            ExitCode.TRY_AGAIN,
            f"the files that travel with the task have arrived as others: {len(archive)} bytes in {len(parts)} Secrets "
            "are not those that the task sent",
        )
    try:
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(mode=0o700, parents=True)
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            # As Python's documentation has it for a Python without filters (before 3.11.4).
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            members = tar.getmembers()
            # They have none, and rsync takes a file of the same size and time for the one that a machine has.
            now = time.time()
            for member in members:
                member.mtime = now
            tar.extractall(target, members)  # noqa: S202  # filtered, and ours by its digest
    except OSError as error:
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG, f"the files that travel with the task cannot be unpacked into {target}: {error}"
        ) from error
    print(f"Unpacked the files that travel with the task: {sum(member.isfile() for member in members)} files")
