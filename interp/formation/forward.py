"""The forward pass of all replicas at once, with every intermediate a named site."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from interp.formation.batches import Batch
from interp.formation.clamps import Clamp, ClampContext, check_clamps, held_value
from interp.formation.network import NetworkConfig, Parameters


ROPE_BASE = 1e4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """What one forward pass computed.

    Attributes:
        logits: One row at each position.
        sites: Everything by name, with clamps; see `site_names`.
    """

    logits: Float[Tensor, "replica example position output"]
    sites: dict[str, Tensor]


def forward(
    parameters: Parameters,
    config: NetworkConfig,
    batch: Batch,
    *,
    clamps: Sequence[Clamp] = (),
    step: int | None = None,
) -> Pass:
    """Run every replica on its own sequences.

    Args:
        parameters: The weights, from `new_parameters`.
        config: The shape of the network.
        batch: The sequences.
        clamps: What is held, in order: a later clamp of the same site sees the earlier.
        step: The step of training, for clamps that hold for a time; without one all
            hold.

    Raises:
        UnknownSiteError: If a clamp names a site that is not there.
        ShapeError: If a clamp does not fit its site.

    Example:
        >>> from interp.formation.network import new_parameters
        >>> config = NetworkConfig(symbols=5, outputs=5)
        >>> symbols = torch.zeros(3, 2, 7, dtype=torch.long)
        >>> batch = Batch(symbols=symbols, targets=symbols)
        >>> run = forward(new_parameters(config, [0, 1, 2]), config, batch)
        >>> run.sites["block.1.attn.pattern"].shape
        torch.Size([3, 2, 2, 7, 7])
    """
    check_clamps(clamps, config)
    held = [clamp for clamp in clamps if clamp.holds_at(step)]
    run = _Run(parameters, config, batch, held)
    stream = run.put("embedding", _embedding(run))
    for i in range(config.layers):
        stream = _block(run, i, stream)
    if config.norm:
        stream = _norm(parameters, "final", stream)
    widths = len(config.readout)
    for i in range(widths + 1):
        bias = parameters[f"readout.{i}.b"][:, None, None]
        stream = _times(stream, parameters[f"readout.{i}.w"]) + bias
        stream = F.relu(stream) if i < widths else stream
    logits = run.put("logits", stream)
    return Pass(logits=logits, sites=run.sites)


def losses(
    logits: Float[Tensor, "replica example position output"], batch: Batch
) -> Float[Tensor, " replica"]:
    """The mean cross-entropy of each replica over the positions that are scored."""
    # Rows that are not scored are dropped before the softmax, most of the cost.
    scored = batch.targets >= 0
    each = F.cross_entropy(logits[scored], batch.targets[scored], reduction="none")
    spread = torch.zeros(scored.shape, dtype=each.dtype)
    total = spread.masked_scatter(scored, each).sum(dim=(1, 2))
    return total / scored.sum(dim=(1, 2))


class _Run:
    """One pass under way: what was computed, and the clamps that wait for a site."""

    def __init__(
        self,
        parameters: Parameters,
        config: NetworkConfig,
        batch: Batch,
        clamps: Sequence[Clamp],
    ) -> None:
        self.parameters, self.config, self.batch = parameters, config, batch
        self.clamps = clamps
        self.sites: dict[str, Tensor] = {}

    def put(self, name: str, value: Tensor) -> Tensor:
        for clamp in self.clamps:
            if clamp.site == name:
                context = ClampContext(
                    value=value,
                    sites=self.sites,
                    batch=self.batch,
                    parameters=self.parameters,
                    config=self.config,
                )
                value = held_value(clamp, context)
        self.sites[name] = value
        return value


def _embedding(run: _Run) -> Tensor:
    batch, weights = run.batch, run.parameters
    if run.config.raw_items:
        assert batch.items is not None
        stream = batch.items
    else:
        replica = torch.arange(batch.symbols.shape[0])[:, None, None]
        parts: list[Tensor] = []
        is_symbol = (batch.symbols >= 0)[..., None]
        if run.config.symbols:
            rows = weights["embed.symbols"][replica, batch.symbols.clamp(min=0)]
            parts.append(rows * is_symbol)
        if batch.items is not None:
            bias = weights["embed.bias"][:, None, None]
            item = _times(batch.items, weights["embed.items"]) + bias
            parts.append(item * ~is_symbol)
        stream = sum(parts[1:], parts[0])
    if run.config.positions == "learned":
        stream = stream + weights["embed.positions"][:, None, : stream.shape[2]]
    return stream


def _block(run: _Run, i: int, stream: Tensor) -> Tensor:
    config, weights, name = run.config, run.parameters, f"block.{i}"
    stream = run.put(f"{name}.resid_pre", stream)
    stream = stream + _attention(run, f"{name}.attn", stream)
    if config.mlp:
        stream = run.put(f"{name}.resid_mid", stream)
        read = _norm(weights, f"{name}.mlp", stream) if config.norm else stream
        bias = weights[f"{name}.mlp.b_in"][:, None, None]
        hidden = F.gelu(_times(read, weights[f"{name}.mlp.w_in"]) + bias)
        hidden = run.put(f"{name}.mlp.post", hidden)
        bias = weights[f"{name}.mlp.b_out"][:, None, None]
        out = _times(hidden, weights[f"{name}.mlp.w_out"]) + bias
        stream = stream + run.put(f"{name}.mlp.out", out)
    return run.put(f"{name}.resid_post", stream)


def _attention(run: _Run, name: str, stream: Tensor) -> Tensor:
    config, weights = run.config, run.parameters
    inputs = [run.put(f"{name}.{part}_input", stream) for part in "qkv"]
    same = inputs[0] is inputs[1] is inputs[2]
    if config.norm:
        once = _norm(weights, name, inputs[0])
        # The three are one unless a clamp changed what a route reads.
        rest = [once if same else _norm(weights, name, x) for x in inputs[1:]]
        inputs = [once, *rest]
    heads = (config.heads, config.width)
    read: dict[str, Tensor] = {}
    for part, x in zip("qkv", inputs, strict=True):
        made = _times(x, weights[f"{name}.w_{part}"]).unflatten(-1, heads)
        read[part] = run.put(f"{name}.{part}", made)
    q, k = read["q"].transpose(2, 3), read["k"].transpose(2, 3)
    if config.positions == "rope":
        q, k = _turned(q), _turned(k)
    scores = q @ k.transpose(-1, -2)
    scores = scores / math.sqrt(config.width) if config.scaled else scores
    scores = run.put(f"{name}.scores", scores)
    length = scores.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    pattern = scores.masked_fill(later, -torch.inf).softmax(dim=-1)
    pattern = run.put(f"{name}.pattern", pattern)
    z = (pattern @ read["v"].transpose(2, 3)).transpose(2, 3)
    z = run.put(f"{name}.z", z)
    out = z.flatten(-2)
    out = _times(out, weights[f"{name}.w_o"]) if config.project else out
    return run.put(f"{name}.out", out)


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    """A product with each replica's own matrix, over examples and positions."""
    return torch.bmm(x.flatten(1, 2), matrix).unflatten(1, x.shape[1:3])


def _norm(weights: Parameters, name: str, x: Tensor) -> Tensor:
    gain, shift = weights[f"{name}.gain"], weights[f"{name}.shift"]
    x = F.layer_norm(x, x.shape[-1:])
    return torch.addcmul(shift[:, None, None], x, gain[:, None, None])


def _turned(x: Tensor) -> Tensor:
    """Rotary positions: each adjacent pair is turned by its position."""
    length, width = x.shape[-2:]
    rates = ROPE_BASE ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    pair = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return pair.flatten(-2)
