"""Approximate inverses of the Hessian of a logistic regression, for the inner CG."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


# A problem whose examples are all classified with certainty has no curvature left in
# its intercept; this keeps the division defined and is below any real curvature.
LEAST_CURVATURE = 1e-30
# The Gram matrix of so many examples costs about ten steps, whatever the shape.
LEADING_PER_ROOT = 10
LEAST_REST = 1e-6

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
        inner = gram(scaled)
        inner.diagonal(dim1=-2, dim2=-1).add_(1)
    else:
        inner = gram(scaled.mT)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leading:
    """The Hessian with some examples in full and the rest spread evenly.

    Attributes:
        factor: Cholesky factor of the Gram matrix of the examples in full, plus 1.
        rows: These examples, times the root of their curvature.
        diagonal: The penalty and what the other examples add to it.
    """

    factor: Float[Tensor, "site row row"]
    rows: Float[Tensor, "site row feature"]
    diagonal: Float[Tensor, "site 1 feature"]

    def __call__(self, gradient: Points) -> Points:
        spread = gradient / self.diagonal
        inner = torch.matmul(spread, self.rows.mT)
        inner = torch.cholesky_solve(inner.mT, self.factor).mT
        return spread.sub_(torch.matmul(inner, self.rows).div_(self.diagonal))


def leading(
    features: Float[Tensor, "site example feature"],
    squares: Float[Tensor, "site 1 feature"],
    curvature: Float[Tensor, "site 1 example"],
    ridge: Float[Tensor, " feature"],
) -> Leading | None:
    """The Hessian by the examples that bend the loss most.

    Where classes are well separated a third of the examples has nine tenths of the
    curvature.

    Args:
        features: The examples, with the constant 1 last.
        squares: Sum over the examples of each feature's square.
        curvature: Second derivative of the loss of each example.
        ridge: 1 for each penalised feature, 0 for the intercept.

    Returns:
        The factor, or None if rounding left it indefinite.
    """
    n = features.shape[1]
    count = min(min(features.shape[1:]) / 2, LEADING_PER_ROOT * n**0.5)
    most = curvature.topk(max(1, int(count)), dim=-1)
    total = curvature.sum(-1, True).clamp_min(LEAST_CURVATURE)
    # The intercept has no penalty: without a rest its own equation would be singular.
    rest = (total - most.values.sum(-1, True)).maximum(LEAST_REST * total) / n
    diagonal = torch.addcmul(ridge, squares, rest)
    rows = torch.take_along_dim(features, most.indices.mT, 1)
    rows = rows.mul_(most.values.mT.sqrt())
    inner = gram(rows * diagonal.rsqrt())
    inner.diagonal(dim1=-2, dim2=-1).add_(1)
    factor, failure = torch.linalg.cholesky_ex(inner)
    if failure.any():
        return None
    return Leading(factor=factor, rows=rows, diagonal=diagonal)


def gram(
    rows: Float[Tensor, "site size other"],
) -> Float[Tensor, "site size size"]:
    """The products of every row with every other.

    On a CPU by NumPy, which sees that the product is symmetric and computes half of it.
    """
    if rows.device.type != "cpu":
        return torch.matmul(rows, rows.mT)
    found = torch.empty(*rows.shape[:2], rows.shape[1], dtype=rows.dtype)
    for one, given in zip(found.numpy(), rows.numpy(), strict=True):
        np.matmul(given, given.T, out=one)
    return found
