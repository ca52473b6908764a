"""Measured values as the fields of a result."""

import numpy as np
from jaxtyping import Float32
from numpy.typing import ArrayLike

from interp.statistics import Interval


def float32(values: ArrayLike) -> Float32[np.ndarray, "..."]:
    """Values as results keep them."""
    return np.asarray(values, dtype=np.float32)


def bounded(name: str, found: Interval) -> dict[str, np.ndarray]:
    """An interval as three fields: its estimate, and its ends below `_low` and `_high`.

    Args:
        name: The field of the estimate.
        found: The interval.

    Example:
        >>> ends = Interval(estimate=np.zeros(2), low=-np.ones(2), high=np.ones(2))
        >>> list(bounded("cosine", ends))
        ['cosine', 'cosine_low', 'cosine_high']
    """
    ends = {"": found.estimate, "_low": found.low, "_high": found.high}
    return {f"{name}{suffix}": float32(values) for suffix, values in ends.items()}


def bounded_number(
    name: str, found: Interval, *, at: int | None = None
) -> dict[str, float]:
    """The interval of a single number as three fields, in full precision.

    Args:
        name: The field of the estimate.
        found: The interval of this number, or those of several.
        at: Which of several.

    Example:
        >>> ends = np.zeros(2), np.ones(2)
        >>> two = Interval(estimate=np.array([0.2, 0.5]), low=ends[0], high=ends[1])
        >>> bounded_number("loss", two, at=1)
        {'loss': 0.5, 'loss_low': 0.0, 'loss_high': 1.0}
    """
    place = () if at is None else at
    ends = {"": found.estimate, "_low": found.low, "_high": found.high}
    return {f"{name}{suffix}": float(value[place]) for suffix, value in ends.items()}
