"""Reliability of confidences, and ratios of means with intervals over whole texts.

Knows neither torch nor models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from interp.errors import ShapeError
from interp.statistics import Interval, effective_groups, widened
from interp.statistics.calibration import N_BINS, confidence_bins


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
    bins = confidence_bins(top, n_bins)
    sums = np.stack(
        [
            np.bincount(bins, weights=values, minlength=n_bins)
            for values in (None, top, correct)
        ]
    )
    share = np.full((2, n_bins), np.nan)
    np.divide(sums[1:], sums[0], out=share, where=sums[0] > 0)
    return Bins(
        n=sums[0].astype(np.int32),
        confidence=share[0].astype(np.float32),
        accuracy=share[1].astype(np.float32),
    )


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
    should be. It is widened to what few texts ask for.

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
    return widened(
        _divided(sums[0].sum(), sums[1].sum()),
        draws,
        groups=effective_groups(codes, codes.size),
    )


def _drawn(n_groups: int, resamples: int, seed: int) -> Int[np.ndarray, "draw group"]:
    """How often each text is in each resample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples)


def _divided(
    part: np.ndarray | np.floating, whole: np.ndarray | np.floating
) -> np.ndarray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
