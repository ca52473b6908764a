"""Fits of one probe at a time as fits of many."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.linear import Fit, Labels, LinearProbe, task


FitOne = Callable[
    [Float[Tensor, "example d_model"], Bool[Tensor, " example"]], LinearProbe
]


def one_by_one(fit_one: FitOne) -> Fit:
    """A fit for `sweep` from a function that fits one probe on plain rows.

    Sites and folds are looped over, and examples without weight are left out. Weights
    other than 0 and 1 are not passed on.

    Args:
        fit_one: From rows and labels to a probe without leading axes.

    Example:
        >>> def towards_first(rows, labels):
        ...     weights = torch.zeros(rows.shape[1])
        ...     weights[0] = 1.0
        ...     return LinearProbe.closed(weights, torch.tensor(0.0))
        >>> fit = one_by_one(towards_first)
        >>> fit(torch.randn(3, 4, 2), torch.tensor([True, False] * 2)).weights.shape
        torch.Size([3, 2])
    """

    def fit(
        activations: Float[Tensor, "*sites example d_model"],
        labels: Labels,
        *,
        weights: Float[Tensor, "fit example"] | None = None,
    ) -> LinearProbe:
        given = task(activations, labels, weights)
        found = [
            fit_one(rows[used > 0], truth[used > 0])
            for rows in given.rows
            for truth, used in zip(given.labels, given.weights, strict=True)
        ]
        return LinearProbe(
            weights=torch.stack([one.weights for one in found]).reshape(
                *given.shape, -1
            ),
            intercept=torch.stack([one.intercept for one in found]).reshape(
                given.shape
            ),
            converged=torch.stack([one.converged for one in found]).reshape(
                given.shape
            ),
            gap=torch.stack([one.gap for one in found]).reshape(given.shape),
        )

    fit.__name__ = getattr(fit_one, "__name__", "fit")
    return fit


def name_of(fit: Fit) -> str:
    """What a fit is called; a partial has the name of what it wraps.

    Example:
        >>> name_of(one_by_one(max))
        'max'
    """
    inner = getattr(fit, "func", fit)
    return str(getattr(inner, "__name__", type(inner).__name__))
