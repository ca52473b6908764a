"""The result of fitting probes at many sites and positions, with their controls."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int32

from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as


# What stands in the axis of layers for a site without one.
NO_LAYER = -1
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """How well something cheaper than a probe separates the same examples."""

    name: str
    auroc: Number
    auroc_lo: Number
    auroc_hi: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What a probe that was fitted again reads after a concept was erased.

    Attributes:
        method: `"leace"` or `"inlp"`, fitted to the training examples of each fold.
        probe: Which probe, as an index into the axis `probe`.
        dimensions: How many dimensions were removed.
        auroc: Of the held-out logits afterwards.
        accuracy: Share of the held-out logits with the right sign afterwards.
    """

    method: str
    probe: int
    dimensions: int
    auroc: Number
    accuracy: Number


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ProbeSweep:
    """Probes of every site and position, scored on examples they were not fitted on.

    The axis `probe` runs over sites and positions. A control that was not asked for, or
    that these data do not allow, is NaN; `notes` say why. Bounds are 95 %
    cluster-bootstrap intervals over groups, of the probes as fitted. They leave out
    what another training sample would change, which is most where there is nothing to
    find: whether there is anything is for `permutation_p` to say. How well they hold
    over fewer than 8 groups is not known, which the notes say.

    Attributes:
        fit: What was fitted, as `"fit_logistic"`.
        split: How folds were made: whole groups, examples at random, or as given.
        sites: The site of each probe in the short spelling.
        layers: Its layer, counted from 0; -1 for sites without one.
        positions: Its token position, as it was asked for.
        auroc: Of the held-out logits.
        auroc_lo: Lower bound.
        auroc_hi: Upper bound.
        accuracy: Share of held-out logits with the right sign.
        brier: Mean squared error of the held-out probabilities.
        ece: Expected calibration error of the held-out probabilities.
        permutation_p: How often shuffled labels do as well, by a refitted probe.
        permutation_p_corrected: The same against the best of all probes of a shuffle.
        random_auroc: What 95 % of random directions stay below.
        covariance_auroc: The same for directions drawn from the covariance.
        selectivity: Accuracy minus that on random labels for each type.
        mdl_compression: Uniform code length over online code length of the labels.
        converged: Whether every fit of a probe reached its optimum.
        chosen: The probe that each fold's training examples choose.
        nested_auroc: Of the logits by the chosen probes: the price of choosing is paid.
        nested_auroc_lo: Lower bound.
        nested_auroc_hi: Upper bound.
        baselines: Words, length, other activations and whatever else was given.
        erasures: What is left after each erasure; nothing if none was asked for.
        scores: Held-out logits of the probes in `scored`.
        labels: Which examples are positive.
        groups: The group of each example.
        folds: The fold that held each example out.
        notes: What the reader should know.
        provenance: What produced this.
        examples: The texts behind the examples; none if only arrays were given.
        scored: The probes whose single scores are kept: all, unless there are too many.
        permutation_fit: What was fitted again to shuffled labels; empty if nothing was,
            or in results from before this was kept.
    """

    KIND: ClassVar[str] = "sweep"
    SCHEMA: ClassVar[int] = 1

    fit: str
    split: Literal["group", "random", "given"]
    sites: tuple[str, ...]
    layers: Int32[np.ndarray, " probe"]
    positions: tuple[str, ...]
    auroc: Float32[np.ndarray, " probe"]
    auroc_lo: Float32[np.ndarray, " probe"]
    auroc_hi: Float32[np.ndarray, " probe"]
    accuracy: Float32[np.ndarray, " probe"]
    brier: Float32[np.ndarray, " probe"]
    ece: Float32[np.ndarray, " probe"]
    permutation_p: Float32[np.ndarray, " probe"]
    permutation_p_corrected: Float32[np.ndarray, " probe"]
    random_auroc: Float32[np.ndarray, " probe"]
    covariance_auroc: Float32[np.ndarray, " probe"]
    selectivity: Float32[np.ndarray, " probe"]
    mdl_compression: Float32[np.ndarray, " probe"]
    converged: Bool[np.ndarray, " probe"]
    chosen: Int32[np.ndarray, " fold"]
    nested_auroc: Number
    nested_auroc_lo: Number
    nested_auroc_hi: Number
    baselines: tuple[Baseline, ...]
    scores: Float32[np.ndarray, "scored example"]
    labels: Bool[np.ndarray, " example"]
    groups: tuple[str, ...]
    folds: Int32[np.ndarray, " example"]
    notes: tuple[str, ...]
    provenance: Provenance
    erasures: tuple[Erasure, ...] = ()
    examples: tuple[str, ...] = ()
    scored: Int32[np.ndarray, " scored"] = field(
        default_factory=lambda: np.empty(0, np.int32)
    )
    permutation_fit: str = ""

    def __post_init__(self) -> None:
        # Older results keep the scores of all probes and do not say so.
        if not self.scored.size:
            every = np.arange(len(self.scores), dtype=np.int32)
            object.__setattr__(self, "scored", every)

    def __repr__(self) -> str:
        return f"ProbeSweep({len(self.sites)} probes: {self.headline()})"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the activations come from; none for plain arrays."""
        return tuple(model.name for model in self.provenance.models)

    @property
    def best(self) -> int:
        """The probe with the highest cross-validated AUROC."""
        return int(np.argmax(self.auroc))

    @property
    def best_site(self) -> str:
        """The site of the best probe.

        Its own AUROC is optimistic, being the best of many; `nested_auroc` is not.
        """
        return self.sites[self.best]

    def scores_of(self, probe: int) -> Float32[np.ndarray, " example"] | None:
        """The held-out logits by one probe; None if they were not kept.

        Args:
            probe: Its place in the axis `probe`.
        """
        at = np.flatnonzero(self.scored == probe)
        return self.scores[at[0]] if at.size else None

    def examples_dataframe(self, probe: int) -> pd.DataFrame:
        """One row per example with its score by one probe, the most wrong first.

        The score is a held-out logit: above 0 the example is taken for positive.
        `wrongness` is how far it lies on the wrong side. Empty if the scores of this
        probe were not kept.

        Args:
            probe: Its place in the axis `probe`.
        """
        score = self.scores_of(probe)
        if score is None:
            score = np.empty(0, np.float32)
        n = score.size
        frame = pd.DataFrame({"example": np.arange(n)})
        if self.examples:
            frame["text"] = self.examples[:n]
        frame["label"] = self.labels[:n]
        frame["score"] = score
        frame["wrongness"] = np.where(self.labels[:n], -score, score)
        if self.groups:
            frame["group"] = self.groups[:n]
        frame["fold"] = self.folds[:n]
        return frame.sort_values("wrongness", ascending=False, ignore_index=True)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per site and position."""
        layers = pd.array(self.layers, dtype="Int32")
        layers[self.layers == NO_LAYER] = pd.NA
        return pd.DataFrame(
            {
                "site": self.sites,
                "layer": layers,
                "position": self.positions,
                "auroc": self.auroc,
                "auroc_lo": self.auroc_lo,
                "auroc_hi": self.auroc_hi,
                "accuracy": self.accuracy,
                "brier": self.brier,
                "ece": self.ece,
                "selectivity": self.selectivity,
                "permutation_p": self.permutation_p,
                "permutation_p_corrected": self.permutation_p_corrected,
                "random_auroc": self.random_auroc,
                "covariance_auroc": self.covariance_auroc,
                "mdl_compression": self.mdl_compression,
                "converged": self.converged,
                **self._erased(),
            }
        )

    def _erased(self) -> dict[str, np.ndarray]:
        """A column for each method of erasure and measure of what it leaves."""
        columns: dict[str, np.ndarray] = {}
        for row in self.erasures:
            for measure in ("auroc", "accuracy"):
                empty = np.full(len(self.sites), np.nan, dtype=np.float32)
                name = f"{row.method}_{measure}"
                columns.setdefault(name, empty)[row.probe] = getattr(row, measure)
        return columns

    def baselines_dataframe(self) -> pd.DataFrame:
        """One row per baseline."""
        names = list(Baseline.__dataclass_fields__)
        return pd.DataFrame([asdict(row) for row in self.baselines], columns=names)

    def headline(self) -> str:
        """What was found, in one sentence."""
        best = self.best
        where, position = self.sites[best], self.positions[best]
        # Plain arrays have no positions.
        where += f" at {position!r}" if position else ""
        value, low, high = self.nested_auroc, self.nested_auroc_lo, self.nested_auroc_hi
        how = "chosen on training folds"
        if np.isnan(value):
            value, low, high = (
                float(values[best])
                for values in (self.auroc, self.auroc_lo, self.auroc_hi)
            )
            how = "the best of all"
        measured = f"AUROC {value:.2f} [{low:.2f}, {high:.2f}]"
        p = float(self.permutation_p_corrected[best])
        tested = self.permutation_fit == self.fit
        if not tested and low > 0.5 and p > SIGNIFICANT and value > self._random(best):
            refitted = self.permutation_fit or "by default a difference of means"
            return (
                f"Whether the probe at {where} separates held-out examples is not "
                f"decided ({how}: {measured}): shuffled labels do as well, corrected p "
                f"= {p:.3f}, but what was fitted to them is {refitted}, not this probe "
                "(see Controls.permutation_fit)."
            )
        if not low > 0.5 or p > SIGNIFICANT:
            against = "" if np.isnan(p) else f", corrected p = {p:.3f}"
            return (
                "No probe separates held-out examples better than its controls: the "
                f"best is {where} ({how}: {measured}{against})."
            )
        surface = max(self.baselines, key=lambda one: one.auroc, default=None)
        beside = "" if surface is None else f"; {surface.name}: {surface.auroc:.2f}"
        if np.isnan(p):
            beside += "; not tested against shuffled labels"
        return (
            f"The probe at {where} separates held-out examples best ({how}: {measured}"
            f"{beside})."
        )

    def _random(self, probe: int) -> float:
        """What random directions stay below; 0.5 if none were drawn."""
        drawn = np.array([self.random_auroc[probe], self.covariance_auroc[probe]])
        return float(np.nanmax(drawn, initial=0.5))

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "ProbeSweep":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = self.to_dataframe().sort_values("auroc", ascending=False)
        return table_html(frame, caption=self.headline())
