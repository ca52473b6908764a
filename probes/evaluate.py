"""How good held-out logits are: AUROC of many labellings, accuracy, calibration."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from interp.errors import ShapeError
from interp.statistics import average_ranks


ECE_BINS = 10

Logits = Float[np.ndarray, "*batch example"]
Labels = Bool[np.ndarray, " example"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quality:
    """Accuracy and calibration of logits, one value per leading index."""

    accuracy: Float[np.ndarray, "*batch"]
    brier: Float[np.ndarray, "*batch"]
    ece: Float[np.ndarray, "*batch"]


def quality(logits: Logits, labels: Labels) -> Quality:
    """Accuracy, Brier score and expected calibration error of logits.

    Args:
        logits: Above zero says positive; the sigmoid is the probability.
        labels: Which examples are positive.

    Raises:
        ShapeError: If the lengths disagree.

    Source:
        Brier (1950); Naeini et al. (2015), with ten bins of equal width.

    Example:
        >>> found = quality(np.array([3.0, -1.0]), np.array([True, True]))
        >>> float(found.accuracy)
        0.5
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.shape[-1:] != labels.shape:
        raise ShapeError(
            f"Logits of shape {list(logits.shape)} do not fit {labels.size} labels."
        )
    probability = expit(logits)
    return Quality(
        accuracy=np.asarray(((logits > 0) == labels).mean(-1)),
        brier=np.asarray(np.square(probability - labels).mean(-1)),
        ece=_calibration_error(probability, labels),
    )


def aurocs(
    scores: Logits, labels: Bool[np.ndarray, "*batch example"]
) -> Float[np.ndarray, "*batch"]:
    """AUROC of each row of scores under its own row of labels; ties count half.

    A row whose labels are all alike has 0.5: nothing can be told apart.

    Example:
        >>> aurocs(np.array([[1.0, 2], [1, 2]]), np.array([[False, True]] * 2)).tolist()
        [1.0, 1.0]
    """
    ranks = average_ranks(np.asarray(scores))
    positives = labels.sum(-1)
    pairs = positives * (labels.shape[-1] - positives)
    wins = (ranks * labels).sum(-1) - positives * (positives + 1) / 2
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)


def held_out(
    logits: Float[np.ndarray, "*batch fold example"],
    folds: Int[np.ndarray, " example"],
) -> Logits:
    """The logit of each example by the fit that did not use its fold.

    Args:
        logits: Of every fit for every example, fits in the order of the folds.
        folds: The fold of each example, counted from 0.

    Example:
        >>> held_out(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0])).tolist()
        [3.0, 2.0]
    """
    return logits[..., folds, np.arange(folds.size)]


def _calibration_error(
    probability: Float[np.ndarray, "*batch example"], labels: Labels
) -> Float[np.ndarray, "*batch"]:
    bins = np.minimum((probability * ECE_BINS).astype(int), ECE_BINS - 1)
    error = np.zeros(probability.shape[:-1])
    for number in range(ECE_BINS):
        inside = bins == number
        error += np.abs(((probability - labels) * inside).sum(-1))
    return np.asarray(error / labels.size)
