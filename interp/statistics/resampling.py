"""Resamples of whole groups, and what an AUROC is in each."""

from collections.abc import Iterator, Sequence

import numpy as np

from interp.statistics.groups import group_codes


# Bounds the memory of one block of resamples: a few arrays of this many numbers.
ITEMS_PER_BLOCK = 2_000_000
# Up to here comparing all pairs by a matrix product beats sorting and summing.
MAX_PAIRS = 4_000_000


def weight_blocks(
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


def bootstrap_aurocs(
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
    for weights in weight_blocks(groups, labels.size, resamples, seed):
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
