"""Many logistic regressions with shared features, by Newton's method in moving planes.

The problems of one call share their features and differ in weights, labels and penalty:
folds, permutations, a path of penalties. One product with the features serves them all,
and a problem that is done is taken out of it. The layout `[site, fit, ...]` keeps
products for few problems as fast, per problem, as those for many.

Each problem is, with `c_i` scikit-learn's C times the weight of example i,

    minimise  sum_i c_i log(1 + exp(-s_i (x_i a + b))) + |a|^2 / 2

A step is Newton's in the plane of the preconditioned gradient and of the last step: on
a quadratic that is conjugate gradients, and here it needs no inner iteration, so that
no product is spent on a Hessian that the next step makes stale (measured: 0.6 of the
products of Newton-CG). The gap to the optimum is at most |gradient|^2 / 2 where the
derivative in b vanishes: the duality gap of the dual point that the residuals define.

Margins are `-s_i (x_i a + b)`: what the loss grows with. They move along the same steps
as the weights and are carried along, so that a step costs two products. For one small
problem half of the time goes into calling operations: the loop is written to need few.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.linalg import vecdot
from torch.nn.functional import softplus

from probes.preconditioning import (
    LEAST_CURVATURE,
    Diagonal,
    Preconditioner,
    factored,
    leading,
)


MAX_STEPS = 3000
MAX_HALVINGS = 30
# By then the curvature is about where it will be; a first factor, of the examples that
# matter most, costs as much as a dozen steps and halves their number (measured).
STEPS_BEFORE_LEADING = 8
# A whole factor costs about as much as a step for every ten features (measured).
FEATURES_PER_STEP = 10
LEAST_PATIENCE = 30
# The last digits of an objective are noise: a rise below it is no rise.
NOISE = {torch.float32: 1e-6, torch.float64: 1e-13}
# Keeps the equations of a plane solvable when its two directions are nearly one.
PARALLEL = {torch.float32: 1e-6, torch.float64: 1e-14}
# A bound that has not shrunk by a tenth in so many steps lacks digits to shrink.
STALL, STEPS_TO_STALL = 0.9, 48
# Whether a problem is done is asked only so often: asking costs a third of what a step
# of one small problem does.
STEPS_BETWEEN_CHECKS = 3
# Margins that are only ever added to drift from those of the weights.
STEPS_BETWEEN_REFRESHES = 64
# With no more than this share at work, the others are taken out of the product.
SHARE_BEFORE_COMPACTION = 0.8

Points = Float[Tensor, "site fit feature"]
Examples = Float[Tensor, "site fit example"]
Values = Float[Tensor, "site fit"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problems:
    """Features of several sites, and the regressions wanted on each.

    Attributes:
        features: Shared by all problems of a site; the last is the constant 1.
        against: -1 for positive, +1 for negative examples.
        costs: What the loss of an example counts; 0 leaves it out.
        ridge: 1 for each penalised feature, 0 for the intercept.
    """

    features: Float[Tensor, "site example feature"]
    against: Examples
    costs: Examples
    ridge: Float[Tensor, " feature"]

    def margins(self, point: Points) -> Examples:
        """What the loss of each example grows with."""
        return torch.matmul(point, self.features.mT).mul_(self.against)

    def objective(self, margins: Examples, point: Points) -> Values:
        """The weighted loss and the penalty."""
        inner = point[..., :-1]
        return vecdot(self.costs, softplus(margins)).add_(
            vecdot(inner, inner), alpha=0.5
        )

    def derivatives(self, margins: Examples, point: Points) -> "Derivatives":
        """First and second derivatives of the objective."""
        # Of the margin, not p - y: that loses all digits for well-classified examples.
        wrong = torch.sigmoid(margins)
        pulled = self.costs * wrong
        return Derivatives(
            curvature=torch.addcmul(pulled, pulled, wrong, value=-1),
            gradient=torch.baddbmm(
                self.ridge * point, pulled.mul_(self.against), self.features
            ),
        )

    def some(self, index: Tensor) -> "Problems":
        return Problems(
            features=self.features,
            against=_take(self.against, index),
            costs=_take(self.costs, index),
            ridge=self.ridge,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Derivatives:
    """Derivatives of the objective at a point.

    Attributes:
        curvature: The second derivative in every margin.
        gradient: The first in the weights.
    """

    curvature: Examples
    gradient: Points

    def gap_bound(self, offset: Values) -> Values:
        """What is at most left to gain, once the intercept is at its own optimum.

        Args:
            offset: How far the examples of each problem are from the origin on average:
                what moving the intercept adds to the gradient in the weights.
        """
        inner, slope = self.gradient[..., :-1], self.gradient[..., -1].abs()
        curvature = self.curvature.sum(-1).clamp_min_(LEAST_CURVATURE)
        length = vecdot(inner, inner).sqrt_().addcmul_(offset, slope)
        return length.square_().mul_(0.5).addcdiv_(slope.square_(), curvature)

    def some(self, index: Tensor) -> "Derivatives":
        return Derivatives(
            curvature=_take(self.curvature, index),
            gradient=_take(self.gradient, index),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Where the iteration ended and which problems met the tolerance."""

    point: Points
    converged: Bool[Tensor, "site fit"]


@dataclass(slots=True, kw_only=True, eq=False)
class _State:
    """Where the problems at work stand; the only thing here that changes in place.

    `margin_step` and `point_step` are what was last taken off.
    """

    index: Tensor
    margins: Examples
    point: Points
    margin_step: Examples
    point_step: Points
    objective: Values
    before: Values
    offset: Values
    ended: Bool[Tensor, "site fit"]

    def keep(self, kept: Tensor) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, _take(getattr(self, name), kept))

    def stalls(self, bound: Values) -> Tensor:
        """Which problems have not come nearer since this was last asked."""
        stands = ~(bound < STALL * self.before)
        self.before = bound
        return stands


def solve(problems: Problems, start: Points, *, gap: float) -> Solution:
    """The optima of all problems, in the arithmetic of the features.

    Args:
        problems: The problems.
        start: Where to begin.
        gap: Stop when the gap is at most this share of the objective.
    """
    result = start.clone()
    reached = torch.zeros(start.shape[:2], dtype=torch.bool, device=start.device)
    work = problems
    state = _started(work, start)
    squares = work.features.square().sum(1, keepdim=True)
    factor: Preconditioner | None = None
    patience = max(LEAST_PATIENCE, min(work.features.shape[1:]) // FEATURES_PER_STEP)
    for number in range(MAX_STEPS + 1):
        at = work.derivatives(state.margins, state.point)
        if number % STEPS_BETWEEN_CHECKS == 0 or number == MAX_STEPS:
            bound = at.gap_bound(state.offset)
            done = bound <= gap * state.objective
            state.ended = done
            if number and number % STEPS_TO_STALL == 0:
                state.ended = done | state.stalls(bound)
            kept = remaining(state.ended)
            if kept is not None or number == MAX_STEPS:
                result.scatter_(1, _wide(state.index, state.point), state.point)
                reached.scatter_(1, state.index, done)
            if kept is not None:
                if not kept.shape[1]:
                    break
                state.keep(kept)
                work, at = work.some(kept), at.some(kept)
        if state.index.shape[1] == 1:
            if number == STEPS_BEFORE_LEADING:
                factor = leading(work.features, squares, at.curvature, work.ridge)
            elif number == patience:
                factor = factored(work.features, at.curvature, work.ridge)
        inverse = factor or Diagonal.of(squares, at.curvature, work.ridge)
        _move(state, work, inverse(at.gradient), at)
        if number and number % STEPS_BETWEEN_REFRESHES == 0:
            state.margins = work.margins(state.point)
            state.objective = work.objective(state.margins, state.point)
    return Solution(point=result, converged=reached)


def remaining(done: Bool[Tensor, "site fit"]) -> Tensor | None:
    """Which problems of each site go on, [site, most]; None if nearly all do.

    Every site keeps as many as the site with the most, the others padded with problems
    that are done: those stay where they are.
    """
    if not done.any():
        return None
    most = int((~done).sum(1).max())
    if most > SHARE_BEFORE_COMPACTION * done.shape[1]:
        return None
    return torch.sort(done.to(torch.uint8), dim=1, stable=True).indices[:, :most]


def _started(problems: Problems, start: Points) -> _State:
    sites, fits = start.shape[:2]
    margins = problems.margins(start)
    objective = problems.objective(margins, start)
    means = torch.matmul(problems.costs, problems.features)
    means = means / means[..., -1:].clamp_min(LEAST_CURVATURE)
    return _State(
        index=torch.arange(fits, device=start.device).repeat(sites, 1),
        margins=margins,
        point=start,
        margin_step=torch.zeros_like(margins),
        point_step=torch.zeros_like(start),
        objective=objective,
        before=torch.full_like(objective, torch.inf),
        offset=torch.linalg.vector_norm(means[..., :-1], dim=-1),
        ended=torch.zeros_like(objective, dtype=torch.bool),
    )


def _move(state: _State, problems: Problems, uphill: Points, at: Derivatives) -> None:
    """Take Newton's step in the plane of a direction and of the last step.

    It is halved until the objective does not rise; problems that ended stay.
    """
    margin_step, point_step = _newton_step(state, problems, uphill, at)
    highest = state.objective * (1 + NOISE[uphill.dtype])
    for _ in range(MAX_HALVINGS):
        margins, point = state.margins - margin_step, state.point - point_step
        objective = problems.objective(margins, point)
        # NaN compares as false: an overflow must count as a rise.
        falls = objective <= highest
        if falls.all():
            state.margins, state.point, state.objective = margins, point, objective
            break
        size = torch.where(falls, 1.0, 0.5)[..., None]
        margin_step, point_step = margin_step * size, point_step * size
    else:
        # A step that is not finite would spoil the plane of the next one.
        margin_step = torch.zeros_like(margin_step)
        point_step = torch.zeros_like(point_step)
    state.margin_step, state.point_step = margin_step, point_step


def _newton_step(
    state: _State, problems: Problems, uphill: Points, at: Derivatives
) -> tuple[Examples, Points]:
    """What to take off the margins and the weights; nothing for ended problems."""
    along = problems.margins(uphill)
    bent = at.curvature * along
    new, old = uphill[..., :-1], state.point_step[..., :-1]
    new_new = vecdot(bent, along) + vecdot(new, new)
    new_old = vecdot(bent, state.margin_step) + vecdot(new, old)
    bent = at.curvature * state.margin_step
    old_old = vecdot(bent, state.margin_step).add_(vecdot(old, old))
    old_old.clamp_min_(LEAST_CURVATURE)
    # Two equations in two unknowns, the second one eliminated.
    share = new_old / old_old
    rise = vecdot(at.gradient, state.point_step)
    left = new_new.mul_(1 + PARALLEL[bent.dtype]).addcmul_(share, new_old, value=-1)
    by_new = (vecdot(at.gradient, uphill) - share * rise) / left
    by_old = rise / old_old - share * by_new
    by_new = torch.where(state.ended, 0.0, by_new)[..., None]
    by_old = torch.where(state.ended, 0.0, by_old)[..., None]
    return (
        (by_old * state.margin_step).addcmul_(by_new, along),
        (by_old * state.point_step).addcmul_(by_new, uphill),
    )


def _wide(index: Tensor, values: Tensor) -> Tensor:
    return index[..., None].expand(*index.shape, values.shape[-1])


def _take(values: Tensor, index: Tensor) -> Tensor:
    if values.dim() == 2:
        return values.gather(1, index)
    return values.gather(1, _wide(index, values))
