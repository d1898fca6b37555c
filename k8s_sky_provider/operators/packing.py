"""Folders and files beside a DAG -> one archive: by one rule of what is left out, and always the same bytes."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from k8s_sky_provider.exceptions import SkyRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_FILES = 10_000
"""Files, links and directories that travel with one task."""

MOST_ENTRIES = 100_000
"""What is looked at to find them: each of these is compared with the patterns of the ignore files."""

MOST_UNPACKED = 100
"""How many times the limit of the packed archive the files may have together: they are all read."""

MOST_BYTES = 1_000_000_000
"""What they may have in any case."""

LONGEST_IGNORE_FILE = 1_000_000
"""Bytes of an ignore file."""

SHOWN = 10
"""How many of the largest files an error names."""

SKYIGNORE = ".skyignore"
GITIGNORE = ".gitignore"

_CHUNK = 1024 * 1024
_MEGABYTE = 1_000_000
# A gzip header with no name, no time and no extra field.
_GZIP = 31
_EXECUTABLE = 0o111
_WHOLE_DIRECTORY = re.compile(r"([^/])/\*\*\s*$")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# In a mounted ConfigMap each name is a link to the same name below this one, which is a link itself.
_SHOWN_BY_KUBERNETES = "..data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A folder or a file that travels with a task.

    :param field: what errors call it: the argument, or the file and the key in it
    :param path: where it is
    :param name: what it is called in the archive
    :param is_folder: whether it must be a folder
    """

    field: str
    path: Path
    name: str
    is_folder: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Entry:
    """One thing to be packed; ``link`` is where it leads, if it is a link."""

    name: str
    path: Path
    mode: int
    size: int
    link: str = ""


class _TooLargeError(Exception):
    """The archive has more bytes than it may."""


def pack(sources: Sequence[Source], limit: int) -> bytes:
    """Return a gzipped tar archive of some folders and files; the same files give the same bytes.

    Of a folder that has a ``.skyignore`` is left out what that says, and those of directories in it; of any other, what
    the ``.gitignore`` of each directory and ``.git/info/exclude`` say, whether git tracks it or not. Ignore files stay
    behind, and ``.git`` in any case.

    :param limit: bytes that the archive may have
    :raises SkyRequestError: if a source is not there, is of the wrong kind or cannot be read, has links that lead out
        of it or in circles, or if all together are too many files or too large
    """
    entries: list[_Entry] = []
    for source in sources:
        entries += _entries_of(source, MOST_FILES - len(entries))
    fields = ", ".join(dict.fromkeys(source.field for source in sources))
    if sum(entry.size for entry in entries) > min(MOST_UNPACKED * limit, MOST_BYTES):
        raise _too_large(fields, entries, limit)
    archive = _Archive(limit)
    try:
        with tarfile.TarFile(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:  # type: ignore[arg-type]  # no more of a file is used
            for entry in sorted(entries, key=lambda entry: entry.name):
                _add(tar, entry, fields)
        return archive.end()
    except _TooLargeError:
        raise _too_large(fields, entries, limit) from None


class _Archive:
    """What a tar archive is written to: compresses it, and takes no more than so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._compress = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
        self._packed = bytearray()
        self._read = 0

    def tell(self) -> int:
        return self._read

    def write(self, data: bytes) -> int:
        self._read += len(data)
        self._take(self._compress.compress(data))
        return len(data)

    def end(self) -> bytes:
        self._take(self._compress.flush())
        return bytes(self._packed)

    def _take(self, packed: bytes) -> None:
        self._packed += packed
        if len(self._packed) > self._limit:
            raise _TooLargeError


def _add(tar: tarfile.TarFile, entry: _Entry, fields: str) -> None:
    # All that a TarInfo does not say is empty or zero: no owner and no time.
    info = tarfile.TarInfo(entry.name)
    info.mode = 0o755 if stat.S_ISDIR(entry.mode) or entry.mode & _EXECUTABLE else 0o644
    if entry.link:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
        tar.addfile(info)
        return
    if stat.S_ISDIR(entry.mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
        return
    try:
        # What was a file a moment ago: a link is not followed now, and a pipe is not waited for.
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # no path
            now = os.fstat(descriptor)
            if not stat.S_ISREG(now.st_mode) or now.st_size != entry.size:
                raise SkyRequestError(f"{fields}: {str(entry.path)!r} has changed while it was packed; try again")
            info.size = entry.size
            tar.addfile(info, file)
    except OSError as error:
        raise SkyRequestError(f"{fields}: {str(entry.path)!r} cannot be read: {error.strerror or error}") from error


def _entries_of(source: Source, most: int) -> list[_Entry]:
    try:
        # The place itself may be a link, as a DAG bundle's current version or what a ConfigMap shows.
        place = source.path.resolve(strict=True)
        found = place.stat()
        if stat.S_ISDIR(found.st_mode):
            return list(_Folder(source, place, most).entries())
    except FileNotFoundError:
        raise SkyRequestError(
            f"{source.field}: {str(source.path)!r} does not exist where the task starts. Ship it with the DAGs, or "
            "give a path on the volume, as ~/sky_workdir/..."
        ) from None
    except (OSError, RuntimeError) as error:
        raise SkyRequestError(f"{source.field}: {str(source.path)!r} cannot be read: {error}") from error
    if source.is_folder:
        raise SkyRequestError(
            f"{source.field}: {str(source.path)!r} is a file, and must be a folder: give the one that it is in, or the "
            "file as one of file_mounts"
        )
    _check_name(source, source.name)
    if not stat.S_ISREG(found.st_mode):
        raise _of_no_use(source, place, found.st_mode)
    if most < 1:
        raise _too_many(source)
    return [_Entry(name=source.name, path=place, mode=found.st_mode, size=found.st_size)]


class _Folder:
    """One folder to be packed."""

    def __init__(self, source: Source, folder: Path, most: int) -> None:
        self._field = source.field
        self._source = source
        self._folder = folder
        self._most = most
        self._entries = 0
        self._looked_at = 0
        self._by_git = not (folder / SKYIGNORE).is_file()
        self._is_config_map = (folder / _SHOWN_BY_KUBERNETES).is_symlink()

    def entries(self) -> Iterator[_Entry]:
        """Yield the folder and all below it that is not ignored."""
        _check_name(self._source, self._source.name)
        yield self._counted(_Entry(name=self._source.name, path=self._folder, mode=stat.S_IFDIR, size=0))
        of_git = self._patterns("", ".git/info/exclude") if self._by_git else None
        yield from self._below("", [of_git] if of_git else [])

    def _below(self, directory: str, specs: list[tuple[str, GitIgnoreSpec]]) -> Iterator[_Entry]:
        """Yield what is below a directory, whose path from the folder on ends with a slash."""
        of_directory = self._patterns(directory, GITIGNORE if self._by_git else SKYIGNORE)
        specs = [*specs, of_directory] if of_directory else specs
        for name, found in self._listed(directory):
            path = directory + name
            if self._is_ignored(path, specs, is_directory=stat.S_ISDIR(found.st_mode)):
                continue
            _check_name(self._source, path)
            yield self._counted(self._entry(path, found))
            if stat.S_ISDIR(found.st_mode):
                yield from self._below(f"{path}/", specs)

    def _listed(self, directory: str) -> list[tuple[str, os.stat_result]]:
        """Return what is in a directory, in the order of the names."""
        found = []
        try:
            with os.scandir(self._folder / directory) as entries:
                for entry in entries:
                    self._looked_at += 1
                    if self._looked_at > MOST_ENTRIES:
                        raise SkyRequestError(
                            f"{self._field}: {str(self._source.path)!r} has more than {MOST_ENTRIES} files, with the "
                            f"ignored ones: name whole directories in {SKYIGNORE}, or give a smaller folder"
                        )
                    is_shown = self._is_shown(directory + entry.name)
                    found.append((entry.name, entry.stat(follow_symlinks=is_shown)))
        except OSError as error:
            raise self._unreadable(self._folder / directory, error) from error
        return sorted(found)

    def _is_shown(self, path: str) -> bool:
        """Tell whether it is a link by which Kubernetes shows a file of a ConfigMap."""
        place = self._folder / path
        shown = PurePosixPath(_SHOWN_BY_KUBERNETES, path)
        return self._is_config_map and "/" not in path and place.is_symlink() and place.readlink() == Path(shown)

    def _is_ignored(self, path: str, specs: Sequence[tuple[str, GitIgnoreSpec]], *, is_directory: bool) -> bool:
        if PurePosixPath(path).name in {".git", GITIGNORE, SKYIGNORE}:
            # SkyPilot would go by them once more, and by another rule.
            return True
        if self._is_config_map and path.startswith(".."):
            return True
        # An ignore file says more of what is below it than one further up.
        for base, spec in reversed(specs):
            is_ignored = spec.check_file(f"{path.removeprefix(base)}{'/' if is_directory else ''}").include
            if is_ignored is not None:
                return is_ignored
        return False

    def _patterns(self, directory: str, name: str) -> tuple[str, GitIgnoreSpec] | None:
        path = self._folder / directory / name
        try:
            if not path.is_file():
                return None
            if path.stat().st_size > LONGEST_IGNORE_FILE:
                raise SkyRequestError(f"{self._field}: {str(path)!r} is too long for an ignore file")
            # For git, `logs/**` is what is in logs; for pathspec it would be logs, too.
            lines = [_WHOLE_DIRECTORY.sub(r"\1/**/*", line) for line in path.read_text().splitlines()]
            return directory, GitIgnoreSpec.from_lines(lines)
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error

    def _entry(self, path: str, found: os.stat_result) -> _Entry:
        place, name = self._folder / path, f"{self._source.name}/{path}"
        if stat.S_ISLNK(found.st_mode):
            return _Entry(name=name, path=place, mode=found.st_mode, size=0, link=self._goal(path, place))
        if stat.S_ISDIR(found.st_mode):
            return _Entry(name=name, path=place, mode=found.st_mode, size=0)
        if not stat.S_ISREG(found.st_mode):
            raise _of_no_use(self._source, place, found.st_mode)
        real = place.resolve() if self._is_shown(path) else place
        return _Entry(name=name, path=real, mode=found.st_mode, size=found.st_size)

    def _goal(self, path: str, place: Path) -> str:
        """Return where a link leads, which must be in the folder, on all the way."""
        try:
            goal = str(place.readlink())
        except OSError as error:
            raise self._unreadable(place, error) from error
        _check_name(self._source, goal)
        end = Path(os.path.realpath(place))
        if _is_loop(place) or (place.is_relative_to(end) and not _leaves(path, goal)):
            raise SkyRequestError(
                f"{self._field}: {str(place)!r} is a link to {goal!r}, which goes in circles; delete it, or have an "
                "ignore file leave it out"
            )
        if _leaves(path, goal) or not end.is_relative_to(self._folder):
            raise SkyRequestError(
                f"{self._field}: {str(place)!r} is a link to {goal!r}, which leads out of {str(self._folder)!r} and "
                "is of no use elsewhere: copy what it leads to, make it a relative link within the folder, or have an "
                "ignore file leave it out"
            )
        return goal

    def _unreadable(self, path: Path, error: Exception) -> SkyRequestError:
        return SkyRequestError(f"{self._field}: {str(path)!r} cannot be read: {error}")

    def _counted(self, entry: _Entry) -> _Entry:
        self._entries += 1
        if self._entries > self._most:
            raise _too_many(self._source)
        return entry


def _is_loop(link: Path) -> bool:
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _leaves(path: str, goal: str) -> bool:
    """Tell whether a link at a path leads out of the folder by its words alone, on its way back in too."""
    if goal.startswith("/"):
        return True
    depth = path.count("/")
    for part in PurePosixPath(goal).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _check_name(source: Source, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SkyRequestError(
            f"{source.field}: {str(source.path)!r} has the name {name.encode(errors='surrogateescape')!r} in it, which "
            "is not UTF-8; rename it, or have an ignore file leave it out"
        ) from None


def _of_no_use(source: Source, place: Path, mode: int) -> SkyRequestError:
    kind = _KINDS.get(stat.S_IFMT(mode), "no file")
    return SkyRequestError(
        f"{source.field}: {str(place)!r} is {kind}, which cannot be sent; delete it, or name it in an ignore file"
    )


def _too_many(source: Source) -> SkyRequestError:
    return SkyRequestError(
        f"{source.field}: {str(source.path)!r} has too many files: no more than {MOST_FILES} may travel with a task. "
        f"Name what the job does not need in {SKYIGNORE}, or give a smaller folder, a repository (git_url), a folder "
        "on the volume (~/sky_workdir/...) or a bucket"
    )


def _too_large(fields: str, entries: Sequence[_Entry], limit: int) -> SkyRequestError:
    total = sum(entry.size for entry in entries)
    largest = sorted(entries, key=lambda entry: (-entry.size, entry.name))[:SHOWN]
    listed = "".join(f"\n  {_size(entry.size)}  {entry.path}" for entry in largest if entry.size)
    return SkyRequestError(
        f"{fields}: the {len(entries)} files have {_size(total)} and do not fit, packed, into the {_size(limit)} that "
        "may travel with a task (local_files_limit_mb in [skypilot]). Name what the job does not need in "
        f"{SKYIGNORE} or {GITIGNORE}, or give a repository (git_url), a folder on the volume (~/sky_workdir/...) or a "
        f"bucket (file_mounts: {{/data: s3://...}}). The largest are:{listed}"
    )


def _size(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB" if size >= _MEGABYTE / 10 else f"{size / 1000:.1f} kB"
