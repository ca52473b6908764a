"""Inner products of two models' activations, from which every cosine follows.

A difference of means is a contrast of examples: weights times rows. So the cosine of
two of them, for the observed labels and for any others, is known from the inner
products of the examples. Whitening changes those products once: the covariance within
the classes of any labels is the total one, less what the two differences of means span.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grams:
    """Inner products of the centred examples of two models, at one layer.

    Attributes:
        aa: Of the first model's examples.
        ab: Of the first model's with the second one's.
        bb: Of the second model's.
        shrinkage: The share of a multiple of the identity in the covariance that
            whitens; NaN if nothing is whitened.
    """

    aa: Float[Tensor, "example example"]
    ab: Float[Tensor, "example example"]
    bb: Float[Tensor, "example example"]
    shrinkage: float = float("nan")

    @property
    def kept(self) -> float:
        """The share of the measured covariance in the one that whitens."""
        return 0.0 if self.shrinkage != self.shrinkage else 1 - self.shrinkage


def grams(
    a: Float[Tensor, "example d_model"],
    b: Float[Tensor, "example d_model"],
    *,
    whiten: bool,
    shrinkage: float | None = None,
) -> Grams:
    """The inner products of two models' examples, centred, maybe whitened.

    Both are whitened by one matrix, the mean of their total covariances shrunk towards
    a multiple of the identity.

    Args:
        a: Activations of one model, in float64.
        b: Of the other one, of the same examples.
        whiten: Whether to whiten.
        shrinkage: How far; by default as Ledoit and Wolf say for one model's examples,
            since those of a fine-tuned pair are not twice as many.

    Raises:
        ConfigError: If the shrinkage is not between 0 and 1.
        DataError: If the covariance is singular and not shrunk.
    """
    rows = torch.cat([a - a.mean(0), b - b.mean(0)])
    n, (n_rows, d_model) = len(a), rows.shape
    if not whiten:
        return _cut(rows @ rows.mT, n)
    if shrinkage is None:
        shrinkage = (ledoit_wolf(rows[:n]) + ledoit_wolf(rows[n:])) / 2
    _check_shrinkage(shrinkage)
    level = shrinkage * float(rows.square().sum()) / (n_rows * d_model)
    share = (1 - shrinkage) / n_rows
    few = d_model <= n_rows
    # With more dimensions than rows the matrix inversion lemma saves a square of them.
    plain = rows.mT @ rows if few else rows @ rows.mT
    factor, failed = torch.linalg.cholesky_ex(_loaded(plain * share, level))
    if int(failed):
        raise _singular(n, d_model, shrinkage)
    if few:
        rows = torch.linalg.solve_triangular(factor, rows.mT, upper=False).mT
        whitened = rows @ rows.mT
    else:
        whitened = torch.cholesky_solve(plain, factor)
    return _cut(whitened, n, shrinkage)


def shrunk_precision(
    rows: Float[Tensor, "example d_model"], shrinkage: float
) -> Float[Tensor, "d_model d_model"]:
    """A matrix that whitens row vectors by the shrunk covariance of centred rows.

    Args:
        rows: Centred, in float64.
        shrinkage: The share of a multiple of the identity.

    Raises:
        ConfigError: If the shrinkage is not between 0 and 1.
        DataError: If the covariance is singular and not shrunk.

    Example:
        >>> rows = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> whitened = rows @ shrunk_precision(rows, 0.0)
        >>> torch.allclose(whitened.mT @ whitened / 4, torch.eye(2))
        True
    """
    _check_shrinkage(shrinkage)
    n, d_model = rows.shape
    covariance = rows.mT @ rows * ((1 - shrinkage) / n)
    level = shrinkage * float(rows.square().sum()) / (n * d_model)
    factor, failed = torch.linalg.cholesky_ex(_loaded(covariance, level))
    if int(failed):
        raise _singular(n, d_model, shrinkage)
    eye = torch.eye(d_model, dtype=rows.dtype, device=rows.device)
    return torch.linalg.solve_triangular(factor, eye, upper=False).mT


def ledoit_wolf(rows: Float[Tensor, "example d_model"]) -> float:
    """The best share of a multiple of the identity in the covariance of centred rows.

    Source:
        Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional
        covariance matrices".

    Example:
        >>> ledoit_wolf(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
        1.0
    """
    n, d_model = rows.shape
    small = rows @ rows.mT if n < d_model else rows.mT @ rows
    squared = float(small.square().sum()) / n**2
    mean = float(rows.square().sum()) / (n * d_model)
    distance = squared - d_model * mean**2
    spread = float(rows.square().sum(1).square().sum()) / n**2 - squared / n
    if distance <= 0:
        return 1.0
    return float(min(max(spread / distance, 0.0), 1.0))


def contrasts(
    labels: Bool[Tensor, "shuffle example"],
) -> Float[Tensor, "shuffle example"]:
    """The weights with which examples enter the difference of means."""
    positive = labels.double()
    negative = 1 - positive
    return positive / positive.sum(1, keepdim=True) - negative / negative.sum(
        1, keepdim=True
    )


def contrast_grams(
    held: Grams,
    a: Float[Tensor, "shuffle example"],
    b: Float[Tensor, "shuffle example"],
) -> Float[Tensor, "shuffle 2 2"]:
    """Inner products of the differences of means, before the classes are told apart."""
    ab = (a @ held.ab * b).sum(1)
    aa, bb = (a @ held.aa * a).sum(1), (b @ held.bb * b).sum(1)
    return torch.stack([torch.stack([aa, ab], 1), torch.stack([ab, bb], 1)], 1)


def within_classes(
    gram: Float[Tensor, "shuffle 2 2"], removed: float
) -> Float[Tensor, "shuffle 2 2"]:
    """The metric of the covariance within classes, on the span of the differences.

    With the whitened differences U of both models that covariance is
    `I - removed * U U'`, and its inverse `I + removed * U N U'`; this is N.

    Args:
        gram: The inner products U' U.
        removed: How much of each difference's outer product the total covariance has.
    """
    eye = torch.eye(2, dtype=gram.dtype, device=gram.device)
    return torch.linalg.inv(eye - removed * gram)


def _check_shrinkage(shrinkage: float) -> None:
    if not 0 <= shrinkage <= 1:
        raise ConfigError(
            f"A shrinkage of {shrinkage} was asked for.", expected="0 to 1."
        )


def _singular(n: int, d_model: int, shrinkage: float) -> DataError:
    return DataError(
        f"The covariance of {n} examples in {d_model} dimensions is singular with a"
        f" shrinkage of {shrinkage}.",
        remedy="Use whitening='ledoit-wolf', or a larger shrinkage.",
    )


def _loaded(matrix: Tensor, level: float) -> Tensor:
    matrix.diagonal().add_(level)
    return matrix


def _cut(whole: Tensor, n: int, shrinkage: float = float("nan")) -> Grams:
    return Grams(
        aa=whole[:n, :n], ab=whole[:n, n:], bb=whole[n:, n:], shrinkage=shrinkage
    )
