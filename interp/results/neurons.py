"""The neurons of a last MLP by what their weights say, and what ablating them does."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int32

from interp.errors import ConfigError
from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as


PERCENTILE = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronTokens:
    """The tokens whose logits a neuron raises most and lowers most.

    Attributes:
        neuron: Its number.
        up: The tokens it raises, most first.
        up_weights: What one unit of its activation adds to their logits before the
            final norm divides, without the mean over the vocabulary.
        down: The tokens it lowers, most first.
        down_weights: The same of these.
    """

    neuron: int
    up: tuple[str, ...]
    up_weights: tuple[Number, ...]
    down: tuple[str, ...]
    down_weights: tuple[Number, ...]


def by_variance(
    norm: Float32[np.ndarray, " neuron"],
    logit_var: Float32[np.ndarray, " neuron"],
    *,
    percentile: float = PERCENTILE,
) -> Int32[np.ndarray, " candidate"]:
    """Neurons of large norm, those that move the logits most evenly first.

    Args:
        norm: The length of each neuron's output vector.
        logit_var: The variance of its cosines with the rows of the head.
        percentile: Only norms strictly above this percentile count as large.

    Raises:
        ConfigError: If the percentile is not within 0 to 100.

    Source:
        Stolfo et al. (2024), arXiv:2406.16254.

    Example:
        >>> norm = np.array([1, 9, 8, 2, 7], np.float32)
        >>> var = np.array([0.1, 0.5, 0.2, 0.1, 0.3], np.float32)
        >>> by_variance(norm, var, percentile=50.0).tolist()
        [2, 1]
    """
    if not 0 <= percentile <= 100:
        raise ConfigError(
            f"The percentile of the norms is {percentile}.", expected="0 to 100."
        )
    if not norm.size:
        return np.empty(0, np.int32)
    large = np.flatnonzero(norm > np.percentile(norm, percentile))
    # Stable, so that neurons of equal variance stay in their order.
    order = np.argsort(logit_var[large], kind="stable")
    return large[order].astype(np.int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NeuronTable:
    """The last MLP's neurons, and which of them may be entropy neurons.

    Candidates have an output vector of large norm that moves all logits alike: that
    cannot change which token is likeliest, but through the final norm it can change
    how sure the model is.

    Attributes:
        model: The model.
        layer: The layer, counted from 0: the last one.
        final_norm: `RMSNorm` or `LayerNorm`.
        norm: The length of each neuron's output vector.
        logit_var: Unbiased variance over the vocabulary of the cosines of the vector
            with the rows of the head, the final norm folded in.
        null_fraction: The vector's length inside the null space of the head, over its
            whole length.
        null_directions: How many directions count as null space.
        singular_values: Of the head with the final norm folded in, largest first.
        percentile: Norms strictly above this percentile count as large.
        candidates: Of those, the neurons of smallest `logit_var`, smallest first.
        notes: What the reader should know.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "neurons"
    SCHEMA: ClassVar[int] = 1

    model: str
    layer: int
    final_norm: Literal["RMSNorm", "LayerNorm"]
    norm: Float32[np.ndarray, " neuron"]
    logit_var: Float32[np.ndarray, " neuron"]
    null_fraction: Float32[np.ndarray, " neuron"]
    null_directions: int
    singular_values: Float32[np.ndarray, " direction"]
    percentile: Number
    candidates: Int32[np.ndarray, " candidate"]
    notes: tuple[str, ...] = ()
    provenance: Provenance

    def __repr__(self) -> str:
        return f"NeuronTable({self.model!r}, {self.norm.size} neurons)"

    @property
    def models(self) -> tuple[str]:
        return (self.model,)

    def name(self, neuron: int) -> str:
        """How a neuron is called, as `L23N1140`."""
        return f"L{self.layer}N{neuron}"

    def ranking(self) -> Int32[np.ndarray, " neuron_of_large_norm"]:
        """All neurons of large norm, smallest variance first."""
        return by_variance(self.norm, self.logit_var, percentile=float(self.percentile))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per neuron."""
        return pd.DataFrame(
            {
                "layer": self.layer,
                "neuron": np.arange(self.norm.size),
                "norm": self.norm,
                "logit_var": self.logit_var,
                "null_fraction": self.null_fraction,
                "candidate": np.isin(np.arange(self.norm.size), self.candidates),
            }
        )

    def headline(self) -> str:
        """What was found, in one sentence."""
        if not self.candidates.size:
            return f"No neuron of layer {self.layer} has a norm above the others."
        chance = float(np.sqrt(self.null_directions / (self.singular_values.size)))
        fraction = self.null_fraction[self.candidates]
        typical = float(np.median(self.logit_var))
        return (
            f"The {self.candidates.size} candidates in layer {self.layer} have "
            f"{float(self.logit_var[self.candidates].max()) / typical:.2f} times the "
            "median LogitVar or less and keep "
            f"{float(fraction.min()):.2f} to {float(fraction.max()):.2f} of their "
            f"norm in the head's null space (a random vector: {chance:.2f})."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "NeuronTable":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = self.to_dataframe().sort_values(
            ["candidate", "logit_var"], ascending=[False, True]
        )
        return table_html(frame, caption=self.headline())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NeuronEffects:
    """What mean-ablating each of some neurons does to each next-token prediction.

    A prediction is one real token of a text that the model predicts from those before.
    `total` effects let the final norm see the ablated stream; `direct` ones keep the
    scale it had. Samples are kept, so that intervals resample whole texts.

    Attributes:
        model: The model.
        layer: The layer of the neurons.
        neurons: Which neurons, along the first axis of the samples.
        mean: The activation that each was set to.
        loss_total: Change of the loss (nats) of the right token.
        loss_direct: The same with the norm's scale kept.
        entropy_total: Change of the entropy of the prediction (nats).
        entropy_direct: The same with the norm's scale kept.
        kl: Divergence of the ablated from the clean prediction (nats).
        argmax_changed: Whether another token is the likeliest then.
        loss_without_frequency: Change of the loss where the logits' part along the
            unigram direction is put back; NaN where no direction was given.
        groups: The text that each prediction is from.
    """

    model: str
    layer: int
    neurons: Int32[np.ndarray, " neuron"]
    mean: Float32[np.ndarray, " neuron"]
    loss_total: Float32[np.ndarray, "neuron token"]
    loss_direct: Float32[np.ndarray, "neuron token"]
    entropy_total: Float32[np.ndarray, "neuron token"]
    entropy_direct: Float32[np.ndarray, "neuron token"]
    kl: Float32[np.ndarray, "neuron token"]
    argmax_changed: Bool[np.ndarray, "neuron token"]
    loss_without_frequency: Float32[np.ndarray, "neuron token"]
    groups: Int32[np.ndarray, " token"]

    def __repr__(self) -> str:
        return (
            f"NeuronEffects({self.model!r}, {self.neurons.size} neurons, "
            f"{self.groups.size} predictions)"
        )

    def mediated(self) -> Float32[np.ndarray, " neuron"]:
        """The share of each effect on the loss that passes through the norm's scale.

        1 - DE / TE of the mean absolute changes; negative where the scale works
        against the direct effect, NaN without any effect.
        """
        return _share(self.loss_direct, self.loss_total)

    def frequency_mediated(self) -> Float32[np.ndarray, " neuron"]:
        """The share of each effect on the loss that is along the unigram direction."""
        return _share(self.loss_without_frequency, self.loss_total)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per neuron with means over predictions."""
        return pd.DataFrame(
            {
                "layer": self.layer,
                "neuron": self.neurons,
                "loss_total": np.abs(self.loss_total).mean(axis=1),
                "loss_direct": np.abs(self.loss_direct).mean(axis=1),
                "mediated": self.mediated(),
                "entropy_total": self.entropy_total.mean(axis=1),
                "entropy_direct": self.entropy_direct.mean(axis=1),
                "kl": self.kl.mean(axis=1),
                "argmax_changed": self.argmax_changed.mean(axis=1),
                "frequency_mediated": self.frequency_mediated(),
            }
        )

    def _repr_html_(self) -> str:
        return table_html(self.to_dataframe())


def _share(
    left: Float32[np.ndarray, "neuron token"],
    whole: Float32[np.ndarray, "neuron token"],
) -> Float32[np.ndarray, " neuron"]:
    rest = np.abs(left).mean(axis=1, dtype=np.float64)
    all_of_it = np.abs(whole).mean(axis=1, dtype=np.float64)
    share = np.full(rest.size, np.nan)
    np.divide(rest, all_of_it, out=share, where=all_of_it > 0)
    return (1 - share).astype(np.float32)
