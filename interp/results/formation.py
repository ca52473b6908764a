"""The result of a formation experiment: curves of many runs, and what they show."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32, Int64

from interp.errors import ConfigError, closest
from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationTime:
    """When the runs of a condition crossed the level.

    Attributes:
        condition: Which condition.
        step: The median over seeds; NaN if half of the runs or more never cross it.
        low: Lower end of its 95 % interval from drawing seeds anew.
        high: Its upper end; NaN if it lies beyond the last step.
        crossed: How many runs crossed it.
        runs: How many runs there are.
        abruptness: Median share of the way from 80 to 20 % of the plateau in the time
            until 20 %; near 0 is abrupt. NaN if most runs do not get there.
    """

    condition: str
    step: Number
    low: Number
    high: Number
    crossed: int
    runs: int
    abruptness: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationFinding:
    """Something the experiment stands for, and whether it was seen.

    Attributes:
        claim: What is claimed.
        value: The number it rests on.
        low: Lower end of the number's 95 % interval over seeds; NaN without one.
        high: Its upper end.
        held: Whether the claim holds by its whole interval.
    """

    claim: str
    value: Number
    low: Number
    high: Number
    held: bool

    def __str__(self) -> str:
        bounds = "" if np.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.claim}: {self.value:.3g}{bounds}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FormationRun:
    """Curves over training of many small networks under several conditions.

    Attributes:
        name: The experiment.
        metrics: What was measured; the first is the one whose crossing counts.
        conditions: What was done to the networks.
        condition: The condition of each replica, as an index.
        seeds: The seed of each replica.
        steps: When it was measured.
        curves: The measurements; NaN where a run had ended.
        level: The level whose crossing counts.
        times: When each condition crossed it.
        findings: What is claimed and whether it was seen.
        notes: What the reader should know.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "formation"
    SCHEMA: ClassVar[int] = 1

    name: str
    metrics: tuple[str, ...]
    conditions: tuple[str, ...]
    condition: Int32[np.ndarray, " replica"]
    seeds: Int64[np.ndarray, " replica"]
    steps: Int64[np.ndarray, " step"]
    curves: Float32[np.ndarray, "metric replica step"]
    level: Number
    times: tuple[FormationTime, ...]
    findings: tuple[FormationFinding, ...]
    notes: tuple[str, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        return f"FormationRun({self.headline()})"

    @property
    def models(self) -> tuple[str, ...]:
        """None: the networks are trained from nothing."""
        return tuple(model.name for model in self.provenance.models)

    def curve(
        self, metric: str, condition: str | None = None
    ) -> Float32[np.ndarray, "replica step"]:
        """One metric of the runs of one condition, or of all.

        Raises:
            ConfigError: If there is no such metric or condition.
        """
        values = self.curves[_index(metric, self.metrics, "metric")]
        if condition is None:
            return values
        return values[self.condition == _index(condition, self.conditions, "condition")]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per metric, run and step; steps after a run's end are left out."""
        metric, replica, step = np.indices(self.curves.shape).reshape(3, -1)
        frame = pd.DataFrame(
            {
                "metric": np.array(self.metrics)[metric],
                "condition": np.array(self.conditions)[self.condition[replica]],
                "seed": self.seeds[replica],
                "step": self.steps[step],
                "value": self.curves.ravel(),
            }
        )
        return frame.loc[np.isfinite(frame["value"])].reset_index(drop=True)

    def times_dataframe(self) -> pd.DataFrame:
        """One row per condition: when its runs crossed the level."""
        rows = [
            {
                "condition": row.condition,
                "step": row.step,
                "step_lo": row.low,
                "step_hi": row.high,
                "crossed": f"{row.crossed}/{row.runs}",
                "abruptness": row.abruptness,
            }
            for row in self.times
        ]
        return pd.DataFrame(rows)

    def findings_dataframe(self) -> pd.DataFrame:
        """One row per claim."""
        rows = [
            {
                "claim": row.claim,
                "value": row.value,
                "lo": row.low,
                "hi": row.high,
                "held": row.held,
            }
            for row in self.findings
        ]
        return pd.DataFrame(rows, columns=["claim", "value", "lo", "hi", "held"])

    def headline(self) -> str:
        """What was found, in one sentence."""
        held = sum(finding.held for finding in self.findings)
        said = "; ".join(
            f"{finding}{'' if finding.held else ' (not held)'}"
            for finding in self.findings[:2]
        )
        # Only the first letter: condition names keep theirs.
        said = said[:1].upper() + said[1:]
        return f"{held} of {len(self.findings)} findings of {self.name} hold. {said}."

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "FormationRun":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        return table_html(self.findings_dataframe(), caption=self.headline())


def _index(name: str, known: tuple[str, ...], what: str) -> int:
    if name not in known:
        raise ConfigError(
            f"There is no {what} {name!r}.",
            expected=f"There are: {', '.join(known)}.",
            remedy=closest(name, known),
        )
    return known.index(name)
