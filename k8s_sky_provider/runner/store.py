"""The provider's own notes and locks, beside SkyPilot's state and shared by the same pods.

Notes say who made a cluster and how a job ended. A lock keeps actions that change one cluster behind each other:
SkyPilot's own is broken by its ``down``, which does not stop another pod's launch either.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from k8s_sky_provider.protocol import LONGEST_NAME, ExitCode, read_json
from k8s_sky_provider.runner import skypilot_version
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.protocol import JsonValue
    from k8s_sky_provider.runner.sky import Engine

SECONDS_OF_A_DAY = 86400
SECONDS_BETWEEN_TRIES = 1.0
SECONDS_TO_SET_UP = 600.0


class Store(Protocol):
    """Where notes and locks are. A note has a kind and, in that, a name."""

    outlives_the_pod: bool
    """Whether the next pod of a task sees the notes of this one."""

    def note(self, kind: str, name: str, content: dict[str, JsonValue]) -> None:
        """Write a note, whole or not at all, over an earlier one."""

    def read_note(self, kind: str, name: str) -> dict[str, JsonValue] | None:
        """Return a note; None if there is none, or none that can be read."""

    def forget_notes(self, kind: str, *, days: int, unless: Callable[[str], bool]) -> None:
        """Delete the notes of a kind that are older than that, unless their name is still of use."""

    def try_lock(self, name: str, *, shared: bool) -> bool:
        """Take a lock if nobody has it, or only others that share it; it is freed when this process ends, however."""

    def unlock(self, name: str) -> None:
        """Free a lock that this process has."""

    def state_revision(self) -> int | None:
        """Return the revision of SkyPilot's state; None if there is no state yet."""


def lock_number(name: str) -> int:
    """Return the number that stands for a lock, where locks have no names: 56 bits of a hash."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])


def alone_at_first(store: Store, make_engine: Callable[[], Engine]) -> Engine:
    """Make the engine; where no pod ever did with this version of SkyPilot, one pod after the other.

    SkyPilot then makes its tables, under a lock of its own that nobody may wait for longer than 10 s, and that pods
    without a shared volume do not share.

    :raises ActionFailedError: if that takes another pod too long, or the state is of a newer SkyPilot
    """
    try:
        version = skypilot_version.installed()
    except importlib.metadata.PackageNotFoundError:
        return make_engine()
    skypilot_version.check_state(store)
    waited = 0.0
    while store.read_note("setup", version) is None:
        if store.try_lock("setup", shared=False):
            try:
                engine = make_engine()
                store.note("setup", version, {"at": int(time.time())})
                return engine
            finally:
                store.unlock("setup")
        if waited >= SECONDS_TO_SET_UP:
            raise ActionFailedError(
                ExitCode.TRY_AGAIN, f"another pod makes SkyPilot's tables, for more than {SECONDS_TO_SET_UP:g} s"
            )
        time.sleep(SECONDS_BETWEEN_TRIES)
        waited += SECONDS_BETWEEN_TRIES
    return make_engine()


class FileStore:
    """Notes as files on the volume; locks as those of single bytes of one file, so that none is ever to be deleted.

    :param home: the home directory, with SkyPilot's state
    :param outlives_the_pod: whether that is on the volume
    """

    def __init__(self, home: Path, *, outlives_the_pod: bool = True) -> None:
        self.outlives_the_pod = outlives_the_pod
        self._directory = home / ".sky" / "k8s_sky"
        self._database = home / ".sky" / "state.db"
        self._locks: int | None = None

    def note(self, kind: str, name: str, content: dict[str, JsonValue]) -> None:
        """Write a note, whole or not at all, over an earlier one."""
        path = self._path(kind, name)
        directory = path.parent
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)

    def read_note(self, kind: str, name: str) -> dict[str, JsonValue] | None:
        """Return a note; None if there is none, or none that can be read."""
        try:
            content = read_json(self._path(kind, name).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def forget_notes(self, kind: str, *, days: int, unless: Callable[[str], bool]) -> None:
        """Delete the notes of a kind that are older than that, unless their name is still of use."""
        oldest = time.time() - days * SECONDS_OF_A_DAY
        for path in (self._directory / kind).glob("*"):
            try:
                if path.stat().st_mtime < oldest and not unless(path.stem):
                    path.unlink()
            except FileNotFoundError:
                # Another pod was faster.
                continue

    def _path(self, kind: str, name: str) -> Path:
        if "/" in name or "\0" in name:
            raise ActionFailedError(ExitCode.REQUEST_WRONG, f"{name!r} cannot be a name: it has a slash or a NUL")
        if len(name.encode(errors="replace")) > LONGEST_NAME:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"{name[:LONGEST_NAME]!r}... cannot be a name: it has more than {LONGEST_NAME} bytes",
            )
        return self._directory / kind / f"{name}.json"

    def try_lock(self, name: str, *, shared: bool) -> bool:
        """Take a lock if nobody has it, or only others that share it; the kernel frees it when this process ends."""
        if self._locks is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            # Opened once: to close it anywhere in this process would free the locks.
            self._locks = os.open(self._directory / "locks", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(self._locks, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, lock_number(name))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def unlock(self, name: str) -> None:
        """Free a lock that this process has."""
        if self._locks is not None:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, lock_number(name))

    def state_revision(self) -> int | None:
        """Return the revision of SkyPilot's state; None if there is no state yet."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
                row = connection.execute(skypilot_version.SELECT_STATE_REVISION).fetchone()
        except sqlite3.OperationalError:
            return None
        return int(row[0]) if row else None
