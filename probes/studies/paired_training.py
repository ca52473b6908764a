"""What is followed over training, of two results: when it changes, and where it ends.

Timelines are paired by evaluation sequence: both curves are refitted on the same draws.
Experiments of formation are paired by seed.
"""

from collections.abc import Sequence

import numpy as np

from interp.formation.findings import crossing_times, median_interval
from interp.heads.phase import ESTIMATORS, Analysis, lag
from interp.heads.timeline import Curves, phases_of
from interp.results import FormationRun, HeadTimeline
from probes.studies.paired_rows import (
    Draws,
    PairedNumbers,
    Row,
    interval,
    mean_row,
    require_same,
    row,
    table,
)


def timeline_numbers(
    first: HeadTimeline, second: HeadTimeline, how: Draws
) -> PairedNumbers:
    """By how many steps the curves of one series change after those of another.

    The interval of a difference is that of the evaluation alone: other seeds of
    training are not in it, and neither is what lies between two checkpoints.

    Args:
        first: A result.
        second: One with the same evaluation sequences.
        how: How intervals are made.

    Raises:
        IncompatibleError: If no curve is in both, or the sequences differ.
    """
    names = [name for name in first.curves if name in second.curves]
    require_same("curves", bool(names), True)
    counts = [_count(first, name) for name in names]
    others = [_count(second, name) for name in names]
    require_same("number of evaluation sequences", counts, others)
    require_same("seed", first.provenance.seed, second.provenance.seed)
    changes = [_changes(one, names, how) for one in (first, second)]
    rows: list[Row] = []
    unchanged: list[str] = []
    for number, name in enumerate(names):
        own = [change.get(name) for change in changes]
        verdicts = [one.change.verdict if one else "too short" for one in own]
        if own[0] and own[1] and {*verdicts} == {"transition"}:
            rows += _times(name, own[0], own[1])
        else:
            unchanged.append(f"{name} ({verdicts[0]}; {verdicts[1]})")
        ends = [_last(one, name, counts[number]) for one in (first, second)]
        rows.append(_end_row(f"{name}: at the last checkpoint", ends, how))
    said = f" Without a transition in both: {', '.join(unchanged)}." * bool(unchanged)
    return PairedNumbers(
        rows=table(rows),
        method="Times in steps, refitted on the same draws of the evaluation sequences "
        f"in both; the interval is not over seeds of training.{said}",
    )


def formation_numbers(
    first: FormationRun, second: FormationRun, how: Draws
) -> PairedNumbers:
    """When the runs of each condition cross the level, and where they end.

    A run without a crossing counts as if it crossed at the last step of the shorter
    experiment, so that the difference is at least this much.

    Args:
        first: An experiment.
        second: One with the same conditions, level and seeds.
        how: How intervals are made.

    Raises:
        IncompatibleError: If conditions, metric, level or seeds differ.
    """
    metric = first.metrics[0]
    require_same("metric of the transition", metric, second.metrics[0])
    require_same("level of the transition", first.level, second.level)
    require_same("conditions", first.conditions, second.conditions)
    require_same("seeds", first.seeds, second.seeds)
    require_same("replicas of each condition", first.condition, second.condition)
    last = float(min(first.steps[-1], second.steps[-1]))
    common = [name for name in first.metrics if name in second.metrics]
    rows: list[Row] = []
    for condition in first.conditions:
        times = [
            np.minimum(_crossings(one, metric, condition), last)
            for one in (first, second)
        ]
        middle, low, high = median_interval(times[1] - times[0])
        ends = interval(middle, low, high)
        name = f"step at which {metric} falls below {first.level:.3g}, {condition}"
        medians = [float(np.median(one)) for one in times]
        rows.append(row(name, medians[0], medians[1], ends))
        for other in common:
            finals = [_finals(one, other, condition) for one in (first, second)]
            if all(np.isfinite(one).all() for one in finals):
                rows.append(
                    mean_row(f"last {other}, {condition}", finals[0], finals[1], how)
                )
    return PairedNumbers(
        rows=table(rows),
        method=f"Paired over {len({*first.seeds.tolist()})} seeds, which are drawn "
        "anew: the median of the differences of times, the mean of those of last "
        "values.",
    )


def _count(result: HeadTimeline, name: str) -> int:
    """How many samples a curve has; those beyond are NaN at every checkpoint."""
    there = np.isfinite(result.samples[result.curves.index(name)]).any(axis=0)
    return int(there.sum())


def _changes(
    result: HeadTimeline, names: Sequence[str], how: Draws
) -> dict[str, Analysis]:
    at = [result.curves.index(name) for name in names]
    curves = Curves(
        names=tuple(names),
        samples=result.samples[at].astype(np.float64),
        n_samples=tuple(_count(result, name) for name in names),
    )
    steps = result.steps.astype(np.float64)
    return phases_of(curves, steps, resamples=how.resamples, seed=how.seed)


def _times(name: str, first: Analysis, second: Analysis) -> list[Row]:
    rows: list[Row] = []
    for estimator in ESTIMATORS:
        found = lag(first, second, estimator=estimator)
        ends = interval(found.steps, found.low, found.high)
        times = [one.change.time(estimator).step for one in (first, second)]
        words = f"{name}: step of change, {estimator}"
        rows.append(row(words, times[0], times[1], ends))
    return rows


def _last(result: HeadTimeline, name: str, count: int) -> np.ndarray:
    samples = result.samples[result.curves.index(name), -1, :count]
    return samples.astype(np.float64)


def _end_row(name: str, ends: Sequence[np.ndarray], how: Draws) -> Row:
    """Of the sequences that have a value in both; a single value has no interval."""
    moved = ends[1] - ends[0]
    there = np.isfinite(moved)
    if there.sum() > 1:
        return mean_row(name, ends[0][there], ends[1][there], how)
    one = [float(each[there][0]) if there.any() else np.nan for each in ends]
    return (name, one[0], one[1], one[1] - one[0], np.nan, np.nan)


def _crossings(result: FormationRun, metric: str, condition: str) -> np.ndarray:
    """When each run crosses the level; a run may be measured at some steps only."""
    curves = result.curve(metric, condition)
    there = np.isfinite(curves).any(axis=0)
    return crossing_times(result.steps[there], curves[:, there], result.level)


def _finals(result: FormationRun, metric: str, condition: str) -> np.ndarray:
    """The last value of each run that is there; NaN where a run has none."""
    curves = result.curve(metric, condition).astype(np.float64)
    there = np.isfinite(curves)
    last = curves.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    return curves[np.arange(len(curves)), last]
