"""Run all measurements and print tables; fail if one is worse than is promised, or pods of ours do not end well."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from local_airflow import BUILD

from benchmarks import concurrency, hostile_text, imports, log_delay, logs, status

if TYPE_CHECKING:
    from benchmarks.ratio import Ratio


def main() -> int:
    """Return the exit code of the script."""
    ratios: list[Ratio] = [*imports.measure(), *logs.measure(), *log_delay.measure(), *status.measure()]
    hostile = hostile_text.measure()
    measured = concurrency.measure()
    width = max(len(ratio.what) for ratio in ratios)
    print(f"\n{'':{width}}  {'ours':>10}  {'theirs':>10}  {'ratio':>7}  {'limit':>7}")
    for ratio in ratios:
        verdict = "ok" if ratio.is_kept else "WORSE"
        print(
            f"{ratio.what:{width}}  {ratio.ours:8.2f} {ratio.unit}  {ratio.theirs:8.2f} {ratio.unit}  "
            f"{ratio.value:7.3f}  {ratio.limit:7.3f}  {verdict}"
        )
    hostile_text.show(hostile)
    concurrency.show(measured)
    rows = [
        *(ratio.to_dict() for ratio in ratios),
        *map(dataclasses.asdict, hostile),
        *map(dataclasses.asdict, measured),
    ]
    (BUILD / "bench.json").write_text(json.dumps(rows, indent=2))
    is_kept = all(ratio.is_kept for ratio in ratios) and hostile_text.are_kept(hostile)
    return 0 if is_kept and concurrency.are_ours_well(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
