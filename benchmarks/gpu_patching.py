"""The exact patching grid beside one forward pass per cell."""

import itertools
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from gpu_setting import Row, Setting, seconds
from torch import Tensor

from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs, trace


PREFIX, POSITIONS, CELLS, PAIRS = 100, 12, 16, 16


def patching_part(setting: Setting) -> list[Row]:
    """The grids of pairs, a pair, beside a sample of the cells of one, scaled."""
    started = time.perf_counter()
    model, pairs = setting.model, pairs_of(setting.scaled(PAIRS))
    cells = list(itertools.product(range(model.n_layers), range(POSITIONS)))
    share = CELLS / len(cells)
    sample = random.Random(0).sample(cells, CELLS)
    # Both warm up here, and have to agree.
    naive = naive_loop(model, pairs, sample)
    grid = trace(model, pairs).ld[0, 0]
    gap = max(abs(grid[cell] - value) for cell, value in naive.items())
    ratios: list[float] = []
    a_round = time.perf_counter() - started
    while len(ratios) < setting.rounds:
        elapsed = time.perf_counter() - started
        if ratios and elapsed + a_round > setting.seconds:
            break
        loop = seconds(lambda: naive_loop(model, pairs, sample), model.device)
        own = seconds(lambda: trace(model, pairs), model.device)
        ratios.append(loop / share / (own / len(pairs)))
        a_round = loop + own
    return [
        Row(
            part="patching",
            what=f"interp.patching.trace, {len(pairs)} pairs, a pair",
            beside=f"one forward per cell ({CELLS} of {len(cells)} cells, scaled)",
            rate=statistics.median(ratios),
            rounds=len(ratios),
            note=f"largest difference of a cell {gap:.2g}",
        )
    ]


def pairs_of(n: int) -> PromptPairs:
    """Pairs of random tokens behind one prefix, which differ in two of them."""
    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 500) for _ in range(count))

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


def naive_loop(
    model: LanguageModel, pairs: PromptPairs, cells: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """LD of cells of the first pair, by one whole forward pass and a hook each."""
    hf = model.hf
    clean = torch.tensor([pairs.clean_ids[0]], device=model.device)
    corrupted = torch.tensor([pairs.corrupted_ids[0]], device=model.device)
    blocks = hf.base_model.layers
    kept: list[Tensor] = []
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


def _stream(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out
