"""Rows of one batch: which positions of an activation are kept, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.positions import Positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is read from `[batch, pos, ...]`, as tensors on one device.

    Attributes:
        kind: `"one"` position per prompt, `"several"`, `"whole"` prompts from the first
            token on, or the `"mean"` over the real tokens.
        index: The positions, by batch, or by batch and slot.
        same: The one position that is read of every prompt, if it is the same.
        valid: Which slots (for `"mean"`: positions) are real; None if all are.
    """

    kind: Literal["one", "several", "whole", "mean"]
    index: Int[Tensor, "batch ..."] | None = None
    same: int | None = None
    valid: Bool[Tensor, "batch slot"] | None = None

    def to(self, device: torch.device) -> "Selection":
        return Selection(
            kind=self.kind,
            index=None if self.index is None else self.index.to(device),
            same=self.same,
            valid=None if self.valid is None else self.valid.to(device),
        )

    @property
    def is_view(self) -> bool:
        """Whether `take` returns a view, which keeps the whole activation alive."""
        return self.same is not None or (self.kind == "whole" and self.valid is None)

    def take(self, value: Float[Tensor, "batch pos *rest"]) -> Tensor:
        """The rows that are kept; slots that a prompt does not have are zero."""
        if self.kind == "mean":
            return self._mean(value)
        if self.kind == "whole":
            return value if self.valid is None else self._cleared(value)
        if self.same is not None:
            return value[:, self.same]
        assert self.index is not None
        batch = torch.arange(len(value), device=value.device)
        if self.kind == "one":
            return value[batch, self.index]
        rows = value[batch[:, None], self.index]
        return rows if self.valid is None else self._cleared(rows)

    def _cleared(self, rows: Tensor) -> Tensor:
        # A padded position may hold anything, even NaN: it must not be multiplied.
        assert self.valid is not None
        is_padding = ~self.valid
        return rows.masked_fill(is_padding.view(*is_padding.shape, *_ones(rows, 2)), 0)

    def _mean(self, value: Tensor) -> Tensor:
        value = value.float()
        if self.valid is None:
            return value.mean(1)
        total = self._cleared(value).sum(1)
        return total / self.valid.sum(1).view(-1, *_ones(value, 2))


def _ones(like: Tensor, n_dims: int) -> tuple[int, ...]:
    """Axes of size one for all but the first `n_dims` axes of a tensor."""
    return (1,) * (like.dim() - n_dims)


def select_positions(
    positions: Positions, rows: Sequence[int], *, lengths: Sequence[int], skip: int = 0
) -> Selection:
    """The selection for one batch.

    Args:
        positions: The positions of all prompts.
        rows: The prompts in the batch.
        lengths: How many tokens each prompt of the batch has.
        skip: How many tokens of each prompt are not in the batch (a shared prefix).
    """
    places = [positions.index[row] for row in rows]
    if positions.kind == "one":
        index = [place[0] - skip for place in places]
        same = index[0] if min(index) == max(index) else None
        return Selection(kind="one", index=torch.tensor(index), same=same)
    counts = torch.tensor([len(place) for place in places])
    slots = torch.arange(int(counts.max()))
    is_ragged = bool((counts != counts[0]).any())
    valid = slots < counts[:, None] if is_ragged else None
    if positions.kind == "mean":
        return Selection(kind="mean", valid=valid)
    is_whole = skip == 0 and all(
        isinstance(place, range) and place == range(length)
        for place, length in zip(places, lengths, strict=True)
    )
    if is_whole:
        return Selection(kind="whole", valid=valid)
    if all(isinstance(place, range) for place in places):
        starts = torch.tensor([place[0] for place in places])
        index = starts[:, None] + slots
    else:
        n = len(slots)
        index = torch.tensor([[*p, *[p[-1]] * (n - len(p))] for p in places])
    if valid is not None:
        index = torch.where(valid, index, skip)
    return Selection(kind="several", index=index - skip, valid=valid)
