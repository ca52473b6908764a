"""Erasing a concept from activations, so that no linear probe can read it.

The closed form of LEACE is written out here in double precision. The package of its
authors, `concept-erasure`, shrinks the covariance and drops small singular values by
default, and warns when it is imported under this torch; it is the oracle in the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError, DataError, EmptyClassError, ShapeError


Rows = Float[Tensor, "example d_model"] | Float[np.ndarray, "example d_model"]
X = TypeVar("X", Tensor, np.ndarray)
Method = Literal["leace", "orthogonal"]
# Class means closer than this part of the activations' spread are equal but for
# rounding in float32.
EQUAL = 1e-7
# A Cholesky factor whose pivots differ by more than this stands for a singular matrix.
SINGULAR = 1e-12
RIDGE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Eraser:
    """An affine map that removes a few dimensions: `x - left @ right @ (x - mean)`.

    Attributes:
        left: What is taken away, one column for each dimension.
        right: How much of it, one row for each dimension; `right @ left` is the
            identity. For an orthogonal projection it is the transpose of `left`.
        mean: The point that stays where it is: the mean of the examples.
        method: How it was found.
        site: The site of the activations; empty if unknown.
        n_examples: How many examples it was fitted to.
    """

    left: Float[np.ndarray, "d_model rank"]
    right: Float[np.ndarray, "rank d_model"]
    mean: Float[np.ndarray, " d_model"]
    method: str
    site: str = ""
    n_examples: int = 0

    def __post_init__(self) -> None:
        held = {
            name: np.array(getattr(self, name), dtype=np.float64)
            for name in ("left", "right", "mean")
        }
        left, right, mean = held.values()
        fits = (
            left.ndim == 2
            and right.shape == left.shape[::-1]
            and mean.shape == left.shape[:1]
        )
        if not fits:
            raise ShapeError(
                f"An eraser was given with the shapes {list(left.shape)},"
                f" {list(right.shape)} and {list(mean.shape)}.",
                expected="[d_model, rank], [rank, d_model] and [d_model].",
            )
        if not all(np.isfinite(array).all() for array in held.values()):
            raise DataError("An eraser was given with values that are not finite.")
        for name, array in held.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def rank(self) -> int:
        """How many dimensions are removed."""
        return self.left.shape[1]

    def apply(self, activations: X) -> X:
        """The activations without the concept, in the kind and type they came in.

        Args:
            activations: Any leading axes, `d_model` last.

        Raises:
            ShapeError: If they have another `d_model`.
        """
        if activations.shape[-1] != len(self.mean):
            raise ShapeError(
                f"Activations of {activations.shape[-1]} dimensions were given.",
                expected=f"The eraser was fitted to {len(self.mean)}.",
            )
        if isinstance(activations, np.ndarray):
            coordinates = (activations - self.mean) @ self.right.T
            erased = activations - coordinates @ self.left.T
            return erased.astype(activations.dtype)
        exact = torch.float32 if activations.device.type == "mps" else torch.float64
        left, right, mean = (
            torch.from_numpy(array.copy()).to(activations.device, exact)
            for array in (self.left, self.right, self.mean)
        )
        held = activations.to(exact)
        erased = held - ((held - mean) @ right.mT) @ left.mT
        return erased.to(activations.dtype)

    def __repr__(self) -> str:
        at = f" at {self.site}" if self.site else ""
        return (
            f"Eraser({self.method}{at}: {self.rank} of {len(self.mean)} dimensions,"
            f" from {self.n_examples} examples)"
        )


def fit_leace(
    activations: Rows, labels: object, *, method: Method = "leace", site: str = ""
) -> Eraser:
    """The smallest affine change after which no linear probe can tell the classes.

    Afterwards all class means are equal, so that no linear or affine predictor does
    better than a constant one; of all affine maps with this property it changes the
    examples least. It moves examples along the differences of class means only
    (`left`), by as much as the linear discriminant says (`right`): an oblique
    projection. The guarantee is for the examples it was fitted to; with fewer examples
    than dimensions little of it carries over to others.

    Args:
        activations: One row for each example.
        labels: The class of each example: numbers or words, two classes or more.
        method: "leace", or "orthogonal" to remove the differences of class means by an
            orthogonal projection, which guards as well and changes more.
        site: Where the activations are from.

    Raises:
        EmptyClassError: If there is one class only.
        DataError: If activations are not finite, or the class means equal already.
        ShapeError: If there are not as many labels as examples.

    Source:
        Belrose et al. (2023), arXiv:2306.03819, theorem 4.3.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(40, 8))
        >>> labels = np.arange(40) % 2
        >>> erased = fit_leace(rows, labels).apply(rows)
        >>> apart = erased[labels == 1].mean(0) - erased[labels == 0].mean(0)
        >>> bool(np.abs(apart).max() < 1e-12)
        True
    """
    rows, codes = _checked(activations, labels)
    mean = rows.mean(0)
    rows = rows - mean
    between = _between(rows, codes)
    match method:
        case "leace":
            dual = _precision_times(rows, between)
        case "orthogonal":
            dual = between
        case _:
            raise ConfigError(
                f"There is no method {method!r}.",
                expected="'leace' or 'orthogonal'.",
            )
    # Whatever the precision is, `right @ left` is the identity, so the class means
    # become equal even where the covariance is badly conditioned.
    right = torch.linalg.solve(dual.mT @ between, dual.mT)
    return Eraser(
        left=between.cpu().numpy(),
        right=right.cpu().numpy(),
        mean=mean.cpu().numpy(),
        method=method,
        site=site,
        n_examples=len(rows),
    )


def least_squares_direction(
    rows: Float[Tensor, "example d_model"], labels: Int[Tensor, " example"]
) -> Float[Tensor, "direction d_model"]:
    """The weights of a ridge regression on the classes, the last class left out.

    Example:
        >>> rows = torch.tensor([[-1.0, 5.0], [1.0, 5.0]])
        >>> weights = least_squares_direction(rows, torch.tensor([0, 1]))
        >>> bool(weights[0, 0] < 0), float(weights[0, 1])
        (True, 0.0)
    """
    rows = rows - rows.mean(0)
    wanted = torch.nn.functional.one_hot(labels).to(rows.dtype)[:, :-1]
    covariance = rows.mT @ rows
    level = RIDGE * covariance.diagonal().mean()
    covariance.diagonal().add_(level)
    return torch.linalg.solve(covariance, rows.mT @ (wanted - wanted.mean(0))).mT


def fit_inlp(
    activations: Rows,
    labels: object,
    *,
    rounds: int = 8,
    fit: Callable[[Tensor, Tensor], Tensor] = least_squares_direction,
    site: str = "",
) -> Eraser:
    """The orthogonal projection that removes one linear probe after the other.

    Each round fits a probe to what is left and projects its weights out. It removes
    more dimensions than LEACE and promises less: what is left depends on the probe and
    on the rounds.

    Args:
        activations: One row for each example.
        labels: The class of each example.
        rounds: How many probes; fewer if nothing is left to remove.
        fit: Rows and class numbers to weights `[d_model]` or `[direction, d_model]`; by
            default least squares with a little ridge.
        site: Where the activations are from.

    Raises:
        EmptyClassError: If there is one class only.
        DataError: If activations are not finite, or the class means equal already.
        ShapeError: If shapes do not fit.
        ConfigError: If no round is asked for.

    Source:
        Ravfogel et al. (2020), arXiv:2004.07667.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(40, 8))
        >>> fit_inlp(rows, np.arange(40) % 2, rounds=3).rank
        3
    """
    if rounds < 1:
        raise ConfigError(f"{rounds} rounds were asked for.", expected="1 or more.")
    rows, codes = _checked(activations, labels)
    mean = rows.mean(0)
    rows = rows - mean
    _between(rows, codes)
    basis = rows.new_zeros(0, rows.shape[1])
    for _ in range(rounds):
        left = rows - (rows @ basis.mT) @ basis
        if float(left.norm()) <= EQUAL * float(rows.norm()):
            break
        weights = fit(left, codes).to(rows).reshape(-1, rows.shape[1])
        # Twice: one pass leaves rounding along what is already removed.
        for _ in range(2):
            weights = weights - (weights @ basis.mT) @ basis
        if not bool(weights.isfinite().all()):
            raise DataError("A probe of INLP has weights that are not finite.")
        _, size, found = torch.linalg.svd(weights, full_matrices=False)
        found = found[size > EQUAL * size[0]] if bool(size[0] > 0) else found[:0]
        if not len(found):
            break
        basis = torch.linalg.qr(torch.cat([basis, found]).mT).Q.mT
        if len(basis) == rows.shape[1]:
            break
    held = basis.cpu().numpy()
    return Eraser(
        left=held.T,
        right=held,
        mean=mean.cpu().numpy(),
        method="inlp",
        site=site,
        n_examples=len(rows),
    )


def _between(
    rows: Float[Tensor, "example d_model"], codes: Int[Tensor, " example"]
) -> Float[Tensor, "d_model rank"]:
    """An orthonormal basis of the class means of centred rows."""
    n_classes = int(codes.max()) + 1
    sums = rows.new_zeros(n_classes, rows.shape[1]).index_add_(0, codes, rows)
    counts = torch.bincount(codes, minlength=n_classes).to(rows.dtype)
    means = sums / counts[:, None]
    _, size, basis = torch.linalg.svd(means, full_matrices=False)
    spread = float(rows.square().sum(1).mean().sqrt())
    kept = size > EQUAL * spread
    if not bool(kept.any()):
        raise DataError(
            "The classes have the same mean activation: there is nothing to erase.",
            remedy="Use another site or position, or leave the activations as they"
            " are.",
        )
    return basis[kept].mT


def _precision_times(
    rows: Float[Tensor, "example d_model"], vectors: Float[Tensor, "d_model rank"]
) -> Float[Tensor, "d_model rank"]:
    """The (pseudo-)inverse of the covariance of centred rows, times vectors."""
    n, d_model = rows.shape
    if n > d_model:
        factor, failed = torch.linalg.cholesky_ex(rows.mT @ rows)
        pivots = factor.diagonal().square()
        if not int(failed) and bool(pivots.min() > SINGULAR * pivots.max()):
            return torch.cholesky_solve(vectors, factor)
    _, size, basis = torch.linalg.svd(rows, full_matrices=False)
    kept = size > size[0] * max(n, d_model) * torch.finfo(size.dtype).eps
    size, basis = size[kept], basis[kept]
    # In units of the largest: the inverse of a square must not overflow.
    weights = (size[0] / size).square()
    return basis.mT @ (weights[:, None] * (basis @ vectors))


def _checked(activations: Rows, labels: object) -> tuple[Tensor, Tensor]:
    """Rows in float64, and the number of each example's class."""
    if isinstance(activations, Tensor):
        rows = activations.detach()
        rows = rows.to("cpu") if rows.device.type == "mps" else rows
    else:
        rows = torch.from_numpy(np.array(activations))
    rows = rows.double()
    held = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    held = np.asarray(held)
    if held.shape != (len(rows),):
        raise ShapeError(
            f"The labels have the shape {list(held.shape)}.",
            expected=f"There are {len(rows)} examples, so [{len(rows)}].",
        )
    if (held.dtype.kind == "f" and np.isnan(held).any()) or None in held.tolist():
        raise DataError("A label is missing.", remedy="Leave these examples out.")
    n_bad = int((~rows.isfinite()).any(1).sum())
    if n_bad:
        raise DataError(
            f"{n_bad} of {len(rows)} examples have activations that are not finite.",
            remedy="Leave them out, or load the model with dtype='float32'.",
        )
    classes, codes = np.unique(held, return_inverse=True)
    if len(classes) < 2:
        raise EmptyClassError(
            f"All {len(rows)} examples have one label.",
            expected="Two classes or more.",
        )
    return rows, torch.from_numpy(codes.astype(np.int64)).to(rows.device)
