"""Keys and values that are computed once: of a shared prefix, and of an unpatched run.

A cache from `DynamicCache()` without a config keeps all keys of all layers, also those
that a sliding window has passed; the masks see to the window. So nothing has to be cut
or rebuilt, which fails or goes wrong silently where a layer keeps its window alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from interp.activations.batching import is_out_of_memory
from interp.models.language_model import LanguageModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefix:
    """The keys and values of a prefix by layer, `[1, head, pos, d_head]`.

    An empty prefix has no layers.
    """

    length: int
    keys: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()

    def cache(self, batch: int) -> DynamicCache:
        """A cache of its own for one batch: a cache that was used has grown."""
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(
            zip(self.keys, self.values, strict=True)
        ):
            # Views: `update` replaces them by longer ones and leaves these alone.
            shape = (batch, -1, -1, -1)
            cache.update(keys.expand(shape), values.expand(shape), layer)
        return cache


def compute_prefix(model: LanguageModel, ids: Sequence[int]) -> Prefix | None:
    """Run a prefix once, or None if the model's state is no list of keys and values.

    Recurrent layers, layers that share keys, and models that ignore the cache are told
    by what they leave in it.
    """
    if not ids:
        return Prefix(length=0)
    cache = DynamicCache()
    try:
        tokens = torch.tensor([tuple(ids)], device=model.device)
        model.hf(input_ids=tokens, past_key_values=cache, use_cache=True)
    except Exception as error:  # each architecture objects in its own way
        if is_out_of_memory(error):
            raise
        return None
    held = plain_layers(cache, n_layers=model.n_layers, length=len(ids))
    if held is None:
        return None
    return Prefix(
        length=len(ids),
        keys=tuple(layer.keys for layer in held),
        values=tuple(layer.values for layer in held),
    )


def plain_layers(cache: Any, *, n_layers: int, length: int) -> list[Any] | None:
    """The layers of a cache if each holds the keys of all tokens, else None."""
    layers = list(cache.layers)
    plain = len(layers) == n_layers and all(
        type(layer) is DynamicLayer and layer.get_seq_length() == length
        for layer in layers
    )
    return layers if plain else None


class _FrozenLayer(DynamicLayer):
    """Keys and values in pieces, which new ones are put behind and never kept."""

    def __init__(self, keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        super().__init__()
        self.is_initialized = True
        self._keys, self._values = tuple(keys), tuple(values)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return (
            torch.cat([*self._keys, key_states], dim=-2),
            torch.cat([*self._values, value_states], dim=-2),
        )

    def get_seq_length(self) -> int:
        return sum(piece.shape[-2] for piece in self._keys)


def frozen_cache(layer: int, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Cache:
    """A cache for calling one block: it gives these keys and values, and never grows.

    Args:
        layer: Which block.
        keys: Pieces of `[batch, head, pos, d_head]`, in the order of the text.
        values: The same of the values.
    """
    layers: list[Any] = [DynamicLayer() for _ in range(layer)]
    return Cache(layers=[*layers, _FrozenLayer(keys, values)])
