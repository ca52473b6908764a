"""Difference-in-means readouts of two models, at every layer and across models."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.data.splits import Splits
from interp.statistics import auroc


Rows = Float[Tensor, "example layer d_model"]
PERMUTATIONS_AT_ONCE = 64
BAND = (0.025, 0.975)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readout:
    """Directions of one model at every layer, with its training means.

    Attributes:
        direction: Mean of the true minus mean of the false training rows.
        centre: Mean of the training rows.
    """

    direction: Float[Tensor, "layer d_model"]
    centre: Float[Tensor, "layer d_model"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Null:
    """The band of cosines that directions from shuffled labels have."""

    low: Float[np.ndarray, " layer"]
    high: Float[np.ndarray, " layer"]
    p: Float[np.ndarray, " layer"]


def fit(rows: Rows, labels: Bool[np.ndarray, " example"]) -> Readout:
    """The difference-in-means direction of every layer.

    Args:
        rows: Activations of the training examples.
        labels: Which of them are true.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824 ("mass-mean").

    Example:
        >>> rows = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]])
        >>> fit(rows, np.array([False, True])).direction.tolist()
        [[2.0, 0.0]]
    """
    is_true = torch.from_numpy(np.asarray(labels))
    rows = rows.float()
    return Readout(
        direction=rows[is_true].mean(0) - rows[~is_true].mean(0), centre=rows.mean(0)
    )


def project(
    rows: Rows,
    direction: Float[Tensor, "layer d_model"],
    centre: Float[Tensor, "layer d_model"],
) -> Float[np.ndarray, "layer example"]:
    """How far each example lies along the unit direction of each layer."""
    unit = torch.nn.functional.normalize(direction, dim=-1)
    inside = torch.einsum("eld,ld->le", rows.float(), unit)
    return (inside - (centre * unit).sum(-1)[:, None]).numpy()


def threshold(
    scores: Float[np.ndarray, "*batch example"], labels: Bool[np.ndarray, " example"]
) -> Float[np.ndarray, "*batch"]:
    """The middle between the class means: where a score begins to count as true.

    With classes of equal size and spread this is the boundary of a logistic regression
    on the score.

    Example:
        >>> float(threshold(np.array([0.0, 2.0]), np.array([False, True])))
        1.0
    """
    means = [scores[..., labels == label].mean(axis=-1) for label in (True, False)]
    return np.asarray((means[0] + means[1]) / 2)


def separation(
    scores: Float[np.ndarray, "layer example"], labels: Bool[np.ndarray, " example"]
) -> Float[np.ndarray, " layer"]:
    """The distance of the class means in units of the spread within the classes.

    Example:
        >>> labels = np.array([False, False, True, True])
        >>> separation(np.array([[0.0, 2.0, 4.0, 6.0]]), labels).tolist()
        [4.0]
    """
    true, false = scores[:, labels], scores[:, ~labels]
    spread = np.sqrt((true.var(axis=1) + false.var(axis=1)) / 2)
    apart = true.mean(axis=1) - false.mean(axis=1)
    return np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0)


def best_layer(
    scores: Float[np.ndarray, "layer example"], labels: Bool[np.ndarray, " example"]
) -> int:
    """The layer with the best AUROC; of equal ones the one that separates further.

    Example:
        >>> labels = np.array([False, True])
        >>> best_layer(np.array([[1.0, 0.0], [0.0, 1.0]]), labels)
        1
    """
    ranks = np.lexsort((separation(scores, labels), auroc(scores, labels)))
    return int(ranks[-1])


def cosines(
    a: Float[Tensor, "*batch d_model"], b: Float[Tensor, "*batch d_model"]
) -> Float[np.ndarray, "*batch"]:
    """The cosine of the angle between directions, layer by layer."""
    # In double precision: the cosine of equal vectors must not exceed one.
    return torch.cosine_similarity(a.double(), b.double(), dim=-1).numpy()


def cosine_null(
    base: Rows,
    post: Rows,
    labels: Bool[np.ndarray, " example"],
    *,
    permutations: int,
    seed: int,
) -> Null:
    """Cosines of the two models' directions when labels mean nothing.

    Labels are shuffled alike for both models: two models that represent the same
    statements alike have a high cosine for any labels, and a cosine is worth what it
    has beyond that.

    Args:
        base: Training activations of one model.
        post: Training activations of the other one, of the same statements.
        labels: The labels to shuffle.
        permutations: How many times.
        seed: Feeds the shuffles.
    """
    observed = cosines(fit(base, labels).direction, fit(post, labels).direction)
    signs = _contrasts(labels, permutations, seed)
    found = np.concatenate(
        [
            cosines(_contrasted(part, base), _contrasted(part, post))
            for part in signs.split(PERMUTATIONS_AT_ONCE)
        ]
    )
    low, high = np.quantile(found, BAND, axis=0)
    reached = (found >= observed).sum(axis=0)
    return Null(low=low, high=high, p=(1 + reached) / (1 + permutations))


def split_rows(
    rows: Float[Tensor, "example layer d_model"], splits: Splits
) -> tuple[Tensor, Tensor, Tensor]:
    """The training, validation and test rows."""
    parts = (splits.train, splits.val, splits.test)
    train, val, test = (rows[torch.from_numpy(part)] for part in parts)
    return train, val, test


def _contrasts(
    labels: Bool[np.ndarray, " example"], permutations: int, seed: int
) -> Float[Tensor, "permutation example"]:
    """Weights that give a difference of means, for shuffled labels."""
    weights = np.where(labels, 1 / labels.sum(), -1 / (~labels).sum())
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(weights, (permutations, 1)), axis=1)
    return torch.from_numpy(shuffled.astype(np.float32))


def _contrasted(
    weights: Float[Tensor, "permutation example"], rows: Rows
) -> Float[Tensor, "permutation layer d_model"]:
    flat = rows.float().flatten(1)
    return (weights @ flat).unflatten(1, rows.shape[1:])


def shuffled_direction(
    rows: Float[Tensor, "example d_model"],
    labels: Bool[np.ndarray, " example"],
    *,
    seed: int,
) -> Float[Tensor, " d_model"]:
    """A difference of means of one layer with labels that mean nothing."""
    return (_contrasts(labels, 1, seed) @ rows.float())[0]
