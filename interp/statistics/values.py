"""What statistics come back as: an estimate with its bounds, or a proportion."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interval:
    """An estimate with its bounds; the three arrays have one shape, maybe none."""

    estimate: Float[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """How often something happened, with a Wilson interval."""

    n: int
    successes: int
    rate: float
    low: float
    high: float
