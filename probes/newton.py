"""Many logistic regressions with shared features, by Newton's method with inner CG.

The problems of one call share their features and differ in weights, labels and penalty:
folds, permutations, a path of penalties. One product with the features serves them all,
and a problem that is done is taken out of it. The layout `[site, fit, ...]` keeps
products for few problems as fast, per problem, as those for many.

Each problem is, with `c_i` scikit-learn's C times the weight of example i,

    minimise  sum_i c_i log(1 + exp(-s_i (x_i a + b))) + |a|^2 / 2

and its gap to the optimum is at most |gradient|^2 / 2 where the derivative in the
intercept b vanishes: the duality gap of the dual point that the residuals define.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from probes.preconditioning import (
    LEAST_CURVATURE,
    Preconditioner,
    diagonal,
    factored,
)


MAX_NEWTON = 80
MAX_CONJUGATE = 500
MAX_HALVINGS = 30
# A factor costs about as much as a step of CG for every ten features (measured), and
# a problem that needs a third of those will need the rest too.
FEATURES_PER_STEP = 25
LEAST_PATIENCE = 20
# CG ends when the residual is below this share, or sooner far from the optimum.
FORCING = 0.25
# The last step aims this far below the tolerance, so that it is the last.
LAST_STEP = 0.1
# The last digits of an objective are noise: a rise below it is no rise.
NOISE = {torch.float32: 1e-6, torch.float64: 1e-13}
# A bound that shrinks by less than this, while the objective stands, will not shrink.
STALL = 0.9
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
        signs: +1 for positive, -1 for negative examples.
        costs: What the loss of an example counts; 0 leaves it out.
        ridge: 1 for each penalised feature, 0 for the intercept.
    """

    features: Float[Tensor, "site example feature"]
    signs: Examples
    costs: Examples
    ridge: Float[Tensor, " feature"]

    def logits(self, point: Points) -> Examples:
        """The weights applied to every example."""
        return torch.matmul(point, self.features.mT)

    def pull(self, values: Examples) -> Points:
        """The transpose of `logits`."""
        return torch.matmul(values, self.features)

    def penalty(self, point: Points) -> Values:
        """Half the squared norm of the weights, the intercept left out."""
        return (self.ridge * point.square()).sum(-1) / 2

    def loss(self, logits: Examples) -> Values:
        """The weighted loss, without the penalty, summed in float64 if there is one."""
        return -(self.costs * logsigmoid(self.signs * logits)).sum(-1)

    def some(self, index: Tensor) -> "Problems":
        return Problems(
            features=self.features,
            signs=_take(self.signs, index),
            costs=_take(self.costs, index),
            ridge=self.ridge,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Where the iteration ended and which problems met the tolerance."""

    point: Points
    converged: Bool[Tensor, "site fit"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """A Newton step, what it adds to the logits, and the CG steps that it took."""

    point: Points
    logits: Examples
    n_steps: int


def solve(problems: Problems, start: Points, *, gap: float) -> Solution:
    """The optima of all problems, in the arithmetic of the features.

    Args:
        problems: The problems.
        start: Where to begin.
        gap: Stop when the gap is at most this share of the objective.
    """
    result = start.clone()
    reached = torch.zeros(start.shape[:2], dtype=torch.bool, device=start.device)
    index = _all_of(start)
    work, point, logits = problems, start, problems.logits(start)
    squares = problems.features.square().sum(1)
    factor: Preconditioner | None = None
    patience = max(LEAST_PATIENCE, min(work.features.shape[1:]) // FEATURES_PER_STEP)
    last: _Progress | None = None
    for _ in range(MAX_NEWTON):
        slope, curvature = derivatives(work, logits)
        gradient = torch.addcmul(work.pull(slope), work.ridge, point)
        objective = work.loss(logits) + work.penalty(point)
        bound = gap_bound(gradient, curvature)
        done = bound <= gap * objective
        result.scatter_(1, _wide(index, point), point)
        reached.scatter_(1, index, done)
        if last is not None:
            done = done | last.stalls(objective, bound)
        if done.all():
            break
        kept = remaining(done)
        if kept is not None:
            index, work = index.gather(1, kept), work.some(kept)
            point, logits, gradient, curvature, objective, bound, done = (
                _take(value, kept)
                for value in (
                    point,
                    logits,
                    gradient,
                    curvature,
                    objective,
                    bound,
                    done,
                )
            )
            last = last and last.some(kept)
        if factor is None and patience <= 0 and index.shape[1] == 1:
            factor = factored(work.features, curvature, work.ridge)
            patience = MAX_NEWTON * MAX_CONJUGATE
        step = conjugate(
            work,
            curvature,
            gradient,
            factor or diagonal(squares, curvature, work.ridge),
            tolerance=_forcing(bound, last, gap * objective),
        )
        last = _Progress(objective=objective, bound=bound)
        patience -= step.n_steps
        size = _step_size(work, point, logits, step, objective) * ~done
        point = point + size[..., None] * step.point
        logits = logits + size[..., None] * step.logits
    return Solution(point=result, converged=reached)


def conjugate(
    problems: Problems,
    curvature: Examples,
    gradient: Points,
    precondition: Preconditioner,
    *,
    tolerance: Values,
) -> Step:
    """The Newton step by preconditioned conjugate gradients.

    Args:
        problems: The problems.
        curvature: Second derivative of the loss of each example.
        gradient: The gradient of the objective.
        precondition: Stands for the inverse of the Hessian.
        tolerance: At which share of the first residual each problem is done.
    """
    whole, whole_logits = torch.zeros_like(gradient), torch.zeros_like(curvature)
    index = _all_of(gradient)
    step, logits = whole.clone(), whole_logits.clone()
    residual = -gradient
    towards = precondition(residual)
    direction = towards
    size = _dot(residual, towards)
    enough = size * tolerance.square()
    n_steps = 0
    for _ in range(MAX_CONJUGATE):
        n_steps += 1
        along = problems.logits(direction)
        image = torch.addcmul(
            problems.pull(curvature * along), problems.ridge, direction
        )
        length = size / _dot(direction, image).clamp_min(LEAST_CURVATURE)
        step = torch.addcmul(step, length[..., None], direction)
        logits = torch.addcmul(logits, length[..., None], along)
        residual = torch.addcmul(residual, length[..., None], image, value=-1)
        towards = precondition(residual)
        before, size = size, _dot(residual, towards)
        done = size <= enough
        if done.all():
            break
        ratio = size / before.clamp_min(LEAST_CURVATURE)
        direction = torch.addcmul(towards, ratio[..., None], direction)
        kept = remaining(done)
        if kept is None:
            continue
        whole.scatter_(1, _wide(index, step), step)
        whole_logits.scatter_(1, _wide(index, logits), logits)
        index, problems = index.gather(1, kept), problems.some(kept)
        precondition = precondition.some(kept)
        step, logits, residual, direction, curvature, size, enough = (
            _take(value, kept)
            for value in (step, logits, residual, direction, curvature, size, enough)
        )
    whole.scatter_(1, _wide(index, step), step)
    whole_logits.scatter_(1, _wide(index, logits), logits)
    return Step(point=whole, logits=whole_logits, n_steps=n_steps)


def gap_bound(gradient: Points, curvature: Examples) -> Values:
    """What is at most left to gain, if the intercept is near its own optimum."""
    left = gradient[..., -1].square() / curvature.sum(-1).clamp_min(LEAST_CURVATURE)
    return gradient[..., :-1].square().sum(-1) / 2 + left


def remaining(done: Bool[Tensor, "site fit"]) -> Tensor | None:
    """Which problems of each site go on, [site, most]; None if nearly all do.

    Every site keeps as many as the site with the most, the others padded with problems
    that are done: those go on harmlessly.
    """
    most = int((~done).sum(1).max())
    if most > SHARE_BEFORE_COMPACTION * done.shape[1] or most == done.shape[1]:
        return None
    return torch.sort(done.to(torch.uint8), dim=1, stable=True).indices[:, :most]


def derivatives(problems: Problems, logits: Examples) -> tuple[Examples, Examples]:
    """First and second derivative of each example's loss in its logit."""
    # Of the margin, not of p - y: that loses all digits for well-classified examples.
    wrong = torch.sigmoid(-problems.signs * logits)
    slope = problems.costs * wrong
    return -problems.signs * slope, slope * (1 - wrong)


def _step_size(
    problems: Problems, point: Points, logits: Examples, step: Step, before: Values
) -> Values:
    """The largest of 1, 1/2, 1/4, ... that does not raise the objective."""
    size = torch.ones_like(before)
    noise = NOISE[before.dtype] * before.abs()
    for _ in range(MAX_HALVINGS):
        moved = point + size[..., None] * step.point
        after = problems.loss(logits + size[..., None] * step.logits)
        rises = after + problems.penalty(moved) > before + noise
        if not rises.any():
            break
        size = torch.where(rises, size / 2, size)
    return size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Progress:
    """Where the problems stood before the last step."""

    objective: Values
    bound: Values

    def stalls(self, objective: Values, bound: Values) -> Tensor:
        """Which problems no longer move, for want of digits."""
        noise = NOISE[objective.dtype] * objective.abs()
        stands = self.objective - objective <= noise
        return (stands & (bound > STALL * self.bound)) | ~bound.isfinite()

    def some(self, index: Tensor) -> "_Progress":
        return _Progress(
            objective=_take(self.objective, index), bound=_take(self.bound, index)
        )


def _forcing(bound: Values, last: _Progress | None, wanted: Values) -> Values:
    """How exactly a Newton step is worth solving (Eisenstat & Walker's choice 2)."""
    if last is None:
        return torch.full_like(bound, FORCING)
    needed = (LAST_STEP * wanted / bound.clamp_min(LEAST_CURVATURE)).sqrt()
    ratio = bound / last.bound.clamp_min(LEAST_CURVATURE)
    return torch.maximum(ratio, needed).clamp(max=FORCING)


def _dot(a: Points, b: Points) -> Values:
    return torch.linalg.vecdot(a, b)


def _all_of(values: Tensor) -> Tensor:
    sites, fits = values.shape[:2]
    return torch.arange(fits, device=values.device).expand(sites, fits)


def _wide(index: Tensor, values: Tensor) -> Tensor:
    return index[..., None].expand(*index.shape, values.shape[-1])


def _take(values: Tensor, index: Tensor) -> Tensor:
    if values.dim() == 2:
        return values.gather(1, index)
    return values.gather(1, _wide(index, values))
