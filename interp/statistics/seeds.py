"""Intervals over a few runs that differ in their seed of training."""

import math

import numpy as np
from jaxtyping import Float

from interp.errors import ShapeError
from interp.statistics.small_samples import t_quantile
from interp.statistics.values import LEVEL, Interval


def mean_over_seeds(
    values: Float[np.ndarray, "*batch seed"], *, level: float = LEVEL
) -> Interval:
    """The mean over runs with its t interval; NaN bounds of a single run.

    Drawing three or four runs anew gives about their range, which holds the mean in 75
    and 87.5 % at most. Student's t is exact if runs vary normally.

    Args:
        values: The last axis runs over seeds.
        level: Coverage of the interval.

    Raises:
        ShapeError: If there is no run.

    Source:
        Student (1908), "The Probable Error of a Mean".

    Example:
        >>> found = mean_over_seeds(np.array([1.0, 2.0, 3.0]))
        >>> round(float(found.low), 2), round(float(found.high), 2)
        (-0.48, 4.48)
    """
    n = _count(values)
    mean = np.asarray(values.mean(axis=-1))
    if n == 1:
        nothing = np.full(mean.shape, np.nan)
        return Interval(estimate=mean, low=nothing, high=nothing)
    half = t_quantile(n - 1.0, level=level) * values.std(axis=-1, ddof=1) / np.sqrt(n)
    low, high = np.asarray(mean - half), np.asarray(mean + half)
    return Interval(estimate=mean, low=low, high=high)


def median_over_seeds(
    values: Float[np.ndarray, " seed"], *, level: float = LEVEL
) -> Interval:
    """The median over runs with its interval; infinite runs are later than all others.

    From so many runs on as make it possible (six at 95 %) the bounds are two of the
    values, whatever the distribution is. Of fewer runs no two values hold the median
    that often: then Student's t around their mean, which takes runs to vary normally,
    and no bounds at all if a run is infinite or the only one.

    Args:
        values: One for each run.
        level: Coverage of the interval.

    Raises:
        ShapeError: If there is no run.

    Source:
        Thompson (1936), "On confidence ranges for the median"; Student (1908).

    Example:
        >>> found = median_over_seeds(np.array([1.0, 5.0, 2.0, 4.0, 3.0, np.inf]))
        >>> float(found.estimate), float(found.low), float(found.high)
        (3.0, 1.0, inf)
    """
    n = _count(values)
    ordered = np.sort(values)
    # Without interpolation, as half way to infinity is no number.
    middle = np.quantile(values, 0.5, method="inverted_cdf")
    below = _beyond(n, (1 - level) / 2)
    if below is not None:
        low, high = ordered[below], ordered[n - 1 - below]
    elif n == 1 or not np.isfinite(values).all():
        low, high = np.array(-np.inf), np.array(np.inf)
    else:
        found = mean_over_seeds(values, level=level)
        low, high = np.minimum(found.low, middle), np.maximum(found.high, middle)
    return Interval(
        estimate=np.asarray(middle), low=np.asarray(low), high=np.asarray(high)
    )


def _beyond(n: int, tail: float) -> int | None:
    """How many values may be left out at each end; None if even none is too many."""
    chance, most = 0.0, None
    for k in range(n):
        chance += math.comb(n, k) / 2**n
        if chance > tail:
            break
        most = k
    return most


def _count(values: np.ndarray) -> int:
    if not values.shape or not values.shape[-1]:
        raise ShapeError("There is no run.", expected="At least one.")
    return values.shape[-1]
