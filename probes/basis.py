"""Coordinates in which the regressions of one site are cheap to solve.

Weights of an L2-penalised regression lie in the span of the examples, and rotating them
changes neither penalty nor logits. So many regressions on the same examples share one
eigendecomposition: in its basis the features are uncorrelated and there are at most as
many as examples.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from probes.preconditioning import gram


Features = Float[Tensor, "site example feature"]
Points = Float[Tensor, "site fit feature"]
Weights = Float[Tensor, "site fit weight"]

# Directions whose variance is below rounding of the largest carry no information.
RANK_TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14}
# What makes a singular Gram matrix definite: above its rounding.
JITTER = {torch.float32: 3e-6, torch.float64: 1e-13}
# Independent features have a largest eigenvalue of at most 4 where examples are as many
# (Marchenko & Pastur); those of transformers have dozens.
CORRELATED, POWER_STEPS = 10.0, 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """Features in some coordinates, the constant 1 last, and the way back.

    Attributes:
        features: The examples.
        rotation: Orthonormal columns that take coordinates to weights; None where the
            coordinates are the weights.
        rows: The centred examples, where the features are the Cholesky factor of their
            Gram matrix.
    """

    features: Features
    rotation: Float[Tensor, "site d_model rotated"] | None = None
    rows: Float[Tensor, "site example d_model"] | None = None

    def weights(self, point: Points) -> Weights:
        """From coordinates to weights, with the intercept last in both."""
        if self.rows is not None:
            factor = self.features[..., :-1].mT
            inner = point[..., :-1].mT
            dual = torch.linalg.solve_triangular(factor, inner, upper=True)
            turned = torch.matmul(dual.mT, self.rows)
            return torch.cat((turned, point[..., -1:]), -1)
        if self.rotation is None:
            return point
        turned = torch.matmul(point[..., :-1], self.rotation.mT)
        return torch.cat((turned, point[..., -1:]), -1)

    def point(self, weights: Weights) -> Points:
        """From weights to coordinates, with the intercept last in both."""
        if self.rows is not None:
            inner = torch.matmul(self.rows, weights[..., :-1].mT)
            factor = self.features[..., :-1]
            turned = torch.linalg.solve_triangular(factor, inner, upper=False).mT
            return torch.cat((turned, weights[..., -1:]), -1)
        if self.rotation is None:
            return weights
        turned = torch.matmul(weights[..., :-1], self.rotation)
        return torch.cat((turned, weights[..., -1:]), -1)

    @property
    def ridge(self) -> Float[Tensor, " feature"]:
        """1 for every feature that is penalised: all but the constant."""
        ridge = self.features.new_ones(self.features.shape[-1])
        ridge[-1] = 0
        return ridge


def plain(
    rows: Float[Tensor, "site example d_model"],
    centre: Float[Tensor, "site 1 d_model"],
    *,
    dtype: torch.dtype,
) -> Basis:
    """The features as they are, but centred.

    Args:
        rows: The activations.
        centre: What is subtracted from them.
        dtype: The type of the features.
    """
    shape = (*rows.shape[:2], rows.shape[2] + 1)
    features = torch.empty(shape, dtype=dtype, device=rows.device)
    # One pass over the rows; a copy costs as much as several products.
    torch.sub(rows.to(dtype), centre.to(dtype), out=features[..., :-1])
    features[..., -1] = 1
    return Basis(features=features)


def rotated(
    rows: Float[Tensor, "site example d_model"],
    centre: Float[Tensor, "site 1 d_model"],
    *,
    dtype: torch.dtype,
) -> Basis:
    """The features along the principal axes of the examples.

    Args:
        rows: The activations.
        centre: What is subtracted from them.
        dtype: The type of the arithmetic and of the features.
    """
    rows = rows.to(dtype) - centre.to(dtype)
    if rows.shape[2] <= rows.shape[1]:
        rotation = torch.linalg.eigh(gram(rows.mT)).eigenvectors
        return Basis(features=_with_one(rows @ rotation), rotation=rotation)
    values, vectors = torch.linalg.eigh(gram(rows))
    # Every site keeps as many axes as the site that needs most.
    floor = RANK_TOLERANCE[rows.dtype] * values[:, -1:]
    rank = max(1, int((values > floor).sum(1).max()))
    values, vectors = values[:, -rank:], vectors[..., -rank:]
    # Axes below the floor of their own site get no length instead of a random one.
    scale = values.clamp_min(0).sqrt()
    inverse = torch.where(values > floor, 1 / scale, 0).nan_to_num(0, 0, 0)
    rotation = torch.matmul(rows.mT, vectors) * inverse[:, None]
    features = vectors * torch.where(values > floor, scale, 0)[:, None]
    return Basis(features=_with_one(features), rotation=rotation)


def triangular(
    rows: Float[Tensor, "site example d_model"],
    centre: Float[Tensor, "site 1 d_model"],
    *,
    dtype: torch.dtype,
) -> Basis | None:
    """As many features as examples: the Cholesky factor of the examples' Gram matrix.

    For more features than examples that are nearly uncorrelated: it costs a tenth of
    an eigendecomposition and leaves the features as alike as they were.

    Args:
        rows: The activations.
        centre: What is subtracted from them.
        dtype: The type of the arithmetic and of the features.

    Returns:
        The basis, or None if rounding left the Gram matrix indefinite.
    """
    rows = rows.to(dtype) - centre.to(dtype)
    inner = gram(rows)
    # The centre leaves it singular.
    jitter = JITTER[dtype] * inner.diagonal(dim1=-2, dim2=-1).mean(-1)
    inner.diagonal(dim1=-2, dim2=-1).add_(jitter[:, None])
    factor, failure = torch.linalg.cholesky_ex(inner)
    if failure.any():
        return None
    return Basis(features=_with_one(factor), rows=rows)


def are_correlated(
    rows: Float[Tensor, "site example d_model"], *, steps: int = POWER_STEPS
) -> bool:
    """Whether at any site one direction holds much of the variance of all features.

    A preconditioner of one number per feature serves features that are independent; the
    largest eigenvalue of their correlation matrix tells, and a few products find it.

    Args:
        rows: The activations.
        steps: How many times the correlation matrix is applied to a random vector.

    Example:
        >>> rows = torch.randn(1, 200, 30, generator=torch.Generator().manual_seed(0))
        >>> are_correlated(rows), are_correlated(rows + 5 * rows[..., :1])
        (False, True)
    """
    n, d_model = rows.shape[1:]
    centre = rows.mean(1, keepdim=True)
    power = torch.linalg.vecdot(rows, rows, dim=1)[:, None] - n * centre.square()
    scale = torch.where(power > 0, power, torch.inf).rsqrt()
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(1, 1, d_model, generator=generator).to(rows).expand_as(scale)
    largest = scale.new_zeros(len(rows))
    for _ in range(steps):
        vector = torch.nn.functional.normalize(vector, dim=-1) * scale
        scores = torch.matmul(vector, rows.mT)
        scores = scores - torch.matmul(vector, centre.mT)
        # What is left of the mean in `rows` meets scores that sum to zero.
        vector = torch.matmul(scores, rows) * scale
        largest = torch.linalg.vector_norm(vector, dim=-1)[:, 0]
    return bool((largest > CORRELATED * max(1.0, d_model / n)).any())


def _with_one(features: Float[Tensor, "site example axis"]) -> Features:
    return torch.cat((features, torch.ones_like(features[..., :1])), -1)
