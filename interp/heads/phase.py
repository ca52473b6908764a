"""Whether a curve over training has a phase change, when, and how sure that is.

Three definitions of when, always named; "no transition" is an answer; and three
uncertainties that are kept apart: of the evaluation (the sequences are drawn anew, the
same for all checkpoints, and everything is refitted), of the grid (nothing is known
between two checkpoints), and of the seed (`over_runs`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.errors import ShapeError
from interp.heads.phase_fits import TO_NINE_TENTHS, LogisticFits, fit_logistic
from interp.heads.phase_times import (
    SCALES,
    bracket,
    crossing,
    on_scale,
    steepest,
    to_steps,
)
from interp.heads.phase_verdict import judge, verdict_of
from interp.results.timeline_rows import ChangeTime, Estimator, Lag, PhaseChange
from interp.statistics import LEVEL, Interval, median_over_seeds


ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
MIN_CHECKPOINTS = 6
Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """A phase change with the draws behind its intervals.

    Attributes:
        change: What was found.
        draws: Times in steps for each draw of the sequences, by estimator; empty if
            there are no sequences to draw.
    """

    change: PhaseChange
    draws: Mapping[Estimator, Float[np.ndarray, " resample"]]


def phase_change(
    samples: Float[np.ndarray, "checkpoint sequence"],
    steps: Int[np.ndarray, " checkpoint"] | Float[np.ndarray, " checkpoint"],
    *,
    curve: str = "",
    scale: Scale | None = None,
    threshold: float | None = None,
    resamples: int = 400,
    seed: int = 0,
) -> Analysis:
    """Whether, when and how abruptly the mean over sequences changes.

    The verdict is "transition" only if a logistic curve describes the checkpoints
    better than a straight line and a single exponential, by BIC, and the curve is flat
    before: its slope there is below a quarter of the steepest. If there are too few
    checkpoints before or after to see that, it is "undetermined".

    Args:
        samples: The value of each evaluation sequence at each checkpoint; the same
            sequences everywhere. NaN where there is none. One column means that there
            is nothing to draw anew.
        steps: When each checkpoint was saved, rising.
        curve: A name for what is followed.
        scale: Whether to look at steps or their logarithm; the logarithm by default
            where checkpoints are spaced like that.
        threshold: The level whose crossing counts; half of the way by default.
        resamples: Bootstrap samples.
        seed: Feeds them; two curves of as many sequences get the same draws.

    Raises:
        ShapeError: If there are fewer than 6 usable checkpoints, or steps do not rise.

    Source:
        Singh et al. (2024), arXiv:2404.07129, for the crossing of a loss.

    Example:
        >>> steps = np.arange(0, 1000, 50)
        >>> rise = 1 / (1 + np.exp(-(steps - 400) / 30.0))
        >>> found = phase_change(rise[:, None], steps).change
        >>> found.verdict, round(found.time("logistic midpoint").step)
        ('transition', 400)
    """
    values, steps = _usable(samples, steps)
    scale = _natural_scale(steps) if scale is None else scale
    x = on_scale(steps, scale)
    y = _resampled(values, resamples, seed)
    fits = fit_logistic(x, y)
    judged = judge(x, y, fits)
    way = _Way.of(x, y, fits)
    level = way.middle if threshold is None else np.full(len(y), threshold)
    found: dict[Estimator, np.ndarray] = {
        "threshold crossing": way.crossed(level),
        "steepest slope": steepest(x, y, rising=way.rising),
        "logistic midpoint": fits.midpoint,
    }
    draws: dict[Estimator, np.ndarray] = {
        name: np.where(judged.holds, to_steps(at, scale), np.nan)
        for name, at in found.items()
    }
    verdict, reason = verdict_of(judged)
    holds = verdict == "transition"
    crossed = float(draws["threshold crossing"][0])
    change = PhaseChange(
        curve=curve,
        verdict=verdict,
        reason=reason,
        scale=scale,
        times=tuple(_time(name, draws[name], steps) for name in ESTIMATORS),
        start=float(way.start[0]),
        end=float(way.end[0]),
        threshold=float(level[0]),
        width=_width(fits, scale) if holds else np.nan,
        abruptness=way.duration(scale) / crossed if holds and crossed > 0 else np.nan,
        plateau_slope=float(judged.plateau_slope[0]),
        bic_logistic=float(judged.logistic[0]),
        bic_line=float(judged.line[0]),
        bic_exponential=float(judged.exponential[0]),
        held_up=float(np.mean(judged.holds[1:] == holds)) if len(y) > 1 else np.nan,
    )
    rest: dict[Estimator, np.ndarray] = {n: found[1:] for n, found in draws.items()}
    return Analysis(change=change, draws=rest)


def lag(first: Analysis, second: Analysis, *, estimator: Estimator) -> Lag:
    """By how many steps the second curve changes after the first.

    Args:
        first: From `phase_change`, with the same resamples and seed as the second.
        second: Of another curve of the same checkpoints and sequences.
        estimator: Which definition of when.

    Raises:
        ShapeError: If the two were drawn differently often.
    """
    a, b = first.change.time(estimator), second.change.time(estimator)
    draws = [first.draws[estimator], second.draws[estimator]]
    # A curve without sequences, such as one of weights, is the same in every draw.
    sizes = {len(draw) for draw in draws if len(draw)}
    if len(sizes) > 1:
        raise ShapeError(f"The curves were drawn {sorted(sizes)} times.")
    later = draws[1] if len(draws[1]) else np.full(1, b.step)
    earlier = draws[0] if len(draws[0]) else np.full(1, a.step)
    low, high = _bounds(later - earlier) if sizes else (np.nan, np.nan)
    return Lag(
        first=first.change.curve,
        second=second.change.curve,
        estimator=estimator,
        steps=b.step - a.step,
        low=low,
        high=high,
        unresolved=(a.grid_low, a.grid_high) == (b.grid_low, b.grid_high),
    )


def over_runs(
    changes: Sequence[PhaseChange],
    *,
    estimator: Estimator,
    level: float = LEVEL,
) -> Interval:
    """The median time of change over runs that differ in their seed of training.

    A run without a transition counts as one that changes later than all others, so the
    median is infinite if most have none. What few runs allow to say is told by
    `interp.statistics.median_over_seeds`.

    Args:
        changes: The same curve of each run.
        estimator: Which definition of when.
        level: Coverage of the interval.

    Raises:
        ShapeError: If there is no run.
    """
    times = np.array([change.time(estimator).step for change in changes])
    if not times.size:
        raise ShapeError("There is no run.")
    times = np.where(np.isnan(times), np.inf, times)
    return median_over_seeds(times, level=level)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Way:
    """The curves and the levels between which they change, within what was seen."""

    x: Float[np.ndarray, " checkpoint"]
    y: Float[np.ndarray, "row checkpoint"]
    start: Float[np.ndarray, " row"]
    end: Float[np.ndarray, " row"]

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, fits: LogisticFits) -> "_Way":
        low, high = y.min(axis=1), y.max(axis=1)
        start, end = np.clip(fits.start, low, high), np.clip(fits.end, low, high)
        return cls(x=x, y=y, start=start, end=end)

    @property
    def rising(self) -> Bool[np.ndarray, " row"]:
        return self.end > self.start

    @property
    def middle(self) -> Float[np.ndarray, " row"]:
        return (self.start + self.end) / 2

    def crossed(self, level: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        return crossing(self.x, self.y, level, rising=self.rising)

    def duration(self, scale: Scale) -> float:
        """Steps from a fifth to four fifths of the way, in the first row."""
        levels = (self.start + share * (self.end - self.start) for share in (0.2, 0.8))
        early, late = (to_steps(self.crossed(one)[0], scale) for one in levels)
        return float(late) - float(early)


def _width(fits: LogisticFits, scale: Scale) -> float:
    """Steps from a tenth to nine tenths of the fitted rise, in the first row."""
    middle, spread = fits.midpoint[0], fits.spread[0] * TO_NINE_TENTHS
    return float(to_steps(middle + spread, scale) - to_steps(middle - spread, scale))


def _time(name: Estimator, draws: np.ndarray, steps: np.ndarray) -> ChangeTime:
    """One estimate with its two uncertainties; the first draw is the estimate."""
    step = float(draws[0])
    low, high = _bounds(draws[1:])
    before, after = bracket(steps, step)
    if np.isnan(step):
        low = high = np.nan
    return ChangeTime(
        estimator=name,
        step=step,
        low=low,
        high=high,
        grid_low=before,
        grid_high=after,
    )


def _bounds(draws: np.ndarray) -> tuple[float, float]:
    """A percentile interval, or none if most draws have no answer."""
    there = draws[np.isfinite(draws)]
    if there.size * 2 < draws.size or not there.size:
        return np.nan, np.nan
    low, high = np.quantile(there, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _resampled(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The mean curve, then the mean curves of draws of the sequences."""
    n = values.shape[1]
    weights = np.ones((1, n))
    if n > 1:
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(n, np.full(n, 1 / n), resamples)
        weights = np.concatenate([weights, drawn])
    there = np.isfinite(values)
    sums = weights @ np.where(there, values, 0.0).T
    counts = weights @ there.T
    # A draw without any sequence that has a value keeps the estimate.
    means = sums / np.maximum(counts, 1)
    return np.where(counts > 0, means, means[:1])


def _usable(samples: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps = np.asarray(steps, dtype=np.float64)
    values = np.asarray(samples, dtype=np.float64)
    if values.shape[0] != len(steps) or (np.diff(steps) <= 0).any():
        raise ShapeError(
            f"{len(steps)} steps do not fit {values.shape[0]} checkpoints, or do not"
            " rise.",
            expected="One step for each checkpoint, each later than the one before.",
        )
    usable = np.isfinite(values).any(axis=1)
    if usable.sum() < MIN_CHECKPOINTS:
        raise ShapeError(
            f"There are {int(usable.sum())} checkpoints with a value.",
            expected=f"A phase change needs {MIN_CHECKPOINTS} to be seen.",
            remedy="Give more checkpoints.",
        )
    return values[usable], steps[usable]


def _natural_scale(steps: np.ndarray) -> Scale:
    gaps = np.diff(steps)
    # Pythia's gaps go from 1 to 1000.
    return SCALES[1] if gaps.max() > 8 * gaps.min() else SCALES[0]
