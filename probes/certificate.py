"""How far weights are from the optimum of their logistic regression, in float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from probes.preconditioning import LEAST_CURVATURE


# The intercept alone is a convex problem in one number, begun next to its optimum.
INTERCEPT_STEPS = 30
LONGEST_INTERCEPT_STEP = 2.0
INTERCEPT_TOLERANCE = 1e-13
# Rows are cast a few at a time: a whole copy in float64 costs more than its products.
BYTES_PER_BLOCK = {"cpu": 2**21}
BYTES_PER_BLOCK_ELSEWHERE = 2**28


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
    rows: Float[Tensor, "site example d_model"],
    centre: Float[Tensor, "site 1 d_model"],
    against: Float[Tensor, "site fit example"],
    costs: Float[Tensor, "site fit example"],
    point: Float[Tensor, "site fit feature"],
) -> Certificate:
    """The duality gap of weights, after the intercept was set to its optimum.

    Args:
        rows: The activations as they were given.
        centre: What is subtracted from them.
        against: -1 for positive, +1 for negative examples.
        costs: What the loss of an example counts.
        point: The weights for the centred rows and, last, the intercept, in float64.
    """
    against, costs = against.double(), costs.double()
    weights, intercept = point[..., :-1], point[..., -1:]
    # The centre is taken out after the product: in float64 that loses nothing.
    logits = torch.cat([_product(x, weights.mT) for x in _blocks(rows)], 1).mT
    logits = logits - torch.matmul(weights, centre.mT)
    floor = INTERCEPT_TOLERANCE * costs.sum(-1, keepdim=True)
    curvature = costs
    for _ in range(INTERCEPT_STEPS):
        wrong = torch.sigmoid(against * (logits + intercept))
        slope = (against * costs * wrong).sum(-1, keepdim=True)
        curvature = (costs * wrong * (1 - wrong)).sum(-1, keepdim=True)
        step = slope / curvature.clamp_min(LEAST_CURVATURE)
        intercept = intercept - step.clamp(
            -LONGEST_INTERCEPT_STEP, LONGEST_INTERCEPT_STEP
        )
        if (slope.abs() <= floor).all():
            break
    margins = against * (logits + intercept)
    wrong = costs * torch.sigmoid(margins)
    pulled = against * wrong
    gradient, start = weights - pulled.sum(-1, keepdim=True) * centre, 0
    for block in _blocks(rows):
        stop = start + block.shape[1]
        gradient += _product(pulled[..., start:stop], block)
        start = stop
    # What the last intercept step left over, which is next to nothing.
    slope = pulled.sum(-1)
    left = slope.square() / curvature[..., 0].clamp_min(LEAST_CURVATURE)
    left = left + gradient.square().sum(-1) / 2
    objective = (costs * softplus(margins)).sum(-1) + weights.square().sum(-1) / 2
    return Certificate(point=torch.cat((weights, intercept), -1), gap=left / objective)


def _product(left: Tensor, right: Tensor) -> Tensor:
    # With one vector NumPy's is the faster one where PyTorch's library is not built for
    # the processor.
    if left.device.type != "cpu" or 1 not in (left.shape[-2], right.shape[-1]):
        return torch.matmul(left, right)
    pairs = zip(left.numpy(), right.numpy(), strict=True)
    return torch.stack([torch.from_numpy(a @ b) for a, b in pairs])


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    """Rows in float64, a few examples of every site at a time."""
    room = BYTES_PER_BLOCK.get(rows.device.type, BYTES_PER_BLOCK_ELSEWHERE)
    size = max(16, room // (8 * rows.shape[0] * rows.shape[2]))
    for block in rows.split(size, 1):
        yield block.double()
