"""P-values of probes from refits on shuffled labels.

Shuffling the labels under fixed held-out scores would ignore that the scores came from
those labels. Here every shuffle is fitted again, all of them in one product, and the
statistic of the observed labels is one more row of the same computation: that makes the
p-value exact whatever the folds are.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.directions.shuffling import dealt_labels, exchangeable
from interp.errors import ConfigError
from interp.statistics import average_ranks
from probes.evaluate import aurocs, held_out
from probes.folds import Groups, group_codes
from probes.linear import Fit
from probes.p_values import TIE


# Bounds the memory of one product: shuffles times folds times examples.
VALUES_AT_ONCE = 20_000_000
# With more of the shuffles than this alike, they test nothing.
MOST_ALIKE = 0.5


def shuffles(
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    folds: Int[np.ndarray, " example"] | None = None,
    count: int,
    seed: int = 0,
) -> Bool[np.ndarray, "shuffle example"]:
    """Labels in other orders that are as likely if labels do not matter.

    Examples of a group depend on each other. So groups of one size exchange their
    labels as a whole, and labels are shuffled within each group; a group with one label
    keeps having one. Folds that were balanced by label stay so: nothing crosses them.

    Args:
        labels: The observed labels.
        groups: The group of each example.
        folds: The fold of each example; no group may be in two.
        count: How many shuffles.
        seed: Feeds them.

    Raises:
        ConfigError: If no shuffle is asked for.
        ShapeError: If groups and labels disagree in length.

    Source:
        Winkler et al. (2015), "Multi-level block permutation".

    Example:
        >>> shuffles(np.array([True, False, False]), count=5).sum(axis=1).tolist()
        [1, 1, 1, 1, 1]
    """
    if count < 1:
        raise ConfigError(f"{count} shuffles were asked for.", expected="1 or more.")
    labels = np.asarray(labels, dtype=bool)
    members = exchangeable(group_codes(groups, labels.size), folds=folds)
    return dealt_labels(labels, members, count=count, seed=seed)


def held_out_p(
    scores: Float[np.ndarray, "*batch example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Float[np.ndarray, "*batch"]:
    """How often shuffled labels give scores of held-out examples as high an AUROC.

    The scores stay as they are: they are of examples that no fit has seen. Labels are
    shuffled as in `shuffles`, since examples of a group depend on each other. NaN where
    groups of one label and of different sizes have nothing to exchange.

    Args:
        scores: The last axis runs over examples.
        labels: Which examples are positive.
        groups: The group of each example.
        permutations: How many shuffles.
        seed: Feeds them.

    Raises:
        ShapeError: If groups and labels disagree in length.

    Source:
        Phipson & Smyth (2010); Winkler et al. (2015).

    Example:
        >>> labels = np.arange(20) > 9
        >>> float(held_out_p(np.arange(20.0), labels, permutations=99))
        0.01
    """
    orders = shuffles(labels, groups=groups, count=permutations, seed=seed)
    shape = scores.shape[:-1]
    if (orders == labels).all(1).mean() > MOST_ALIKE:
        return np.full(shape, np.nan)
    # With as many positives everywhere, AUROCs are in the order of their rank sums.
    ranks = average_ranks(np.asarray(scores, dtype=np.float64))
    observed = ranks @ labels.astype(np.float64)
    reached = (ranks @ orders.T.astype(np.float64) >= observed[..., None] - TIE).sum(-1)
    return np.asarray((1 + reached) / (1 + permutations))


def shuffled_aurocs(
    rows: Float[Tensor, "site example d_model"],
    labels: Bool[np.ndarray, "shuffle example"],
    folds: Int[np.ndarray, " example"],
    *,
    fit: Fit | None = None,
) -> Float[np.ndarray, "shuffle site"]:
    """Cross-validated AUROC under every row of labels.

    Args:
        rows: The activations.
        labels: Rows of labels.
        folds: The fold of each example, counted from 0.
        fit: What is fitted; by default the difference in means, whose scores are
            projections from the training mean.
    """
    n_folds = int(folds.max()) + 1
    at_once = max(1, VALUES_AT_ONCE // (labels.shape[1] * n_folds))
    masks = torch.from_numpy(folds != np.arange(n_folds)[:, None])
    parts = []
    for start in range(0, len(labels), at_once):
        block = labels[start : start + at_once]
        tensor = torch.from_numpy(block)
        if fit is None:
            found = [_mean_difference_scores(site, tensor, masks) for site in rows]
        else:
            found = [_fitted_scores(fit, site, tensor, masks) for site in rows]
        scores = np.stack([held_out(one, folds) for one in found], axis=1)
        parts.append(aurocs(scores, np.repeat(block[:, None], len(rows), axis=1)))
    return np.concatenate(parts)


def _mean_difference_scores(
    rows: Tensor, labels: Tensor, masks: Tensor
) -> Float[np.ndarray, "shuffle fold example"]:
    """Projections on each training difference of means, from the training mean."""
    rows = rows if rows.dtype == torch.float64 else rows.float()
    rows = rows - rows.mean(0)
    labels, masks = labels.to(rows.device), masks.to(rows.device)
    positive = (labels[:, None] & masks).to(rows.dtype)
    negative = (~labels[:, None] & masks).to(rows.dtype)
    # A training fold without one class has no direction: its scores are all 0.
    contrast = positive / positive.sum(-1, keepdim=True).clamp_min(1)
    contrast = contrast - negative / negative.sum(-1, keepdim=True).clamp_min(1)
    direction = torch.matmul(contrast.flatten(0, 1), rows)
    scores = torch.matmul(direction, rows.mT).unflatten(0, (len(labels), len(masks)))
    share = masks.to(rows.dtype) / masks.sum(-1, keepdim=True)
    centre = torch.einsum("pfe,fe->pf", scores, share)
    return (scores - centre[..., None]).cpu().numpy()


def _fitted_scores(
    fit: Fit, rows: Tensor, labels: Tensor, masks: Tensor
) -> Float[np.ndarray, "shuffle fold example"]:
    n_folds = len(masks)
    probe = fit(
        rows,
        labels.repeat_interleave(n_folds, 0),
        weights=masks.repeat(len(labels), 1).float(),
    )
    logits = probe.logits(rows).detach().cpu().numpy()
    return logits.reshape(len(labels), n_folds, -1)
