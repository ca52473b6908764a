"""AUROC and ranks."""

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import EmptyClassError, ShapeError


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
    scores, labels = checked(scores, labels)
    positives = int(labels.sum())
    negatives = labels.size - positives
    ranks = average_ranks(scores)
    wins = ranks[..., labels].sum(axis=-1) - positives * (positives + 1) / 2
    return np.asarray(wins / (positives * negatives))


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


def checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 and labels, if an AUROC can be taken of them."""
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
