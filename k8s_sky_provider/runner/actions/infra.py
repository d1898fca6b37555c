"""Clouds and what they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_sky_provider.protocol import ExitCode
from k8s_sky_provider.runner.actions.run import Outcome, listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_sky_provider.protocol import JsonValue
    from k8s_sky_provider.runner.actions.run import Run

LONGEST_REASON = 200
"""Characters of a reason in a row, none where they do not all fit; all of it is in the log, which SkyPilot writes."""


def check(run: Run) -> Outcome:
    """Look which clouds can be used; one that is required and cannot be is an error."""
    arguments = run.request.arguments
    required = arguments["require"]
    asked = None if arguments["infra"] is None and not required else sorted({*(arguments["infra"] or []), *required})
    # What can be used comes first.
    rows = sorted(run.engine.check_infra(asked), key=lambda row: not row["enabled"])
    missing = [row for row in rows if row["cloud"] in required and not row["enabled"]]
    if missing:
        said = "; ".join(
            f"{row['cloud']} ({str(row['reason'])[:LONGEST_REASON] or 'SkyPilot does not say why'})" for row in missing
        )
        return Outcome(
            return_value=_with_reasons(rows, LONGEST_REASON),
            exit_code=ExitCode.CREDENTIALS_REFUSED,
            reason=f"require: SkyPilot cannot use {said}",
        )
    outcome = listing(run, _with_reasons(rows, LONGEST_REASON), "infra")
    return outcome if outcome.exit_code is ExitCode.OK else listing(run, _with_reasons(rows, 0), "infra")


def _with_reasons(rows: list[dict[str, JsonValue]], longest: int) -> list[dict[str, JsonValue]]:
    return [{**row, "reason": str(row["reason"])[:longest]} for row in rows]


def gpus(run: Run) -> Outcome:
    """List accelerators that clouds offer, the cheapest offer first."""
    arguments = run.request.arguments
    rows = run.engine.list_gpus(arguments["accelerator"], count=arguments["count"], infra=arguments["infra"])
    rows = sorted(rows, key=lambda row: (row["price"] is None, row["price"] or 0))
    return listing(run, rows, "accelerator, count or infra")


ACTIONS: dict[str, Callable[[Run], Outcome]] = {"check": check, "gpus": gpus}
