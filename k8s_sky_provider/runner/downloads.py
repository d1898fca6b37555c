"""What a machine may leave on the volume: files and directories, and links that stay in what was copied."""

from __future__ import annotations

import os
import stat
from pathlib import Path

NAMES_TO_SHOW = 10


def tidy(path: Path, within: Path) -> list[Path]:
    """Delete whatever at or below a path may lead elsewhere; return what that was.

    These are links that lead out of a directory, and fifos, sockets and devices.

    :param path: what was copied; it is not followed if it is a link
    :param within: the directory that links may lead into
    """
    deleted = []
    waiting = [path]
    while waiting:
        place = waiting.pop()
        try:
            mode = place.lstat().st_mode
            if stat.S_ISDIR(mode):
                # A machine may have sent a directory that its owner cannot list.
                place.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
                waiting += place.iterdir()
            elif not stat.S_ISREG(mode) and not (stat.S_ISLNK(mode) and _stays(place, within)):
                place.unlink()
                deleted.append(place)
        except FileNotFoundError:
            # Another task that copies to the same place has deleted it.
            continue
    return deleted


def _stays(link: Path, within: Path) -> bool:
    """Tell whether a link leads into a directory, also when other links in it are made anew."""
    target = link.readlink()
    names = [*target.parts]
    while names[:1] == [".."]:
        del names[0]
    whole = os.path.realpath(link.parent / target)
    # A file that was asked for by its name is no directory to lead into.
    is_inside = link != within and Path(whole).is_relative_to(os.path.realpath(within))
    return is_inside and not target.is_absolute() and ".." not in names


def describe(deleted: list[Path]) -> str:
    """Return what was deleted, in words; a machine may send any number of names, and any names."""
    names = ", ".join(repr(str(path)) for path in deleted[:NAMES_TO_SHOW])
    more = f" and {len(deleted) - NAMES_TO_SHOW} more" if len(deleted) > NAMES_TO_SHOW else ""
    return f"Left out {len(deleted)} links that lead out of the target, or special files: {names}{more}"
