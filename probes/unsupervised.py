"""Probes from pairs of statements that contradict each other, found without labels.

Each pair is a statement and its negation. The labels serve one purpose only: they say
which end of the direction is true, and set the scale of the logits (a logistic
regression on the projection). The direction itself has never seen them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError, ShapeError
from probes.calibration import calibrated
from probes.linear import Labels, LinearProbe, Task, task


RESTARTS = 10
EPOCHS = 1000
LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.01
# A feature that is constant within a class is left at zero instead of divided by zero.
LEAST_SPREAD = 1e-8

Activations = Float[Tensor, "*sites example d_model"]
Pairs = Int[Tensor, "pair 2"]
Weights = Float[Tensor, "fit example"] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contrasts:
    """The pairs of one fit, each side normalised by itself.

    Attributes:
        first: The statements, without what all of them share.
        second: Their negations, likewise.
        spread: What the features were divided by, the mean of both sides.
    """

    first: Float[Tensor, "site pair d_model"]
    second: Float[Tensor, "site pair d_model"]
    spread: Float[Tensor, "site 1 d_model"]


def fit_ccs(
    activations: Activations,
    labels: Labels,
    *,
    pairs: Pairs,
    weights: Weights = None,
    restarts: int = RESTARTS,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> LinearProbe:
    """Contrast-consistent probes: of several restarts the one with the lowest loss.

    Every restart of every site is trained at once. The sign is chosen by the labels.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Used for the sign and the scale of the logits only.
        pairs: Rows of each statement and of its negation.
        weights: Which examples each fit uses; a pair counts if both sides do.
        restarts: How many random starts.
        epochs: Steps of Adam on all pairs.
        seed: Feeds the starts.

    Raises:
        ShapeError: If `pairs` names rows that do not exist, or no pair is left.
        ConfigError: If `restarts` or `epochs` is not positive.

    Source:
        Burns et al. (2022), arXiv:2212.03827.

    Example:
        >>> rows = torch.tensor([[4.0, 1.0], [0.0, 1.0], [5.0, 0.0], [1.0, 0.0]])
        >>> labels = torch.tensor([True, False, True, False])
        >>> probe = fit_ccs(rows, labels, pairs=torch.tensor([[0, 1], [2, 3]]))
        >>> bool(probe.directions[0] > 0)  # the axis on which the pairs differ
        True
    """
    if restarts < 1 or epochs < 1:
        raise ConfigError(
            f"restarts is {restarts} and epochs is {epochs}.", expected="At least 1."
        )
    given = task(activations, labels, weights)
    found = []
    for fit in range(len(given.labels)):
        contrasts = contrasts_of(given, pairs, fit)
        generator = torch.Generator().manual_seed(seed)
        found.append(_consistent(contrasts, restarts, epochs, generator))
    return calibrated(given, torch.stack(found, 1))


def fit_crc(
    activations: Activations, labels: Labels, *, pairs: Pairs, weights: Weights = None
) -> LinearProbe:
    """Probes along the first principal component of the differences within pairs.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Used for the sign and the scale of the logits only.
        pairs: Rows of each statement and of its negation.
        weights: Which examples each fit uses; a pair counts if both sides do.

    Raises:
        ShapeError: If `pairs` names rows that do not exist, or no pair is left.

    Source:
        Burns et al. (2022), arXiv:2212.03827, "contrastive representation clustering".

    Example:
        >>> rows = torch.tensor([[4.0, 1.0], [0.0, 1.0], [1.0, 0.0], [5.0, 0.0]])
        >>> labels = torch.tensor([True, False, False, True])
        >>> probe = fit_crc(rows, labels, pairs=torch.tensor([[0, 1], [2, 3]]))
        >>> [round(x, 3) for x in probe.directions.tolist()]
        [1.0, 0.0]
    """
    given = task(activations, labels, weights)
    found = []
    for fit in range(len(given.labels)):
        contrasts = contrasts_of(given, pairs, fit)
        differences = contrasts.first - contrasts.second
        axis = torch.linalg.svd(differences, full_matrices=False).Vh[:, 0]
        found.append(axis / contrasts.spread[:, 0])
    return calibrated(given, torch.stack(found, 1))


def contrasts_of(given: Task, pairs: Pairs, fit: int) -> Contrasts:
    """The pairs that a fit uses, each side with mean 0 and spread 1 in every feature.

    Raises:
        ShapeError: If `pairs` names rows that do not exist, or fewer than two are left.
    """
    n = given.rows.shape[1]
    if pairs.dim() != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ShapeError(
            f"Pairs of shape {list(pairs.shape)} were given.",
            expected="[pair, 2]: the rows of a statement and of its negation.",
        )
    if not 0 <= int(pairs.min()) <= int(pairs.max()) < n:
        raise ShapeError(
            f"The pairs name rows {int(pairs.min())} to {int(pairs.max())}.",
            expected=f"There are rows 0 to {n - 1}.",
        )
    pairs = pairs.to(given.rows.device)
    used = pairs[(given.weights[fit][pairs] > 0).all(1)]
    if len(used) < 2:
        raise ShapeError(
            f"Fit {fit} uses {len(used)} whole pairs.",
            expected="At least two.",
            remedy="Keep both sides of a pair in one group.",
        )
    sides = [given.rows[:, used[:, side]] for side in (0, 1)]
    spreads = [side.std(1, correction=0, keepdim=True) for side in sides]
    first, second = (
        (side - side.mean(1, keepdim=True)) / spread.clamp_min(LEAST_SPREAD)
        for side, spread in zip(sides, spreads, strict=True)
    )
    spread = ((spreads[0] + spreads[1]) / 2).clamp_min(LEAST_SPREAD)
    return Contrasts(first=first, second=second, spread=spread)


def consistency_loss(
    first: Float[Tensor, "*batch pair"], second: Float[Tensor, "*batch pair"]
) -> Float[Tensor, "*batch"]:
    """The loss of CCS from the logits of statements and of their negations.

    Example:
        >>> certain = torch.tensor([20.0, -20.0])
        >>> round(float(consistency_loss(certain, -certain)), 6)
        0.0
        >>> round(float(consistency_loss(torch.zeros(2), torch.zeros(2))), 6)
        0.25
    """
    p, q = torch.sigmoid(first), torch.sigmoid(second)
    return ((p - (1 - q)).square() + torch.minimum(p, q).square()).mean(-1)


def _consistent(
    contrasts: Contrasts, restarts: int, epochs: int, generator: torch.Generator
) -> Float[Tensor, "site d_model"]:
    """The direction with the lowest loss of every site, in the activations' units."""
    n_sites, _, d_model = contrasts.first.shape
    device, dtype = contrasts.first.device, contrasts.first.dtype
    drawn = torch.randn(n_sites, restarts, d_model, generator=generator)
    start = torch.nn.functional.normalize(drawn, dim=-1).to(device, dtype)
    # A probe may be fitted where gradients are switched off.
    with torch.enable_grad():
        slope = start.requires_grad_()
        offset = torch.zeros(
            n_sites, restarts, 1, device=device, dtype=dtype, requires_grad=True
        )
        optimiser = torch.optim.AdamW(
            [slope, offset], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        for _ in range(epochs):
            optimiser.zero_grad(set_to_none=True)
            _loss(contrasts, slope, offset).sum().backward()
            optimiser.step()
    with torch.no_grad():
        best = _loss(contrasts, slope, offset).argmin(1)
        chosen = slope[torch.arange(n_sites, device=device), best]
        return chosen / contrasts.spread[:, 0]


def _loss(
    contrasts: Contrasts, slope: Tensor, offset: Tensor
) -> Float[Tensor, "site restart"]:
    first = torch.matmul(slope, contrasts.first.mT) + offset
    second = torch.matmul(slope, contrasts.second.mT) + offset
    return consistency_loss(first, second)
