"""One logistic regression of uncorrelated features on a CPU, at two products a step.

The steps are those of `newton`, for which see there. A single small problem spends more
time in calling operations than in products: here they are NumPy's, whose products with
one vector are also twice as fast as PyTorch's where that library is not built for the
processor (measured on AMD).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


MAX_STEPS = 300
MAX_HALVINGS = 30
# The last digits of an objective are noise: a rise below it is no rise.
NOISE = 1e-6
# Keeps the equations of a plane solvable when its two directions are nearly one.
PARALLEL = 1e-6
LEAST_CURVATURE = 1e-30
# A bound that has not shrunk by a tenth in so many steps lacks digits to shrink.
STALL, STEPS_TO_STALL = 0.9, 48
# Margins that are only ever added to drift from those of the weights.
STEPS_BETWEEN_REFRESHES = 64

Example = Float[np.ndarray, " example"]
Feature = Float[np.ndarray, " feature"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """One regression; the loss of an example grows with its margin.

    Attributes:
        rows: The examples, positive ones with their sign changed.
        against: -1 for positive, +1 for negative examples.
        costs: What the loss of an example counts.
    """

    rows: Float[np.ndarray, "example feature"]
    against: Example
    costs: Example

    def margins(self, weights: Feature, intercept: float) -> Example:
        found = self.rows @ weights
        found += self.against * np.float32(intercept)
        return found

    def objective(self, margins: Example, weights: Feature) -> float:
        # PyTorch's softplus is one pass; NumPy's logaddexp costs as much as a product.
        loss = softplus(torch.from_numpy(margins)).numpy()
        return float(self.costs @ loss) + float(weights @ weights) / 2


@dataclass(slots=True, kw_only=True, eq=False)
class _State:
    """Where the problem stands, and the last step: what it took off each."""

    margins: Example
    weights: Feature
    intercept: float
    objective: float
    margin_step: Example
    weight_step: Feature
    intercept_step: float

    def move(self, problem: _Problem) -> bool:
        """Take the step, halved until the objective does not rise; False if none is."""
        highest = self.objective * (1 + NOISE)
        for _ in range(MAX_HALVINGS):
            margins = self.margins - self.margin_step
            weights = self.weights - self.weight_step
            objective = problem.objective(margins, weights)
            # NaN compares as false: an overflow must count as a rise.
            if objective <= highest:
                self.margins, self.weights = margins, weights
                self.intercept -= self.intercept_step
                self.objective = objective
                return True
            self.margin_step, self.weight_step = (
                self.margin_step / 2,
                self.weight_step / 2,
            )
            self.intercept_step /= 2
        return False


def solve_alone(
    rows: Float[Tensor, "example d_model"],
    against: Float[Tensor, " example"],
    costs: Float[Tensor, " example"],
    *,
    gap: float,
) -> Float[Tensor, " feature"]:
    """Weights and, last, the intercept of one regression, or as near as steps lead.

    Args:
        rows: The centred examples, in float32 on a CPU; they are overwritten.
        against: -1 for positive, +1 for negative examples.
        costs: What the loss of an example counts.
        gap: Stop when the gap is at most this share of the objective.
    """
    problem = _Problem(
        rows=rows.mul_(against[:, None]).numpy(),
        against=against.numpy(),
        costs=costs.numpy(),
    )
    weights, intercept = _descended(problem, gap)
    return torch.from_numpy(np.append(weights, np.float32(intercept)))


def _descended(problem: _Problem, gap: float) -> tuple[Feature, float]:
    rows, costs = problem.rows, problem.costs
    n, d_model = rows.shape
    none, nowhere = np.zeros(n, np.float32), np.zeros(d_model, np.float32)
    state = _State(
        margins=none,
        weights=nowhere,
        intercept=0.0,
        objective=problem.objective(none, nowhere),
        margin_step=none,
        weight_step=nowhere,
        intercept_step=0.0,
    )
    squares = np.einsum("ij,ij->j", rows, rows) / np.float32(n)
    # How far the examples are from the origin on average.
    offset = np.linalg.norm((costs * problem.against) @ rows) / costs.sum()
    before = np.inf
    for number in range(MAX_STEPS):
        wrong = torch.sigmoid(torch.from_numpy(state.margins)).numpy()
        pulled = costs * wrong
        curvature = pulled - pulled * wrong
        total = max(float(curvature.sum()), LEAST_CURVATURE)
        gradient, slope = pulled @ rows, float(pulled @ problem.against)
        gradient += state.weights
        # As `Derivatives.gap_bound` of `newton`.
        length = float(gradient @ gradient) ** 0.5 + float(offset) * abs(slope)
        bound = length**2 / 2 + slope**2 / total
        if bound <= gap * state.objective:
            break
        if number and number % STEPS_TO_STALL == 0:
            if not bound < STALL * before:
                break
            before = bound
        uphill = gradient / (squares * np.float32(total) + np.float32(1))
        _turn(state, problem, curvature, gradient, slope, uphill, slope / total)
        if not state.move(problem):
            break
        if number and number % STEPS_BETWEEN_REFRESHES == 0:
            state.margins = problem.margins(state.weights, state.intercept)
    return state.weights, state.intercept


def _turn(
    state: _State,
    problem: _Problem,
    curvature: Example,
    gradient: Feature,
    slope: float,
    uphill: Feature,
    up: float,
) -> None:
    """Make Newton's step in the plane of a direction and of the last step the next.

    Args:
        state: Where the problem stands.
        problem: The problem.
        curvature: The second derivative in every margin.
        gradient: The first derivative in the weights.
        slope: The first derivative in the intercept.
        uphill: The direction of the weights.
        up: The direction of the intercept.
    """
    along = problem.margins(uphill, up)
    last, step = state.margin_step, state.weight_step
    bent = curvature * along
    new_new = float(bent @ along) + float(uphill @ uphill)
    new_old = float(bent @ last) + float(uphill @ step)
    old_old = float((curvature * last) @ last) + float(step @ step)
    old_old = max(old_old, LEAST_CURVATURE)
    # Two equations in two unknowns, the second one eliminated.
    share = new_old / old_old
    rise = float(gradient @ step) + slope * state.intercept_step
    left = max(new_new * (1 + PARALLEL) - share * new_old, LEAST_CURVATURE)
    by_new = (float(gradient @ uphill) + slope * up - share * rise) / left
    by_old = rise / old_old - share * by_new
    along *= np.float32(by_new)
    along += np.float32(by_old) * last
    uphill *= np.float32(by_new)
    uphill += np.float32(by_old) * step
    state.margin_step, state.weight_step = along, uphill
    state.intercept_step = by_old * state.intercept_step + by_new * up
