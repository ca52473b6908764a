"""How far confidences are from being right as often as they say, and how sure that is.

The calibration error is a sum of distances, so noise adds to it and it is never below
zero: its bootstrap is off by as much again, and most where calibration is exact. So the
interval is made by asking of each possible true error whether it would give what was
found. Whether there is any error at all is a question of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.errors import ShapeError
from interp.statistics.groups import effective_groups, group_codes
from interp.statistics.small_samples import widening
from interp.statistics.values import LEVEL


# Equal widths, as calibration errors of language models are usually reported.
N_BINS = 15
# How many true errors are tried; what the interval is rounded outwards to.
STEPS = 100
HALVINGS = 60
# By which sums differ that should be equal.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """An expected calibration error with what noise would make of it.

    Attributes:
        estimate: As it is usually reported; noise adds to it.
        low: Lower end of the 95 % interval of the error without noise; 0 if
            predictions may well be calibrated.
        high: Its upper end.
        debiased: The true error for which the reported one would be the median: less
            than the estimate by what noise adds, and 0 where noise explains it all.
        consistent: What 95 % of samples of calibrated predictions stay below.
        p: How often calibrated predictions have as large an error.
    """

    estimate: float
    low: float
    high: float
    debiased: float
    consistent: float
    p: float


def calibration_error(
    top: Float[np.ndarray, " token"],
    correct: Bool[np.ndarray, " token"],
    *,
    groups: Sequence[object] | Int[np.ndarray, " group_of_token"] | None = None,
    n_bins: int = N_BINS,
    resamples: int = 1000,
    seed: int = 0,
) -> CalibrationError:
    """Expected calibration error with an interval, and whether it is more than noise.

    The mean distance between confidence and accuracy of bins of equal width, weighted
    by how many predictions they hold. What is estimated is this error of the same bins
    without noise. Its interval holds every value under which the error that was found
    is between the percentiles of its resamples, for errors that all bins share and for
    those nearest to what was found: which bins err is not known, so that it is rather
    too wide than too narrow. `p` draws outcomes that are as likely as predictions say;
    of predictions in groups it turns the signs of whole groups, whose outcomes may
    depend on each other.

    Args:
        top: The probability of the likeliest token.
        correct: Whether it is the right one.
        groups: The text of each prediction, drawn whole.
        n_bins: How many bins.
        resamples: How many draws.
        seed: Feeds them.

    Raises:
        ShapeError: If there is no prediction, or the lengths disagree.

    Source:
        Guo et al. (2017), arXiv:1706.04599; Kumar, Liang & Ma (2019), arXiv:1909.10155,
        for what noise adds; Broecker & Smith (2007), "Increasing the Reliability of
        Reliability Diagrams", for drawing outcomes; Cameron, Gelbach & Miller (2008)
        for the signs of groups; Chuang & Lai (2000), "Hybrid resampling methods for
        confidence intervals".

    Example:
        >>> found = calibration_error(np.array([0.75] * 4), np.arange(4) > 0)
        >>> found.estimate, found.low, found.p
        (0.0, 0.0, 1.0)
    """
    if not top.size or top.size != correct.size:
        raise ShapeError(
            f"There are {top.size} confidences and {correct.size} outcomes.",
            expected="One of each for every prediction, and at least one.",
        )
    codes = group_codes(groups, top.size)
    bins = confidence_bins(top, n_bins)
    gaps = np.zeros((int(codes.max()) + 1, n_bins))
    np.add.at(gaps, (codes, bins), top - correct)
    found = float(np.abs(gaps.sum(0)).sum() / top.size)
    rng = np.random.default_rng(seed)
    if groups is None:
        null = _calibrated_outcomes(np.asarray(top, np.float64), bins, resamples, rng)
    else:
        signs = rng.choice(np.array([-1.0, 1.0]), size=(resamples, len(gaps)))
        null = np.abs(signs @ gaps).sum(1) / top.size
    reached = (null >= found - ROUNDING).sum()
    low, high, debiased = _inverted(gaps, codes, bins, found, resamples, rng)
    return CalibrationError(
        estimate=found,
        low=low,
        high=high,
        debiased=debiased,
        consistent=float(np.quantile(null, LEVEL)),
        p=float((1 + reached) / (1 + resamples)),
    )


def confidence_bins(
    top: Float[np.ndarray, " token"], n_bins: int
) -> Int[np.ndarray, " token"]:
    """The bin of each probability, of bins of equal width; 1 belongs to the last.

    Args:
        top: The probabilities.
        n_bins: How many bins.

    Example:
        >>> confidence_bins(np.array([0.0, 0.5, 1.0]), 2).tolist()
        [0, 1, 1]
    """
    return np.clip((np.asarray(top, np.float64) * n_bins).astype(int), 0, n_bins - 1)


def consistency_band(
    n: Int[np.ndarray, " bin"],
    confidence: Float[np.ndarray, " bin"],
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Float[np.ndarray, "end bin"]:
    """Between which shares the accuracy of each bin of calibrated predictions lies.

    Every prediction counts as independent, so that bins of texts that hang together
    leave the band more often. NaN for empty bins.

    Args:
        n: How many predictions each bin holds.
        confidence: Their mean probability.
        draws: How often outcomes are drawn.
        seed: Feeds the draws.
        level: How many of a bin's draws the band holds.

    Source:
        Broecker & Smith (2007), "Increasing the Reliability of Reliability Diagrams".

    Example:
        >>> consistency_band(np.array([100]), np.array([0.5])).round(1).ravel().tolist()
        [0.4, 0.6]
    """
    chance = np.nan_to_num(np.asarray(confidence, np.float64)).clip(0, 1)
    drawn = np.random.default_rng(seed).binomial(n, chance, size=(draws, n.size))
    share = drawn / np.maximum(n, 1)
    band = np.quantile(share, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.where(n > 0, band, np.nan)


def _calibrated_outcomes(
    top: np.ndarray, bins: np.ndarray, resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, " resample"]:
    """The error when every prediction is right as often as it says."""
    found = np.empty(resamples)
    for at in range(resamples):
        gaps = np.bincount(bins, top - (rng.random(top.size) < top))
        found[at] = np.abs(gaps).sum() / top.size
    return found


def _inverted(
    gaps: Float[np.ndarray, "group bin"],
    codes: Int[np.ndarray, " token"],
    bins: Int[np.ndarray, " token"],
    found: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Bounds of the true error, and the one whose median is what was found."""
    groups = effective_groups(codes, codes.size)
    if groups <= 1:
        return np.nan, np.nan, np.nan
    n_groups, sizes = len(gaps), np.bincount(codes)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples)
    total = gaps.sum(0) / codes.size
    noise = (drawn @ gaps) / (drawn @ sizes)[:, None] - total
    noise -= noise.mean(0)
    # Bins in which all texts agree can be moved as well.
    variance = np.maximum(noise.var(0), ROUNDING**2)
    wide = noise * float(widening(groups))
    most = found + float(np.quantile(np.abs(wide).sum(1), 0.99))
    errors = np.linspace(0, min(1.0, most), STEPS + 1)
    share = np.bincount(bins, minlength=gaps.shape[1]) / codes.size
    nearest = _nearest(total, variance, errors)
    shapes = (nearest, errors[:, None] * share, -errors[:, None] * share)
    bounds = np.stack([_percentiles(wide, shape) for shape in shapes])
    not_above = np.flatnonzero((found <= bounds[:, :, 2] + ROUNDING).any(0))
    not_below = np.flatnonzero((found >= bounds[:, :, 0] - ROUNDING).any(0))
    # Rounded outwards, unless 0 itself would do.
    low = errors[max(not_above[0] - 1, 0)] if not_above.size else errors[-1]
    high = errors[min(not_below[-1] + 1, STEPS)] if not_below.size else errors[1]
    middle = np.maximum.accumulate(_percentiles(noise, nearest)[:, 1])
    debiased = 0.0 if found <= middle[0] else float(np.interp(found, middle, errors))
    # Where texts hang together noise may take off more than it adds.
    debiased = float(np.clip(debiased, low, min(high, found)))
    return float(low), float(high), debiased


def _percentiles(
    noise: Float[np.ndarray, "resample bin"], gaps: Float[np.ndarray, "error bin"]
) -> Float[np.ndarray, "error three"]:
    """Percentiles of the error that is found where the true gaps are these."""
    sums = np.zeros((len(gaps), len(noise)))
    for of_bin, moved in zip(noise.T, gaps.T, strict=True):
        sums += np.abs(moved[:, None] + of_bin)
    tails = [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]
    return np.quantile(sums, tails, axis=1).T


def _nearest(
    gaps: Float[np.ndarray, " bin"],
    variance: Float[np.ndarray, " bin"],
    errors: Float[np.ndarray, " error"],
) -> Float[np.ndarray, "error bin"]:
    """The gaps of each total size that are the fewest standard errors from those found.

    All of them move towards zero, or away from it, in proportion to their variance.
    """
    sizes = np.abs(gaps)
    more = (errors - sizes.sum()) / variance.sum()
    # Further away all bins move alike; towards zero they stop there one by one.
    none, most = np.minimum(-more, 0.0), np.maximum(-more, (sizes / variance).max())
    for _ in range(HALVINGS):
        middle = (none + most) / 2
        left = np.maximum(sizes - middle[:, None] * variance, 0.0).sum(1)
        none = np.where(left > errors, middle, none)
        most = np.where(left > errors, most, middle)
    moved = np.maximum(sizes - most[:, None] * variance, 0.0)
    return np.where(gaps < 0, -1.0, 1.0) * moved
