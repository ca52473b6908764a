"""How alike two patching maps are, beside what noise and chance give."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32

from interp.results.files import Number


Measure = Literal["pearson", "largest difference", "largest difference, knowledge"]
Against = Literal[
    "the two maps",
    "halves of a",
    "halves of b",
    "a half of a and the other of b",
    "b one layer up",
    "b one layer down",
    "a and itself one layer up",
    "b and itself one layer up",
    "columns of b permuted",
    "models exchanged",
]
MEASURES: tuple[Measure, ...] = (
    "pearson",
    "largest difference",
    "largest difference, knowledge",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """One measure of likeness, of the maps themselves or of what they are held against.

    Attributes:
        measure: What is measured, over all cells or those of subject and object.
        against: What is compared; all but the first are floors and nulls.
        value: The value, or the mean of a floor or null.
        low: Lower end of the interval, or of the middle 95 % of a floor or null. The
            interval of the maps themselves is corrected for the noise in them, which
            lowers r and raises differences, so it may lie beyond the value.
        high: Upper end.
        p: For `columns of b permuted`, how often permuted columns are as alike; for
            `models exchanged`, how often exchanging the models at random makes them as
            different.
    """

    measure: Measure
    against: Against
    value: Number
    low: Number = math.nan
    high: Number = math.nan
    p: Number = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Whether two maps are shown to differ by less than delta in every cell.

    Attributes:
        cells: All cells, or those of subject and object.
        delta: The difference that would matter.
        largest: The largest observed difference of a cell.
        within: The smallest delta for which equivalence would be shown.
        p: Of the test; equivalence is shown if it is at most the level.
        level: Of the test.
        shown: Whether it is.
    """

    cells: Literal["all", "knowledge"]
    delta: float
    largest: Number
    within: Number
    p: Number
    level: float
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MapComparison:
    """How alike two patching maps of the same pairs are.

    Attributes:
        scale: What the maps were put on before they were compared.
        likeness: Each measure, of the maps and of floors and nulls.
        equivalence: Over all cells and over those of subject and object.
        difference: First map minus second, on the smooth scale.
        difference_low: Lower bound of its interval.
        difference_high: Upper bound.
        pairs: How many pairs.
        groups: How many groups of pairs were resampled.
    """

    scale: str
    likeness: tuple[Likeness, ...]
    equivalence: tuple[Equivalence, ...]
    difference: Float32[np.ndarray, "layer column"]
    difference_low: Float32[np.ndarray, "layer column"]
    difference_high: Float32[np.ndarray, "layer column"]
    pairs: int
    groups: int

    def __repr__(self) -> str:
        r = self.find("pearson").value
        return f"MapComparison({self.pairs} pairs, Pearson {r:.3f})"

    def find(self, measure: Measure, against: Against = "the two maps") -> Likeness:
        """One measure against one thing."""
        return next(
            row
            for row in self.likeness
            if row.measure == measure and row.against == against
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row per measure and thing that it is held against."""
        return pd.DataFrame([asdict(row) for row in self.likeness])
