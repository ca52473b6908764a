"""Difference-in-means readouts of two models, at every layer and across models."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.data.splits import Splits
from interp.statistics import auroc
from probes.calibration import calibrated
from probes.linear import task


Rows = Float[Tensor, "example layer d_model"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readout:
    """Directions of one model at every layer, with its training means.

    Attributes:
        direction: Mean of the true minus mean of the false training rows.
        centre: Mean of the training rows.
    """

    direction: Float[Tensor, "layer d_model"]
    centre: Float[Tensor, "layer d_model"]


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


def cut(
    scores: Float[np.ndarray, "*batch example"], labels: Bool[np.ndarray, " example"]
) -> Float[np.ndarray, "*batch"]:
    """Where a score begins to count as true, by a logistic regression on the score.

    The score keeps its orientation: one that is lower for true statements gets most of
    them wrong.

    Args:
        scores: Of the training statements.
        labels: Which of them are true.

    Example:
        >>> float(cut(np.array([0.0, 2.0]), np.array([False, True])))
        1.0
    """
    flat = torch.from_numpy(scores.reshape(-1, labels.size)).double()[..., None]
    given = task(flat, torch.from_numpy(labels))
    along = torch.ones(len(flat), 1, 1, dtype=torch.float64)
    found = calibrated(given, along)
    edge = -found.intercept / found.weights[..., 0]
    return edge.numpy().reshape(scores.shape[:-1])


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


def all_cosines(
    directions: Sequence[Float[Tensor, "layer d_model"]],
) -> Float[np.ndarray, "model model layer layer"]:
    """The cosine of every layer's direction of every model with every other.

    Example:
        >>> found = all_cosines([torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 1.0]])])
        >>> found[0, 1].round(3).tolist()
        [[1.0, 0.707], [0.0, 0.707]]
    """
    unit = torch.nn.functional.normalize(torch.stack([*directions]).double(), dim=-1)
    return torch.einsum("ild,jmd->ijlm", unit, unit).clamp(-1, 1).numpy()


def split_rows(
    rows: Float[Tensor, "example layer d_model"], splits: Splits
) -> tuple[Tensor, Tensor, Tensor]:
    """The training, validation and test rows."""
    parts = (splits.train, splits.val, splits.test)
    train, val, test = (rows[torch.from_numpy(part)] for part in parts)
    return train, val, test


def centred(
    rows: Float[Tensor, "example layer d_model"],
    splits: Splits,
    sources: Sequence[str],
) -> Float[Tensor, "example layer d_model"]:
    """The rows of each data set and split, moved to their own mean.

    Args:
        rows: Activations.
        splits: Which are for training, validation and test.
        sources: The data set of each.
    """
    moved = torch.empty_like(rows)
    names = np.asarray(sources)
    for part in (splits.train, splits.val, splits.test):
        for name in np.unique(names[part]):
            at = torch.from_numpy(part[names[part] == name])
            moved[at] = rows[at] - rows[at].mean(0)
    return moved


def shuffled_direction(
    rows: Float[Tensor, "example d_model"],
    labels: Bool[np.ndarray, " example"],
    *,
    seed: int,
) -> Float[Tensor, " d_model"]:
    """A difference of means of one layer with labels that mean nothing."""
    shuffled = np.random.default_rng(seed).permutation(labels)
    return fit(rows[:, None], shuffled).direction[0]
