"""The result of activation patching: the logit difference of every patched cell."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import write_result
from interp.results.folders import load_as


Direction = Literal["denoise", "noise"]
Method = Literal["exact", "attribution"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PatchMap:
    """What the model answers when one value of another run is put into its run.

    The entry `ld[u, i, l, t]` is LD = logit[positive] - logit[negative] at the end of
    pair i's prompt when the value of the component `units[u]` in layer `layers[l]` at
    grid position t comes from the other prompt's run. With a window the same position
    of the following layers is patched too, as far as there are any.

    Attributes:
        models: Name of the model that ran, and of the one whose values were put in.
        direction: `denoise` puts clean values into the corrupted run, `noise` corrupted
            values into the clean run.
        method: `exact`, or a first-order estimate by one gradient.
        units: The component of each map, as `"resid_post"` or `"z.h3"`.
        window: How many layers were patched at once.
        layers: The first patched layer, counted from 0.
        ld: Logit difference of the patched runs; NaN where a pair has no such position
            or it was not asked for.
        clean_ld: Of the unpatched clean prompts, in the model that ran.
        corrupted_ld: Of the unpatched corrupted prompts, in the model that ran.
        roles: What each grid position of each pair is; empty where there is none.
        groups: What each pair is about; pairs of a group are not independent.
        tokens: The clean prompt's token at each grid position, or nothing.
        token_layers: Tokens times blocks that were computed.
        naive_token_layers: The same for one whole forward pass per cell.
        notes: How it was computed and what limits it, in sentences.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "patching"
    SCHEMA: ClassVar[int] = 1

    models: tuple[str, str]
    direction: Direction
    method: Method
    units: tuple[str, ...]
    window: int
    layers: Int32[np.ndarray, " layer"]
    ld: Float32[np.ndarray, "unit pair layer position"]
    clean_ld: Float32[np.ndarray, " pair"]
    corrupted_ld: Float32[np.ndarray, " pair"]
    roles: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    token_layers: int
    naive_token_layers: int
    notes: tuple[str, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        units, pairs, layers, positions = self.ld.shape
        shape = f"{units} units, {pairs} pairs, {layers} layers, {positions} positions"
        return f"PatchMap({shape}: {self.headline()})"

    @property
    def unpatched_ld(self) -> Float32[np.ndarray, " pair"]:
        """Of the prompts that values were put into: where a patch has no effect."""
        return self.corrupted_ld if self.direction == "denoise" else self.clean_ld

    @property
    def other_ld(self) -> Float32[np.ndarray, " pair"]:
        """Of the prompts that values were taken from, in the model that ran."""
        return self.clean_ld if self.direction == "denoise" else self.corrupted_ld

    def to_dataframe(self) -> pd.DataFrame:
        """One row per cell that was computed."""
        unit, pair, layer, position = np.nonzero(~np.isnan(self.ld))
        # Millions of rows of a few dozen words each: categories keep them small.
        role_names = sorted({name for roles in self.roles for name in roles})
        number = {name: i for i, name in enumerate(role_names)}
        codes = np.full((self.ld.shape[1], self.ld.shape[3]), -1, dtype=np.int32)
        for i, roles in enumerate(self.roles):
            codes[i, : len(roles)] = [number[name] for name in roles]
        group_codes, group_names = pd.factorize(np.array(self.groups, dtype=object))
        return pd.DataFrame(
            {
                "unit": pd.Categorical.from_codes(unit, list(self.units)),
                "pair": pair.astype(np.int32),
                "group": pd.Categorical.from_codes(group_codes[pair], group_names),
                "layer": self.layers[layer],
                "position": position.astype(np.int32),
                "role": pd.Categorical.from_codes(codes[pair, position], role_names),
                "ld": self.ld[unit, pair, layer, position],
                "clean_ld": self.clean_ld[pair],
                "corrupted_ld": self.corrupted_ld[pair],
            }
        )

    def headline(self) -> str:
        """What was found, in one sentence."""
        moved = self.ld - self.unpatched_ld[:, None, None]
        lengths = [len([name for name in row if name]) for row in self.roles]
        # At the end of the last layer a patch gives the other run, in any model.
        last = np.array(lengths)[:, None] - 1 == np.arange(moved.shape[-1])
        if self.ld.shape[-1] > 1:
            moved = np.where(last[:, None, :], np.nan, moved)
        counted = (~np.isnan(moved)).sum(axis=1)
        gap = float(np.mean(self.other_ld - self.unpatched_ld))
        what = "clean values" if self.direction == "denoise" else "corrupted values"
        if not counted.any():
            return f"No cell before the last position was patched; LD gap {gap:+.2f}."
        mean = np.nansum(moved, axis=1) / np.maximum(counted, 1)
        best = (mean * np.sign(gap or 1.0)).argmax()
        unit, layer, position = np.unravel_index(int(best), mean.shape)
        effect = mean[unit, layer, position]
        names = {row[position] for row in self.roles if row[position]}
        where = names.pop() if len(names) == 1 else f"grid position {position}"
        how = "" if self.method == "exact" else ", to first order"
        return (
            f"Before the last position {what} of {self.units[unit]} move LD most in "
            f"layer {self.layers[layer]} at {where}: by {effect:+.2f} of a gap of "
            f"{gap:+.2f}{how}."
        )

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "PatchMap":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        frame = self.to_dataframe().groupby(["unit", "layer", "role"], observed=True)
        means = frame.agg({"ld": "mean"}).reset_index()
        return table_html(means, caption=self.headline())
