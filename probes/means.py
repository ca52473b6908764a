"""Probes with a closed form: difference of means, linear discriminant, ridge."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import ConfigError
from probes.calibration import calibrated
from probes.linear import Labels, LinearProbe, Task, task


# Directions whose variance is below rounding of the largest do not count as variance.
RANK_TOLERANCE = 1e-10

Activations = Float[Tensor, "*sites example d_model"]
Weights = Float[Tensor, "fit example"] | None


def fit_mean_difference(
    activations: Activations, labels: Labels, *, weights: Weights = None
) -> LinearProbe:
    """Probes along the difference of the class means, also called mass-mean.

    The decision is a logistic regression on the projection; `directions` of the result
    are the unit differences.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Which examples are positive, for all fits or one row for each.
        weights: What each example counts in each fit; folds are rows of 0 and 1.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If a value is not finite.
        EmptyClassError: If a class has no example in one of the fits.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824.

    Example:
        >>> rows = torch.tensor([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0], [4.0, 3.0]])
        >>> probe = fit_mean_difference(rows, torch.tensor([False, False, True, True]))
        >>> probe.directions.tolist()
        [1.0, 0.0]
    """
    given = task(activations, labels, weights)
    return calibrated(given, mean_difference(given))


def fit_lda(
    activations: Activations, labels: Labels, *, weights: Weights = None
) -> LinearProbe:
    """Probes along the linear discriminant, the mass-mean probe for IID data.

    The direction is `pinv(S) (mean_1 - mean_0)` with S the pooled covariance within the
    classes, without shrinkage. It is noise where examples are not several times as many
    as dimensions.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Which examples are positive, for all fits or one row for each.
        weights: What each example counts in each fit; folds are rows of 0 and 1.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If a value is not finite.
        EmptyClassError: If a class has no example in one of the fits.

    Source:
        Fisher (1936); Marks & Tegmark (2023), section 5.

    Example:
        >>> rows = torch.tensor([[0.0, 1], [1, 3], [4, 1], [5, 3], [0, 2], [4, 0]])
        >>> labels = torch.tensor([False, False, True, True, False, True])
        >>> fit_lda(rows, labels).directions.shape
        torch.Size([2])
    """
    given = task(activations, labels, weights)
    directions = torch.stack(
        [
            torch.stack([_discriminant(rows, given, fit) for fit in _fits(given)])
            for rows in given.rows
        ]
    )
    return calibrated(given, directions)


def fit_ridge(
    activations: Activations,
    labels: Labels,
    *,
    weights: Weights = None,
    alpha: float = 1.0,
) -> LinearProbe:
    """Probes along the ridge regression on the labels as -1 and +1.

    The direction is that of scikit-learn's `RidgeClassifier(alpha)`; the decision is a
    logistic regression on the projection.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Which examples are positive, for all fits or one row for each.
        weights: What each example counts in each fit; folds are rows of 0 and 1.
        alpha: Strength of the penalty; the intercept has none.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If a value is not finite.
        EmptyClassError: If a class has no example in one of the fits.
        ConfigError: If `alpha` is not positive.

    Example:
        >>> rows = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
        >>> probe = fit_ridge(rows, torch.tensor([False, False, True, True]))
        >>> probe.directions.tolist()
        [1.0]
    """
    if not alpha > 0:
        raise ConfigError(f"alpha is {alpha}.", expected="A positive number.")
    given = task(activations, labels, weights)
    directions = torch.stack(
        [
            torch.stack([_ridge(rows, given, fit, alpha) for fit in _fits(given)])
            for rows in given.rows
        ]
    )
    return calibrated(given, directions)


def mean_difference(given: Task) -> Float[Tensor, "site fit d_model"]:
    """The mean of the positive minus the mean of the negative examples of each fit."""
    # Both means in one product, after centring, so that float32 loses nothing.
    rows = given.rows - given.rows.mean(1, keepdim=True)
    positive = given.weights * given.labels
    negative = given.weights * ~given.labels
    contrast = positive / positive.sum(-1, True) - negative / negative.sum(-1, True)
    return torch.matmul(contrast, rows)


def _fits(given: Task) -> range:
    return range(len(given.labels))


def _discriminant(rows: Tensor, given: Task, fit: int) -> Tensor:
    used = given.weights[fit] > 0
    weights, labels = given.weights[fit, used].double(), given.labels[fit, used]
    rows = rows[used].double()
    shares = [weights * labels, weights * ~labels]
    means = [share @ rows / share.sum() for share in shares]
    own = torch.where(labels[:, None], means[0], means[1])
    inside = (rows - own) * (weights / weights.sum()).sqrt()[:, None]
    apart = means[0] - means[1]
    n, d_model = inside.shape
    if d_model <= n:
        values, axes = torch.linalg.eigh(inside.T @ inside)
        inverse = torch.where(values > RANK_TOLERANCE * values[-1], 1 / values, 0.0)
        return axes @ (inverse * (axes.T @ apart))
    # pinv(A'A) = A' pinv(AA')^2 A: as many axes as examples are enough.
    values, axes = torch.linalg.eigh(inside @ inside.T)
    inverse = torch.where(values > RANK_TOLERANCE * values[-1], values**-2, 0.0)
    return inside.T @ (axes @ (inverse * (axes.T @ (inside @ apart))))


def _ridge(rows: Tensor, given: Task, fit: int, alpha: float) -> Tensor:
    used = given.weights[fit] > 0
    weights, signs = given.weights[fit, used].double(), given.signs[fit, used].double()
    rows = rows[used].double()
    root = weights.sqrt()
    centred = (rows - weights @ rows / weights.sum()) * root[:, None]
    target = (signs - weights @ signs / weights.sum()) * root
    n, d_model = centred.shape
    if d_model <= n:
        gram = centred.T @ centred
        gram.diagonal().add_(alpha)
        return torch.linalg.solve(gram, centred.T @ target)
    gram = centred @ centred.T
    gram.diagonal().add_(alpha)
    return centred.T @ torch.linalg.solve(gram, target)
