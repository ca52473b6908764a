"""What few groups, folds or runs allow to say: bounds by Student's t.

The percentiles of a bootstrap are too close to each other by two things: resamples
vary less than samples do, by a factor of the root of (g - 1) / g for g groups, and a
normal stands where the spread itself is only estimated. Both are known.
"""

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from interp.errors import ShapeError
from interp.statistics.values import LEVEL, Interval


Ends = tuple[float, float]
# Reductions over the only axis give NumPy's numbers, not arrays.
Values = np.ndarray | np.floating


def t_quantile(
    df: Float[np.ndarray, "*batch"] | float, *, level: float = LEVEL
) -> Float[np.ndarray, "*batch"]:
    """How many standard errors lie to each side of a mean; infinite without freedom.

    Args:
        df: Degrees of freedom.
        level: Coverage of the interval.

    Example:
        >>> round(float(t_quantile(7)), 3), float(t_quantile(0))
        (2.365, inf)
    """
    # A tenth of a second, which opening a folder of results does not have to wait.
    from scipy.special import stdtrit

    freedom = np.asarray(df, dtype=np.float64)
    known = freedom > 0
    found = stdtrit(np.where(known, freedom, 1.0), (1 + level) / 2)
    return np.where(known, found, np.inf)


def widening(
    groups: Float[np.ndarray, "*batch"] | float, *, level: float = LEVEL
) -> Float[np.ndarray, "*batch"]:
    """By how much the percentiles of a bootstrap over so many groups are too narrow.

    Args:
        groups: How many groups were resampled, see `effective_groups`.
        level: Coverage of the interval.

    Source:
        Hesterberg (2015), "What Teachers Should Know About the Bootstrap", section 5.3:
        the expanded percentile interval, here by widening instead of by percentiles
        further out, for which there would be too few resamples.

    Example:
        >>> round(float(widening(8)), 3), round(float(widening(1000)), 3)
        (1.29, 1.002)
    """
    count = np.asarray(groups, dtype=np.float64)
    several = count > 1
    filled = np.where(several, count, 2.0)
    factor = np.sqrt(filled / (filled - 1)) * t_quantile(filled - 1, level=level)
    return np.where(several, factor / _z(level), np.inf)


def widened(
    estimate: Float[np.ndarray, "*batch"] | float,
    draws: Float[np.ndarray, "*batch resample"],
    *,
    groups: Float[np.ndarray, "*batch"] | float,
    level: float = LEVEL,
    within: Ends = (-math.inf, math.inf),
) -> Interval:
    """An interval of bootstrap draws, as wide as few groups ask for.

    The percentiles are moved away from the median of the draws. NaN where there is no
    draw, or a single group: it says nothing about how groups differ.

    Args:
        estimate: What was found.
        draws: The same in every resample; NaN where it is not defined.
        groups: How many groups were resampled, see `effective_groups`.
        level: Coverage of the interval.
        within: What the value cannot be beyond.

    Source:
        Hesterberg (2015), "What Teachers Should Know About the Bootstrap", section 5.3.

    Example:
        >>> draws = np.linspace(-1, 1, 401)
        >>> found = widened(0.0, draws, groups=10.0)
        >>> round(float(found.low), 2), round(float(found.high), 2)
        (-1.16, 1.16)
    """
    usable = np.asarray(np.isfinite(draws).any(axis=-1))
    tails = ((1 - level) / 2, 0.5, (1 + level) / 2)
    filled = np.where(usable[..., None], draws, 0.0)
    low, middle, high = np.asarray(np.nanquantile(filled, tails, axis=-1))
    factor = widening(groups, level=level)
    defined = usable & np.isfinite(factor)
    factor = np.where(defined, factor, 1.0)
    bounds = [
        np.asarray(np.clip(np.where(defined, middle + factor * away, np.nan), *within))
        for away in (_from(low, middle), _from(high, middle))
    ]
    return Interval(estimate=np.asarray(estimate), low=bounds[0], high=bounds[1])


def probability_bounds(
    estimate: Float[np.ndarray, "*batch"],
    draws: Float[np.ndarray, "*batch resample"],
    *,
    groups: float,
    furthest: float,
    level: float = LEVEL,
) -> Interval:
    """An interval of a probability: Student's t around its logit.

    A probability near 0 or 1 spreads to one side more than to the other, and none is
    beyond them. At 0 and 1 themselves all resamples are alike, so that they say nothing
    about how far the truth may be: `furthest` does.

    Args:
        estimate: What was found.
        draws: The same in every resample; NaN where it is not defined.
        groups: How many groups were resampled.
        furthest: How low the truth may be where 1 was found.
        level: Coverage of the interval.

    Source:
        Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapters 12 and
        22; Pepe (2003), section 5.2.4, for the logit of an AUROC.
    """
    usable = np.asarray(np.isfinite(draws).any(axis=-1))
    spread = np.nanstd(np.where(usable[..., None], draws, 0.0), axis=-1)
    if groups <= 1:
        low, high = (np.where(np.isnan(estimate), np.nan, end) for end in (0.0, 1.0))
        return Interval(estimate=estimate, low=low, high=high)
    inner = usable & (estimate > 0) & (estimate < 1)
    # A bootstrap keeps to the sample, so that an estimate inside has a logit.
    p = np.where(inner, estimate, 0.5)
    half = widening(groups, level=level) * _z(level) * spread / (p * (1 - p))
    odds = np.log(p) - np.log1p(-p)
    low, high = (_expit(odds + sign * half) for sign in (-1, 1))
    # Not through the logit and back: a constant keeps its bounds to the last digit.
    low, high = (np.where(half == 0, p, bound) for bound in (low, high))
    low = np.where(estimate == 1, furthest, np.where(estimate == 0, 0.0, low))
    high = np.where(estimate == 0, 1 - furthest, np.where(estimate == 1, 1.0, high))
    known = usable & np.isfinite(estimate)
    return Interval(
        estimate=estimate,
        low=np.where(known, low, np.nan),
        high=np.where(known, high, np.nan),
    )


def corrected_resampled_t(
    differences: Float[np.ndarray, "*batch split"],
    *,
    test_share: float,
    level: float = LEVEL,
) -> tuple[Interval, Float[np.ndarray, "*batch"]]:
    """The mean of differences over splits, its bounds and p for a mean of zero.

    The training sets of two splits overlap, so that their differences vary less than
    those of independent samples would. The variance of the mean gets that back: it
    falls with the number of splits to a floor only.

    Args:
        differences: What was found on each split.
        test_share: How many examples a split tests for each one it is fitted on.
        level: Coverage of the interval.

    Returns:
        The interval and p; NaN where all splits have one difference that is not 0.

    Raises:
        ShapeError: If there are fewer than two splits.

    Source:
        Nadeau & Bengio (2003), "Inference for the Generalization Error", equation 10.

    Example:
        >>> found, p = corrected_resampled_t(np.array([0.1, 0.2, 0.3]), test_share=0.5)
        >>> round(float(found.estimate), 3), round(float(p), 3)
        (0.2, 0.16)
    """
    from scipy.special import stdtr

    n = differences.shape[-1]
    if n < 2:
        raise ShapeError(f"There are {n} splits.", expected="Two or more.")
    mean = np.asarray(differences.mean(axis=-1))
    error = np.sqrt((1 / n + test_share) * differences.var(axis=-1, ddof=1))
    half = t_quantile(n - 1.0, level=level) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(mean) / error
    p = 2 * stdtr(n - 1.0, -size)
    # Splits that agree to the last digit show no difference, or nothing of its noise.
    same = np.where(mean == 0, 1.0, np.nan)
    p, half = np.where(error > 0, p, same), np.where(error > 0, half, 0 / same)
    low, high = np.asarray(mean - half), np.asarray(mean + half)
    return Interval(estimate=mean, low=low, high=high), np.asarray(p)


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _from(bound: Values, middle: Values) -> np.ndarray:
    """The way from the median to a bound; both may be infinite."""
    with np.errstate(invalid="ignore"):
        return np.where(bound == middle, 0.0, bound - middle)


def _expit(x: Values) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))
