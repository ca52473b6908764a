"""Calibration errors and ratios of means, with intervals from resampling whole texts.

Knows neither torch nor models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from interp.errors import ShapeError
from interp.statistics import Interval


# Equal widths, as calibration errors of language models are usually reported.
N_BINS = 15
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bins:
    """Predictions sorted into bins by how sure they are.

    Attributes:
        n: How many predictions.
        confidence: Their mean probability of the likeliest token; NaN in empty bins.
        accuracy: How many are right, as a share; NaN in empty bins.
    """

    n: Int32[np.ndarray, " bin"]
    confidence: Float32[np.ndarray, " bin"]
    accuracy: Float32[np.ndarray, " bin"]


def reliability(
    top: Float[np.ndarray, " token"],
    correct: Bool[np.ndarray, " token"],
    *,
    n_bins: int = N_BINS,
) -> Bins:
    """Confidence and accuracy of predictions in bins of equal width.

    Args:
        top: The probability of the likeliest token.
        correct: Whether it is the right one.
        n_bins: How many bins between 0 and 1.

    Example:
        >>> bins = reliability(np.array([0.1, 0.9, 0.95]), np.array([1, 1, 0]) > 0,
        ...                    n_bins=2)
        >>> bins.n.tolist(), bins.accuracy.tolist()
        ([1, 2], [1.0, 0.5])
    """
    sums = _binned(top, correct, np.zeros(top.size, int), n_bins)[0]
    share = np.full((2, n_bins), np.nan)
    np.divide(sums[1:], sums[0], out=share, where=sums[0] > 0)
    return Bins(
        n=sums[0].astype(np.int32),
        confidence=share[0].astype(np.float32),
        accuracy=share[1].astype(np.float32),
    )


def calibration_error(
    top: Float[np.ndarray, " token"],
    correct: Bool[np.ndarray, " token"],
    *,
    groups: Sequence[object] | Int[np.ndarray, " token"] | None = None,
    n_bins: int = N_BINS,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Expected calibration error with an interval from resampling whole texts.

    The mean distance between confidence and accuracy of bins of equal width, weighted
    by how many predictions they hold. It cannot be below zero, so that a perfectly
    calibrated model has a small positive one. Drawing texts anew adds as much again,
    which the basic bootstrap interval takes off: it may lie below the value, and begins
    at zero for a model that may well be calibrated.

    Args:
        top: The probability of the likeliest token.
        correct: Whether it is the right one.
        groups: The text of each prediction.
        n_bins: How many bins.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.

    Source:
        Guo et al. (2017), arXiv:1706.04599.

    Example:
        >>> float(calibration_error(np.array([0.75] * 4), np.arange(4) > 0).estimate)
        0.0
    """
    labels = np.arange(top.size) if groups is None else np.asarray(groups)
    codes = np.unique(labels, return_inverse=True)[1]
    sums = _binned(top, correct, codes, n_bins)
    drawn = _drawn(len(sums), resamples, seed)
    draws = _error(np.einsum("rg,gsb->rsb", drawn, sums, optimize=True))
    error = _error(sums.sum(0)[None])[0]
    mirrored = np.clip(2 * error - draws, 0.0, 1.0)
    return _interval(error, mirrored)


def ratio_interval(
    part: Float[np.ndarray, " token"],
    whole: Float[np.ndarray, " same_token"],
    *,
    groups: Sequence[object] | Int[np.ndarray, " group_of_token"],
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The ratio of two means with an interval from resampling whole texts.

    Where the mean of `whole` may be zero the interval is wide or infinite, as it
    should be.

    Args:
        part: What is above the line, for each prediction.
        whole: What is below it.
        groups: The text of each prediction.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.

    Raises:
        ShapeError: If the lengths disagree.

    Example:
        >>> ratio = ratio_interval(np.ones(4), np.full(4, 2.0), groups=np.arange(4))
        >>> float(ratio.estimate), float(ratio.low)
        (0.5, 0.5)
    """
    labels = np.asarray(groups)
    if not part.size == whole.size == labels.size:
        raise ShapeError(
            f"There are {part.size}, {whole.size} and {labels.size} values.",
            expected="One of each for every prediction.",
        )
    codes = np.unique(labels, return_inverse=True)[1]
    sums = np.stack(
        [
            np.bincount(codes, np.asarray(part, np.float64)),
            np.bincount(codes, np.asarray(whole, np.float64)),
        ]
    )
    drawn = _drawn(sums.shape[1], resamples, seed)
    draws = _divided(drawn @ sums[0], drawn @ sums[1])
    return _interval(_divided(sums[0].sum(), sums[1].sum()), draws)


def _binned(
    top: np.ndarray, correct: np.ndarray, codes: np.ndarray, n_bins: int
) -> Float[np.ndarray, "group sum bin"]:
    """Count, summed confidence and number right, by group and bin."""
    bins = np.clip((np.asarray(top, np.float64) * n_bins).astype(int), 0, n_bins - 1)
    sums = np.zeros((int(codes.max()) + 1, 3, n_bins))
    for row, values in enumerate((np.ones(top.size), top, correct)):
        np.add.at(sums[:, row], (codes, bins), values)
    return sums


def _error(sums: Float[np.ndarray, "draw sum bin"]) -> Float[np.ndarray, " draw"]:
    gaps = np.abs(sums[:, 1] - sums[:, 2]).sum(axis=-1)
    return gaps / sums[:, 0].sum(axis=-1)


def _drawn(n_groups: int, resamples: int, seed: int) -> Int[np.ndarray, "draw group"]:
    """How often each text is in each resample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples)


def _divided(
    part: np.ndarray | np.floating, whole: np.ndarray | np.floating
) -> np.ndarray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def _interval(estimate: np.ndarray | np.floating, draws: np.ndarray) -> Interval:
    usable = draws[np.isfinite(draws)]
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(usable, tails) if usable.size else (np.nan, np.nan)
    return Interval(
        estimate=np.asarray(estimate), low=np.asarray(low), high=np.asarray(high)
    )
