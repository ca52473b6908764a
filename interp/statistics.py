"""Statistics of readouts, in NumPy: AUROC, intervals by cluster bootstrap, p-values.

Everything is vectorised over leading axes (layers, models, conditions) and every
interval of one call uses the same resamples, so that differences between layers or
models are paired. Knows no torch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.errors import DataError, EmptyClassError, ShapeError


# Bounds the memory of one block of resamples: a few arrays of this many numbers.
ITEMS_PER_BLOCK = 2_000_000
# Up to here comparing all pairs by a matrix product beats sorting and summing.
MAX_PAIRS = 4_000_000
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


def auroc(
    scores: Float[np.ndarray, "*batch example"], labels: Bool[np.ndarray, " example"]
) -> Float[np.ndarray, "*batch"]:
    """The probability that a positive example scores above a negative one.

    Ties count half, so a constant score has 0.5. A NaN among the scores gives NaN.

    Args:
        scores: The last axis runs over examples; leading axes are independent.
        labels: Which examples are positive.

    Raises:
        EmptyClassError: If a class has no example.
        ShapeError: If scores and labels disagree in length.

    Source:
        Mann & Whitney (1947); Fawcett (2006), section 7.

    Example:
        >>> float(auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]) > 0))
        0.75
    """
    scores, labels = _checked(scores, labels)
    positives = int(labels.sum())
    negatives = labels.size - positives
    ranks = average_ranks(scores)
    wins = ranks[..., labels].sum(axis=-1) - positives * (positives + 1) / 2
    return np.asarray(wins / (positives * negatives))


def auroc_interval(
    scores: Float[np.ndarray, "*batch example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """AUROC with a percentile interval from resampling whole groups of examples.

    Examples of one group (one city, one person) are not independent: they are drawn or
    left out together. Over fewer than 20 groups the interval is too narrow.

    Args:
        scores: The last axis runs over examples.
        labels: Which examples are positive.
        groups: The group of each example.
        resamples: How many bootstrap samples.
        seed: Two calls with one seed and the same groups draw the same samples.
        level: Coverage of the interval.

    Raises:
        EmptyClassError: If a class has no example.
        ShapeError: If scores, labels and groups disagree in length.

    Source:
        Field & Welsh (2007), "Bootstrapping clustered data".

    Example:
        >>> result = auroc_interval(np.arange(6.0), np.arange(6) > 2)
        >>> float(result.estimate), float(result.low)
        (1.0, 1.0)
    """
    scores, labels = _checked(scores, labels)
    draws = _bootstrap_aurocs(scores, labels, groups, resamples, seed)
    return _interval(auroc(scores, labels), draws, level)


def auroc_difference(
    scores_a: Float[np.ndarray, "*batch example"],
    scores_b: Float[np.ndarray, "*batch example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """AUROC of `a` minus AUROC of `b` on the same examples, by a paired bootstrap.

    Args:
        scores_a: Scores of the first readout or model.
        scores_b: Scores of the second one, for the same examples.
        labels: Which examples are positive.
        groups: The group of each example, resampled whole.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.
        level: Coverage of the interval.

    Raises:
        EmptyClassError: If a class has no example.
        ShapeError: If the lengths disagree.

    Example:
        >>> a, b = np.array([0.0, 1, 2, 3]), np.array([0.0, 2, 1, 3])
        >>> labels = np.array([False, False, True, True])
        >>> float(auroc_difference(a, b, labels).estimate)
        0.25
    """
    scores_a, labels = _checked(scores_a, labels)
    scores_b, labels = _checked(scores_b, labels)
    draws = _bootstrap_aurocs(scores_a, labels, groups, resamples, seed)
    draws = draws - _bootstrap_aurocs(scores_b, labels, groups, resamples, seed)
    return _interval(auroc(scores_a, labels) - auroc(scores_b, labels), draws, level)


def mean_interval(
    values: Float[np.ndarray, "*batch example"] | Bool[np.ndarray, "*batch example"],
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The mean over examples with a percentile interval from resampling whole groups.

    Give correctness as values for the interval of an accuracy, and a difference of two
    columns for a paired difference of means.

    Args:
        values: The last axis runs over examples.
        groups: The group of each example, resampled whole.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.
        level: Coverage of the interval.

    Raises:
        ShapeError: If there is no example, or the groups have another length.

    Example:
        >>> float(mean_interval(np.array([0.0, 1.0, 1.0, 0.0])).estimate)
        0.5
    """
    table = np.asarray(values, dtype=np.float64)
    if not table.shape or table.shape[-1] == 0:
        raise ShapeError("There is no value to average.", expected="At least one.")
    draws = np.concatenate(
        [
            (table @ weights.T) / weights.sum(axis=1)
            for weights in _weight_blocks(groups, table.shape[-1], resamples, seed)
        ],
        axis=-1,
    )
    return _interval(table.mean(axis=-1), draws, level)


def wilson(successes: int, n: int, *, level: float = LEVEL) -> Proportion:
    """A proportion with its Wilson score interval, sound also at 0 and at `n`.

    Args:
        successes: How many of the `n` happened.
        n: How many trials; 0 gives a NaN rate within [0, 1].
        level: Coverage of the interval.

    Raises:
        ShapeError: If `successes` is not between 0 and `n`.

    Source:
        Wilson (1927), "Probable inference".

    Example:
        >>> result = wilson(0, 10)
        >>> result.rate, round(result.high, 3)
        (0.0, 0.278)
    """
    if not 0 <= successes <= n:
        raise ShapeError(f"{successes} of {n} is not a proportion.")
    if n == 0:
        return Proportion(n=0, successes=0, rate=math.nan, low=0.0, high=1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the ends one bound is exact; the formula leaves a rounding error there.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Proportion(n=n, successes=successes, rate=rate, low=low, high=high)


def group_codes(
    groups: Sequence[object] | np.ndarray | None, n: int
) -> Int[np.ndarray, " example"]:
    """Groups as numbers from 0; every example its own without groups.

    Args:
        groups: The group of each example; those that are spelled alike are one.
        n: How many examples there are.

    Raises:
        ShapeError: If there is not one group for each example.
        DataError: If a group is missing: None, NaN or the like.

    Example:
        >>> group_codes(["b", "a", "b"], 3).tolist()
        [1, 0, 1]
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ShapeError(
            f"There are {len(groups)} groups for {n} examples.",
            expected="One group for each example.",
        )
    # Before anything is spelled: "nan" and "None" would be groups like any other.
    missing = [(at, group) for at, group in enumerate(groups) if _is_missing(group)]
    if missing:
        at, group = missing[0]
        raise DataError(
            f"{len(missing)} of {n} examples have no group: that of example {at} is "
            f"{group}.",
            expected="A group for each example: those without would count as one.",
            remedy="Leave these examples out, or give each a group of its own.",
        )
    # One at a time: NumPy would make columns of pairs, such as a city and a template.
    return np.unique([str(group) for group in groups], return_inverse=True)[1]


def average_ranks(
    scores: Float[np.ndarray, "*batch example"],
) -> Float[np.ndarray, "*batch example"]:
    """The rank of each score in its row, from 1; equal scores share their mean rank.

    To import `scipy.stats` for it takes longer than to open a folder of results.

    Args:
        scores: The last axis is ranked; a row that holds a NaN becomes NaN.

    Example:
        >>> average_ranks(np.array([0.5, 2.0, 0.5])).tolist()
        [1.5, 3.0, 1.5]
    """
    order = np.argsort(scores, axis=-1, kind="stable")
    ascending = np.take_along_axis(scores, order, axis=-1)
    begins, ends = (np.ones(scores.shape, dtype=bool) for _ in range(2))
    begins[..., 1:] = ends[..., :-1] = ascending[..., 1:] != ascending[..., :-1]
    n, place = scores.shape[-1], np.arange(scores.shape[-1])
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=-1)
    last = np.minimum.accumulate(np.where(ends, place, n)[..., ::-1], axis=-1)
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, (first + last[..., ::-1]) / 2 + 1, axis=-1)
    ranks[np.isnan(scores).any(axis=-1)] = np.nan
    return ranks


def _checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if labels.dtype != np.bool_:
        raise ShapeError(
            f"Labels have the type {labels.dtype}.",
            expected="Truth values are needed.",
            remedy="Pass labels.astype(bool).",
        )
    if labels.ndim != 1 or not scores.shape or scores.shape[-1] != labels.size:
        raise ShapeError(
            f"Scores of shape {scores.shape} do not fit {labels.shape} labels.",
            expected="The last axis of the scores runs over the labelled examples.",
        )
    if not labels.any() or labels.all():
        missing = "positive" if not labels.any() else "negative"
        raise EmptyClassError(
            f"None of the {labels.size} examples is {missing}.",
            expected="An AUROC compares two classes.",
        )
    return scores, labels


def _is_missing(group: object) -> bool:
    """Whether this stands for no value: of all libraries, without importing them."""
    same = group is not None and group == group
    # NaN and NaT differ from themselves; pandas' NA answers every question with itself.
    return not same if isinstance(same, bool | np.bool_) else same is group


def _weight_blocks(
    groups: Sequence[object] | np.ndarray | None, n: int, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """How often each example is drawn, as blocks of [resample, example]."""
    codes = group_codes(groups, n)
    n_groups = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    block = max(1, ITEMS_PER_BLOCK // n)
    chances = np.full(n_groups, 1 / n_groups)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        # float32, which is what the matrix product of `_weighted_auroc` wants.
        drawn = rng.multinomial(n_groups, chances, size=size)
        yield drawn.astype(np.float32)[:, codes]


def _bootstrap_aurocs(
    scores: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[object] | np.ndarray | None,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """AUROC of every resample, [*batch, resample]; NaN where a class was not drawn."""
    flat = scores.reshape(-1, scores.shape[-1])
    result = np.empty((len(flat), resamples))
    start = 0
    for weights in _weight_blocks(groups, labels.size, resamples, seed):
        stop = start + len(weights)
        for row, values in enumerate(flat):
            result[row, start:stop] = _weighted_auroc(values, labels, weights)
        start = stop
    return result.reshape(*scores.shape[:-1], resamples)


def _weighted_auroc(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """AUROC of one readout under many example weights, [resample]."""
    positive, negative = weights[:, labels], weights[:, ~labels]
    pairs = positive.sum(axis=1, dtype=np.float64) * negative.sum(axis=1)
    if not np.isfinite(scores).all():
        return np.full(len(weights), np.nan)
    if labels.sum() * (~labels).sum() <= MAX_PAIRS:
        above = np.sign(scores[labels][:, None] - scores[~labels][None, :])
        # Sums of whole numbers: float32 is exact up to 2**24, and close beyond.
        kernel = ((above + 1) / 2).astype(np.float32)
        wins = np.einsum("rn,rn->r", positive @ kernel, negative, dtype=np.float64)
    else:
        wins = _wins_by_rank(scores, labels, weights)
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _wins_by_rank(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Weighted pairs in which the positive example is above, ties half, [resample]."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn = weights[:, order].astype(np.float64)
    positive = np.add.reduceat(drawn * labels[order], starts, axis=1)
    negative = np.add.reduceat(drawn * ~labels[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    return (positive * (below + negative / 2)).sum(axis=1)


def _interval(
    estimate: np.ndarray | np.floating, draws: np.ndarray, level: float
) -> Interval:
    usable = np.asarray(np.isfinite(draws).any(axis=-1))
    tails = ((1 - level) / 2, (1 + level) / 2)
    bounds = np.nanquantile(np.where(usable[..., None], draws, 0.0), tails, axis=-1)
    low, high = np.where(usable, bounds, np.nan)
    return Interval(
        estimate=np.asarray(estimate), low=np.asarray(low), high=np.asarray(high)
    )
