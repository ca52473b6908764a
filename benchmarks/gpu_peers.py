"""The capture of two batches by TransformerLens and nnsight, where installed."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from gpu_setting import (
    Batch,
    Method,
    Row,
    Setting,
    bare,
    batches_of,
    prompts_of,
    rates,
)


def peers_part(setting: Setting) -> list[Row]:
    """The last part: peers leave hooks on the model that they are given."""
    n = setting.scaled(setting.n_prompts)
    batches = batches_of(setting, prompts_of(n, setting.model.d_vocab))
    few = batches[len(batches) // 2 :][:2]
    rows = []
    for name, make in (("transformer_lens", transformer_lens), ("nnsight", nnsight)):
        if find_spec(name) is None:
            print(f"{name} is not installed", file=sys.stderr)
            continue
        half = replace(setting, seconds=setting.seconds / 2)
        try:
            found = rates({"bare": bare(half, few), name: make(half, few)}, half)
        except torch.OutOfMemoryError:
            raise  # the whole part is tried again, smaller
        except Exception as error:  # a peer may not support a version or a shape
            print(f"{name} could not be measured: {error!r}"[:300], file=sys.stderr)
            continue
        rows.append(
            Row(
                part="peers",
                what=f"{name}, last position of all layers",
                beside=f"bare forward, {len(few)} batches",
                rate=found.by_name[name],
                rounds=found.rounds,
            )
        )
    return rows


def transformer_lens(setting: Setting, batches: Sequence[Batch]) -> Method:
    """TransformerLens' bridge on the same weights, full batches of its own padding."""
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    hf = setting.model.hf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge = build_bridge_from_module(hf, type(hf).__name__, hf_config=hf.config)
    names = [f"blocks.{i}.hook_resid_post" for i in range(setting.model.n_layers)]

    def run() -> None:
        with torch.inference_mode():
            for ids, _, last in batches:
                _, cache = bridge.run_with_cache(
                    ids, names_filter=names, prepend_bos=False, return_type=None
                )
                index = torch.arange(len(ids), device=ids.device)
                torch.stack([cache[name][index, last] for name in names], 1).cpu()

    return run


def nnsight(setting: Setting, batches: Sequence[Batch]) -> Method:
    """Nnsight at its best: around the base model, without a cache."""
    from nnsight import NNsight

    model: Any = NNsight(setting.model.hf.base_model)

    def run() -> None:
        for ids, mask, last in batches:
            rows: list[Any] = []
            index = torch.arange(len(ids), device=ids.device)
            with (
                torch.inference_mode(),
                model.trace(ids, attention_mask=mask, use_cache=False),
            ):
                for layer in model.layers:
                    rows.append(layer.output[index, last].save())
            torch.stack(rows, 1).cpu()

    return run
