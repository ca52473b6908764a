"""Llama and GPT-2 written out in the plainest way, with heads one can interfere with.

`forward` returns logits, and the patterns and values of every layer; both can be given
in place of its own, and one head can be silenced.
"""

import math

import torch
from torch.nn.functional import gelu, layer_norm, linear, silu


def forward(hf, ids, *, silent=None, patterns=None, values=None):
    """Logits `[pos, vocab]`, patterns `[layer][head, query, key]`, values likewise."""
    write = {"llama": llama, "gpt2": gpt2}[hf.config.model_type]
    with torch.no_grad():
        return write(hf, torch.tensor(ids), silent, patterns, values)


def llama(hf, ids, silent, patterns, values):
    config, kept = hf.config, ([], [])
    x = hf.model.embed_tokens.weight[ids]
    d_head = config.hidden_size // config.num_attention_heads
    share = config.num_attention_heads // config.num_key_value_heads
    for layer, block in enumerate(hf.model.layers):
        attn = block.self_attn
        read = rms_norm(x, block.input_layernorm.weight, config.rms_norm_eps)
        q, k, v = (
            linear(read, p.weight).unflatten(-1, (-1, d_head)).transpose(0, 1)
            for p in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        k, v = (part.repeat_interleave(share, dim=0) for part in (rotated(k), v))
        z = attended(layer, rotated(q), k, v, silent, patterns, values, kept)
        x = x + linear(z, attn.o_proj.weight)
        read = rms_norm(x, block.post_attention_layernorm.weight, config.rms_norm_eps)
        gate = silu(linear(read, block.mlp.gate_proj.weight))
        inner = gate * linear(read, block.mlp.up_proj.weight)
        x = x + linear(inner, block.mlp.down_proj.weight)
    x = rms_norm(x, hf.model.norm.weight, config.rms_norm_eps)
    return linear(x, hf.lm_head.weight), *kept


def gpt2(hf, ids, silent, patterns, values):
    kept = ([], [])
    trunk, n_heads = hf.transformer, hf.config.n_head
    x = trunk.wte.weight[ids] + trunk.wpe.weight[: len(ids)]
    for layer, block in enumerate(trunk.h):
        read = normed(x, block.ln_1)
        qkv = read @ block.attn.c_attn.weight + block.attn.c_attn.bias
        q, k, v = (
            part.unflatten(-1, (n_heads, -1)).transpose(0, 1)
            for part in qkv.chunk(3, dim=-1)
        )
        z = attended(layer, q, k, v, silent, patterns, values, kept)
        x = x + z @ block.attn.c_proj.weight + block.attn.c_proj.bias
        read = normed(x, block.ln_2)
        inner = read @ block.mlp.c_fc.weight + block.mlp.c_fc.bias
        inner = gelu(inner, approximate="tanh")
        x = x + inner @ block.mlp.c_proj.weight + block.mlp.c_proj.bias
    return linear(normed(x, trunk.ln_f), hf.lm_head.weight), *kept


def attended(layer, q, k, v, silent, patterns, values, kept):
    """What the heads of a layer hand on, `[pos, head * d_head]`."""
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    future = torch.ones(scores.shape[1:]).triu(1).bool()
    pattern = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
    kept[0].append(pattern)
    kept[1].append(v)
    is_later = silent is not None and layer > silent[0]
    if is_later and patterns is not None:
        pattern = patterns[layer]
    if is_later and values is not None:
        v = values[layer]
    z = (pattern @ v).transpose(0, 1).clone()
    if silent is not None and layer == silent[0]:
        z[:, silent[1]] = 0.0
    return z.flatten(1)


def rotated(x, base=10000.0):
    """Rotary positions with halves as pairs."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[1])[:, None] * base ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    sin, cos = angle.sin(), angle.cos()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def rms_norm(x, gain, eps):
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * gain


def normed(x, norm):
    return layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)
