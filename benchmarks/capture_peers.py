"""The same capture by other means: each returns the rows it was asked for.

`last` methods return resid_post of all layers at the last position of each prompt,
`[example, layer, d_model]`; `six` methods six sites of all layers at all positions.
Prompts of a batch are padded on the right, as each library is given them by its user.
"""

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import interp
from interp.models.language_model import LanguageModel


Ids = list[list[int]]
Method = Callable[[], Tensor | None]
SIX = ("resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_post", "z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Padded:
    """One batch as a tensor, its mask (None if nothing is padded) and its ends."""

    ids: Tensor
    mask: Tensor | None
    last: Tensor


def padded(batch: Ids) -> Padded:
    lengths = torch.tensor([len(row) for row in batch])
    longest = int(lengths.max())
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
    mask = (torch.arange(longest) < lengths[:, None]).long()
    return Padded(ids=ids, mask=None if bool(mask.all()) else mask, last=lengths - 1)


def bare(hf: Any, batches: Sequence[Padded]) -> Method:
    """The forward pass alone: no head, no cache, nothing kept."""

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                hf.base_model(batch.ids, attention_mask=batch.mask, use_cache=False)

    return run


def ours(model: LanguageModel, prompts: Ids, *, six: bool = False) -> Method:
    def run() -> Tensor:
        if six:
            acts = interp.capture(
                model, prompts, sites=[f"{name}.*" for name in SIX], positions="all"
            )
            return acts["resid_post"]
        return interp.capture(model, prompts, sites="resid_post.*")["resid_post"]

    return run


def hidden_states(hf: Any, batches: Sequence[Padded]) -> Method:
    """`output_hidden_states` of the base model, the last token of each layer kept.

    Its last entry is after the final norm, which is one norm more than is asked for.
    """

    def run() -> Tensor:
        rows = []
        with torch.inference_mode():
            for batch in batches:
                out = hf.base_model(
                    batch.ids,
                    attention_mask=batch.mask,
                    use_cache=False,
                    output_hidden_states=True,
                )
                index = torch.arange(len(batch.ids))
                states = [state[index, batch.last] for state in out.hidden_states[1:]]
                rows.append(torch.stack(states, dim=1))
        return torch.cat(rows)

    return run


def transformer_lens(hf: Any, ids: Tensor, *, six: bool = False) -> Method:
    """TransformerLens' bridge around a copy, keeping only what is asked for."""
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge = build_bridge_from_module(
            copy.deepcopy(hf), type(hf).__name__, hf_config=copy.deepcopy(hf.config)
        )
    inner = {"z": "attn.hook_z", "mlp_post": "mlp.hook_post"}
    sites = SIX if six else ("resid_post",)
    endings = tuple(inner.get(name, f"hook_{name}") for name in sites)
    names = [n for n in bridge.hook_dict if n.startswith("blocks.")]
    names = [n for n in names if n.split(".", 2)[2] in endings]

    def run() -> Tensor:
        with torch.inference_mode():
            _, cache = bridge.run_with_cache(
                ids, names_filter=names, prepend_bos=False, return_type=None
            )
        layers = range(hf.config.num_hidden_layers)
        kept = [cache[f"blocks.{layer}.hook_resid_post"] for layer in layers]
        return torch.stack([value if six else value[:, -1] for value in kept], dim=1)

    return run


def nnsight_head(hf: Any, ids: Tensor) -> Method:
    """Nnsight around the causal language model, as its tutorial shows."""
    from nnsight import NNsight

    model: Any = NNsight(hf)
    trunk = next(name for name, child in hf.named_children() if child is hf.base_model)

    def run() -> Tensor:
        rows: list[Any] = []
        with torch.inference_mode(), model.trace(ids):
            for layer in getattr(model, trunk).layers:
                rows.append(layer.output[:, -1].save())
        return torch.stack(rows, dim=1)

    return run


def nnsight_base(hf: Any, ids: Tensor) -> Method:
    """Nnsight at its best: around the base model, without a cache."""
    from nnsight import NNsight

    model: Any = NNsight(hf.base_model)

    def run() -> Tensor:
        rows: list[Any] = []
        with torch.inference_mode(), model.trace(ids, use_cache=False):
            for layer in model.layers:
                rows.append(layer.output[:, -1].save())
        return torch.stack(rows, dim=1)

    return run


def nnsight_six(hf: Any, ids: Tensor) -> Method:
    """Six sites of a GPT-NeoX at all positions by nnsight around the base model."""
    from nnsight import NNsight

    model: Any = NNsight(hf.base_model)

    def run() -> Tensor:
        rows: list[Any] = []
        others: list[Any] = []
        with torch.inference_mode(), model.trace(ids, use_cache=False):
            for layer in model.layers:
                others.append(layer.input.save())
                others.append(layer.attention.dense.input.save())
                others.append(layer.attention.output[0].save())
                others.append(layer.mlp.dense_4h_to_h.input.save())
                others.append(layer.mlp.output.save())
                rows.append(layer.output.save())
        return torch.stack(rows, dim=1)

    return run
