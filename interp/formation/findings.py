"""From curves of many runs to times, intervals over seeds, and a result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from interp.config import spec_hash
from interp.heads.phase_times import crossing
from interp.provenance import record
from interp.results.formation import FormationFinding, FormationRun, FormationTime
from interp.statistics import median_over_seeds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """The runs of one condition.

    Attributes:
        condition: What was done to them.
        seeds: The seed of each run.
        steps: When they were measured.
        curves: What was measured, by name.
    """

    condition: str
    seeds: tuple[int, ...]
    steps: Int64[np.ndarray, " step"]
    curves: Mapping[str, Float[np.ndarray, "run step"]]

    def last(self, metric: str) -> Float[np.ndarray, " run"]:
        """A metric at the last step."""
        return self.curves[metric][:, -1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What a preset claims of its groups.

    Attributes:
        name: The preset.
        metric: The metric whose fall below a level is the transition.
        level: That level.
        plateau: Where the metric rests before, for the abruptness.
        seed: The first seed, for the record.
    """

    name: str
    metric: str
    level: float
    plateau: float
    seed: int = 0


def crossing_times(
    steps: Int64[np.ndarray, " step"],
    curves: Float[np.ndarray, "run step"],
    level: float,
) -> Float[np.ndarray, " run"]:
    """When each run first falls below a level; infinite if it never does.

    Args:
        steps: When the runs were measured.
        curves: What was measured.
        level: The level.

    Example:
        >>> curves = np.array([[2.0, 1.0, 0.0], [2.0, 2.0, 2.0]])
        >>> crossing_times(np.array([0, 10, 20]), curves, 0.5)
        array([15., inf])
    """
    times = crossing(
        steps.astype(np.float64),
        curves.astype(np.float64),
        np.full(len(curves), level),
        rising=np.zeros(len(curves), dtype=bool),
    )
    times = np.where(curves[:, 0] <= level, float(steps[0]), times)
    return np.where(np.isnan(times), np.inf, times)


def median_interval(
    values: Float[np.ndarray, " run"],
) -> tuple[float, float, float]:
    """The median with its 95 % interval; see `interp.statistics.median_over_seeds`.

    Args:
        values: One for each run; infinite is later than all others.

    Example:
        >>> median_interval(np.array([3.0, 3.0, 3.0]))
        (3.0, 3.0, 3.0)
    """
    found = median_over_seeds(values.astype(np.float64))
    return float(found.estimate), float(found.low), float(found.high)


def times_of(group: Group, preset: Preset) -> Float[np.ndarray, " run"]:
    """When each run of a group has its transition."""
    return crossing_times(group.steps, group.curves[preset.metric], preset.level)


def earlier(first: Group, second: Group, preset: Preset) -> FormationFinding:
    """By how much the transition of a group comes before that of another, seed by seed.

    A run without a transition counts as if it came at the last step, so that the
    difference is at least this much.

    Args:
        first: The group that is claimed to be earlier.
        second: The other, with the same seeds.
        preset: What counts as the transition.
    """
    last = float(max(first.steps[-1], second.steps[-1]))
    sooner, later = (np.minimum(times_of(g, preset), last) for g in (first, second))
    if first.seeds == second.seeds:
        middle, low, high = median_interval(later - sooner)
    else:
        middle = float(np.median(later) - np.median(sooner))
        low, high = float(later.min() - sooner.max()), float(later.max() - sooner.min())
    return FormationFinding(
        claim=f"steps by which {first.condition!r} is earlier than "
        f"{second.condition!r}",
        value=middle,
        low=low,
        high=high,
        held=low > 0,
    )


def above(
    claim: str, values: Float[np.ndarray, " run"], bound: float
) -> FormationFinding:
    """The claim that a number is above a bound, over runs."""
    middle, low, high = median_interval(values)
    return FormationFinding(
        claim=f"{claim} (above {bound:.3g})",
        value=middle,
        low=low,
        high=high,
        held=low > bound,
    )


def below(
    claim: str, values: Float[np.ndarray, " run"], bound: float
) -> FormationFinding:
    """The claim that a number is below a bound, over runs."""
    middle, low, high = median_interval(values)
    return FormationFinding(
        claim=f"{claim} (below {bound:.3g})",
        value=middle,
        low=low,
        high=high,
        held=high < bound,
    )


def abruptness(group: Group, preset: Preset) -> Float[np.ndarray, " run"]:
    """The time from 80 to 20 % of the plateau, over that until 20 %; NaN if not there.

    Args:
        group: The runs.
        preset: Which metric, and where its plateau is.
    """
    curves, plateau = group.curves[preset.metric], preset.plateau
    early = crossing_times(group.steps, curves, 0.8 * plateau)
    late = crossing_times(group.steps, curves, 0.2 * plateau)
    there = np.isfinite(late) & (late > 0)
    share = np.full(len(late), np.nan)
    share[there] = (late[there] - early[there]) / late[there]
    return share


def formation_run(
    groups: Sequence[Group],
    findings: Sequence[FormationFinding],
    preset: Preset,
    *,
    notes: Sequence[str] = (),
) -> FormationRun:
    """The result of a preset.

    Args:
        groups: The runs of each condition; they may differ in steps and in metrics.
        findings: What is claimed.
        preset: What counts as the transition.
        notes: What the reader should know.
    """
    steps = np.unique(np.concatenate([group.steps for group in groups]))
    names = [preset.metric]
    names += [name for group in groups for name in group.curves]
    metrics = tuple(dict.fromkeys(names))
    replicas = sum(len(group.seeds) for group in groups)
    curves = np.full((len(metrics), replicas, len(steps)), np.nan, dtype=np.float32)
    first = 0
    for group in groups:
        at = np.searchsorted(steps, group.steps)
        rows = np.arange(first, first + len(group.seeds))
        for name, values in group.curves.items():
            curves[metrics.index(name)][np.ix_(rows, at)] = values
        first += len(group.seeds)
    counts = [len(group.seeds) for group in groups]
    return FormationRun(
        name=preset.name,
        metrics=metrics,
        conditions=tuple(group.condition for group in groups),
        condition=np.repeat(np.arange(len(groups)), counts).astype(np.int32),
        seeds=np.concatenate([group.seeds for group in groups]).astype(np.int64),
        steps=steps.astype(np.int64),
        curves=curves,
        level=preset.level,
        times=tuple(_time(group, preset) for group in groups),
        findings=tuple(findings),
        notes=tuple(notes),
        provenance=record(
            f"formation {preset.name}",
            seed=preset.seed,
            spec_hash=spec_hash(
                preset,
                content=[f"{group.condition}: {group.seeds}" for group in groups],
            ),
        ),
    )


def split(
    conditions: Sequence[str],
    seeds: Sequence[int],
    steps: Int64[np.ndarray, " step"],
    curves: Mapping[str, Float32[np.ndarray, "replica step"]],
) -> list[Group]:
    """The groups of one training run whose replicas are condition after condition."""
    n = len(seeds)
    return [
        Group(
            condition=condition,
            seeds=tuple(seeds),
            steps=steps,
            curves={k: v[i * n : (i + 1) * n] for k, v in curves.items()},
        )
        for i, condition in enumerate(conditions)
    ]


def _time(group: Group, preset: Preset) -> FormationTime:
    times = times_of(group, preset)
    middle, low, high = median_interval(times)
    shares = abruptness(group, preset)
    there = np.isfinite(shares)
    enough = there.sum() * 2 > len(shares)
    return FormationTime(
        condition=group.condition,
        step=_finite(middle),
        low=_finite(low),
        high=_finite(high),
        crossed=int(np.isfinite(times).sum()),
        runs=len(times),
        abruptness=float(np.median(shares[there])) if enough else np.nan,
    )


def _finite(value: float) -> float:
    return value if np.isfinite(value) else np.nan
