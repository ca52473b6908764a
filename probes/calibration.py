"""From a direction to a decision: a logistic regression on the projection alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from probes.linear import LinearProbe, Task


# scikit-learn's default penalty on the standardised score: keeps separable data finite.
PENALTY = 1.0
STEPS = 50
TOLERANCE = 1e-10
HALVINGS = 20


def calibrated(
    given: Task, directions: Float[Tensor, "site fit d_model"]
) -> LinearProbe:
    """The probe along each direction whose logits are calibrated on the fit's examples.

    The logit is a logistic regression on the standardised projection, so its sign is
    that of the labels and different directions give comparable probabilities.

    Args:
        given: The activations, labels and weights of the fits.
        directions: One for each site and fit.
    """
    directions = directions.double()
    # Centring first keeps the digits of small differences on large means.
    centre = given.rows.mean(1, keepdim=True)
    centred = (given.rows - centre).to(given.rows.dtype)
    scores = torch.matmul(directions.to(centred.dtype), centred.mT).double()
    weights = given.weights.double()
    total = weights.sum(-1)
    mean = (scores * weights).sum(-1) / total
    spread = ((scores - mean[..., None]).square() * weights).sum(-1) / total
    scale = spread.sqrt()
    # A direction along which nothing varies predicts the share of the classes.
    usable = scale > 0
    scale = torch.where(usable, scale, 1.0)
    standard = (scores - mean[..., None]) / scale[..., None]
    slope, intercept = _slope_and_intercept(standard, given.signs.double(), weights)
    slope = slope / scale * usable
    shift = torch.matmul(directions, centre.double().mT)[..., 0]
    return given.probe(
        slope[..., None] * directions, intercept - slope * (mean + shift)
    )


def _slope_and_intercept(
    scores: Float[Tensor, "site fit example"],
    signs: Float[Tensor, "fit example"],
    weights: Float[Tensor, "fit example"],
) -> tuple[Tensor, Tensor]:
    """Newton's method in two numbers, each step shortened until it does not rise."""
    slope = torch.zeros_like(scores[..., 0])
    intercept = torch.zeros_like(slope)

    def objective(slope: Tensor, intercept: Tensor) -> Tensor:
        logits = slope[..., None] * scores + intercept[..., None]
        loss = -(weights * torch.nn.functional.logsigmoid(signs * logits)).sum(-1)
        return loss + PENALTY * slope.square() / 2

    value = objective(slope, intercept)
    for _ in range(STEPS):
        wrong = torch.sigmoid(
            -signs * (slope[..., None] * scores + intercept[..., None])
        )
        first = -signs * weights * wrong
        second = weights * wrong * (1 - wrong)
        g_slope = (first * scores).sum(-1) + PENALTY * slope
        g_intercept = first.sum(-1)
        h_slope = (second * scores.square()).sum(-1) + PENALTY
        h_both = (second * scores).sum(-1)
        h_intercept = second.sum(-1)
        determinant = h_slope * h_intercept - h_both.square()
        d_slope = (h_intercept * g_slope - h_both * g_intercept) / determinant
        d_intercept = (h_slope * g_intercept - h_both * g_slope) / determinant
        size, after = torch.ones_like(slope), value
        for _ in range(HALVINGS):
            after = objective(slope - size * d_slope, intercept - size * d_intercept)
            rises = after > value + TOLERANCE * value
            if not rises.any():
                break
            size = torch.where(rises, size / 2, size)
        slope, intercept = slope - size * d_slope, intercept - size * d_intercept
        decrement = g_slope * d_slope + g_intercept * d_intercept
        value = after
        if (decrement <= TOLERANCE * value).all():
            break
    return slope, intercept
