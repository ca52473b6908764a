"""The result of comparing how sure two models are, and which neurons make them so."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int32

from interp.provenance import Provenance
from interp.results.calibration import Bins, reliability
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as
from interp.results.neurons import NeuronTokens, by_variance
from interp.results.truthfulness import ROLES, Role


Chosen = Literal["entropy", "control", "frequency"]
Swap = Literal["none", "entropy neurons", "random neurons", "final gain"]
# A candidate acts through the norm where more than this of its effect does.
MOSTLY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronEffect:
    """What mean-ablating one neuron does, with bounds over whole texts.

    Attributes:
        model: The model it is in.
        neuron: Its number in the last MLP.
        chosen: Why it was tested: as a candidate `entropy` neuron, as a random
            `control` of its norm, or for its cosine with the `frequency` direction.
        norm: The length of its output vector.
        logit_var: Variance of the cosines of that vector with the head's rows.
        null_fraction: The share of its length in the head's null space.
        frequency_cosine: Cosine of what it adds to the logits with token frequency.
        loss_total: Mean absolute change of the loss (nats).
        loss_direct: The same with the final norm's scale kept.
        mediated: 1 - direct / total.
        entropy_change: Mean change of the entropy (nats).
        entropy_direct: The same with the final norm's scale kept.
        kl: Mean divergence of the ablated from the clean prediction (nats).
        argmax_changed: How often another token becomes the likeliest.
        frequency_mediated: The share of the effect along the unigram direction.
    """

    model: Role
    neuron: int
    chosen: Chosen
    norm: Number
    logit_var: Number
    null_fraction: Number
    frequency_cosine: Number
    loss_total: Number
    loss_total_low: Number
    loss_total_high: Number
    loss_direct: Number
    loss_direct_low: Number
    loss_direct_high: Number
    mediated: Number
    mediated_low: Number
    mediated_high: Number
    entropy_change: Number
    entropy_change_low: Number
    entropy_change_high: Number
    entropy_direct: Number
    kl: Number
    argmax_changed: Number
    frequency_mediated: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceRow:
    """How sure one model is, as it is or with a part of the other one in it.

    Attributes:
        model: The model.
        swapped: What is taken from the other model.
        draw: Which of several draws of random neurons.
        n_neurons: How many neurons were taken.
        entropy: Mean entropy of its predictions (nats).
        loss: Mean negative log-likelihood of the token that comes (nats).
        top: Mean probability of the likeliest token.
        accuracy: How often that is the token that comes.
        brier: Mean squared distance of the predictions from the truth.
        ece: Expected calibration error; its interval is of the error without noise.
        entropy_change: Mean entropy minus that of the unchanged model.
        share: How much of the other model's distance in entropy that is; NaN where
            the two models do not differ for certain.
        ece_debiased: The calibration error less what noise adds. This and the next two
            are NaN in results from before they were kept.
        ece_consistent: What 95 % of samples of calibrated predictions stay below.
        ece_p: How often calibrated predictions have as large an error.
    """

    model: Role
    swapped: Swap
    draw: int = 0
    n_neurons: int = 0
    entropy: Number
    entropy_low: Number
    entropy_high: Number
    loss: Number
    loss_low: Number
    loss_high: Number
    top: Number
    top_low: Number
    top_high: Number
    accuracy: Number
    accuracy_low: Number
    accuracy_high: Number
    brier: Number
    brier_low: Number
    brier_high: Number
    ece: Number
    ece_low: Number
    ece_high: Number
    entropy_change: Number
    entropy_change_low: Number
    entropy_change_high: Number
    share: Number
    share_low: Number
    share_high: Number
    ece_debiased: Number = np.nan
    ece_consistent: Number = np.nan
    ece_p: Number = np.nan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ConfidenceComparison:
    """How sure a base and a post-trained model are, and what their neurons do to it.

    The axis `role` is base and post, in that order. Bounds are 95 % intervals from
    resampling whole texts, of the models and neurons as they are.

    Attributes:
        models: Names of the base and the post-trained model.
        datasets: Where the texts come from.
        n_texts: How many texts.
        layer: The layer of the neurons: the last one.
        final_norm: `RMSNorm` or `LayerNorm`.
        percentile: Norms above this percentile count as large.
        null_directions: How many directions count as the head's null space.
        norm: The length of each neuron's output vector.
        logit_var: Variance of the cosines of that vector with the head's rows.
        null_fraction: The share of its length in the head's null space.
        frequency_cosine: Cosine of what it adds to the logits with token frequency.
        singular_values: Of each head, largest first.
        mlp_moved: How far post-training moved the weights of the last MLP: the length
            of the difference over that of the base model's weights.
        gain_moved: The same of the final norm's gain.
        candidates: Each model's candidate entropy neurons, best first.
        sizes: Numbers of candidates taken of each model.
        overlap: Shared candidates over all, by how many are taken.
        overlap_expected: Its mean over random sets.
        overlap_low: Its 2.5 % quantile over random sets.
        overlap_high: Its 97.5 % quantile.
        overlap_p: The chance that random sets share as many or more.
        effects: What ablating neurons does.
        confidence: How sure each model is, unchanged and with swapped parts.
        gap: Mean entropy of the post-trained minus that of the base model (nats).
        entropy: Of each prediction of the unchanged models (nats).
        top: The probability of the likeliest token.
        correct: Whether that is the token that comes.
        loss: The negative log-likelihood of the token that comes (nats).
        brier: The squared distance of the prediction from the truth.
        groups: The text of each prediction.
        tokens: For each model, the tokens that each tested neuron raises and lowers;
            older files have none.
        notes: What was left out, is weak or limits the conclusions, in sentences.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "confidence"
    SCHEMA: ClassVar[int] = 1

    models: tuple[str, str]
    datasets: tuple[str, ...]
    n_texts: int
    layer: int
    final_norm: Literal["RMSNorm", "LayerNorm"]
    percentile: Number
    null_directions: int
    norm: Float32[np.ndarray, "role neuron"]
    logit_var: Float32[np.ndarray, "role neuron"]
    null_fraction: Float32[np.ndarray, "role neuron"]
    frequency_cosine: Float32[np.ndarray, "role neuron"]
    singular_values: Float32[np.ndarray, "role direction"]
    mlp_moved: Number
    gain_moved: Number
    candidates: tuple[tuple[int, ...], tuple[int, ...]]
    sizes: Int32[np.ndarray, " size"]
    overlap: Float32[np.ndarray, " size"]
    overlap_expected: Float32[np.ndarray, " size"]
    overlap_low: Float32[np.ndarray, " size"]
    overlap_high: Float32[np.ndarray, " size"]
    overlap_p: Float32[np.ndarray, " size"]
    effects: tuple[NeuronEffect, ...]
    confidence: tuple[ConfidenceRow, ...]
    gap: Number
    gap_low: Number
    gap_high: Number
    entropy: Float32[np.ndarray, "role token"]
    top: Float32[np.ndarray, "role token"]
    correct: Bool[np.ndarray, "role token"]
    loss: Float32[np.ndarray, "role token"]
    brier: Float32[np.ndarray, "role token"]
    groups: Int32[np.ndarray, " token"]
    tokens: tuple[tuple[NeuronTokens, ...], tuple[NeuronTokens, ...]] = ((), ())
    notes: tuple[str, ...] = ()
    provenance: Provenance

    def __repr__(self) -> str:
        return f"ConfidenceComparison({self.models[0]!r}, {self.models[1]!r})"

    @property
    def has_gap(self) -> bool:
        """Whether the two models differ in entropy for certain."""
        return bool(self.gap_low > 0 or self.gap_high < 0)

    def row(self, model: Role, swapped: Swap) -> tuple[ConfidenceRow, ...]:
        """The rows of one model and one swap; several draws of random neurons."""
        return tuple(
            row
            for row in self.confidence
            if row.model == model and row.swapped == swapped
        )

    def effects_of(self, model: Role, chosen: Chosen) -> tuple[NeuronEffect, ...]:
        """The neurons of one model that were tested for one reason."""
        return tuple(
            row for row in self.effects if row.model == model and row.chosen == chosen
        )

    def tokens_of(self, model: Role, neuron: int) -> NeuronTokens | None:
        """The tokens that a neuron of a model raises and lowers, if they were kept."""
        rows = self.tokens[ROLES.index(model)]
        return next((row for row in rows if row.neuron == neuron), None)

    def through_norm(self, model: Role) -> tuple[int, ...]:
        """The candidates most of whose effect passes through the norm, for certain."""
        return tuple(
            row.neuron
            for row in self.effects_of(model, "entropy")
            if row.mediated_low > MOSTLY
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row per model and neuron."""
        parts = []
        for i, role in enumerate(ROLES):
            numbers = np.arange(self.norm.shape[1])
            large = by_variance(
                self.norm[i], self.logit_var[i], percentile=float(self.percentile)
            )
            parts.append(
                pd.DataFrame(
                    {
                        "model": role,
                        "layer": self.layer,
                        "neuron": numbers,
                        "norm": self.norm[i],
                        "logit_var": self.logit_var[i],
                        "null_fraction": self.null_fraction[i],
                        "frequency_cosine": self.frequency_cosine[i],
                        "large": np.isin(numbers, large),
                        "candidate": np.isin(numbers, self.candidates[i]),
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    def reliability(self, role: Role) -> Bins:
        """Confidence and accuracy of one model in bins of equal width."""
        i = ROLES.index(role)
        return reliability(self.top[i], self.correct[i])

    def side_by_side(self) -> pd.DataFrame:
        """One row per neuron that is a candidate in a model, with post over base."""
        chosen = sorted({*self.candidates[0], *self.candidates[1]})
        ratio = {
            name: _ratio(getattr(self, name)[:, chosen])
            for name in ("norm", "logit_var")
        }
        return pd.DataFrame(
            {
                "neuron": chosen,
                "in_base": [n in self.candidates[0] for n in chosen],
                "in_post": [n in self.candidates[1] for n in chosen],
                "norm_base": self.norm[0, chosen],
                "norm_ratio": ratio["norm"],
                "logit_var_base": self.logit_var[0, chosen],
                "logit_var_ratio": ratio["logit_var"],
                "null_fraction_base": self.null_fraction[0, chosen],
                "null_fraction_post": self.null_fraction[1, chosen],
            }
        )

    def effects_dataframe(self) -> pd.DataFrame:
        """One row per neuron that was ablated."""
        names = list(NeuronEffect.__dataclass_fields__)
        return pd.DataFrame([asdict(row) for row in self.effects], columns=names)

    def confidence_dataframe(self) -> pd.DataFrame:
        """One row per model and swap."""
        return pd.DataFrame([asdict(row) for row in self.confidence])

    def headline(self) -> str:
        """What was found, in one sentence."""
        before, after = (self.row(role, "none")[0] for role in ROLES)
        where = f"On {self.groups.size} predictions of {self.n_texts} texts"
        change = f"{before.entropy:.2f} to {after.entropy:.2f} nats"
        measured = f"{self.gap:+.2f} [{self.gap_low:+.2f}, {self.gap_high:+.2f}]"
        if not self.has_gap:
            return (
                f"{where} the two models are equally sure: mean entropy {change}, a "
                f"difference of {measured}."
            )
        surer = "surer" if self.gap < 0 else "less sure"
        return (
            f"{where} the post-trained model is {surer} than the base model: mean "
            f"entropy {change} ({measured}), calibration error {before.ece:.3f} to "
            f"{after.ece:.3f}."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "ConfidenceComparison":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        return table_html(self.confidence_dataframe(), caption=self.headline())


def _ratio(values: Float32[np.ndarray, "role neuron"]) -> np.ndarray:
    """Post over base, NaN where the base has nothing."""
    empty = np.full(values.shape[1], np.nan)
    return np.divide(values[1], values[0], out=empty, where=values[0] != 0)
