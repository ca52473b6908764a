"""What the exact patching grid is measured beside: the naive loop, and its peers.

Also the pairs of prompts that all of them patch, on a CPU as on a GPU.
"""

import copy
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.patching import PromptPairs


PREFIX, POSITIONS = 100, 12
Cell = tuple[int, int]  # layer, and position behind the prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a method: LD of the first pair by cell, and what share it ran.

    `counted` is the number of token-layers of the naive loop and of ours.
    """

    ld: dict[Cell, float]
    share: float = 1.0
    pairs: int = 1
    counted: tuple[int, int] = (0, 0)


Method = Callable[[list[Cell]], Measured]


def pairs_of(n: int, *, vocabulary: int) -> PromptPairs:
    """Pairs of random tokens behind one prefix, which differ in their next two tokens.

    They differ from their first grid position on: no cell is known before.
    """
    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, vocabulary) for _ in range(count))

    prefix = tokens(PREFIX)
    tails = [tokens(POSITIONS) for _ in range(n)]
    return PromptPairs(
        clean_ids=tuple((*prefix, *tail) for tail in tails),
        corrupted_ids=tuple((*prefix, *tokens(2), *tail[2:]) for tail in tails),
        positive=(3,) * n,
        negative=(4,) * n,
        start=(PREFIX,) * n,
        roles=(tuple(f"token {i}" for i in range(POSITIONS)),) * n,
        groups=tuple(str(i) for i in range(n)),
    )


def naive_loop(hf: Any, pairs: PromptPairs, cells: Sequence[Cell]) -> dict[Cell, float]:
    """LD of cells of the first pair, one whole forward pass and a hook for each."""
    clean, corrupted = ids_of(hf, pairs)
    blocks, kept = hf.base_model.layers, []
    handles = [
        block.register_forward_hook(lambda _m, _a, out: kept.append(_stream(out)))
        for block in blocks
    ]
    found = {}
    with torch.inference_mode():
        try:
            hf(clean, use_cache=False, logits_to_keep=1)
        finally:
            for handle in handles:
                handle.remove()
        for layer, position in cells:
            at, value = PREFIX + position, kept[layer][:, PREFIX + position]

            def replaced(_m: Any, _a: Any, out: Any, at=at, value=value) -> Any:
                hidden = _stream(out).clone()
                hidden[:, at] = value
                return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

            handle = blocks[layer].register_forward_hook(replaced)
            try:
                logits = hf(corrupted, use_cache=False, logits_to_keep=1).logits[0, -1]
            finally:
                handle.remove()
            found[layer, position] = float(logits[3].float() - logits[4].float())
    return found


def ids_of(hf: Any, pairs: PromptPairs) -> tuple[Tensor, Tensor]:
    """The clean and the corrupted prompt of the first pair, where the model is."""
    return (
        torch.tensor([pairs.clean_ids[0]], device=hf.device),
        torch.tensor([pairs.corrupted_ids[0]], device=hf.device),
    )


def _stream(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def transformer_lens(hf: Any, pairs: PromptPairs) -> Method:
    """`get_act_patch_resid_pre` on TransformerLens' bridge around a copy."""
    import pandas as pd
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )
    from transformer_lens.patching import get_act_patch_resid_pre

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge: Any = build_bridge_from_module(
            copy.deepcopy(hf), type(hf).__name__, hf_config=copy.deepcopy(hf.config)
        )
    clean, corrupted = ids_of(hf, pairs)
    n_layers = len(hf.base_model.layers)

    def run(cells: list[Cell]) -> Measured:
        # `resid_pre` of the next layer; at the top, which has none, the first's.
        places = [((layer + 1) % n_layers, PREFIX + at) for layer, at in cells]
        frame = pd.DataFrame(places, columns=["layer", "pos"])
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, cache = bridge.run_with_cache(clean, prepend_bos=False)
            values = get_act_patch_resid_pre(
                bridge,
                corrupted,
                cache,
                lambda logits: logits[0, -1, 3] - logits[0, -1, 4],
                index_axis_names=None,
                index_df=frame,
            )
        found = {
            cell: float(value)
            for cell, value in zip(cells, values, strict=True)
            if cell[0] < n_layers - 1
        }
        return Measured(ld=found, share=len(cells) / (n_layers * POSITIONS))

    return run


def attribution(hf: Any, pairs: PromptPairs) -> Method:
    """Two whole forward passes and a backward pass, by plain hooks."""
    blocks = hf.base_model.layers

    def run(cells: list[Cell]) -> Measured:
        clean, corrupted = ids_of(hf, pairs)
        kept: list[list[Tensor]] = [[], []]

        def keep(module: Any, args: Any, output: Any) -> None:
            kept[-1].append(_stream(output))

        handles = [block.register_forward_hook(keep) for block in blocks]
        with torch.no_grad():
            hf(clean, logits_to_keep=1, use_cache=False)
        values, kept[-1] = kept[-1], []
        logits = hf(corrupted, logits_to_keep=1, use_cache=False).logits[0, -1]
        gradients = torch.autograd.grad(logits[3] - logits[4], kept[-1])
        for handle in handles:
            handle.remove()
        for value, own, slope in zip(values, kept[-1], gradients, strict=True):
            (slope * (value - own)).sum(-1)
        return Measured(ld={})

    return run
