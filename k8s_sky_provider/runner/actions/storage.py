"""SkyPilot's volumes and buckets."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.actions.run import Outcome, listing
from k8s_sky_provider.runner.failure import ActionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.runner.actions.run import Run


def volume_apply(run: Run) -> Outcome:
    """Make or register a volume; one that is there already is fine."""
    arguments = run.request.arguments
    return Outcome(return_value=run.engine.apply_volume(arguments["volume"], arguments["overrides"]))


def volume_delete(run: Run) -> Outcome:
    """Delete volumes."""
    arguments = run.request.arguments
    known = [str(row["name"]) for row in run.engine.list_volumes(None, refresh=False)]
    names = _matching(arguments["names"], known, "volume", missing_ok=bool(arguments["missing_ok"]))
    for name in names:
        run.engine.delete_volume(name, purge=bool(arguments["purge"]))
    return Outcome(return_value=names)


def volume_list(run: Run) -> Outcome:
    """List volumes."""
    arguments = run.request.arguments
    return listing(run, run.engine.list_volumes(arguments["names"], refresh=bool(arguments["refresh"])), "names")


def storage_delete(run: Run) -> Outcome:
    """Delete buckets."""
    arguments = run.request.arguments
    known = [str(row["name"]) for row in run.engine.list_storage()]
    names = (
        known
        if arguments["all"]
        else _matching(arguments["names"], known, "storage", missing_ok=bool(arguments["missing_ok"]))
    )
    for name in names:
        run.engine.delete_storage(name)
    return Outcome(return_value=names)


def storage_list(run: Run) -> Outcome:
    """List buckets."""
    return listing(run, run.engine.list_storage(), "")


def _matching(patterns: list[str], known: list[str], kind: str, *, missing_ok: bool) -> list[str]:
    """Return the known names that were asked for; nothing may be deleted when a name is wrong."""
    names: list[str] = []
    for pattern in patterns:
        matches = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
        if not matches and not missing_ok:
            raise ActionFailedError(
                ExitCode.REQUEST_WRONG,
                f"names: there is no {kind} {pattern!r}; there are: {', '.join(known) or 'none'}",
            )
        if not matches:
            print(f"There is no {kind} {pattern}")
        names += [name for name in matches if name not in names]
    return names


ACTIONS: dict[str, Callable[[Run], Outcome]] = {
    "volume_apply": volume_apply,
    "volume_delete": volume_delete,
    "volume_list": volume_list,
    "storage_delete": storage_delete,
    "storage_list": storage_list,
}
