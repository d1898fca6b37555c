"""Run all measurements and print a table; fail if a ratio is worse than the limit that is promised for it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from local_airflow import BUILD

from benchmarks import imports, status

if TYPE_CHECKING:
    from benchmarks.ratio import Ratio


def main() -> int:
    """Return the exit code of the script."""
    ratios: list[Ratio] = [*imports.measure(), *status.measure()]
    width = max(len(ratio.what) for ratio in ratios)
    print(f"\n{'':{width}}  {'ours':>10}  {'theirs':>10}  {'ratio':>7}  {'limit':>7}")
    for ratio in ratios:
        verdict = "ok" if ratio.is_kept else "WORSE"
        print(
            f"{ratio.what:{width}}  {ratio.ours:8.2f} {ratio.unit}  {ratio.theirs:8.2f} {ratio.unit}  "
            f"{ratio.value:7.3f}  {ratio.limit:7.3f}  {verdict}"
        )
    (BUILD / "bench.json").write_text(json.dumps([ratio.to_dict() for ratio in ratios], indent=2))
    return 0 if all(ratio.is_kept for ratio in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
