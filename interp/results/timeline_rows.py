"""The rows of a `HeadTimeline`: when something changed, and what was not measured."""

from dataclasses import dataclass
from typing import Literal

from interp.results.files import Number


Estimator = Literal["threshold crossing", "steepest slope", "logistic midpoint"]
Verdict = Literal["transition", "no transition", "undetermined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTime:
    """When a curve changed, by one definition, in steps; NaN if it has no answer.

    Two uncertainties that must not be mixed: `low` and `high` come from drawing the
    evaluation sequences anew, `grid_low` and `grid_high` are the checkpoints between
    which it happened, and nothing was measured there. That other seeds of training
    change at other times is a third one: see `interp.heads.over_runs`.

    Attributes:
        estimator: The definition.
        step: The estimate.
        low: Lower end of the 95 % interval over evaluation sequences; NaN without them.
        high: Its upper end.
        grid_low: The last checkpoint before.
        grid_high: The first checkpoint after.
    """

    estimator: Estimator
    step: Number
    low: Number
    high: Number
    grid_low: Number
    grid_high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChange:
    """Whether a curve has a phase change, when, and how abrupt it is.

    Attributes:
        curve: What was followed over training.
        verdict: Whether there is one; all times are NaN unless there is.
        reason: What the verdict rests on, in a sentence.
        scale: Whether the curve was looked at over steps or over their logarithm.
        times: When, by each estimator.
        start: The level before, of the logistic curve.
        end: The level after.
        threshold: The level whose crossing counts.
        width: Steps from a tenth to nine tenths of the way, of the logistic curve.
        abruptness: Steps from a fifth to four fifths of the way, over the step of the
            crossing; small is abrupt.
        plateau_slope: The slope before the change over the steepest slope; near 0 on a
            plateau.
        bic_logistic: Bayesian information criterion of the logistic curve.
        bic_line: Of a straight line.
        bic_exponential: Of a single exponential.
        held_up: The share of resamples of the sequences with the same verdict.
    """

    curve: str
    verdict: Verdict
    reason: str
    scale: Literal["linear", "log"]
    times: tuple[ChangeTime, ...]
    start: Number
    end: Number
    threshold: Number
    width: Number
    abruptness: Number
    plateau_slope: Number
    bic_logistic: Number
    bic_line: Number
    bic_exponential: Number
    held_up: Number

    def time(self, estimator: Estimator) -> ChangeTime:
        """When, by one estimator."""
        return next(row for row in self.times if row.estimator == estimator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """By how many steps one curve changes after another.

    The interval is of the difference itself: both curves are refitted on the same
    draws of the evaluation sequences. It says nothing about other seeds of training.

    Attributes:
        first: The curve that is subtracted.
        second: The curve it is subtracted from.
        estimator: The definition of the time of change.
        steps: Time of the second minus time of the first.
        low: Lower end of the 95 % interval; NaN if a curve has no samples.
        high: Its upper end.
        unresolved: Whether both changes lie between the same two checkpoints, so that
            their order rests on the shape of the curves alone.
    """

    first: str
    second: str
    estimator: Estimator
    steps: Number
    low: Number
    high: Number
    unresolved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSwap:
    """Another head took over as the highest of a metric.

    Attributes:
        metric: Which metric.
        step: The first checkpoint with the new head.
        before: The highest head until then, as `L1H0`.
        after: The highest head since.
    """

    metric: str
    step: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCheckpoint:
    """A checkpoint that could not be measured.

    Attributes:
        name: Its folder or revision.
        step: Its step.
        reason: What was wrong with it.
    """

    name: str
    step: int
    reason: str
