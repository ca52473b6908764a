"""How far weights are from the optimum of their logistic regression, in float64."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from probes.newton import Problems, derivatives, gap_bound
from probes.preconditioning import LEAST_CURVATURE


# The intercept alone is a convex problem in one number, begun next to its optimum.
INTERCEPT_STEPS = 30
LONGEST_INTERCEPT_STEP = 2.0
INTERCEPT_TOLERANCE = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certificate:
    """Weights with the best intercept for them, and a bound on what is left to gain.

    Attributes:
        point: The weights and, last, the intercept.
        gap: At most this share of the objective lies between it and the optimum.
    """

    point: Float[Tensor, "site fit feature"]
    gap: Float[Tensor, "site fit"]


def certify(
    problems: Problems, point: Float[Tensor, "site fit feature"]
) -> Certificate:
    """The duality gap of weights, after the intercept was set to its optimum.

    Args:
        problems: The problems in the coordinates of the weights, in float64.
        point: The weights and, last, the intercept.
    """
    logits = problems.logits(point)
    shift = torch.zeros_like(point[..., :1])
    for _ in range(INTERCEPT_STEPS):
        slope, curvature = derivatives(problems, logits + shift)
        slope, curvature = slope.sum(-1, True), curvature.sum(-1, True)
        step = -slope / curvature.clamp_min(LEAST_CURVATURE)
        shift = shift + step.clamp(-LONGEST_INTERCEPT_STEP, LONGEST_INTERCEPT_STEP)
        if (slope.abs() <= INTERCEPT_TOLERANCE * problems.costs.sum(-1, True)).all():
            break
    point = torch.cat((point[..., :-1], point[..., -1:] + shift), -1)
    logits = logits + shift
    slope, curvature = derivatives(problems, logits)
    gradient = torch.addcmul(problems.pull(slope), problems.ridge, point)
    objective = problems.loss(logits) + problems.penalty(point)
    return Certificate(point=point, gap=gap_bound(gradient, curvature) / objective)
