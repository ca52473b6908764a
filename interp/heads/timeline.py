"""From what was measured at each checkpoint to a `HeadTimeline`."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from interp.heads.metrics import Measured
from interp.heads.phase import ESTIMATORS, MIN_CHECKPOINTS, Analysis, lag, phase_change
from interp.heads.series import CheckpointRef
from interp.results.timeline_rows import HeadSwap


TOP_HEADS = 3
# A head counts only if it is this much above where all heads started.
LEAST_RISE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """Everything that is followed as one number, with its samples.

    Attributes:
        names: What is followed.
        samples: Padded with NaN.
        n_samples: How many samples each has.
    """

    names: tuple[str, ...]
    samples: Float[np.ndarray, "curve checkpoint sample"]
    n_samples: tuple[int, ...]

    @property
    def mean(self) -> Float[np.ndarray, "curve checkpoint"]:
        return nan_mean(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """Metrics of every head at every checkpoint, and what becomes of the heads."""

    metrics: tuple[str, ...]
    mean: Float[np.ndarray, "metric checkpoint layer head"]
    stderr: Float[np.ndarray, "metric checkpoint layer head"]
    chance: Float[np.ndarray, " metric"]
    threshold: Float[np.ndarray, " metric"]

    @property
    def n_above(self) -> np.ndarray:
        """How many heads are above the threshold, by metric and checkpoint."""
        above = self.mean > self.threshold[:, None, None, None]
        return above.sum(axis=(2, 3)).astype(np.int32)


def heads_of(measured: Sequence[Measured]) -> Heads:
    """The means of all heads, and above what a head counts.

    Args:
        measured: What was measured at each checkpoint.
    """
    metrics = tuple(measured[0].heads)
    shape = measured[0].heads[metrics[0]].shape[:2] if metrics else (0, 0)
    mean = np.empty((len(metrics), len(measured), *shape))
    stderr = np.full_like(mean, np.nan)
    for row, name in enumerate(metrics):
        for column, found in enumerate(measured):
            samples = found.heads[name].astype(np.float64)
            mean[row, column] = nan_mean(samples)
            stderr[row, column] = standard_error(samples)
    chance = np.array([measured[0].chance.get(name, np.nan) for name in metrics])
    highest = highest_of(mean)
    low = np.where(np.isnan(chance), highest[:, 0], chance)
    top = highest.max(axis=1, initial=-np.inf, where=np.isfinite(highest))
    return Heads(
        metrics=metrics,
        mean=mean,
        stderr=stderr,
        chance=chance,
        threshold=np.maximum((low + top) / 2, low + LEAST_RISE),
    )


def curves_of(refs: Sequence[CheckpointRef], measured: Sequence[Measured]) -> Curves:
    """Values of the model, the highest heads, and cosines to the last checkpoint."""
    table: dict[str, list[np.ndarray]] = {}
    for name in measured[0].values:
        table[name] = [found.values[name] for found in measured]
    for name in measured[0].heads:
        ranked = [_ranked(found.heads[name]) for found in measured]
        table[f"{name} (highest head)"] = [rows[0] for rows in ranked]
        table[f"{name} (mean of {TOP_HEADS} highest)"] = [
            nan_mean(rows[:TOP_HEADS].T) for rows in ranked
        ]
    for name in measured[0].vectors:
        last = measured[-1].vectors[name]
        table[f"{name} (cosine to the last)"] = [
            np.array([_cosine(found.vectors[name], last)]) for found in measured
        ]
    sizes = [max(len(samples) for samples in rows) for rows in table.values()]
    padded = np.full((len(table), len(refs), max(sizes, default=1)), np.nan)
    for number, rows in enumerate(table.values()):
        for place, samples in enumerate(rows):
            padded[number, place, : len(samples)] = samples
    return Curves(names=tuple(table), samples=padded, n_samples=tuple(sizes))


def phases_of(
    curves: Curves, steps: np.ndarray, *, resamples: int, seed: int
) -> dict[str, Analysis]:
    """Whether and when each curve changes; those with too few checkpoints are left out.

    An untrained model's loss is far above all others, and next to the fall from there
    nothing else counts. So a curve without a transition that begins at step 0 is looked
    at once more without it, and says so.

    Args:
        curves: The curves.
        steps: Of the checkpoints.
        resamples: Bootstrap samples.
        seed: Feeds them.
    """
    found = {}
    for number, name in enumerate(curves.names):
        samples = curves.samples[number, :, : curves.n_samples[number]]
        if np.isfinite(samples).any(axis=1).sum() < MIN_CHECKPOINTS:
            continue
        given = {"curve": name, "resamples": resamples, "seed": seed}
        found[name] = phase_change(samples, steps, **given)
        n_trained = np.isfinite(samples[steps > 0]).any(axis=1).sum()
        if found[name].change.verdict == "transition" or n_trained < MIN_CHECKPOINTS:
            continue
        if n_trained < len(steps):
            again = phase_change(samples[steps > 0], steps[steps > 0], **given)
            if again.change.verdict == "transition":
                reason = f"{again.change.reason}; without the untrained model at step 0"
                found[name] = replace(
                    again, change=replace(again.change, reason=reason)
                )
    return found


def lags_of(phases: Mapping[str, Analysis]) -> tuple:
    """How much later each curve changes than each other that has a transition."""
    changing = [p for p in phases.values() if p.change.verdict == "transition"]
    # Two names for nearly the same curve say nothing about an order.
    distinct = [p for p in changing if f"mean of {TOP_HEADS}" not in p.change.curve]
    return tuple(
        lag(first, second, estimator=estimator)
        for first, second in itertools.combinations(distinct, 2)
        for estimator in ESTIMATORS
    )


def persistence_of(heads: Heads) -> Float[np.ndarray, "metric next"]:
    """The rank correlation of all heads' values at consecutive checkpoints."""
    n_metrics, n_checkpoints, n_layers, n_heads = heads.mean.shape
    found = np.full((n_metrics, max(n_checkpoints - 1, 0)), np.nan)
    flat = heads.mean.reshape(n_metrics, n_checkpoints, n_layers * n_heads)
    for row, place in np.ndindex(*found.shape):
        now, then = flat[row, place], flat[row, place + 1]
        there = np.isfinite(now) & np.isfinite(then)
        # Heads that are all equal have no order.
        if there.sum() > 2 and np.ptp(now[there]) and np.ptp(then[there]):
            # Its stubs know neither of the two names of its result.
            outcome: Any = spearmanr(now[there], then[there])
            found[row, place] = outcome.statistic
    return found


def swaps_of(heads: Heads, steps: np.ndarray) -> tuple[HeadSwap, ...]:
    """Where the highest head, once above the threshold, is another than before."""
    found = []
    for row, name in enumerate(heads.metrics):
        before = ""
        for place, step in enumerate(steps):
            values = heads.mean[row, place]
            if not np.isfinite(values).any():
                continue
            layer, head = np.unravel_index(np.nanargmax(values), values.shape)
            if values[layer, head] <= heads.threshold[row]:
                continue
            now = f"L{layer}H{head}"
            if before and now != before:
                found.append(
                    HeadSwap(metric=name, step=int(step), before=before, after=now)
                )
            before = now
    return tuple(found)


def nan_mean(values: Float[np.ndarray, "*batch sample"]) -> Float[np.ndarray, "*batch"]:
    """The mean of what is there; NaN, and no warning, where nothing is."""
    there = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, values, 0.0).sum(axis=-1) / there.sum(axis=-1)


def standard_error(
    values: Float[np.ndarray, "*batch sample"],
) -> Float[np.ndarray, "*batch"]:
    """Of the mean over samples; NaN for fewer than two."""
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    centred = np.where(there, values - nan_mean(values)[..., None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.square(centred).sum(axis=-1) / (count * (count - 1)))


def highest_of(
    mean: Float[np.ndarray, "metric checkpoint layer head"],
) -> Float[np.ndarray, "metric checkpoint"]:
    """The highest head's value; NaN where no head has one."""
    finite = np.where(np.isfinite(mean), mean, -np.inf)
    top = finite.max(axis=(2, 3), initial=-np.inf)
    return np.where(np.isfinite(top), top, np.nan)


def _ranked(samples: np.ndarray) -> np.ndarray:
    """The samples of the heads in the order of their means, highest first."""
    flat = samples.reshape(-1, samples.shape[-1]).astype(np.float64)
    means = nan_mean(flat)
    order = np.argsort(-np.where(np.isfinite(means), means, -np.inf), kind="stable")
    return flat[order]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float("nan")
