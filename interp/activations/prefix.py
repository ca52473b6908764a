"""One shared prefix, computed once and kept as a key-value cache."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from interp.models.language_model import LanguageModel
from interp.positions import Positions, common_start


# Below this a cache costs more than the few tokens it saves.
MIN_PREFIX_TOKENS = 8
# Computed without sharing over computed with it: what makes the detour worthwhile.
MIN_SAVING = 1.5

Forward = Callable[[Tensor, Tensor | None, Mapping[str, object]], None]


def plan_prefix(ids: Sequence[tuple[int, ...]], positions: Positions) -> int:
    """How many leading tokens to compute once; 0 if that does not pay.

    The prefix ends before the first position that is read, so that every captured row
    is computed the ordinary way.

    Example:
        >>> from interp.positions import resolve
        >>> prompts = [(*range(20), 30), (*range(20), 31, 32), (*range(20), 33)]
        >>> plan_prefix(prompts, resolve("last", prompts))
        20
    """
    first_read = min(min(places) for places in positions.index)
    if len(ids) < 2 or first_read < MIN_PREFIX_TOKENS:
        return 0
    length = min(common_start(ids), first_read)
    total = sum(map(len, ids))
    shared = total - (len(ids) - 1) * length
    pays = length >= MIN_PREFIX_TOKENS and total >= MIN_SAVING * shared
    return length if pays else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrefix:
    """The keys and values of a prefix, for a batch of one."""

    length: int
    cache: Any

    @staticmethod
    def compute(
        model: LanguageModel, ids: tuple[int, ...], forward: Forward
    ) -> "SharedPrefix | None":
        """Run the prefix once, or None if the model's cache cannot be shared.

        A cache can be shared if all its layers hold plain keys and values (also of a
        sliding window); recurrent states and quantised caches change in place.
        """
        # With the config the cache knows which layers have a sliding window.
        cache = DynamicCache(config=model.hf.config)
        arguments = {"use_cache": True, "past_key_values": cache}
        try:
            forward(torch.tensor([ids]), None, arguments)
        except TypeError:  # the model takes no cache
            return None
        layers: list[Any] = cache.layers
        sharable = (DynamicLayer, DynamicSlidingWindowLayer)
        if any(type(layer) not in sharable for layer in layers):
            return None
        lengths = {layer.get_seq_length() for layer in layers if layer.is_initialized}
        if lengths != {len(ids)}:  # the model did not use the cache
            return None
        return SharedPrefix(length=len(ids), cache=cache)

    def expanded(self, batch: int) -> Any:
        """A cache of its own for one batch: a cache that was used has grown.

        The keys and values themselves are views: a layer replaces them when it grows.
        """
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        for layer in cache.layers:
            if layer.is_initialized:
                layer.keys = layer.keys.expand(batch, -1, -1, -1)
                layer.values = layer.values.expand(batch, -1, -1, -1)
        return cache
