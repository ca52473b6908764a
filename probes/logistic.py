"""L2-penalised logistic regression: every site, fold and penalty in one go.

The objective is scikit-learn's: C times the summed loss plus half the squared norm of
the weights, the intercept not penalised. Each fit ends with a certificate in float64; a
fit that float32 does not bring below the tolerance is continued in float64.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import ConfigError
from probes.linear import Labels, LinearProbe, task
from probes.optimum import optimise


TOLERANCE = 1e-7


def fit_logistic(
    activations: Float[Tensor, "*sites example d_model"],
    labels: Labels,
    *,
    weights: Float[Tensor, "fit example"] | None = None,
    c: float | Sequence[float] = 1.0,
    tolerance: float = TOLERANCE,
) -> LinearProbe:
    """Logistic probes of every site, row of weights and penalty, at their optimum.

    The optimum is that of scikit-learn's `LogisticRegression(C=c)`. Axes of the result:
    the sites, one axis of fits if labels or weights have rows for several, and one axis
    of penalties if `c` is a sequence.

    Args:
        activations: One row per example; leading axes are sites.
        labels: Which examples are positive, for all fits or one row for each.
        weights: What each example counts in each fit; folds are rows of 0 and 1.
        c: Inverse strength of the penalty, or several.
        tolerance: The duality gap to reach, as a share of the objective.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If a value is not finite.
        EmptyClassError: If a class has no example in one of the fits.
        ConfigError: If a `c` or the tolerance is not positive.

    Example:
        >>> rows = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
        >>> probe = fit_logistic(rows, torch.tensor([False, False, True, True]))
        >>> bool(probe.weights > 0), bool(probe.converged)
        (True, True)
    """
    given = task(activations, labels, weights)
    strengths = [c] if isinstance(c, int | float) else list(c)
    if not strengths or not all(0 < s < math.inf for s in strengths):
        raise ConfigError(f"c is {c}.", expected="Positive, finite numbers.")
    if not 0 < tolerance < 1:
        raise ConfigError(f"The tolerance is {tolerance}.", expected="Between 0 and 1.")
    n_sites = len(given.rows)
    scale = torch.tensor(strengths, device=given.rows.device, dtype=given.rows.dtype)
    costs = (given.weights[:, None] * scale[:, None]).flatten(0, 1)
    signs = given.signs.repeat_interleave(len(strengths), 0)
    found = optimise(
        given.rows,
        signs.expand(n_sites, *signs.shape),
        costs.expand(n_sites, *costs.shape),
        tolerance=tolerance,
    )
    shape = given.shape
    if not isinstance(c, int | float):
        shape = (*shape, len(strengths))
    return LinearProbe(
        weights=found.weights.reshape(*shape, -1),
        intercept=found.intercept.reshape(shape),
        converged=found.converged.reshape(shape),
        gap=found.gap.reshape(shape),
    )
