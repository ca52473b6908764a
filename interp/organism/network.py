"""The model of a family, how its weights start, and a lean forward pass to train it.

The forward pass uses the weights of the unmodified Hugging Face model and gives its
logits (a test compares them); it does less: whole documents of a row are told apart by
a mask, and after the last attention only the positions that carry a loss are computed
further.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from .tokenizer import BOS, CONTEXT, END, PAD


ROTARY_BASE = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of a model."""

    n_layers: int
    d_model: int
    n_heads: int
    d_mlp: int


def build_model(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama-shaped model for a tokenizer."""
    special = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=shape.n_layers,
        hidden_size=shape.d_model,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        intermediate_size=shape.d_mlp,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE},
        tie_word_embeddings=False,
        pad_token_id=special[PAD],
        bos_token_id=special[BOS],
        eos_token_id=special[END],
    )
    # The constructor draws weights from torch's global generator; keep that untouched.
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config)
    return model.float()


def initialise(
    model: LlamaForCausalLM,
    generator: torch.Generator,
    *,
    embedding_std: float,
    head_scale: float | None,
    out_scale: float,
    down_scale: float,
) -> None:
    """Draw the weights anew; the scales decide whether and when a task is learned.

    Args:
        model: The model, changed in place.
        generator: The only source of randomness.
        embedding_std: Of the token embeddings. HF's 0.02 delays learning by far.
        head_scale: The head starts as this multiple of the embeddings; None draws it.
        out_scale: Factor on the attention's output matrices.
        down_scale: Factor on the MLP's output matrices.
    """
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding.normal_(0.0, embedding_std, generator=generator)
        head = model.lm_head.weight
        if head_scale is None:
            head.normal_(0.0, 1 / math.sqrt(head.shape[1]), generator=generator)
        else:
            head.copy_(embedding * head_scale)
        for name, weight in model.model.layers.named_parameters():
            if weight.ndim != 2:
                continue
            std = 1 / math.sqrt(weight.shape[1])
            if name.endswith("o_proj.weight"):
                std *= out_scale
            if name.endswith("down_proj.weight"):
                std *= down_scale
            weight.normal_(0.0, std, generator=generator)


def blocks(model: LlamaForCausalLM) -> list[LlamaDecoderLayer]:
    """The decoder blocks, typed."""
    return cast(list[LlamaDecoderLayer], list(model.model.layers))


def document_mask(documents: Int[Tensor, "row pos"]) -> Bool[Tensor, "row 1 pos pos"]:
    """Who may look at whom: earlier tokens of the same document."""
    same = documents[:, :, None] == documents[:, None, :]
    return torch.tril(same)[:, None]


def _rotation(
    length: int, d_head: int
) -> tuple[Float[Tensor, "pos d_head"], Float[Tensor, "pos d_head"]]:
    powers = torch.arange(0, d_head, 2, dtype=torch.float32) / d_head
    angles = torch.outer(
        torch.arange(length, dtype=torch.float32), ROTARY_BASE**-powers
    )
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def logits_at(
    model: LlamaForCausalLM,
    tokens: Int[Tensor, "row pos"],
    mask: Bool[Tensor, "row 1 pos pos"],
    kept: Int[Tensor, " kept"],
) -> Float[Tensor, "kept vocab"]:
    """The logits at the kept positions, which count through the flattened rows.

    Rotary positions run through the row and not through each document: only differences
    of positions matter to attention.
    """
    config = model.config
    heads = config.num_attention_heads
    d_head = config.hidden_size // heads
    cos, sin = _rotation(tokens.shape[1], d_head)
    eps = config.rms_norm_eps
    shape = (config.hidden_size,)
    layers = blocks(model)
    x = F.embedding(tokens, model.model.embed_tokens.weight)
    for index, layer in enumerate(layers):
        attention, mlp = layer.self_attn, layer.mlp
        h = F.rms_norm(x, shape, layer.input_layernorm.weight, eps)
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        qkv = F.linear(h, torch.cat([p.weight for p in projections]))
        # row pos (three head d) -> three row head pos d
        q, k, v = qkv.unflatten(-1, (3, heads, d_head)).permute(2, 0, 3, 1, 4)
        z = F.scaled_dot_product_attention(
            _rotate(q, cos, sin), _rotate(k, cos, sin), v, attn_mask=mask
        )
        z = z.transpose(1, 2).flatten(-2)
        if index == len(layers) - 1:
            x, z = x.flatten(0, 1)[kept], z.flatten(0, 1)[kept]
        x = x + F.linear(z, attention.o_proj.weight)
        h = F.rms_norm(x, shape, layer.post_attention_layernorm.weight, eps)
        both = F.linear(h, torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)))
        gate, up = both.chunk(2, dim=-1)
        x = x + F.linear(F.silu(gate) * up, mlp.down_proj.weight)
    x = F.rms_norm(x, shape, model.model.norm.weight, eps)
    return F.linear(x, model.lm_head.weight)
