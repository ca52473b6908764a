"""The result of scoring attention heads: what each one looks at."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from interp.errors import ConfigError, closest
from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import write_result
from interp.results.folders import load_as


def _no_patterns() -> Float32[np.ndarray, "shown query key"]:
    return np.zeros((0, 0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class HeadScores:
    """Scores of every attention head, with one sample per sequence.

    Bounds are 95 % intervals from drawing whole sequences anew. A sequence in which no
    query has a key that counts has no sample: NaN.

    Attributes:
        metrics: The scores, such as `"prefix_matching"`.
        mean: Mean over sequences.
        low: Lower bound.
        high: Upper bound.
        samples: The score of each sequence.
        uniform: What even attention would score, by sequence.
        loss: Loss in nats of every token but the first, by sequence; NaN for padding.
        correct: Whether the likeliest token was the right one, 0 or 1; NaN for padding.
        periods: After how many tokens each sequence repeats; 0 if unknown.
        has_bos: Whether the first token is no part of what repeats.
        pattern_heads: The heads whose attention was kept, as `L1H0`; older files have
            none.
        pattern_sequence: Of which sequence.
        pattern_tokens: Its tokens, as far as they were kept.
        patterns: What these heads attend to in them.
        notes: What the reader should know.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "heads"
    SCHEMA: ClassVar[int] = 1

    metrics: tuple[str, ...]
    mean: Float32[np.ndarray, "metric layer head"]
    low: Float32[np.ndarray, "metric layer head"]
    high: Float32[np.ndarray, "metric layer head"]
    samples: Float32[np.ndarray, "metric layer head sequence"]
    uniform: Float32[np.ndarray, "metric sequence"]
    loss: Float32[np.ndarray, "sequence next"]
    correct: Float32[np.ndarray, "sequence next"]
    periods: Int32[np.ndarray, " sequence"]
    has_bos: bool
    pattern_heads: tuple[str, ...] = ()
    pattern_sequence: int = 0
    pattern_tokens: tuple[str, ...] = ()
    patterns: Float32[np.ndarray, "shown query key"] = field(
        default_factory=_no_patterns
    )
    notes: tuple[str, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        return f"HeadScores({self.headline()})"

    @property
    def models(self) -> tuple[str, ...]:
        """The model that was scored."""
        return tuple(model.name for model in self.provenance.models)

    def value(self, metric: str) -> Float32[np.ndarray, "layer head"]:
        """The mean of one score.

        Raises:
            ConfigError: If it was not computed.
        """
        return self.mean[self._number(metric)]

    def pattern(self, head: str) -> Float32[np.ndarray, "query key"] | None:
        """What a head, as `L1H0`, attends to in one sequence, if it was kept."""
        if head not in self.pattern_heads:
            return None
        return self.patterns[self.pattern_heads.index(head)]

    def lift(self, metric: str) -> Float32[np.ndarray, "layer head"]:
        """How far a score lies above what even attention would give."""
        number = self._number(metric)
        return self.mean[number] - np.nanmean(self.uniform[number])

    def top(self, metric: str, *, k: int = 5) -> tuple[str, ...]:
        """The heads with the highest scores, as `L5H3`, highest first."""
        values = self.value(metric)
        order = np.argsort(-values, axis=None, kind="stable")[:k]
        layers, heads = np.unravel_index(order, values.shape)
        return tuple(
            f"L{layer}H{head}" for layer, head in zip(layers, heads, strict=True)
        )

    def by_copy(self) -> pd.DataFrame:
        """Loss and accuracy in the first and in later copies of each block.

        One row per sequence that repeats. The first token of a block's second copy is
        left out of both: nothing before it says that the block has ended.
        """
        rows = []
        start = int(self.has_bos)
        for sequence, period in enumerate(self.periods.tolist()):
            if not period:
                continue
            # The number in place i is about token i + 1.
            first = slice(start, start + period - 1)
            later = slice(start + period, None)
            rows.append(
                {
                    "sequence": sequence,
                    "period": period,
                    "loss_first": np.nanmean(self.loss[sequence, first]),
                    "loss_later": np.nanmean(self.loss[sequence, later]),
                    "accuracy_later": np.nanmean(self.correct[sequence, later]),
                }
            )
        columns = ["sequence", "period", "loss_first", "loss_later", "accuracy_later"]
        return pd.DataFrame(rows, columns=columns)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per score and head."""
        n_metrics, n_layers, n_heads = self.mean.shape
        grid = np.indices((n_metrics, n_layers, n_heads)).reshape(3, -1)
        uniform = np.nanmean(self.uniform, axis=1)
        return pd.DataFrame(
            {
                "metric": [self.metrics[i] for i in grid[0]],
                "layer": grid[1],
                "head": grid[2],
                "score": self.mean.ravel(),
                "score_lo": self.low.ravel(),
                "score_hi": self.high.ravel(),
                "uniform": uniform[grid[0]],
            }
        )

    def headline(self) -> str:
        """What was found, in one sentence."""
        name = self.metrics[0]
        layer, head = np.unravel_index(
            np.nanargmax(self.value(name)), self.value(name).shape
        )
        low, high = self.low[0, layer, head], self.high[0, layer, head]
        return (
            f"The highest {name.replace('_', ' ')} is that of L{layer}H{head}: "
            f"{self.value(name)[layer, head]:.2f} [{low:.2f}, {high:.2f}], where even "
            f"attention would give {np.nanmean(self.uniform[0]):.2f}."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "HeadScores":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = self.to_dataframe().sort_values("score", ascending=False)
        return table_html(frame, caption=self.headline())

    def _number(self, metric: str) -> int:
        if metric not in self.metrics:
            raise ConfigError(
                f"The score {metric!r} was not computed.",
                expected=f"There are: {', '.join(self.metrics)}.",
                remedy=closest(metric, self.metrics),
            )
        return self.metrics.index(metric)
