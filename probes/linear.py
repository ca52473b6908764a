"""`LinearProbe`: weights and intercepts of linear readouts, one or many."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import DataError, EmptyClassError, ShapeError


# One row for all fits, or one for each; a wrong length is for `task` to name.
Labels = Bool[Tensor, "*fit label"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearProbe:
    """Linear readouts; the leading axes are those of the sites, then of the fits.

    A logit above zero says positive, and its sigmoid is the probability.

    Attributes:
        weights: In the coordinates of the activations.
        intercept: What is added to the product.
        converged: Whether each fit reached its optimum; closed forms always do.
        gap: A bound on the distance to the optimum, as a share of the objective; 0 for
            closed forms.

    Example:
        >>> probe = LinearProbe.closed(torch.tensor([2.0, 0.0]), torch.tensor(-1.0))
        >>> probe.logits(torch.tensor([[1.0, 5.0], [0.0, 5.0]])).tolist()
        [1.0, -1.0]
    """

    weights: Float[Tensor, "*fits d_model"]
    intercept: Float[Tensor, "*fits"]
    converged: Bool[Tensor, "*fits"]
    gap: Float[Tensor, "*fits"]

    @classmethod
    def closed(
        cls, weights: Float[Tensor, "*fits d_model"], intercept: Float[Tensor, "*fits"]
    ) -> "LinearProbe":
        """A probe with a closed form, which is its own optimum."""
        return cls(
            weights=weights,
            intercept=intercept,
            converged=torch.ones_like(intercept, dtype=torch.bool),
            gap=torch.zeros_like(intercept),
        )

    @property
    def directions(self) -> Float[Tensor, "*fits d_model"]:
        """The weights at unit length."""
        return torch.nn.functional.normalize(self.weights, dim=-1, eps=1e-30)

    def logits(
        self, activations: Float[Tensor, "*sites example d_model"]
    ) -> Float[Tensor, "*fits example"]:
        """How positive each example looks to each fit of its site.

        Args:
            activations: The same sites as at the fit, any examples.

        Raises:
            ShapeError: If sites or dimensions are not those of the fit.
        """
        sites, d_model = activations.shape[:-2], activations.shape[-1]
        if (
            self.weights.shape[-1] != d_model
            or self.weights.shape[: len(sites)] != sites
        ):
            raise ShapeError(
                f"A probe of shape {list(self.weights.shape)} was applied to"
                f" activations of shape {list(activations.shape)}.",
                expected="The sites come first and d_model last, as at the fit.",
            )
        flat = self.weights.reshape(*sites, -1, d_model)
        found = torch.matmul(flat, activations.to(flat.dtype).mT)
        return (
            found.reshape(*self.intercept.shape, activations.shape[-2])
            + self.intercept[..., None]
        )

    def probabilities(
        self, activations: Float[Tensor, "*sites example d_model"]
    ) -> Float[Tensor, "*fits example"]:
        """The sigmoid of `logits`."""
        return torch.sigmoid(self.logits(activations))


@runtime_checkable
class Fit(Protocol):
    """What `sweep` asks of a fit: one probe per site and row of weights.

    Every `fit_...` of this package is one; use `functools.partial` to set its options,
    and `one_by_one` to make one of a function that fits a single probe.
    """

    def __call__(
        self,
        activations: Float[Tensor, "*sites example d_model"],
        labels: Labels,
        *,
        weights: Float[Tensor, "fit example"] | None = None,
    ) -> LinearProbe: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """Checked input of a fit, with one row of labels and weights per fit.

    Attributes:
        rows: The activations, float32 or float64, one leading axis of sites.
        labels: Which examples are positive.
        weights: What each example counts; 0 leaves it out.
        shape: The axes of sites and, unless there is a single fit, of fits.
    """

    rows: Float[Tensor, "site example d_model"]
    labels: Bool[Tensor, "fit example"]
    weights: Float[Tensor, "fit example"]
    shape: tuple[int, ...]

    @property
    def signs(self) -> Float[Tensor, "fit example"]:
        """+1 for positive examples, -1 for negative ones."""
        return self.labels.to(self.rows.dtype) * 2 - 1

    def probe(
        self,
        weights: Float[Tensor, "site fit d_model"],
        intercept: Float[Tensor, "site fit"],
    ) -> LinearProbe:
        """A closed-form probe in the shape that was asked for."""
        return LinearProbe.closed(
            weights.reshape(*self.shape, weights.shape[-1]).to(self.rows.dtype),
            intercept.reshape(self.shape).to(self.rows.dtype),
        )


def task(
    activations: Float[Tensor, "*sites example d_model"],
    labels: Labels,
    weights: Float[Tensor, "fit example"] | None = None,
) -> Task:
    """The input of a fit, checked and in one layout.

    Args:
        activations: One row per example.
        labels: One row for all fits, or one for each.
        weights: What each example counts in each fit; all count 1 if left out.

    Raises:
        ShapeError: If the lengths disagree.
        DataError: If a value is not finite, or a weight is negative.
        EmptyClassError: If a class has no example in one of the fits.
    """
    if activations.dim() < 2 or 0 in activations.shape[-2:]:
        raise ShapeError(
            f"Activations of shape {list(activations.shape)} cannot be fitted.",
            expected="[..., example, d_model] with at least one of each.",
        )
    n, d_model = activations.shape[-2:]
    if activations.dtype not in (torch.float32, torch.float64):
        activations = activations.float()
    device, dtype = activations.device, activations.dtype
    single = labels.dim() == 1 and weights is None
    labels = torch.atleast_2d(labels.to(device))
    weights = torch.ones(1, n) if weights is None else torch.atleast_2d(weights)
    if labels.shape[-1] != n or weights.shape[-1] != n:
        raise ShapeError(
            f"{labels.shape[-1]} labels and {weights.shape[-1]} weights were given for"
            f" {n} examples.",
            expected="One of each for every example.",
        )
    n_fits = max(len(labels), len(weights))
    if not {len(labels), len(weights)} <= {1, n_fits}:
        raise ShapeError(
            f"{len(labels)} rows of labels and {len(weights)} of weights were given.",
            expected="One row for each fit, or one for all.",
        )
    labels = labels.expand(n_fits, n)
    weights = weights.to(device, dtype).expand(n_fits, n)
    # One pass; a sum is finite only if its terms are, bar overflow, which is as bad.
    if not torch.isfinite(activations.sum()) or not torch.isfinite(weights).all():
        raise DataError(
            "Activations or weights hold values that are not finite.",
            expected="Numbers only.",
            remedy="Leave the examples with NaN or infinite values out.",
        )
    if (weights < 0).any():
        raise DataError("An example has a negative weight.", expected="0 or more.")
    _check_classes(labels, weights)
    return Task(
        rows=activations.reshape(-1, n, d_model),
        labels=labels,
        weights=weights,
        shape=(*activations.shape[:-2], *(() if single else (n_fits,))),
    )


def _check_classes(labels: Tensor, weights: Tensor) -> None:
    used = weights > 0
    for name, members in (("positive", labels), ("negative", ~labels)):
        lacking = ~(used & members).any(-1)
        if lacking.any():
            which = f" in fit {int(lacking.nonzero()[0])}" if len(lacking) > 1 else ""
            raise EmptyClassError(
                f"None of the {labels.shape[-1]} examples is {name}{which}.",
                expected="A probe separates two classes.",
                remedy="Give examples of both, or use fewer folds.",
            )
