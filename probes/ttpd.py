"""Truth and polarity: a truth direction that negated statements do not turn around."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import DataError, ShapeError
from probes.linear import Labels, LinearProbe, task
from probes.logistic import fit_logistic


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TruthDirections:
    """What being true adds to an activation, in general and by polarity.

    Attributes:
        general: t_G, added for true statements whether or not they are negated.
        polar: t_P, added for true affirmative and subtracted for true negated ones.
    """

    general: Float[Tensor, "site fit d_model"]
    polar: Float[Tensor, "site fit d_model"]


def truth_directions(
    activations: Float[Tensor, "*sites example d_model"],
    labels: Labels,
    affirmative: Bool[Tensor, " example"],
    *,
    weights: Float[Tensor, "fit example"] | None = None,
) -> TruthDirections:
    """t_G and t_P by least squares of centred activations on [y, y q].

    Args:
        activations: One row per example; leading axes are sites.
        labels: Which statements are true (y = 1, else -1).
        affirmative: Which statements are not negated (q = 1, else -1).
        weights: What each example counts in each fit.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If y and y q are the same in some fit: one polarity only.

    Source:
        Bürger et al. (2024), arXiv:2407.12831.

    Example:
        >>> true = torch.tensor([True, True, False, False])
        >>> affirmative = torch.tensor([True, False, True, False])
        >>> rows = torch.stack([2.0 * true, 1.0 * (true == affirmative)], dim=1)
        >>> found = truth_directions(rows, true, affirmative)
        >>> [round(x, 3) for x in found.general.flatten().tolist()]
        [1.0, 0.0]
    """
    given = task(activations, labels, weights)
    n = given.rows.shape[1]
    if affirmative.shape != (n,):
        raise ShapeError(
            f"The polarity of {len(affirmative)} statements was given for {n}.",
            expected="One truth value for each.",
        )
    y = given.signs.double()
    q = affirmative.to(y).mul(2).sub(1)
    counts = given.weights.double()
    design = torch.stack((y, y * q), -1)
    moments = torch.einsum("fei,fe,fej->fij", design, counts, design)
    share = moments[:, 0, 1] / moments[:, 0, 0]
    if (share.abs() > 1 - 1e-9).any():
        raise DataError(
            "All statements of a fit have one polarity.",
            expected="TTPD needs affirmative and negated statements.",
            remedy="Add negated statements, or use fit_mean_difference.",
        )
    rows = given.rows.double()
    centre = torch.einsum("fe,sed->sfd", counts / counts.sum(-1, True), rows)
    # The centre of each fit, taken out after the product instead of from every row.
    products = torch.einsum("fei,fe,sed->sfid", design, counts, rows)
    offsets = torch.einsum("fei,fe->fi", design, counts)
    products -= offsets[None, :, :, None] * centre[:, :, None]
    found = torch.linalg.solve(moments, products)
    return TruthDirections(general=found[:, :, 0], polar=found[:, :, 1])


def fit_ttpd(
    activations: Float[Tensor, "*sites example d_model"],
    labels: Labels,
    *,
    affirmative: Bool[Tensor, " example"],
    weights: Float[Tensor, "fit example"] | None = None,
    c: float = 1.0,
) -> LinearProbe:
    """Probes on two projections: the general truth direction and the polarity.

    A logistic regression reads the truth off the projections on t_G and on the weights
    of a polarity probe; as both are linear, so is the whole.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Which statements are true.
        affirmative: Which statements are not negated.
        weights: What each example counts in each fit.
        c: Inverse penalty of both logistic regressions.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If all statements of a fit have one polarity.

    Source:
        Bürger et al. (2024), arXiv:2407.12831.

    Example:
        >>> true = torch.tensor([True, True, False, False])
        >>> affirmative = torch.tensor([True, False, True, False])
        >>> rows = torch.stack([2.0 * true, 1.0 * (true == affirmative)], dim=1)
        >>> probe = fit_ttpd(rows, true, affirmative=affirmative)
        >>> (probe.logits(rows).flatten() > 0).tolist()
        [True, True, False, False]
    """
    given = task(activations, labels, weights)
    truth = truth_directions(
        given.rows,
        given.labels,
        affirmative.to(given.rows.device),
        weights=given.weights,
    )
    polarity = fit_logistic(
        given.rows, affirmative.expand(given.labels.shape), weights=given.weights, c=c
    )
    axes = torch.stack((truth.general, polarity.weights.double()), 2)
    axes = torch.nn.functional.normalize(axes, dim=-1)
    centre = given.rows.double().mean(1, keepdim=True)
    weights_out, intercepts = [], []
    for fit in range(len(given.labels)):
        # Each fit has two features of its own, on which it is one small regression.
        plane = torch.matmul(given.rows.double() - centre, axes[:, fit].mT)
        scale = plane.std(1, correction=0, keepdim=True).clamp_min(1e-30)
        probe = fit_logistic(
            plane / scale,
            given.labels[fit : fit + 1],
            weights=given.weights[fit : fit + 1],
            c=c,
        )
        small = probe.weights[:, 0] / scale[:, 0]
        whole = torch.matmul(small[:, None], axes[:, fit])[:, 0]
        weights_out.append(whole)
        intercepts.append(probe.intercept[:, 0] - (whole * centre[:, 0]).sum(-1))
    return given.probe(torch.stack(weights_out, 1), torch.stack(intercepts, 1))
