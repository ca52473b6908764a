"""One forward pass over trees of prompts, under whatever edits are in force."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from interp.models.hookpoints import HookPoint, plant
from interp.models.language_model import LanguageModel
from interp.sites import Site
from probes.studies.refusal.candidates_tree import PromptTree


KEYS_AND_VALUES = (DynamicLayer, DynamicSlidingWindowLayer)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeBatch:
    """Trees as rows of a batch, padded on the right.

    Attributes:
        ids: Tokens.
        depths: Their positions.
        mask: What is added to attention scores: nothing, or the least number.
        rows: The row of each prompt's end.
        nodes: Its node.
    """

    ids: Int[Tensor, "row node"]
    depths: Int[Tensor, "row node"]
    mask: Float[Tensor, "row 1 node seen"]
    rows: Int[Tensor, " end"]
    nodes: Int[Tensor, " end"]


def batch_of(model: LanguageModel, trees: Sequence[PromptTree]) -> TreeBatch:
    """Trees, often the same ones again, on the model's device; all start alike."""
    kinds = {id(tree): tree for tree in trees}
    which = torch.tensor([list(kinds).index(id(tree)) for tree in trees])
    n, start = max(map(len, trees)), trees[0].start
    ids = torch.zeros(len(kinds), n, dtype=torch.long)
    depths = torch.zeros_like(ids)
    # Padding sees itself: a row that sees nothing has no softmax.
    sees = torch.eye(n, dtype=torch.bool).repeat(len(kinds), 1, 1)
    for i, tree in enumerate(kinds.values()):
        ids[i, : len(tree)], depths[i, : len(tree)] = tree.ids, tree.depths
        sees[i, : len(tree), : len(tree)] = tree.sees
    mask = torch.zeros(len(kinds), n, start + n, dtype=model.dtype)
    mask[:, :, start:].masked_fill_(~sees, torch.finfo(model.dtype).min)
    device = model.device
    counts = torch.tensor([len(tree.last) for tree in trees])
    return TreeBatch(
        ids=ids[which].to(device),
        depths=depths[which].to(device),
        mask=mask.to(device)[which.to(device)][:, None],
        rows=torch.arange(len(trees)).repeat_interleave(counts).to(device),
        nodes=torch.cat([tree.last for tree in trees]).to(device),
    )


def tree_logits(
    model: LanguageModel,
    batch: TreeBatch,
    *,
    cuts: bool,
    cache: DynamicCache | None = None,
) -> Float[Tensor, "end vocab"]:
    """The logits at the ends of all prompts of a batch.

    Args:
        model: The model.
        batch: Its rows.
        cuts: Whether the last MLP runs at the ends of prompts only.
        cache: Keys and values of what stands before each row; it grows.

    Raises:
        ValueError: If the model has no head that can be run at the ends only.
    """
    head = model.hf.get_output_embeddings()
    if head is None:
        raise ValueError("the model names no head")

    def at_ends(module: nn.Module, args: tuple) -> tuple:
        return (args[0][batch.rows, batch.nodes][None], *args[1:])

    handle = head.register_forward_pre_hook(at_ends)
    try:
        with _cut_to(model, batch) if cuts else ExitStack():
            logits = model.hf(
                input_ids=batch.ids,
                attention_mask=batch.mask,
                position_ids=batch.depths,
                past_key_values=cache,
                use_cache=cache is not None,
            ).logits
    finally:
        handle.remove()
    if logits.shape[:2] != (1, len(batch.nodes)):
        raise ValueError("the model's head is no last step")
    return logits[0]


def tree_streams(
    model: LanguageModel, batch: TreeBatch, *, cuts: bool, cache: DynamicCache | None
) -> tuple[Float[Tensor, "layer row node d_model"], Float[Tensor, "end vocab"]]:
    """The clean residual stream before every block at every node, and the logits."""
    held: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for layer in range(model.n_layers):
            point = model.architecture.point(Site("resid_pre", layer))

            def keep(value: Tensor, layer: int = layer) -> None:
                held[layer] = value.clone()

            stack.enter_context(planted([point], keep))
        logits = tree_logits(model, batch, cuts=cuts, cache=cache)
    return torch.stack([held[layer] for layer in range(model.n_layers)]), logits


def new_cache(model: LanguageModel) -> DynamicCache:
    """An empty cache; from the config it knows which layers have a sliding window."""
    return DynamicCache(config=model.hf.config)


def picked(cache: DynamicCache | None, rows: Sequence[int]) -> DynamicCache | None:
    """Keys and values of some rows for one more pass: a cache that was used has grown.

    Raises:
        ValueError: If the model put something else into the cache, or nothing.
    """
    if cache is None:
        return None
    layers: list[Any] = cache.layers
    if any(type(layer) not in KEYS_AND_VALUES for layer in layers):
        raise ValueError("the model keeps states that change in place")
    if not any(layer.is_initialized for layer in layers):
        raise ValueError("the model did not use the cache")
    new, held = copy.copy(cache), [copy.copy(layer) for layer in layers]
    for layer in held:
        if layer.is_initialized:
            index = torch.tensor(rows, device=layer.keys.device)
            # Copies: the layer of another pass keeps its own.
            layer.keys, layer.values = layer.keys[index], layer.values[index]
    new.layers = held
    return new


@contextmanager
def planted(
    points: Sequence[HookPoint], callback: Callable[[Tensor], Tensor | None]
) -> Iterator[None]:
    """Call `callback` with the values at some points."""
    with ExitStack() as stack:
        for point in points:
            for remove in plant(point, callback):
                stack.callback(remove)
        yield


@contextmanager
def skipped(blocks: Sequence[nn.Module], *, in_tuples: bool) -> Iterator[None]:
    """Let some blocks return what they get.

    There is no hook that keeps a module from running, so its `forward` is covered by
    one of the instance, as long as the model's lock is held.
    """

    def unchanged(
        hidden_states: Tensor, *args: object, **kwargs: object
    ) -> Tensor | tuple[Tensor]:
        return (hidden_states,) if in_tuples else hidden_states

    for block in blocks:
        block.forward = unchanged
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


@contextmanager
def _cut_to(model: LanguageModel, batch: TreeBatch) -> Iterator[None]:
    """Run the last MLP at the ends only: nothing reads its output elsewhere."""
    path = model.architecture.map.mlp
    if path is None:
        yield
        return
    module = model.architecture.blocks[-1].get_submodule(path)
    whole: list[torch.Size] = []

    def cut(module: nn.Module, args: tuple) -> tuple:
        whole.append(args[0].shape)
        return (args[0][batch.rows, batch.nodes][None], *args[1:])

    def widened(module: nn.Module, args: tuple, output: Any) -> Any:
        value = output[0] if isinstance(output, tuple) else output
        new = value.new_zeros(whole.pop())
        new[batch.rows, batch.nodes] = value[0]
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handles = [
        module.register_forward_pre_hook(cut),
        # Ahead of edits, which expect all nodes.
        module.register_forward_hook(widened, prepend=True),
    ]
    try:
        yield
    finally:
        for handle in reversed(handles):
            handle.remove()
