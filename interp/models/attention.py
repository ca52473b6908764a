"""Attention patterns, read and replaced while a model runs.

Fast attention kernels never form the pattern. While somebody watches, the model uses an
attention function of ours that forms it, hands it on and multiplies it with the values;
its masks are the eager ones, so padding counts. Models that predate the common
attention interface are read through their own `output_attentions`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from interp.errors import MissingSiteError


IMPLEMENTATION = "interp_watched"
PatternCallback = Callable[[Float[Tensor, "batch head query key"]], Tensor | None]

# Which callbacks watch which attention module; changed only under the model's lock.
_watchers: dict[nn.Module, list[PatternCallback]] = {}


def watch_attention(
    attention: nn.Module, callback: PatternCallback
) -> Callable[[], None]:
    """Call `callback` with the pattern of one attention module until removed.

    The model has to run inside `watched_attention`.
    """
    _watchers.setdefault(attention, []).append(callback)

    def remove() -> None:
        _watchers[attention].remove(callback)
        if not _watchers[attention]:
            del _watchers[attention]

    return remove


def has_attention_interface(hf: PreTrainedModel) -> bool:
    """Whether the model takes its attention function from the common interface."""
    return bool(hf._can_set_attn_implementation())


@contextmanager
def watched_attention(hf: PreTrainedModel) -> Iterator[dict[str, Any]]:
    """Run a model so that the watchers of its attention modules are called.

    Yields:
        Keyword arguments that every forward pass inside the block has to get.
    """
    if not has_attention_interface(hf):
        with _watched_outputs(hf):
            yield {"output_attentions": True}
        return
    before = hf.config._attn_implementation or "eager"
    hf.set_attn_implementation(IMPLEMENTATION)
    try:
        yield {}
    finally:
        hf.set_attn_implementation(before)


@contextmanager
def _watched_outputs(hf: PreTrainedModel) -> Iterator[None]:
    """Hand on the patterns that the attention modules themselves return."""

    def on_output(module: nn.Module, args: tuple, output: Any) -> None:
        for callback in _watchers.get(module, ()):
            pattern = next(
                (x for x in output if isinstance(x, Tensor) and x.dim() == 4), None
            )
            if pattern is None:
                raise MissingSiteError(
                    f"{type(hf).__name__} does not return its attention patterns.",
                    remedy="Leave 'pattern' out of the sites.",
                )
            if callback(pattern) is not None:
                raise MissingSiteError(
                    f"The patterns of {type(hf).__name__} can be read but not edited.",
                    expected="It does not use transformers' attention interface.",
                    remedy="Edit 'z' instead.",
                )

    handles = [module.register_forward_hook(on_output) for module in hf.modules()]
    # Masks are built for the configured kind of attention, and a boolean one (sdpa)
    # gives wrong patterns in transformers 5.23; the public setter refuses such models.
    before = hf.config._attn_implementation_internal
    hf.config._attn_implementation_internal = "eager"
    try:
        yield
    finally:
        hf.config._attn_implementation_internal = before
        for handle in handles:
            handle.remove()


def _attention(
    module: nn.Module,
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch kv_head key d_head"],
    value: Float[Tensor, "batch kv_head key d_value"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Eager attention that shows its pattern; the signature is the interface's."""
    del dropout, kwargs
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(-1, -2)
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask[..., : key.shape[-2]]
    if s_aux is not None:  # learned sinks take part in the softmax, then are dropped
        sinks = s_aux.reshape(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sinks.to(scores.dtype)], dim=-1)
    pattern = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    if s_aux is not None:
        pattern = pattern[..., :-1]
    for callback in _watchers.get(module, ()):
        new = callback(pattern)
        pattern = pattern if new is None else new.to(pattern.dtype)
    out = (pattern @ value).transpose(1, 2).contiguous()
    return out, pattern


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
