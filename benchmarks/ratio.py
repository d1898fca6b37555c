"""Two measurements of the same run, and how far apart they may be."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """Ours against theirs, in the same unit; the smaller the better.

    :param what: what was measured
    :param ours: with this project
    :param theirs: with what it is compared to
    :param unit: ``s`` or ``MB``
    :param limit: the greatest ratio that is promised
    """

    what: str
    ours: float
    theirs: float
    unit: str
    limit: float

    @property
    def value(self) -> float:
        """Ours divided by theirs."""
        return self.ours / self.theirs

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.limit

    def to_dict(self) -> dict[str, float | str]:
        """Return the figures as JSON values."""
        return {**dataclasses.asdict(self), "ratio": self.value}
