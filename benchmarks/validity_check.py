"""A claim about statistics beside what a simulation found; used by `validity.py`."""

import math
from dataclasses import dataclass


LEVEL, TOLERANCE = 0.95, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim: what was found, and between what it should lie."""

    claim: str
    found: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def holds(self) -> bool:
        return self.low <= self.found <= self.high

    @property
    def bounded(self) -> bool:
        return self.low > -math.inf or self.high < math.inf


def slack(draws: int) -> float:
    """How far a share may be off: three standard errors, and at least two points."""
    return max(TOLERANCE, 3 * math.sqrt(LEVEL * (1 - LEVEL) / draws))


def at_most_5_percent(draws: int) -> float:
    """What a share of 0.05 stays below in so many draws."""
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws)
