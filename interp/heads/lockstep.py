"""Clean and ablated rows in one forward pass, layer by layer side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.heads.predicted import Predicted, predictions
from interp.models.language_model import LanguageModel


AblationKind = Literal[
    "zero", "mean", "resample", "pattern_preserving", "value_preserving"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One head, ablated in one way."""

    kind: AblationKind
    layer: int
    head: int


def run_variants(
    model: LanguageModel,
    given: Predicted,
    rows: Sequence[int],
    variants: Sequence[Variant],
    *,
    donors: Sequence[int] | None,
    means: Mapping[int, Float[Tensor, "head d_value"]],
) -> Float[np.ndarray, "what variant sequence"]:
    """Loss and right logit of the rows: clean first, then under each variant.

    Args:
        model: The model, whose lock is held.
        given: All sequences.
        rows: Which of them.
        variants: Heads of one layer.
        donors: For each sequence the one that stands for it in `resample`.
        means: The mean output of each layer's heads, for `mean`.
    """
    n = len(rows)
    resamples = any(variant.kind == "resample" for variant in variants)
    own = list(rows)
    # The order of the blocks of rows: clean, variants, sequences to resample from.
    order = own * (1 + len(variants))
    if resamples:
        assert donors is not None
        order += [donors[row] for row in own]
    batch = given.batch(model, order)
    edits = _Edits(variants, n, means)
    logits = given.run(
        model, order, batch, edits.planned(model), watched=bool(edits.patterns)
    )
    last = n * (1 + len(variants))
    found = predictions(logits[:last], batch.ids[:last], batch.counts[:last])
    return torch.stack(found).unflatten(1, (-1, n)).cpu().numpy()


class _Edits:
    """What the hooks of one pass do to the blocks of rows behind the clean one."""

    def __init__(
        self,
        variants: Sequence[Variant],
        n: int,
        means: Mapping[int, Tensor],
    ) -> None:
        self._variants = variants
        self._n = n
        self._means = means
        self.layer = variants[0].layer
        assert all(variant.layer == self.layer for variant in variants)
        self.patterns = self._blocks("pattern_preserving")
        self.values = self._blocks("value_preserving")

    def planned(self, model: LanguageModel):
        """Hook points with what to do there."""
        architecture = model.architecture
        yield architecture.point(f"z.{self.layer}"), self._ablate
        for layer in range(self.layer + 1, model.n_layers):
            if self.patterns:
                yield architecture.point(f"pattern.{layer}"), self._keep_patterns
            if self.values:
                yield architecture.point(f"v.{layer}"), self._keep_values

    def _blocks(self, kind: AblationKind) -> list[int]:
        return [i + 1 for i, v in enumerate(self._variants) if v.kind == kind]

    def _block(self, number: int) -> slice:
        return slice(number * self._n, (number + 1) * self._n)

    def _ablate(self, value: Tensor) -> Tensor:
        new = value.clone()
        for i, variant in enumerate(self._variants):
            new[self._block(i + 1), :, variant.head] = self._instead(value, variant)
        return new

    def _instead(self, value: Tensor, variant: Variant) -> Tensor | float:
        match variant.kind:
            case "zero" | "pattern_preserving" | "value_preserving":
                return 0.0
            case "mean":
                return self._means[self.layer][variant.head].to(value)
            case "resample":
                return value[-self._n :, :, variant.head]
            case _:
                assert_never(variant.kind)

    def _keep_patterns(self, pattern: Tensor) -> Tensor:
        return self._replayed(pattern, self.patterns)

    def _keep_values(self, value: Tensor) -> Tensor:
        return self._replayed(value, self.values)

    def _replayed(self, value: Tensor, blocks: Sequence[int]) -> Tensor:
        new = value.clone()
        for number in blocks:
            new[self._block(number)] = value[: self._n]
        return new
