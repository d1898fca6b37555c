"""Where SkyPilot's state lives, whether that place is safe, and who made which cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import POD_DIRECTORIES, SECRETS_DIRECTORY, STATE_SECRETS, ExitCode, Owner
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from k8s_sky_provider.runner.store import Store

# SQLite's WAL needs memory that all its users share: no file system that several machines mount has it.
NETWORK_FILE_SYSTEMS = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ceph|glusterfs|lustre|gpfs|beegfs|afs|9p|ocfs2|gfs2|wekafs|panfs|pvfs2|coda|"
    r"fuse(\.(?!fuseblk|fuse-overlayfs).*)?"
)
SHORTEST_SECRET = 6
"""Shorter values are not masked: they would blank out ordinary words."""


def check(
    home: Path,
    *,
    expected_mounts: Mapping[str, str],
    allow_network_file_system: bool,
    mount_table: Path = Path("/proc/self/mountinfo"),
) -> None:
    """Check that the pod has what it needs before SkyPilot touches anything.

    :param home: the home directory, with ``.sky`` in it
    :param expected_mounts: path -> what must be there
    :param allow_network_file_system: skip the check of the file system
    :raises ActionFailedError: with the name of what is missing and the way out
    """
    for path, what in expected_mounts.items():
        place = Path(path)
        if not place.exists() or (place.is_dir() and not _has_keys(place)):
            exit_code = ExitCode.CREDENTIALS_REFUSED if what.startswith("Secret") else ExitCode.DEPLOYMENT_WRONG
            raise ActionFailedError(
                exit_code,
                f"{what} is not in the pod's namespace or is empty: create it, or take it out of the deployment",
            )
    state = home / ".sky"
    kind = file_system_of(state, mount_table)
    if NETWORK_FILE_SYSTEMS.fullmatch(kind) and not allow_network_file_system:
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG,
            f"{state} is on the network file system {kind!r}, where SkyPilot's SQLite loses data: use a volume "
            "of block storage, or set allow_network_file_system in [skypilot] if only one node ever mounts it",
        )
    for directory in (state, home / ".ssh"):
        _check_writable(directory)


def _has_keys(mount: Path) -> bool:
    # The kubelet puts its own `..data` into the mount of an optional Secret that does not exist, too.
    return any(not entry.name.startswith("..") for entry in mount.iterdir())


def _check_writable(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise ActionFailedError(
            ExitCode.DEPLOYMENT_WRONG,
            f"cannot write to {directory} as user {os.getuid()}: {error.strerror}. The volume must have free space "
            "and be writable for this user (fsGroup, or the volume's own owner)",
        ) from error


DAYS_TO_KEEP_NOTES = 30
SECONDS_OF_A_DAY = 86400

KEPT = ("sky_workdir", "sky_logs")
"""The home's directories for files, which are on the volume."""

PRIVATE = (".sky", ".ssh")
"""The home's directories with SkyPilot's state and keys."""

STATE_ELSEWHERE = ("SKYPILOT_DB_CONNECTION_URI", "SKYPILOT_API_SERVER_ENDPOINT")
"""Variables that say so."""

# The kubelet puts Secrets and tokens into memory.
_NO_VOLUMES = re.compile(
    r"proc|sysfs|tmpfs|ramfs|devtmpfs|devpts|mqueue|hugetlbfs|cgroup2?|bpf|\w*debugfs|tracefs|securityfs|configfs|pstore"
)


def is_for_files(path: Path, home: Path, mount_table: Path = Path("/proc/self/mountinfo")) -> bool:
    """Tell whether rsync may read or write a path: no state, no keys, no Secrets, nothing of the kernel's.

    What counts is where the path leads, over all links in it.
    """
    whole = path.resolve()
    private = [(home / name).resolve() for name in PRIVATE]
    if any(whole.is_relative_to(directory) or directory.is_relative_to(whole) for directory in private):
        return False
    mount_point, kind = _mount_of(whole, mount_table)
    kept = _kept(whole, home)
    if kept is not None and kept.is_relative_to(mount_point):
        return True
    # Mounts of keys are told by what the kubelet puts there: of a ConfigMap, on the node's disk, by nothing else.
    is_of_keys = _NO_VOLUMES.fullmatch(kind) or (mount_point / "..data").is_symlink()
    return not _is_gone_with_the_pod(mount_point) and not is_of_keys


def outlives_the_pod(path: Path, home: Path, mount_table: Path = Path("/proc/self/mountinfo")) -> bool:
    """Tell whether a path is one for files, on the volume or on another that is mounted into the pod."""
    is_mounted = not _is_gone_with_the_pod(mount_point_of(path, mount_table))
    return is_for_files(path, home, mount_table) and (is_mounted or has_volume(home, mount_table))


def _kept(whole: Path, home: Path) -> Path | None:
    directories = [(home / name).resolve() for name in KEPT]
    return next((directory for directory in directories if whole.is_relative_to(directory)), None)


def has_volume(home: Path, mount_table: Path = Path("/proc/self/mountinfo")) -> bool:
    """Tell whether the pod has the volume, which it need not have where the state is elsewhere."""
    is_elsewhere = any(variable in os.environ for variable in STATE_ELSEWHERE)
    return not is_elsewhere or not _is_gone_with_the_pod(mount_point_of(home / "sky_workdir", mount_table))


def _is_gone_with_the_pod(mount_point: Path) -> bool:
    return str(mount_point) in {"/", *os.environ.get(POD_DIRECTORIES, "").split(os.pathsep)}


def file_system_of(path: Path, mount_table: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system that a path is on, as Linux names it (``ext4``, ``nfs4``, ...)."""
    return _mount_of(path, mount_table)[1]


def mount_point_of(path: Path, mount_table: Path = Path("/proc/self/mountinfo")) -> Path:
    """Return where the file system that a path is on is mounted."""
    return _mount_of(path, mount_table)[0]


def _mount_of(path: Path, mount_table: Path) -> tuple[Path, str]:
    wanted = path.resolve()
    best, kind = Path("/"), "unknown"
    for line in mount_table.read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount_point = Path(before.split(" ")[4].replace("\\040", " "))
        # A later line lies over an earlier one at the same place.
        if wanted.is_relative_to(mount_point) and len(mount_point.parts) >= len(best.parts):
            best, kind = mount_point, after.split(" ")[0]
    return best, kind


def secret_values(directory: Path = Path(SECRETS_DIRECTORY)) -> frozenset[str]:
    """Return what is to be masked of the Secrets that are the pod's environment."""
    return to_mask(path.read_text(errors="replace") for path in directory.glob("*/*") if path.is_file())


def names_for_jobs(directory: Path = Path(SECRETS_DIRECTORY)) -> frozenset[str]:
    """Return the names of the secrets that a task may have: the keys of the Secrets that are its environment."""
    files = (path for path in directory.glob("*/*") if path.parent.name not in STATE_SECRETS)
    return frozenset(path.name for path in files if path.is_file())


def to_mask(secrets: Iterable[str]) -> frozenset[str]:
    """Return what is not to be shown of secrets: each of their lines, for a log has lines, and passwords of URIs."""
    # A key within JSON has its line ends written as \\n.
    lines = {part.strip() for text in secrets for line in text.splitlines() for part in (line, *line.split("\\n"))}
    values = lines.union(*map(_passwords, lines))
    return frozenset(value for value in values if len(value) >= SHORTEST_SECRET)


def _passwords(line: str) -> set[str]:
    """Return the password of a URI, as it is written there, as it is, and as SQLAlchemy writes it."""
    scheme, _, rest = line.partition("://")
    userinfo = rest.rpartition("@")[0]
    name, has_password, password = userinfo.partition(":")
    if scheme in {"http", "https"} and not has_password:
        # A token, as for a repository. In other URIs it is the name of a user.
        password, has_password = name, userinfo
    plain = urllib.parse.unquote(password)
    return {password, plain, urllib.parse.quote(plain, safe=" +", errors="replace")} if has_password else set()


def record_owner(store: Store, cluster_name: str, owner: Owner) -> None:
    """Note who makes a cluster, before it exists: a launch that dies half-way can then be traced and cleaned up."""
    record = {**dataclasses.asdict(owner), "cluster_name": cluster_name, "recorded_at": int(time.time())}
    store.note("owners", cluster_name, record)


def owner_of(store: Store, cluster_name: str) -> Owner | None:
    """Return who made a cluster, or None if nobody recorded it."""
    record = store.read_note("owners", cluster_name) or {}
    try:
        return Owner(**{field.name: record[field.name] for field in dataclasses.fields(Owner)})
    except KeyError:
        return None


def forget(store: Store, *, unless: Callable[[str], bool]) -> None:
    """Delete notes of no use any more: nobody tries a task again that ended so long ago.

    :param unless: tells whether a cluster is there, whose owner is not to be forgotten
    """
    store.forget_notes("owners", days=DAYS_TO_KEEP_NOTES, unless=unless)
    for kind in ("started", "outcomes", "submissions", "holders", "cleared"):
        store.forget_notes(kind, days=DAYS_TO_KEEP_NOTES, unless=lambda _: False)


def _forget_results(directory: Path) -> None:
    oldest = time.time() - DAYS_TO_KEEP_NOTES * SECONDS_OF_A_DAY
    for path in directory.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < oldest:
                path.unlink()


def keep_whole(home: Path, name: str, text: str) -> str | None:
    """Write a result that is too long for the termination message to the volume; return its path, or None."""
    if not has_volume(home):
        return None
    directory = home / "sky_logs" / "results"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _forget_results(directory)
        path = directory / f"{name}.json"
        # Whoever else sees the volume need not see what tasks return; and what lies there may be a link.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123  # no path
            file.write(text)
    except OSError:
        return None
    return str(path)
