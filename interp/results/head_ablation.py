"""The result of ablating attention heads one at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float32

from interp.errors import ConfigError, closest
from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import write_result
from interp.results.folders import load_as


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class HeadAblations:
    """What each head is worth: how predictions change when it is ablated alone.

    Changes are ablated minus clean, averaged over the tokens that count in a sequence.
    Bounds are 95 % intervals from drawing whole sequences anew. NaN for heads that were
    not ablated, and for sequences without a token that counts.

    Attributes:
        kinds: What was put in a head's place, such as `"zero"`.
        loss: Mean change of the loss in nats.
        loss_low: Lower bound.
        loss_high: Upper bound.
        logit: Mean change of the right token's logit.
        logit_low: Lower bound.
        logit_high: Upper bound.
        loss_samples: The change of the loss in each sequence.
        logit_samples: The change of the logit in each sequence.
        clean_loss: The loss of each sequence without any ablation.
        clean_logit: The right token's logit without any ablation.
        notes: What the reader should know.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "head_ablation"
    SCHEMA: ClassVar[int] = 1

    kinds: tuple[str, ...]
    loss: Float32[np.ndarray, "kind layer head"]
    loss_low: Float32[np.ndarray, "kind layer head"]
    loss_high: Float32[np.ndarray, "kind layer head"]
    logit: Float32[np.ndarray, "kind layer head"]
    logit_low: Float32[np.ndarray, "kind layer head"]
    logit_high: Float32[np.ndarray, "kind layer head"]
    loss_samples: Float32[np.ndarray, "kind layer head sequence"]
    logit_samples: Float32[np.ndarray, "kind layer head sequence"]
    clean_loss: Float32[np.ndarray, " sequence"]
    clean_logit: Float32[np.ndarray, " sequence"]
    notes: tuple[str, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        return f"HeadAblations({self.headline()})"

    @property
    def models(self) -> tuple[str, ...]:
        """The model whose heads were ablated."""
        return tuple(model.name for model in self.provenance.models)

    def value(self, kind: str) -> Float32[np.ndarray, "layer head"]:
        """The mean change of the loss by one kind of ablation.

        Raises:
            ConfigError: If it was not done.
        """
        return self.loss[self.number(kind)]

    def number(self, kind: str) -> int:
        """The place of a kind on the first axis.

        Raises:
            ConfigError: If it was not done.
        """
        if kind not in self.kinds:
            raise ConfigError(
                f"The ablation {kind!r} was not done.",
                expected=f"There are: {', '.join(self.kinds)}.",
                remedy=closest(kind, self.kinds),
            )
        return self.kinds.index(kind)

    def top(self, kind: str, *, k: int = 5) -> tuple[str, ...]:
        """The heads whose ablation raises the loss most, as `L5H3`, highest first."""
        values = self.value(kind)
        ranked = np.where(np.isfinite(values), values, -np.inf)
        order = np.argsort(-ranked, axis=None, kind="stable")[:k]
        layers, heads = np.unravel_index(order, values.shape)
        return tuple(f"L{a}H{b}" for a, b in zip(layers, heads, strict=True))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per kind and head; heads that were not ablated are left out."""
        grid = np.indices(self.loss.shape).reshape(3, -1)
        frame = pd.DataFrame(
            {
                "kind": [self.kinds[i] for i in grid[0]],
                "layer": grid[1],
                "head": grid[2],
                "loss": self.loss.ravel(),
                "loss_lo": self.loss_low.ravel(),
                "loss_hi": self.loss_high.ravel(),
                "logit": self.logit.ravel(),
                "logit_lo": self.logit_low.ravel(),
                "logit_hi": self.logit_high.ravel(),
            }
        )
        return frame.dropna(subset=["loss"]).reset_index(drop=True)

    def headline(self) -> str:
        """What was found, in one sentence."""
        kind, name = self.kinds[0], self.top(self.kinds[0], k=1)[0]
        layer, head = (int(part) for part in name[1:].split("H"))
        value = self.value(kind)[layer, head]
        low, high = self.loss_low[0, layer, head], self.loss_high[0, layer, head]
        return (
            f"Of all heads {name} matters most: {kind.replace('_', '-')} ablation of "
            f"it changes the loss by {value:+.2f} nats [{low:+.2f}, {high:+.2f}], from "
            f"{np.nanmean(self.clean_loss):.2f}."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "HeadAblations":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = self.to_dataframe().sort_values("loss", ascending=False)
        return table_html(frame, caption=self.headline())
