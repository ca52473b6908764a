"""Calling one decoder block of a model from the middle, as the model itself calls it.

What a block gets beside the hidden states is taken from a recorded pass of the whole
model, so that nothing about its attention is written a second time: the mask, the
rotary embedding and the positions are those the model made, reordered for the packed
slots. An argument whose meaning is not known makes the block one that cannot be
entered, and the trace takes whole passes instead.
"""

import inspect
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import Cache

from interp.patching.packing import Packing


# The arguments that depend on the tokens and can be made for packed slots.
_REORDERED = frozenset(
    {"attention_mask", "position_ids", "cache_position", "position_embeddings", "alibi"}
)


class CannotEnterError(Exception):
    """A block takes something that cannot be made for packed rows; never a user's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockCall:
    """One recorded call of a block, without its hidden states.

    Attributes:
        block: The block.
        arguments: What it got, by name.
        cache_name: Which of them is the cache.
        batch: The batch size of the recorded pass.
    """

    block: nn.Module
    arguments: dict[str, Any]
    cache_name: str
    batch: int

    def run(self, hidden: Tensor, packing: Packing, cache: Cache) -> Tensor:
        """The block's output for packed rows.

        Args:
            hidden: What enters, `[tile, slot, d_model]`.
            packing: Which token each slot is.
            cache: The keys and values before and beside the rows, one per tile.
        """
        made = {
            name: _for_packing(name, value, packing, len(hidden), self.batch)
            for name, value in self.arguments.items()
        }
        made[self.cache_name] = cache
        output = self.block(hidden, **made)
        return output[0] if isinstance(output, tuple) else output


def recorded_call(block: nn.Module, args: tuple, kwargs: dict) -> BlockCall:
    """The call of a block, as a pre-hook sees it.

    Raises:
        CannotEnterError: If it takes no cache, or anything that depends on the tokens
            in a way that is not known.
    """
    bound = inspect.signature(block.forward).bind(*args, **kwargs)
    arguments: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        arguments.update(value if kind is inspect.Parameter.VAR_KEYWORD else {})
        if kind is inspect.Parameter.VAR_POSITIONAL and value:
            raise CannotEnterError(f"it takes unnamed arguments {name}")
        if kind not in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        ):
            arguments[name] = value
    hidden = arguments.pop(next(iter(arguments)))
    caches = [name for name, value in arguments.items() if isinstance(value, Cache)]
    if len(caches) != 1:
        raise CannotEnterError("it takes no cache")
    for name, value in arguments.items():
        if name not in _REORDERED and _holds_tensors(value):
            raise CannotEnterError(f"it takes {name}")
    mask = arguments.get("attention_mask")
    if mask is not None and not (isinstance(mask, Tensor) and mask.dim() == 4):
        raise CannotEnterError("its attention mask is not [batch, head, pos, key]")
    return BlockCall(
        block=block,
        arguments=arguments,
        cache_name=caches[0],
        batch=hidden.shape[0],
    )


def _for_packing(
    name: str, value: Any, packing: Packing, n_tiles: int, batch: int
) -> Any:
    if name == "attention_mask":
        # A tensor even where the model needs none: rows must not see each other.
        mask = packing.mask(value)
        if value is None or value.shape[0] != batch:
            return mask
        return mask.expand(n_tiles, -1, -1, -1)
    if value is None or name not in _REORDERED:
        return value
    if name == "alibi":
        return _slopes(value, packing, n_tiles, batch)
    if isinstance(value, tuple):
        return tuple(_for_packing(name, v, packing, n_tiles, batch) for v in value)
    axis = -2 if name == "position_embeddings" else -1
    value = value.index_select(axis, packing.position)
    one_each = value.dim() > 1 and batch > 1 and value.shape[0] == batch
    return value[:1].expand(n_tiles, *value.shape[1:]) if one_each else value


def _slopes(value: Tensor, packing: Packing, n_tiles: int, batch: int) -> Tensor:
    """Biases by key position, `[batch * head, 1, key]`, for the packed keys."""
    if value.shape[0] % batch or value.shape[-2] != 1:
        raise CannotEnterError("its alibi is not [batch * head, 1, key]")
    one = value[: value.shape[0] // batch].index_select(-1, packing.key)
    return one.repeat(n_tiles, *[1] * (value.dim() - 1))


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Cache):
        return False
    if isinstance(value, tuple | list):
        return any(_holds_tensors(item) for item in value)
    if isinstance(value, dict):
        return any(_holds_tensors(item) for item in value.values())
    return isinstance(value, Tensor)
