"""Logistic probes whose penalty is chosen by cross-validation inside each fit."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import ConfigError
from probes.folds import Groups, assign_folds
from probes.linear import Labels, LinearProbe, Task, task
from probes.logistic import TOLERANCE
from probes.optimum import optimise


# In units of one over the mean squared norm of the training examples, so that a choice
# means the same at every layer.
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
FOLDS = 3


def fit_logistic_cv(
    activations: Float[Tensor, "*sites example d_model"],
    labels: Labels,
    *,
    weights: Float[Tensor, "fit example"] | None = None,
    groups: Groups | None = None,
    strengths: Sequence[float] = STRENGTHS,
    folds: int = FOLDS,
    seed: int = 0,
) -> LinearProbe:
    """Logistic probes with the penalty that predicts held-out groups best.

    Every site and fit chooses for itself, by the mean loss on examples that it uses and
    an inner fold holds out; all inner fits and penalties are solved together.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Which examples are positive, for all fits or one row for each.
        weights: What each example counts in each fit; folds are rows of 0 and 1.
        groups: The group of each example, never cut by an inner fold.
        strengths: Values of C to choose from, relative to one over the mean squared
            norm of the centred examples.
        folds: How many inner folds.
        seed: Feeds the inner folds.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If an inner fold lacks a label or there are too few groups.
        EmptyClassError: If a class has no example in one of the fits.
        ConfigError: If a strength is not positive.
    """
    if not strengths or min(strengths) <= 0:
        raise ConfigError(f"The strengths are {tuple(strengths)}.", expected="> 0.")
    given = task(activations, labels, weights)
    n_sites, n_fits = len(given.rows), len(given.labels)
    # [fit, inner fold; then the whole, example]
    masks = torch.stack(
        [
            _inner_masks(given.labels[f], given.weights[f], groups, folds, seed)
            for f in range(n_fits)
        ]
    ).to(given.weights)
    used = given.weights[:, None] * masks
    power = _power(given.rows, given.weights)
    c = torch.tensor(strengths).to(power) / power[..., None]
    costs = c[:, :, None, :, None] * used[None, :, :, None]
    signs = given.signs[:, None, None].expand(costs.shape[1:])
    flat = costs.flatten(1, 3)
    found = optimise(
        given.rows,
        signs.flatten(0, 2).expand(flat.shape),
        flat,
        tolerance=TOLERANCE,
    )
    shape = costs.shape[:-1]
    weights_found = found.weights.reshape(*shape, -1)
    intercept = found.intercept.reshape(shape)
    held_out = given.weights[:, None] * (1 - masks[:, :-1])
    best = _losses(given, weights_found, intercept, held_out).argmin(-1)
    chosen = (torch.arange(n_sites)[:, None], torch.arange(n_fits), -1, best.cpu())
    out = (*given.shape,)
    return LinearProbe(
        weights=weights_found[chosen].reshape(*out, -1),
        intercept=intercept[chosen].reshape(out),
        converged=found.converged.reshape(shape)[chosen].reshape(out),
        gap=found.gap.reshape(shape)[chosen].reshape(out),
    )


def _losses(
    given: Task,
    weights: Float[Tensor, "site fit inner strength d_model"],
    intercept: Float[Tensor, "site fit inner strength"],
    held_out: Float[Tensor, "fit fold example"],
) -> Float[Tensor, "site fit strength"]:
    """What each penalty loses on the examples that inner folds hold out."""
    losses = torch.zeros_like(intercept[:, :, 0]).to(given.rows)
    for inner in range(held_out.shape[1]):
        flat = weights[:, :, inner].flatten(1, 2)
        logits = torch.matmul(flat, given.rows.mT).unflatten(1, (len(held_out), -1))
        logits = logits + intercept[:, :, inner, :, None]
        loss = -torch.nn.functional.logsigmoid(given.signs[:, None] * logits)
        losses += (loss * held_out[:, inner, None]).sum(-1)
    return losses


def _inner_masks(
    labels: Tensor, weights: Tensor, groups: Groups | None, folds: int, seed: int
) -> Tensor:
    """Which examples each inner fit uses; the last row is the fit on everything."""
    used = (weights > 0).cpu().numpy()
    inner = np.full(used.size, -1)
    inner[used] = assign_folds(
        labels.cpu().numpy()[used],
        groups=None if groups is None else np.asarray(groups)[used],
        n_folds=folds,
        seed=seed,
    )
    masks = [inner != fold for fold in range(folds)]
    return torch.from_numpy(np.stack([*masks, np.ones_like(used)]))


def _power(rows: Tensor, weights: Tensor) -> Float[Tensor, "site fit"]:
    """The mean squared norm of the examples of each fit around their mean."""
    share = weights / weights.sum(-1, keepdim=True)
    rows = rows - rows.mean(1, keepdim=True)
    squares = torch.matmul(rows.square().sum(-1), share.T)
    return (squares - torch.matmul(share, rows).square().sum(-1)).clamp_min(1e-30)
