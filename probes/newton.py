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

Logits and weights are kept in one vector, `[logits, weights]`: both move along the same
steps, and the objective is a sum over its entries. For one small problem the time goes
into calling operations, so that the loop is written to need few of them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from probes.preconditioning import (
    LEAST_CURVATURE,
    Diagonal,
    Preconditioner,
    factored,
)


MAX_STEPS = 3000
MAX_HALVINGS = 30
# A factor costs about as much as a step for every ten features (measured).
FEATURES_PER_STEP = 10
LEAST_PATIENCE = 30
# The last digits of an objective are noise: a rise below it is no rise.
NOISE = {torch.float32: 1e-6, torch.float64: 1e-13}
# Keeps the equations of a plane solvable when its two directions are nearly one.
PARALLEL = {torch.float32: 1e-6, torch.float64: 1e-14}
# A bound that has not shrunk by a tenth in so many steps lacks digits to shrink.
STALL, STEPS_TO_STALL = 0.9, 48
# Logits that are only ever added to drift from those of the weights.
STEPS_BETWEEN_REFRESHES = 64
# With no more than this share at work, the others are taken out of the product.
SHARE_BEFORE_COMPACTION = 0.8

Points = Float[Tensor, "site fit feature"]
Examples = Float[Tensor, "site fit example"]
Joint = Float[Tensor, "site fit example_and_feature"]
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

    @property
    def n(self) -> int:
        return self.features.shape[1]

    def joint(self, point: Points) -> Joint:
        """Logits and weights in one vector."""
        return torch.cat((torch.matmul(point, self.features.mT), point), -1)

    def objective(self, joint: Joint) -> Values:
        """The weighted loss and the penalty."""
        logits, point = joint[..., : self.n], joint[..., self.n :]
        loss = torch.linalg.vecdot(self.costs, softplus(self.against * logits))
        return torch.linalg.vecdot(self.ridge * point, point) / 2 + loss

    def derivatives(self, joint: Joint) -> "Derivatives":
        """First and second derivative of the objective in every entry."""
        logits, point = joint[..., : self.n], joint[..., self.n :]
        # Of the margin, not p - y: that loses all digits for well-classified examples.
        wrong = torch.sigmoid(self.against * logits)
        pulled = self.costs * wrong
        slope = torch.cat((self.against * pulled, self.ridge * point), -1)
        gradient = torch.matmul(slope[..., : self.n], self.features)
        return Derivatives(
            slope=slope,
            curvature=torch.addcmul(pulled, pulled, wrong, value=-1),
            gradient=gradient.add_(slope[..., self.n :]),
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
        slope: In every logit and, of the penalty, in every weight.
        curvature: The second derivative in every logit.
        gradient: In the weights, by way of the logits too.
    """

    slope: Joint
    curvature: Examples
    gradient: Points

    def gap_bound(self, offset: Values) -> Values:
        """What is at most left to gain, once the intercept is at its own optimum.

        Args:
            offset: How far the examples of each problem are from the origin on average:
                what moving the intercept adds to the gradient in the weights.
        """
        inner, slope = self.gradient[..., :-1], self.gradient[..., -1].abs()
        curvature = self.curvature.sum(-1).clamp_min(LEAST_CURVATURE)
        length = torch.linalg.vector_norm(inner, dim=-1) + offset * slope
        return length.square() / 2 + slope.square() / curvature

    def some(self, index: Tensor) -> "Derivatives":
        return Derivatives(
            slope=_take(self.slope, index),
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
    """Where the problems at work stand; the only thing here that changes in place."""

    index: Tensor
    joint: Joint
    step: Joint
    objective: Values
    before: Values
    offset: Values

    def keep(self, kept: Tensor) -> None:
        for name in ("index", "joint", "step", "objective", "before", "offset"):
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
    work, n = problems, problems.n
    state = _started(work, start)
    squares = work.features.square().sum(1, keepdim=True)
    factor: Preconditioner | None = None
    patience = max(LEAST_PATIENCE, min(work.features.shape[1:]) // FEATURES_PER_STEP)
    for number in range(1, MAX_STEPS + 1):
        at = work.derivatives(state.joint)
        bound = at.gap_bound(state.offset)
        done = bound <= gap * state.objective
        ended = done
        if number % STEPS_TO_STALL == 0:
            ended = done | state.stalls(bound)
        kept = remaining(ended)
        if kept is not None or number == MAX_STEPS:
            wide = _wide(state.index, at.gradient)
            result.scatter_(1, wide, state.joint[..., n:])
            reached.scatter_(1, state.index, done)
        if kept is not None:
            if not kept.shape[1]:
                break
            state.keep(kept)
            work, at, ended = work.some(kept), at.some(kept), _take(ended, kept)
        if number == patience and state.index.shape[1] == 1:
            factor = factored(work.features, at.curvature, work.ridge)
        inverse = factor or Diagonal.of(squares, at.curvature, work.ridge)
        _move(state, work, work.joint(inverse(at.gradient)), at, ended)
        if number % STEPS_BETWEEN_REFRESHES == 0:
            state.joint = work.joint(state.joint[..., n:])
            state.objective = work.objective(state.joint)
    return Solution(point=result, converged=reached)


def remaining(done: Bool[Tensor, "site fit"]) -> Tensor | None:
    """Which problems of each site go on, [site, most]; None if nearly all do.

    Every site keeps as many as the site with the most, the others padded with problems
    that are done: those stay where they are.
    """
    most = int((~done).sum(1).max())
    if most > SHARE_BEFORE_COMPACTION * done.shape[1]:
        return None
    return torch.sort(done.to(torch.uint8), dim=1, stable=True).indices[:, :most]


def _started(problems: Problems, start: Points) -> _State:
    sites, fits = start.shape[:2]
    joint = problems.joint(start)
    objective = problems.objective(joint)
    means = torch.matmul(problems.costs, problems.features)
    means = means / means[..., -1:].clamp_min(LEAST_CURVATURE)
    return _State(
        index=torch.arange(fits, device=start.device).repeat(sites, 1),
        joint=joint,
        step=torch.zeros_like(joint),
        objective=objective,
        before=torch.full_like(objective, torch.inf),
        offset=torch.linalg.vector_norm(means[..., :-1], dim=-1),
    )


def _move(
    state: _State, problems: Problems, uphill: Joint, at: Derivatives, ended: Tensor
) -> None:
    """Take Newton's step in the plane of a direction and of the last step.

    It is halved until the objective does not rise; problems that ended stay.
    """
    n = problems.n
    plane = torch.stack((uphill, state.step), -2)
    bent = torch.cat(
        (plane[..., :n] * at.curvature[..., None, :], plane[..., n:] * problems.ridge),
        -1,
    )
    hessian = torch.matmul(bent, plane.mT)
    size = hessian.diagonal(dim1=-2, dim2=-1)
    size.mul_(1 + PARALLEL[size.dtype]).add_(LEAST_CURVATURE)
    rise = torch.matmul(plane, at.slope[..., None])
    share = torch.linalg.solve_ex(hessian, rise).result
    step = -torch.matmul(share.mT, plane)[..., 0, :] * ~ended[..., None]
    highest = state.objective + NOISE[step.dtype] * state.objective.abs()
    for _ in range(MAX_HALVINGS):
        joint = state.joint + step
        objective = problems.objective(joint)
        # NaN compares as false: an overflow must count as a rise.
        falls = objective <= highest
        if falls.all():
            break
        step = torch.where(falls[..., None], step, step / 2)
    else:
        joint, objective = state.joint, state.objective
    state.joint, state.step, state.objective = joint, step, objective


def _wide(index: Tensor, values: Tensor) -> Tensor:
    return index[..., None].expand(*index.shape, values.shape[-1])


def _take(values: Tensor, index: Tensor) -> Tensor:
    if values.dim() == 2:
        return values.gather(1, index)
    return values.gather(1, _wide(index, values))
