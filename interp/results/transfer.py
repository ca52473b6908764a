"""The result of judging probes of each data set on each data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int32

from interp.errors import ResultError
from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import write_result
from interp.results.folders import load_as
from interp.results.sweep import NO_LAYER


Centring = Literal["inductive", "transductive"]
# Trained on every data set but the one that it is judged on.
ALL_OTHERS = "all others"
MEASURES = (
    "auroc", "auroc_lo", "auroc_hi", "accuracy", "accuracy_lo", "accuracy_hi",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TransferMatrix:
    """How well probes trained on each data set do on each of them.

    The axis `train` runs over the data sets and, last, `"all others"`: leave one data
    set out. Where training and test are one data set the scores are cross-validated. A
    cell whose probe could not be fitted is NaN; `notes` say why. Bounds are 95 %
    cluster-bootstrap intervals over the groups of the test set.

    Attributes:
        fit: What was fitted, as `"fit_logistic"`.
        centring: Whether each data set was moved to its own mean first.
        trains: What was trained on.
        tests: What the probes were judged on.
        sites: The site of each probe in the short spelling.
        layers: Its layer, counted from 0; -1 for sites without one.
        positions: Its token position, as it was asked for.
        auroc: Of the logits.
        auroc_lo: Lower bound.
        auroc_hi: Upper bound.
        accuracy: Share of the logits with the right sign.
        accuracy_lo: Lower bound.
        accuracy_hi: Upper bound.
        scores: The logits on all data sets, one after the other.
        dataset_index: The data set of each example, as an index into `tests`.
        labels: Which examples are positive.
        groups: The group of each example; none if each is its own.
        notes: What the reader should know.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "transfer"
    SCHEMA: ClassVar[int] = 1

    fit: str
    centring: Centring
    trains: tuple[str, ...]
    tests: tuple[str, ...]
    sites: tuple[str, ...]
    layers: Int32[np.ndarray, " probe"]
    positions: tuple[str, ...]
    auroc: Float32[np.ndarray, "train test probe"]
    auroc_lo: Float32[np.ndarray, "train test probe"]
    auroc_hi: Float32[np.ndarray, "train test probe"]
    accuracy: Float32[np.ndarray, "train test probe"]
    accuracy_lo: Float32[np.ndarray, "train test probe"]
    accuracy_hi: Float32[np.ndarray, "train test probe"]
    scores: Float32[np.ndarray, "train probe example"]
    dataset_index: Int32[np.ndarray, " example"]
    labels: Bool[np.ndarray, " example"]
    groups: tuple[str, ...]
    notes: tuple[str, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        return f"TransferMatrix({len(self.tests)} data sets: {self.headline()})"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the activations come from; none for plain arrays."""
        return tuple(model.name for model in self.provenance.models)

    @property
    def left_out(self) -> Float32[np.ndarray, "test probe"]:
        """AUROC on each data set of probes trained on all others."""
        return self.auroc[-1]

    @property
    def best(self) -> int:
        """The probe with the best mean AUROC over data sets that it did not see.

        It is chosen on the same cells that it is then read from, so it flatters.
        """
        mean = np.nan_to_num(self.left_out.mean(axis=0), nan=-1.0)
        return int(np.argmax(mean))

    def examples_dataframe(
        self, train: str, test: str, *, probe: int | None = None
    ) -> pd.DataFrame:
        """One row per example of a test set with its score, the most wrong first.

        `wrongness` is how far the score lies on the wrong side of 0. Empty if nothing
        could be trained.

        Args:
            train: What was trained on, one of `trains`.
            test: Whose examples, one of `tests`.
            probe: Which site and position; by default `best`.

        Raises:
            ResultError: If there is no such name.
        """
        for name, known in ((train, self.trains), (test, self.tests)):
            if name not in known:
                raise ResultError(
                    f"This result has no data set {name!r} there.",
                    expected=f"One of {', '.join(map(repr, known))}.",
                )
        at = self.best if probe is None else probe
        inside = np.flatnonzero(self.dataset_index == self.tests.index(test))
        score = self.scores[self.trains.index(train), at, inside]
        label = self.labels[inside]
        frame = pd.DataFrame({"example": np.arange(len(inside)), "label": label})
        frame["score"] = score
        frame["wrongness"] = np.where(label, -score, score)
        if self.groups:
            frame["group"] = np.array(self.groups, dtype=object)[inside]
        known = frame.loc[~np.isnan(score)]
        return known.sort_values("wrongness", ascending=False, ignore_index=True)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per training set, test set, site and position."""
        train, test, probe = (at.ravel() for at in np.indices(self.auroc.shape))
        layers = pd.array(self.layers[probe], dtype="Int32")
        layers[self.layers[probe] == NO_LAYER] = pd.NA
        names = {
            "train": np.array(self.trains, dtype=object)[train],
            "test": np.array(self.tests, dtype=object)[test],
            "site": np.array(self.sites, dtype=object)[probe],
            "layer": layers,
            "position": np.array(self.positions, dtype=object)[probe],
        }
        values = {name: getattr(self, name).ravel() for name in MEASURES}
        return pd.DataFrame({**names, **values})

    def headline(self) -> str:
        """What was found, in one sentence."""
        best = self.best
        there = self.left_out[:, best]
        position = self.positions[best]
        where = self.sites[best] + (f" at {position!r}" if position else "")
        if np.isnan(there).all():
            return "No probe could be trained on all data sets but one."
        worst = int(np.nanargmin(there))
        return (
            f"Trained on all data sets but one, probes at {where} reach AUROC"
            f" {np.nanmin(there):.2f} ({self.tests[worst]}) to {np.nanmax(there):.2f}"
            f" on the one left out, {np.nanmean(there):.2f} on average"
            f" ({self.centring} centring)."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "TransferMatrix":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = self.to_dataframe()
        own = frame["site"] == self.sites[self.best]
        return table_html(frame.loc[own], caption=self.headline())
