"""Means over sequences of which some have nothing to measure."""

import numpy as np
from jaxtyping import Float

from interp.statistics import Interval, widened


def sequence_mean(
    samples: Float[np.ndarray, "*batch sequence"],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The mean over the sequences that have a value, with a bootstrap interval.

    Whole sequences are drawn anew, the same ones for every row, so that differences
    between heads are paired. Positions within a sequence are not independent and are
    never drawn by themselves. The interval is widened to what few sequences ask for;
    one sequence has none.

    Args:
        samples: One value per sequence; NaN where there was nothing to measure.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.

    Example:
        >>> float(sequence_mean(np.array([1.0, np.nan, 3.0]), resamples=9).estimate)
        2.0
    """
    n = samples.shape[-1]
    there = np.isfinite(samples)
    values = np.where(there, samples, 0.0).astype(np.float64)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    # A row without any value has no mean and no bounds: NaN, not a warning.
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (values @ drawn.T) / (there @ drawn.T)
        estimate = values.sum(axis=-1) / there.sum(axis=-1)
    return widened(
        np.asarray(estimate), means, groups=there.sum(axis=-1, dtype=np.float64)
    )
