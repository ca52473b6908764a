"""One network written out plainly, without a replica axis, to compare with."""

import math

import torch


def plain_logits(weights, config, symbols):
    """Logits of an attention-only or full network on symbols [example, position]."""
    x = weights["embed.symbols"][symbols]
    length = symbols.shape[-1]
    if config.positions == "learned":
        x = x + weights["embed.positions"][:length]
    for i in range(config.layers):
        x = x + _attention(weights, config, f"block.{i}.attn", x)
        if config.mlp:
            name = f"block.{i}.mlp"
            h = _norm(weights, name, x) @ weights[f"{name}.w_in"]
            h = torch.nn.functional.gelu(h + weights[f"{name}.b_in"])
            x = x + h @ weights[f"{name}.w_out"] + weights[f"{name}.b_out"]
    x = _norm(weights, "final", x)
    return x @ weights["readout.0.w"] + weights["readout.0.b"]


def _attention(weights, config, name, x):
    read = _norm(weights, name, x)
    size = config.width
    parts = []
    for head in range(config.heads):
        at = slice(head * size, (head + 1) * size)
        q, k, v = (read @ weights[f"{name}.w_{part}"][:, at] for part in "qkv")
        if config.positions == "rope":
            q, k = _turned(q), _turned(k)
        out = torch.zeros_like(v)
        for place in range(x.shape[1]):
            scores = (k[:, : place + 1] @ q[:, place, :, None])[..., 0]
            shares = (scores / math.sqrt(size)).softmax(dim=-1)
            out[:, place] = (shares[..., None] * v[:, : place + 1]).sum(dim=1)
        parts.append(out)
    return torch.cat(parts, dim=-1) @ weights[f"{name}.w_o"]


def _turned(x):
    length, width = x.shape[-2:]
    rates = 1 / 10_000 ** (torch.arange(width // 2) * 2 / width)
    angles = torch.outer(torch.arange(length).float(), rates)
    numbers = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    turned = numbers * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2)


def _norm(weights, name, x):
    centred = x - x.mean(dim=-1, keepdim=True)
    size = centred.pow(2).mean(dim=-1, keepdim=True).add(1e-5).sqrt()
    return centred / size * weights[f"{name}.gain"] + weights[f"{name}.shift"]
