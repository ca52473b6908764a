"""Approximate inverses of the Hessian of a logistic regression, for the inner CG."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


# A problem whose examples are all classified with certainty has no curvature left in
# its intercept; this keeps the division defined and is below any real curvature.
LEAST_CURVATURE = 1e-30

Points = Float[Tensor, "site fit feature"]


@runtime_checkable
class Preconditioner(Protocol):
    """What stands for the inverse of the Hessian."""

    def __call__(self, gradient: Points) -> Points: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diagonal:
    """One number per feature: right when the features are nearly uncorrelated."""

    hessian: Points

    @classmethod
    def of(
        cls,
        squares: Float[Tensor, "site 1 feature"],
        curvature: Float[Tensor, "site fit example"],
        ridge: Float[Tensor, " feature"],
    ) -> "Diagonal":
        """The diagonal of the Hessian with the curvature spread evenly.

        Args:
            squares: Sum over the examples of each feature's square.
            curvature: Second derivative of the loss of each example.
            ridge: 1 for each penalised feature, 0 for the intercept.
        """
        total = curvature.mean(-1, keepdim=True).clamp_min(LEAST_CURVATURE)
        return cls(hessian=torch.addcmul(ridge, squares, total))

    def __call__(self, gradient: Points) -> Points:
        return gradient / self.hessian


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factored:
    """The Hessian at some point, factored; for one problem per site.

    With more features than examples the factor is that of the Gram matrix, by the
    identity of Woodbury.
    """

    factor: Float[Tensor, "site size size"]
    intercept: Float[Tensor, "site fit one"]
    root: Float[Tensor, "site fit example"]
    features: Float[Tensor, "site example feature"]

    def __call__(self, gradient: Points) -> Points:
        if self.features.shape[2] <= self.features.shape[1]:
            return torch.cholesky_solve(gradient.mT, self.factor).mT
        inside = torch.matmul(gradient, self.features.mT) - gradient[..., -1:]
        inside = torch.cholesky_solve((inside * self.root).mT, self.factor).mT
        towards = gradient - torch.matmul(inside * self.root, self.features)
        towards[..., -1:] = gradient[..., -1:] * self.intercept
        return towards


def factored(
    features: Float[Tensor, "site example feature"],
    curvature: Float[Tensor, "site 1 example"],
    ridge: Float[Tensor, " feature"],
) -> Factored | None:
    """The Cholesky factor of the Hessian, or of its Gram form where that is smaller.

    Args:
        features: The examples, with the constant 1 last.
        curvature: Second derivative of the loss of each example.
        ridge: 1 for each penalised feature, 0 for the intercept.

    Returns:
        The factor, or None if rounding left the Hessian indefinite.
    """
    total = curvature.sum(-1, keepdim=True).clamp_min(LEAST_CURVATURE)
    root = curvature.sqrt()
    scaled = features * root.mT
    if features.shape[2] > features.shape[1]:
        scaled[..., -1] = 0
        inner = _gram(scaled)
        inner.diagonal(dim1=-2, dim2=-1).add_(1)
    else:
        inner = _gram(scaled.mT)
        inner.diagonal(dim1=-2, dim2=-1).add_(ridge)
    factor, failure = torch.linalg.cholesky_ex(inner)
    if failure.any():
        return None
    return Factored(
        factor=factor,
        intercept=total.reciprocal(),
        root=root,
        features=features,
    )


def _gram(rows: Float[Tensor, "site size other"]) -> Float[Tensor, "site size size"]:
    """The lower triangle of `rows @ rows.mT`, and a little more.

    Three products of blocks instead of four: what a Cholesky factor does not read is
    not computed.
    """
    half = rows.shape[1] // 2
    upper, lower = rows[:, :half], rows[:, half:]
    found = rows.new_zeros(len(rows), rows.shape[1], rows.shape[1])
    found[:, :half, :half] = torch.matmul(upper, upper.mT)
    found[:, half:, :half] = torch.matmul(lower, upper.mT)
    found[:, half:, half:] = torch.matmul(lower, lower.mT)
    return found
