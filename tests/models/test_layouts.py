"""Columns of fused projections: as TransformerLens splits them, as layouts in words."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_config, tiny_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2LMHeadModel

import interp
from interp.errors import MissingSiteError
from interp.models.architecture import architecture_of
from interp.models.layouts import fused_attention, fused_gate
from interp.models.structure import map_from_structure


GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
ROTARY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SCALED = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "original_max_position_embeddings": 64,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.0, 2.0, 3.0, 4.0],
}
# Beside those of `tiny`: everything else that has such a projection.
MORE = {
    "phi3": ("phi3", {**ROTARY, "num_key_value_heads": 2}),
    # Its rotation scales keys, at the first position too.
    "phi3_scaled": (
        "phi3",
        {
            **ROTARY,
            "num_key_value_heads": 2,
            "original_max_position_embeddings": 64,
            "rope_parameters": SCALED,
        },
    ),
    "mpt": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}),
    "gpt_bigcode": ("gpt_bigcode", {**GPT, "multi_query": True}),
    "gpt_bigcode_heads": ("gpt_bigcode", {**GPT, "multi_query": False}),
    "falcon_heads": (
        "falcon",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "multi_query": False,
            "alibi": True,
            "new_decoder_architecture": False,
        },
    ),
    "codegen": ("codegen", {**GPT, "n_embd": 64, "n_head": 8, "rotary_dim": 4}),
    # Its queries and keys pass a norm each.
    "persimmon": ("persimmon", ROTARY),
    # It keeps no keys and values.
    "openai-gpt": ("openai-gpt", GPT),
}
N, KV, D = 4, 2, 8
# Transformers' GPT-BigCode scripts functions when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")


def model_of(name):
    if name not in MORE:
        return tiny_model(name)
    kind, fields = MORE[name]
    ids = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model(kind, **ids, **fields)
        ).eval()


def blocks_of(n, kv, d):
    return tuple(torch.arange((n + 2 * kv) * d).split([n * d, kv * d, kv * d]))


def groups_of(n, kv, d):
    columns = torch.arange((n + 2 * kv) * d).unflatten(0, (kv, -1))
    return tuple(columns.split([n // kv * d, d, d], dim=1))


def codegen_layout():
    # Four partitions, as on the machines it was trained on; in each q, then v, then k.
    query, value, key = torch.arange(3 * 64).unflatten(0, (4, 3, -1)).unbind(1)
    return query, key, value


IN_WORDS = {
    "gpt2": blocks_of(N, N, D),
    "gpt_neox": groups_of(N, N, D),
    "bloom": groups_of(N, N, D),
    "falcon": blocks_of(N, 1, D),
    "falcon_new": groups_of(N, KV, D),
    "falcon_heads": groups_of(N, N, D),
    "phi3": blocks_of(N, KV, D),
    "phi3_scaled": blocks_of(N, KV, D),
    "mpt": blocks_of(N, N, D),
    "gpt_bigcode": blocks_of(N, 1, D),
    "gpt_bigcode_heads": groups_of(N, N, D),
    "codegen": codegen_layout(),
    "persimmon": groups_of(N, N, D),
    "openai-gpt": blocks_of(N, N, D),
}


@pytest.mark.parametrize("name", IN_WORDS)
def test_columns_are_those_that_the_papers_code_says(name):
    hf = model_of(name)
    fused = fused_attention(hf, map_from_structure(hf))
    assert fused is not None
    expected = tuple(tuple(part.flatten().tolist()) for part in IN_WORDS[name])
    assert fused.columns == expected


# What TransformerLens 4.3 splits: not Falcon's new kind, nor GPT-BigCode with as many
# keys as queries.
SPLIT_BY_TRANSFORMER_LENS = [
    "gpt2",
    "gpt_neox",
    "bloom",
    "falcon",
    "phi3",
    "mpt",
    "gpt_bigcode",
]


@pytest.mark.parametrize("name", SPLIT_BY_TRANSFORMER_LENS)
def test_columns_are_those_of_transformer_lens(name):
    hf = model_of(name)
    fused = fused_attention(hf, map_from_structure(hf))
    assert fused is not None
    assert fused.columns == split_by_transformer_lens(hf, fused.path)


def split_by_transformer_lens(hf, path):
    """Its adapter's own splitting, of a weight whose rows hold their numbers."""
    pytest.importorskip("transformer_lens")
    from transformer_lens.factories.architecture_adapter_factory import (
        ArchitectureAdapterFactory,
    )
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_config_from_hf,
    )

    config = build_bridge_config_from_hf(
        hf.config, type(hf).__name__, "", torch.float32
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter = ArchitectureAdapterFactory.select_architecture_adapter(config)
    mapping: Any = adapter.component_mapping
    attention = mapping["blocks"].submodules["attn"]
    block = hf.get_submodule(f"{map_from_structure(hf).blocks}.0")
    own, _, name = path.rpartition(".")
    module = block.get_submodule(own)
    projection = module.get_submodule(name)
    with torch.no_grad():
        rows = torch.arange(max(projection.weight.shape), dtype=torch.float32)
        is_linear = isinstance(projection, nn.Linear)
        projection.weight.copy_(rows[:, None] if is_linear else rows[None])
    parts = attention.split_qkv_matrix(module)
    weights = [part.weight.detach() for part in parts]
    # What it makes are linear layers, whatever the model has.
    firsts = [
        weight[:, 0] if isinstance(part, nn.Linear) else weight[0]
        for part, weight in zip(parts, weights, strict=True)
    ]
    return tuple(tuple(int(row) for row in first) for first in firsts)


class _Shuffled(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order = order

    def forward(self, value):
        return value[..., self.order]


def shuffled(order):
    """GPT-2 whose projection writes its columns in another order."""

    class ShuffledGPT2(GPT2LMHeadModel):
        def __init__(self, config):
            super().__init__(config)
            for block in self.transformer.h:
                attn: Any = block.attn
                attn.c_attn = nn.Sequential(attn.c_attn, _Shuffled(order))

    return ShuffledGPT2(tiny_config("gpt2")).eval()


@pytest.mark.parametrize("seed", [0, 1])
def test_any_order_of_keys_and_values_is_found(seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(96, generator=generator)
    order[:32] = order[:32].sort().values
    hf = shuffled(order)
    fused = fused_attention(hf, map_from_structure(hf))
    assert fused is not None
    assert fused.columns == tuple(tuple(part.tolist()) for part in order.split(32))


def test_queries_in_an_order_unlike_their_keys_are_refused():
    order = torch.arange(96)
    order[0], order[9] = 9, 0
    architecture = architecture_of(shuffled(order))
    assert architecture.fused_attention is None
    with pytest.raises(MissingSiteError, match="laid out is not known"):
        architecture.point("q.0")


def test_values_of_a_layout_found_make_what_heads_write():
    # CodeGen's is the strangest: patterns times values are what its heads give on.
    model = interp.load(model_of("codegen"))
    sites = ["v.1", "pattern.1", "z.1"]
    acts = interp.capture(model, [[3, 4, 5, 6]], sites=sites, positions="all")
    value, pattern, z = (acts[part][0, 0] for part in ("v", "pattern", "z"))
    torch.testing.assert_close(torch.einsum("qhk,khd->qhd", pattern, value), z)


def test_a_model_without_storage_has_the_same_layout():
    config = tiny_model("falcon_new").config
    with torch.device("meta"):
        hf = AutoModelForCausalLM.from_config(config)
    fused = fused_attention(hf, map_from_structure(hf))
    assert fused is not None
    assert fused.columns[0][:20] == (*range(16), *range(32, 36))


@pytest.mark.parametrize("name", ["phi3", "glm4"])
def test_gate_and_input_of_an_mlp_are_told_apart(name):
    kind, fields = "phi3", {**ROTARY, "num_key_value_heads": 2}
    if name == "glm4":
        kind, fields = "glm4", {**fields, "head_dim": 8}
    hf = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, vocab_size=64, pad_token_id=2, **fields)
    ).eval()
    fused = fused_gate(hf, map_from_structure(hf))
    assert fused is not None
    assert fused.columns == (tuple(range(48)), tuple(range(48, 96)))
    # What the gate lets through is what the down-projection reads.
    sites = ["mlp_pre.1", "mlp_post.1"]
    acts = interp.capture(interp.load(hf), [[3, 4, 5]], sites=sites, positions="all")
    block = hf.model.layers[1]
    seen = SimpleNamespace(value=None)
    handle = block.mlp.gate_up_proj.register_forward_hook(
        lambda module, args, output: setattr(seen, "value", output.detach())
    )
    with torch.no_grad():
        hf(torch.tensor([[3, 4, 5]]))
    handle.remove()
    up = seen.value[0, :, 48:]
    made = nn.functional.silu(acts["mlp_pre"][0, 0]) * up
    torch.testing.assert_close(made, acts["mlp_post"][0, 0])
