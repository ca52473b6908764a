"""The result of following a model over its training: `HeadTimeline`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float16, Float32, Float64, Int32, Int64

from interp.errors import ConfigError, closest
from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import write_result
from interp.results.folders import load_as
from interp.results.timeline_rows import (
    ChangeTime,
    FailedCheckpoint,
    HeadSwap,
    Lag,
    PhaseChange,
)


def _no_patterns() -> Float16[np.ndarray, "shown measured query key"]:
    return np.zeros((0, 0, 0, 0), dtype=np.float16)


def _no_ids() -> Int64[np.ndarray, " key"]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class HeadTimeline:
    """Metrics of every checkpoint of a series, and when they changed.

    Attributes:
        checkpoints: Names of the checkpoints that were measured, in order.
        steps: Their steps.
        tokens: How many tokens had been seen; NaN if unknown.
        metrics: What is known of every head.
        heads: The mean of each metric over the evaluation sequences.
        stderr: The standard error of that mean; NaN where there are no sequences, as
            with weights.
        chance: What chance would give, by metric; NaN if unknown.
        threshold: Above what a head counts for `n_above`: half way from chance, or else
            from the first checkpoint's highest, to the highest ever; at least 0.1 up.
        n_above: How many heads are above it.
        persistence: Spearman correlation of all heads' values with those of the next
            checkpoint.
        curves: What is followed as one number: values of the model, and of each metric
            of heads the highest head and the mean of the three highest.
        mean: The mean of each curve over its samples.
        samples: The samples; NaN beyond their number, and where there is nothing. Those
            of a highest head are of whichever head is highest at that checkpoint.
        phases: Whether and when each curve has a phase change.
        lags: By how much one curve changes after another.
        swaps: Where another head took over as the highest.
        failed: Checkpoints that could not be measured.
        pattern_heads: The heads whose attention to one sequence was kept at every
            checkpoint, as `L1H0`; older files have none.
        pattern_ids: That sequence, as far as it was kept.
        pattern_tokens: The same as text.
        pattern_start: How many of its tokens stand before the first block.
        pattern_period: After how many tokens it repeats.
        patterns: What these heads attend to in it, at each checkpoint.
        notes: What the reader should know.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "timeline"
    SCHEMA: ClassVar[int] = 1

    checkpoints: tuple[str, ...]
    steps: Int64[np.ndarray, " checkpoint"]
    tokens: Float64[np.ndarray, " checkpoint"]
    metrics: tuple[str, ...]
    heads: Float32[np.ndarray, "metric checkpoint layer head"]
    stderr: Float32[np.ndarray, "metric checkpoint layer head"]
    chance: Float32[np.ndarray, " metric"]
    threshold: Float32[np.ndarray, " metric"]
    n_above: Int32[np.ndarray, "metric checkpoint"]
    persistence: Float32[np.ndarray, "metric next"]
    curves: tuple[str, ...]
    mean: Float32[np.ndarray, "curve checkpoint"]
    samples: Float32[np.ndarray, "curve checkpoint sample"]
    phases: tuple[PhaseChange, ...]
    lags: tuple[Lag, ...]
    swaps: tuple[HeadSwap, ...]
    failed: tuple[FailedCheckpoint, ...]
    pattern_heads: tuple[str, ...] = ()
    pattern_ids: Int64[np.ndarray, " key"] = field(default_factory=_no_ids)
    pattern_tokens: tuple[str, ...] = ()
    pattern_start: int = 0
    pattern_period: int = 0
    # Not " checkpoint", of which there are some where no pattern was kept.
    patterns: Float16[np.ndarray, "shown measured query key"] = field(
        default_factory=_no_patterns
    )
    notes: tuple[str, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        return f"HeadTimeline({self.headline()})"

    @property
    def models(self) -> tuple[str, ...]:
        """The series."""
        return tuple(model.name for model in self.provenance.models)

    def value(self, metric: str) -> Float32[np.ndarray, "checkpoint layer head"]:
        """One metric of every head at every checkpoint.

        Raises:
            ConfigError: If it was not measured.
        """
        return self.heads[_number(metric, self.metrics)]

    def curve(self, name: str) -> Float32[np.ndarray, " checkpoint"]:
        """One curve.

        Raises:
            ConfigError: If there is no such curve.
        """
        return self.mean[_number(name, self.curves)]

    def phase(self, name: str) -> PhaseChange:
        """The phase change of a curve, or that it has none.

        Raises:
            ConfigError: If there is no such curve, or it was not looked at.
        """
        names = tuple(row.curve for row in self.phases)
        return self.phases[_number(name, names)]

    def pattern(
        self, head: str, *, checkpoint: int = -1
    ) -> Float32[np.ndarray, "query key"] | None:
        """What a head, as `L1H0`, attends to at a checkpoint, if it was kept."""
        if head not in self.pattern_heads:
            return None
        kept = self.patterns[self.pattern_heads.index(head), checkpoint]
        return kept.astype(np.float32)

    def top(self, metric: str, *, k: int = 3) -> tuple[str, ...]:
        """The heads that are highest at the last checkpoint, as `L1H0`."""
        last = self.value(metric)[-1]
        order = np.argsort(-np.nan_to_num(last, nan=-np.inf), axis=None, kind="stable")
        layers, heads = np.unravel_index(order[:k], last.shape)
        return tuple(f"L{a}H{b}" for a, b in zip(layers, heads, strict=True))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per metric, checkpoint and head; then one per curve and checkpoint.

        Rows of curves have the layer and head -1.
        """
        n_metrics, n_checkpoints, n_layers, n_heads = self.heads.shape
        shape = (n_metrics, n_checkpoints, n_layers, n_heads)
        grid = np.indices(shape).reshape(4, -1)
        at_curve = np.indices(self.mean.shape).reshape(2, -1)
        there = np.isfinite(self.samples)
        counts = there.sum(axis=-1)
        centred = np.where(there, self.samples - self.mean[..., None], 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.square(centred).sum(axis=-1) / (counts * (counts - 1))
        checkpoint = np.concatenate([grid[1], at_curve[1]])
        nothing = np.full(at_curve.shape[1], -1)
        return pd.DataFrame(
            {
                "metric": [self.metrics[i] for i in grid[0]]
                + [self.curves[i] for i in at_curve[0]],
                "checkpoint": [self.checkpoints[i] for i in checkpoint],
                "step": self.steps[checkpoint],
                "tokens": self.tokens[checkpoint],
                "layer": np.concatenate([grid[2], nothing]),
                "head": np.concatenate([grid[3], nothing]),
                "value": np.concatenate([self.heads.ravel(), self.mean.ravel()]),
                "stderr": np.concatenate(
                    [self.stderr.ravel(), np.sqrt(spread).ravel()]
                ).astype(np.float32),
            }
        )

    def phases_dataframe(self) -> pd.DataFrame:
        """One row per curve and estimator."""
        rows = [
            {
                "curve": row.curve,
                "verdict": row.verdict,
                "estimator": time.estimator,
                "step": time.step,
                "step_lo": time.low,
                "step_hi": time.high,
                "after_checkpoint": time.grid_low,
                "before_checkpoint": time.grid_high,
                "width": row.width,
                "abruptness": row.abruptness,
                "held_up": row.held_up,
                "reason": row.reason,
            }
            for row in self.phases
            for time in row.times
        ]
        return pd.DataFrame(rows)

    def lags_dataframe(self) -> pd.DataFrame:
        """One row per pair of curves and estimator."""
        return pd.DataFrame(
            [
                {
                    "first": row.first,
                    "second": row.second,
                    "estimator": row.estimator,
                    "steps": row.steps,
                    "steps_lo": row.low,
                    "steps_hi": row.high,
                    "unresolved": row.unresolved,
                }
                for row in self.lags
            ]
        )

    def headline(self) -> str:
        """What was found, in one sentence."""
        n = len(self.checkpoints)
        over = f"{n} checkpoints, steps {self.steps[0]} to {self.steps[-1]}"
        found = [row for row in self.phases if row.verdict == "transition"]
        if not found:
            return f"No phase change in any of {len(self.phases)} curves over {over}."
        first = found[0]
        time = first.time("logistic midpoint")
        name = first.curve.replace("_", " ")
        said = f"step {time.step:.0f}{_interval(time)}"
        return (
            f"Over {over}, {name} changes at {said}, between the checkpoints"
            f" {time.grid_low:.0f} and {time.grid_high:.0f};"
            f" {len(found)} of {len(self.phases)} curves have a phase change."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "HeadTimeline":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        return table_html(self.phases_dataframe(), caption=self.headline())


def _interval(time: ChangeTime) -> str:
    if np.isnan(time.low):
        return ""
    return f" [{time.low:.0f}, {time.high:.0f}]"


def _number(name: str, known: tuple[str, ...]) -> int:
    if name not in known:
        raise ConfigError(
            f"{name!r} was not followed.",
            expected=f"There are: {', '.join(known)}.",
            remedy=closest(name, known),
        )
    return known.index(name)
