"""The result of comparing where two models keep whether a statement is true."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int, Int32

from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as
from interp.results.truth_rows import (
    ROLES as ROLES,
    CarriedOver as CarriedOver,
    Control as Control,
    DatasetTransfer as DatasetTransfer,
    ProbeScore as ProbeScore,
    Role as Role,
    SplitCount as SplitCount,
    TruthCosine as TruthCosine,
    TruthEffect as TruthEffect,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TruthfulnessComparison:
    """Truth directions of a base and a post-trained model, and how they carry over.

    The axes `direction_model` and `activation_model` are base and post, in that order.
    Bounds are 95 % cluster-bootstrap intervals over groups of test statements.

    Attributes:
        models: Names of the base and the post-trained model.
        datasets: Where the statements come from.
        position: The position that was read.
        centring: `inductive` (training mean) or `transductive` (test mean).
        counts: Sizes of the splits.
        layers: The layers, counted from 0, read at `resid_post`.
        auroc: Of the direction of one model on the activations of another.
        accuracy: Likewise, with the threshold fitted on training statements.
        validation_auroc: Of each model's own direction on its validation statements.
        best_layers: The layer of each model with the best validation AUROC.
        permutation_p: P-value of each model's own AUROC at its best layer.
        cosine: Of the two directions at each layer.
        cosine_null_low: Band of the cosine of directions from labels that are shuffled
            alike for both models.
        cosine_null_high: Its upper end.
        statements: The test statements.
        labels: Which of them are true.
        groups: What each is about.
        scores: Projections at the best layer of the direction's model.
        surface_auroc: Of the words alone, on the same splits.
        interventions: What adding the directions does.
        doses: The same at several strengths, on fewer statements.
        probes: Every probe at every layer of both models.
        carried: What each direction loses in the other model, at every layer.
        dataset_transfer: Every training data set against every test data set.
        cosines: The cosine at every layer with its nulls, plain and whitened.
        layer_cosines: Of the directions of all layers of both models with each other.
        shown: The test statements that the next two hold; all, unless too many.
        probe_scores: Their logits by each probe, in the order of `probes`.
        components: Where they lie on the two principal components of each layer's
            activations; true statements lie higher on each.
        sources: The data set of each test statement.
        unpaired: Statements without their negation where others have one, which the
            probes of pairs leave out: the first ones.
        n_unpaired: How many there are in all.
        notes: What was left out, is weak or limits the conclusions, in sentences.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "truthfulness"
    SCHEMA: ClassVar[int] = 2

    models: tuple[str, str]
    datasets: tuple[str, ...]
    position: str
    centring: Literal["inductive", "transductive"]
    counts: tuple[SplitCount, ...]
    layers: Int32[np.ndarray, " layer"]
    auroc: Float32[np.ndarray, "direction_model activation_model layer"]
    auroc_low: Float32[np.ndarray, "direction_model activation_model layer"]
    auroc_high: Float32[np.ndarray, "direction_model activation_model layer"]
    accuracy: Float32[np.ndarray, "direction_model activation_model layer"]
    accuracy_low: Float32[np.ndarray, "direction_model activation_model layer"]
    accuracy_high: Float32[np.ndarray, "direction_model activation_model layer"]
    validation_auroc: Float32[np.ndarray, "activation_model layer"]
    best_layers: tuple[int, int]
    permutation_p: tuple[Number, Number]
    cosine: Float32[np.ndarray, " layer"]
    cosine_null_low: Float32[np.ndarray, " layer"]
    cosine_null_high: Float32[np.ndarray, " layer"]
    statements: tuple[str, ...]
    labels: Bool[np.ndarray, " example"]
    groups: tuple[str, ...]
    scores: Float32[np.ndarray, "direction_model activation_model example"]
    surface_auroc: Number
    surface_auroc_low: Number
    surface_auroc_high: Number
    interventions: tuple[TruthEffect, ...]
    # Results of schema 1 have none of these.
    doses: tuple[TruthEffect, ...] = ()
    probes: tuple[ProbeScore, ...] = ()
    carried: tuple[CarriedOver, ...] = ()
    dataset_transfer: tuple[DatasetTransfer, ...] = ()
    cosines: tuple[TruthCosine, ...] = ()
    layer_cosines: Float32[
        np.ndarray, "row_model column_model row_layer column_layer"
    ] = field(default_factory=lambda: np.empty((0, 0, 0, 0), np.float32))
    shown: Int32[np.ndarray, " shown"] = field(
        default_factory=lambda: np.empty(0, np.int32)
    )
    probe_scores: Float32[np.ndarray, "probe shown"] = field(
        default_factory=lambda: np.empty((0, 0), np.float32)
    )
    components: Float32[np.ndarray, "map_model map_layer shown 2"] = field(
        default_factory=lambda: np.empty((0, 0, 0, 2), np.float32)
    )
    sources: tuple[str, ...] = ()
    unpaired: tuple[str, ...] = ()
    n_unpaired: int = 0
    notes: tuple[str, ...] = ()
    provenance: Provenance

    def __repr__(self) -> str:
        return f"TruthfulnessComparison({self.models[0]!r}, {self.models[1]!r})"

    def best_index(self, role: Role) -> int:
        """Where the best layer of a model is along the axis of layers."""
        layer = self.best_layers[ROLES.index(role)]
        return int(np.flatnonzero(self.layers == layer)[0])

    def to_dataframe(self) -> pd.DataFrame:
        """One row per direction's model, activations' model and layer."""
        shape = self.auroc.shape
        direction, activations, layer = (axis.ravel() for axis in np.indices(shape))
        roles = np.array(ROLES)
        return pd.DataFrame(
            {
                "direction_model": roles[direction],
                "activation_model": roles[activations],
                "layer": self.layers[layer],
                "auroc": self.auroc.ravel(),
                "auroc_low": self.auroc_low.ravel(),
                "auroc_high": self.auroc_high.ravel(),
                "accuracy": self.accuracy.ravel(),
                "accuracy_low": self.accuracy_low.ravel(),
                "accuracy_high": self.accuracy_high.ravel(),
                "cosine": self.cosine[layer],
                "cosine_null_low": self.cosine_null_low[layer],
                "cosine_null_high": self.cosine_null_high[layer],
            }
        )

    def examples_dataframe(self) -> pd.DataFrame:
        """One row per test statement with the scores of each model's own direction."""
        return pd.DataFrame(
            {
                "statement": self.statements,
                "label": self.labels,
                "group": self.groups,
                **self._sources(np.arange(len(self.statements))),
                "base_score": self.scores[0, 0],
                "post_score": self.scores[1, 1],
                "base_direction_in_post": self.scores[0, 1],
                "post_direction_in_base": self.scores[1, 0],
            }
        )

    def scores_dataframe(self, model: Role, probe: str, layer: int) -> pd.DataFrame:
        """One row per shown statement with its score by one probe, most wrong first.

        The score is a logit: above 0 the statement is taken for true. `wrongness` is
        how far it lies on the wrong side, `number` its place among the test
        statements. Empty if the scores were not kept.

        Args:
            model: Whose activations.
            probe: Its name, as `"logistic"`.
            layer: Counted from 0.
        """
        at = next(
            (
                i
                for i, row in enumerate(self.probes[: len(self.probe_scores)])
                if (row.model, row.probe, row.layer) == (model, probe, layer)
            ),
            None,
        )
        shown = self.shown if at is not None else self.shown[:0]
        score = self.probe_scores[at] if at is not None else np.empty(0, np.float32)
        label = self.labels[shown]
        frame = pd.DataFrame(
            {
                "number": shown,
                "statement": [self.statements[i] for i in shown],
                "label": label,
                "score": score,
                "wrongness": np.where(label, -score, score),
                "group": [self.groups[i] for i in shown],
                **self._sources(shown),
            }
        )
        return frame.sort_values("wrongness", ascending=False, ignore_index=True)

    def _sources(self, rows: Int[np.ndarray, " row"]) -> dict[str, list[str]]:
        """A column for the data sets of some statements, if they are known."""
        known = self.sources
        return {"source": [known[i] for i in rows]} if known else {}

    def interventions_dataframe(self) -> pd.DataFrame:
        """One row per intervention."""
        return _frame(self.interventions)

    def doses_dataframe(self) -> pd.DataFrame:
        """One row per vector and strength of the dose-response curves."""
        return _frame(self.doses)

    def probes_dataframe(self) -> pd.DataFrame:
        """One row per model, probe and layer."""
        return _frame(self.probes)

    def carried_dataframe(self) -> pd.DataFrame:
        """One row per direction and layer: the loss in the other model."""
        return _frame(self.carried)

    def datasets_dataframe(self) -> pd.DataFrame:
        """One row per model, layer, training and test data set."""
        return _frame(self.dataset_transfer)

    def cosines_dataframe(self) -> pd.DataFrame:
        """One row per layer and metric, with every null."""
        return _frame(self.cosines)

    def headline(self) -> str:
        """What was found, in one sentence."""
        index = self.best_index("base")
        own, low, high = (
            float(values[0, 0, index])
            for values in (self.auroc, self.auroc_low, self.auroc_high)
        )
        carried = float(self.auroc[0, 1, index])
        layer = self.best_layers[0]
        measured = f"AUROC {own:.2f} [{low:.2f}, {high:.2f}]"
        if not low > 0.5:
            return (
                f"No truth direction was found in the base model: at its best layer, "
                f"{layer}, held-out statements are not separated better than by chance "
                f"({measured})."
            )
        return (
            f"At layer {layer} the base model's truth direction separates held-out "
            f"true from false statements with {measured}, and with {carried:.2f} in "
            f"the post-trained model; {self._cosine_in_words(index)}."
        )

    def _cosine_in_words(self, index: int) -> str:
        cosine = float(self.cosine[index])
        said = f"the two models' directions have cosine {cosine:.2f}"
        low, high = self.cosine_null_low[index], self.cosine_null_high[index]
        alike = f"[{low:.2f}, {high:.2f}]"
        if np.isnan(low):
            return said
        row = next(
            (r for r in self.cosines if r.layer == index and r.metric == "plain"), None
        )
        if row is None:
            beyond = cosine > high or cosine < low
            verdict = "beyond" if beyond else "within"
            return f"{said}, {verdict} what shuffled labels give {alike}"
        apart = f"[{row.independent_low:.2f}, {row.independent_high:.2f}]"
        return (
            f"{said}; labels shuffled separately in each give {apart}, shuffled alike "
            f"{alike}"
        )

    def strongest_control(self, target: Role) -> TruthEffect | None:
        """The vector without meaning whose effect reaches highest in a model.

        Directions of other data sets do mean truth, and a control that was added again
        without what it shares with the truth direction counts in that form.

        Args:
            target: The model that vectors are added in.
        """
        controls = [
            row
            for row in self.interventions
            if row.target == target
            and row.condition in ("random", "covariance", "shuffled")
        ]
        again = {(row.condition, row.draw) for row in controls if row.orthogonal}
        counted = [
            row
            for row in controls
            if row.orthogonal or (row.condition, row.draw) not in again
        ]
        return max(counted, key=lambda row: row.nie_gap_high, default=None)

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "TruthfulnessComparison":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = self.to_dataframe()
        best = dict(zip(ROLES, self.best_layers, strict=True))
        wanted = [best[role] for role in frame["direction_model"]]
        return table_html(frame.loc[frame["layer"] == wanted], caption=self.headline())


def _frame(rows: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame([asdict(row) for row in rows])
