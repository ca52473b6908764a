"""Numbers with the ends of their intervals, as bands, whiskers and hover texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float32

from interp.figures.style import NEUTRAL, band


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """What a figure shows at each place, and how sure that is.

    Attributes:
        value: The numbers.
        low: The lower ends of their intervals.
        high: The upper ends.
    """

    value: Float32[np.ndarray, " place"]
    low: Float32[np.ndarray, " place"]
    high: Float32[np.ndarray, " place"]

    @classmethod
    def of(
        cls,
        rows: Iterable[object],
        name: str,
        *,
        low: str = "{}_low",
        high: str = "{}_high",
    ) -> "Estimates":
        """One field of rows, with the two fields that hold the ends of its interval.

        Args:
            rows: The rows.
            name: The field.
            low: What the field of the lower end is called; `{}` stands for the name.
            high: The same of the upper end.

        Example:
            >>> from types import SimpleNamespace as Row
            >>> rows = [Row(rate=0.5, low=0.25, high=1.0)]
            >>> Estimates.of(rows, "rate", low="low", high="high").ends.tolist()
            [[0.25, 1.0]]
        """
        names = (name, low.format(name), high.format(name))
        table = [[getattr(row, one) for one in names] for row in rows]
        return cls.stacked(table)

    @classmethod
    def stacked(cls, table: Iterable[Iterable[float | np.floating]]) -> "Estimates":
        """From triples of value, lower and upper end, one for each place."""
        columns = np.array([[*row] for row in table], np.float32).reshape(-1, 3)
        value, low, high = np.ascontiguousarray(columns.T)
        return cls(value=value, low=low, high=high)

    @property
    def ends(self) -> Float32[np.ndarray, "place 2"]:
        """Lower and upper ends beside each other, as hover texts want them."""
        return np.stack([self.low, self.high], axis=1)

    def band(self, x: np.ndarray, *, colour: str, name: str) -> go.Scatter:
        """The area between the ends; see `interp.figures.style.band`."""
        return band(x, self.low, self.high, colour=colour, name=name)

    def bars(self, labels: Sequence[str], *, colour: str, name: str) -> go.Bar:
        """Lying bars, one under the other, with whiskers and `ends` for hover texts."""
        return go.Bar(
            y=list(labels),
            x=self.value,
            orientation="h",
            name=name,
            marker={"color": colour},
            error_x=self.whiskers(),
            customdata=self.ends,
        )

    def whiskers(self) -> dict[str, Any]:
        """The intervals as error bars of plotly, in a colour that all bars bear.

        A value may lie outside its interval by rounding; a whisker is never negative.
        """
        return {
            "type": "data",
            "symmetric": False,
            "array": np.maximum(self.high - self.value, 0),
            "arrayminus": np.maximum(self.value - self.low, 0),
            "color": NEUTRAL,
            "thickness": 1.5,
            "width": 4,
        }
