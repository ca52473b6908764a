"""The three scores of candidate directions, one candidate at a time."""

from typing import Any

import numpy as np
import torch
from refusal_work import BATCH, Work

from interp import ablate, capture, steer
from probes.studies.refusal.score import divergence, refusal_score


Score3 = tuple[np.ndarray, ...]


def published(work: Work) -> Score3:
    """One candidate at a time, with hooks and batches as in published code."""
    hf = work.model.hf
    blocks = work.model.architecture.blocks
    paths = work.model.architecture.map
    harmful, harmless = (
        _left_padded(rows) for rows in (work.prompts.harmful, work.prompts.harmless)
    )
    clean = _last_logits(hf, harmless)
    scores: list[tuple[float, float, float]] = []
    for slot, layer in work.places:
        vector = work.found.vectors[slot, layer]

        def remove(value: torch.Tensor, vector: torch.Tensor = vector) -> torch.Tensor:
            unit = vector / (vector.norm(dim=-1, keepdim=True) + 1e-8)
            return value - (value @ unit).unsqueeze(-1) * unit

        def before(module: Any, args: tuple, remove: Any = remove) -> tuple:
            return (remove(args[0]), *args[1:])

        def behind(module: Any, args: Any, output: Any, remove: Any = remove) -> Any:
            if isinstance(output, tuple):
                return (remove(output[0]), *output[1:])
            return remove(output)

        def add(module: Any, args: tuple, vector: torch.Tensor = vector) -> tuple:
            return (args[0] + vector, *args[1:])

        handles = []
        for block in blocks:
            handles.append(block.register_forward_pre_hook(before))
            for path in (paths.attn, paths.mlp):
                assert path is not None
                module = block.get_submodule(path)
                handles.append(module.register_forward_hook(behind))
        bypass = _scores(_last_logits(hf, harmful), work)
        kl = divergence(_chances(clean), _chances(_last_logits(hf, harmless)))
        for handle in handles:
            handle.remove()
        handle = blocks[layer].register_forward_pre_hook(add)
        induce = _scores(_last_logits(hf, harmless), work)
        handle.remove()
        scores.append((bypass.mean(), induce.mean(), kl.mean()))
    return _columns(scores)


def published_clean(work: Work) -> None:
    """What `published` runs once, whatever the number of candidates."""
    _last_logits(work.model.hf, _left_padded(work.prompts.harmless))


def own_loop(work: Work) -> Score3:
    """One candidate at a time through the public functions of this library."""
    model = work.model

    def last(rows: Any) -> torch.Tensor:
        acts = capture(model, rows, sites="logits", positions="last", dtype="float32")
        return acts["logits"]

    clean = _chances(last(work.prompts.harmless))
    scores: list[tuple[float, float, float]] = []
    for slot, layer in work.places:
        vector = work.found.vectors[slot, layer]
        with ablate(model, vector):
            bypass = _scores(last(work.prompts.harmful), work)
            kl = divergence(clean, _chances(last(work.prompts.harmless)))
        with steer(model, vector, site=f"resid_pre.{layer}"):
            induce = _scores(last(work.prompts.harmless), work)
        scores.append((bypass.mean(), induce.mean(), kl.mean()))
    return _columns(scores)


def _columns(scores: list[tuple[float, float, float]]) -> Score3:
    return tuple(np.array(scores).T)


def _left_padded(rows: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    batches = []
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        longest = max(map(len, some))
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in some])
        mask = torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in some]
        )
        batches.append((ids, mask))
    return batches


def _last_logits(hf: Any, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    with torch.no_grad():
        return torch.cat(
            [
                hf(
                    input_ids=ids,
                    attention_mask=mask,
                    # Without them the positions of padded rows are shifted.
                    position_ids=(mask.cumsum(1) - 1).clamp_min(0),
                ).logits[:, -1]
                for ids, mask in batches
            ]
        )


def _chances(logits: torch.Tensor) -> np.ndarray:
    return logits.double().softmax(-1).numpy()


def _scores(logits: torch.Tensor, work: Work) -> np.ndarray:
    return refusal_score(_chances(logits)[:, list(work.tokens)].sum(1))
