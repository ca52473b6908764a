"""Capture and moments beside a bare forward pass; memory above the weights."""

from collections.abc import Callable, Sequence

import torch
from gpu_setting import (
    Batch,
    Method,
    Row,
    Setting,
    affordable,
    bare,
    batches_of,
    prompts_of,
    rates,
    synchronise,
)
from torch import Tensor

import interp
from interp.activations.moments import moments


SIX = ("resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_post", "z")
# Times the rate of a bare forward: 0.95 of its tokens for the last position, and at
# most 1.10 of its time for six sites at all positions.
GOAL_LAST, GOAL_SIX = 0.95, 0.91


def capture_part(setting: Setting) -> list[Row]:
    """The last position of every layer for thousands of ragged prompts."""
    prompts = affordable(setting, n_methods=3)
    batches = batches_of(setting, prompts)

    def ours() -> Tensor:
        return interp.capture(setting.model, prompts)["resid_post"]

    found = rates(
        {
            "bare": bare(setting, batches),
            "interp": ours,
            "HF output_hidden_states": hidden_states(setting, batches),
        },
        setting,
    )
    rows = [
        Row(
            part="capture",
            what=f"{name}, last position of all layers",
            beside=f"bare forward, {len(prompts)} prompts",
            rate=rate,
            rounds=found.rounds,
            goal=GOAL_LAST if name == "interp" else None,
        )
        for name, rate in found.by_name.items()
    ]
    return [*rows, *_memory(setting, ours)]


def hidden_states(setting: Setting, batches: Sequence[Batch]) -> Method:
    """What one writes without a library: `output_hidden_states`, and the rows of it."""

    def run() -> Tensor:
        rows = []
        with torch.inference_mode():
            for ids, mask, last in batches:
                states = setting.model.hf.base_model(
                    ids, attention_mask=mask, use_cache=False, output_hidden_states=True
                ).hidden_states[1:]
                index = torch.arange(len(ids), device=ids.device)
                rows.append(torch.stack([s[index, last] for s in states], 1).cpu())
        return torch.cat(rows)

    return run


def _memory(setting: Setting, ours: Callable[[], Tensor]) -> list[Row]:
    if setting.device.type != "cuda":
        return []
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    rows = ours()
    synchronise(setting.device)
    above = torch.cuda.max_memory_allocated() - before
    note = f"peak above the weights {above / 2**30:.2f} GiB, rows (CPU) "
    note += f"{rows.nbytes / 2**30:.2f} GiB"
    weights = sum(p.nbytes for p in setting.model.hf.parameters())
    return [
        Row(
            part="capture",
            what="peak memory above the weights",
            beside="the weights",
            rate=above / weights,
            note=note,
        )
    ]


def sites_part(setting: Setting) -> list[Row]:
    """Six sites of all layers at all positions, and their moments."""
    n = setting.scaled(max(8, setting.n_prompts // 64))
    prompts = prompts_of(n, setting.model.d_vocab)
    labels = [row % 2 for row in range(n)]
    methods: dict[str, Method] = {
        "bare": bare(setting, batches_of(setting, prompts)),
        "capture": lambda: interp.capture(
            setting.model,
            prompts,
            sites=[f"{name}.*" for name in SIX],
            positions="all",
            device=setting.device,
        ),
        "moments": lambda: moments(setting.model, prompts, labels=labels),
    }
    found = rates(methods, setting)
    said = {
        "capture": "interp.capture, six sites, all positions, kept on the device",
        "moments": "interp.activations.moments, means of two classes, all layers",
    }
    return [
        Row(
            part="sites",
            what=said[name],
            beside=f"bare forward, {n} prompts",
            rate=rate,
            rounds=found.rounds,
            goal=GOAL_SIX if name == "capture" else None,
        )
        for name, rate in found.by_name.items()
    ]
