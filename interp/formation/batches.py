"""Sequences that networks of the formation lab are trained on, and what is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Sequences for each replica.

    Attributes:
        symbols: The symbol at each position, -1 where there is an item instead. With
            labels as vectors this still says which label it is.
        items: The vector at each position, 0 where there is a symbol; or nothing.
        targets: What the logits at a position shall name; -1 where nothing is scored.
        periods: After how many positions a sequence repeats, if it does.
        answers: The position of the right label in the context, -1 if it is not there.
    """

    symbols: Int[Tensor, "replica example position"]
    items: Float[Tensor, "replica example position d_item"] | None = None
    targets: Int[Tensor, "replica example position"]
    periods: Int[Tensor, "replica example"] | None = None
    answers: Int[Tensor, "replica example"] | None = None


@runtime_checkable
class Task(Protocol):
    """Where sequences come from. Each replica draws from its own generator."""

    def sample(self, generators: Sequence[torch.Generator], examples: int) -> Batch: ...


def uniform(
    generators: Sequence[torch.Generator], *shape: int
) -> Float[Tensor, "replica ..."]:
    """Numbers between 0 and 1, drawn for each replica from its own generator."""
    return torch.stack([torch.rand(shape, generator=g) for g in generators])


def normal(
    generators: Sequence[torch.Generator], *shape: int
) -> Float[Tensor, "replica ..."]:
    """Normal numbers, drawn for each replica from its own generator."""
    return torch.stack([torch.randn(shape, generator=g) for g in generators])


def integers(
    generators: Sequence[torch.Generator], low: int, high: int, *shape: int
) -> Int[Tensor, "replica ..."]:
    """Whole numbers from `low` to `high - 1`, of each replica's own generator."""
    drawn = [torch.randint(low, high, shape, generator=g) for g in generators]
    return torch.stack(drawn)
