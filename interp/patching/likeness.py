"""Two maps of the same pairs, averaged and measured against each other."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.patching.aggregate import Cells, Ends, Scale, mean_map


Maps = Float[np.ndarray, "draw layer position"]
Weights = Float[np.ndarray, "draw pair"]
# A map whose values differ by less than this share of their size is constant.
CONSTANT = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoMaps:
    """Two maps of the same pairs, and how they are put on a scale.

    Attributes:
        a: One value for each pair, layer and position.
        b: The same of the other model.
        ends_a: Logit difference of the false and of the true prompt of each pair.
        ends_b: The same in the other model.
        scale: What mean maps are put on.
        knowledge: The positions of subject and object.
    """

    a: Cells
    b: Cells
    ends_a: Ends | None
    ends_b: Ends | None
    scale: Scale
    knowledge: Bool[np.ndarray, " position"]

    def map_a(self, weights: Weights) -> Maps:
        return mean_map(self.a, weights, ends=self.ends_a, scale=self.scale)

    def map_b(self, weights: Weights) -> Maps:
        return mean_map(self.b, weights, ends=self.ends_b, scale=self.scale)

    def exchanged(self, swapped: Float[np.ndarray, "draw pair"]) -> tuple[Maps, Maps]:
        """Both maps with the models exchanged for the pairs that are 1 in each draw."""
        ends = None
        if self.ends_a is not None and self.ends_b is not None:
            ends = np.concatenate([self.ends_a, self.ends_b])
        both = np.concatenate([self.a, self.b])
        kept = 1.0 - swapped
        first, second = (
            mean_map(both, np.hstack(rows), ends=ends, scale=self.scale)
            for rows in ([kept, swapped], [swapped, kept])
        )
        return first, second


def measure(
    first: Maps, second: Maps, knowledge: Bool[np.ndarray, " position"]
) -> Float[np.ndarray, "draw measure"]:
    """Pearson's r and the largest differences, over all cells and those of knowledge.

    Args:
        first: Mean maps.
        second: As many.
        knowledge: The positions of subject and object.
    """
    gap = np.abs(first - second)
    return np.stack(
        [pearson(first, second), _largest(gap), _largest(gap[:, :, knowledge])], axis=1
    )


def pearson(
    first: Float[np.ndarray, "draw layer position"],
    second: Float[np.ndarray, "draw layer position"],
) -> Float[np.ndarray, " draw"]:
    """Pearson's r over the cells that both maps have; NaN for constant maps.

    Example:
        >>> pearson(np.array([[[0.0, 1.0, 3.0]]]), np.array([[[2.0, 4.0, 8.0]]]))
        array([1.])
    """
    x, y = (one.reshape(len(one), -1) for one in (first, second))
    held = np.isfinite(x) & np.isfinite(y)
    count = np.maximum(held.sum(axis=1, keepdims=True), 1)
    sizes = []
    centred = []
    for one in (x, y):
        values = np.where(held, one, 0.0)
        sizes.append(np.abs(values).max(axis=1, initial=0.0))
        mean = values.sum(axis=1, keepdims=True) / count
        centred.append(np.where(held, values - mean, 0.0))
    norms = [np.sqrt((one * one).sum(axis=1)) for one in centred]
    usable = np.all(
        [n > CONSTANT * s for n, s in zip(norms, sizes, strict=True)], axis=0
    )
    product = (centred[0] * centred[1]).sum(axis=1)
    found = np.divide(
        product, norms[0] * norms[1], out=np.full(len(x), np.nan), where=usable
    )
    # Rounding must not give more than a perfect correlation.
    return np.clip(found, -1.0, 1.0)


def _largest(gap: Maps) -> Float[np.ndarray, " draw"]:
    flat = gap.reshape(len(gap), -1)
    some = np.isfinite(flat).any(axis=1)
    largest = np.where(np.isfinite(flat), flat, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(some, largest, np.nan)
