"""Small decoder transformers of which many are trained at once.

Every weight has a leading replica axis, so that seeds and conditions are one run. A
replica knows nothing of the others: it draws its weights and its data from generators
of its own, and no operation mixes the axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from interp.errors import ConfigError


Parameters = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The shape of a network.

    Attributes:
        layers: How many blocks.
        heads: Attention heads of each block.
        d_model: Width of the residual stream.
        d_head: Width of a head; `d_model / heads` by default.
        symbols: How many symbols the input has; 0 if it is vectors alone.
        outputs: How many logits.
        d_item: Width of the vectors in the input; 0 if it is symbols alone.
        raw_items: Take the vectors as the residual stream itself, without an embedding.
        positions: RoPE on queries and keys, learned vectors that are added, or nothing.
        length: The longest sequence, for learned positions.
        mlp: Hidden width of the MLP of each block; 0 for attention alone.
        norm: Whether there are layer norms: before each part and before the readout.
        project: Whether heads write through a matrix, or their values as they are.
        scaled: Whether scores are divided by the root of the head's width.
        readout: Hidden widths of an MLP between the residual stream and the logits.
        symbol_std: Standard deviation of the symbols' embeddings at the start.
    """

    layers: int = 2
    heads: int = 2
    d_model: int = 32
    d_head: int = 0
    symbols: int = 0
    outputs: int = 2
    d_item: int = 0
    raw_items: bool = False
    positions: Literal["rope", "learned", "none"] = "rope"
    length: int = 64
    mlp: int = 0
    norm: bool = True
    project: bool = True
    scaled: bool = True
    readout: tuple[int, ...] = ()
    symbol_std: float = 0.02

    @property
    def width(self) -> int:
        """The width of a head."""
        return self.d_head or self.d_model // self.heads


def check_config(config: NetworkConfig) -> None:
    """Refuse a network that cannot be.

    Raises:
        ConfigError: If two fields contradict each other; the message names them.
    """
    if not config.d_head and config.d_model % config.heads:
        raise ConfigError(
            f"d_model {config.d_model} is not a multiple of {config.heads} heads.",
            remedy="Give d_head.",
        )
    if config.positions == "rope" and config.width % 2:
        raise ConfigError(f"RoPE turns pairs, and a head is {config.width} wide.")
    if not config.project and config.heads * config.width != config.d_model:
        raise ConfigError(
            f"Without a projection {config.heads} heads of width {config.width} do "
            f"not fill a stream of width {config.d_model}."
        )
    if config.raw_items and config.d_item != config.d_model:
        raise ConfigError(
            f"Items of width {config.d_item} are not a stream of {config.d_model}."
        )
    if not config.symbols and not config.d_item:
        raise ConfigError(
            "The network has no input.", expected="Give symbols or d_item."
        )


def parameter_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each weight without its replica axis; matrices are [in, out].

    Example:
        >>> shapes = parameter_shapes(NetworkConfig(symbols=8, outputs=8, layers=1))
        >>> shapes["block.0.attn.w_q"]
        (32, 32)
    """
    d, inner = config.d_model, config.heads * config.width
    shapes: dict[str, tuple[int, ...]] = {}
    if config.symbols and not config.raw_items:
        shapes["embed.symbols"] = (config.symbols, d)
    if config.d_item and not config.raw_items:
        shapes["embed.items"], shapes["embed.bias"] = (config.d_item, d), (d,)
    if config.positions == "learned":
        shapes["embed.positions"] = (config.length, d)
    for i in range(config.layers):
        block = f"block.{i}."
        if config.norm:
            shapes |= {f"{block}attn.gain": (d,), f"{block}attn.shift": (d,)}
        shapes |= {f"{block}attn.w_{name}": (d, inner) for name in "qkv"}
        if config.project:
            shapes[f"{block}attn.w_o"] = (inner, d)
        if config.mlp:
            if config.norm:
                shapes |= {f"{block}mlp.gain": (d,), f"{block}mlp.shift": (d,)}
            shapes |= {
                f"{block}mlp.w_in": (d, config.mlp),
                f"{block}mlp.b_in": (config.mlp,),
                f"{block}mlp.w_out": (config.mlp, d),
                f"{block}mlp.b_out": (d,),
            }
    if config.norm:
        shapes |= {"final.gain": (d,), "final.shift": (d,)}
    widths = (d, *config.readout, config.outputs)
    for i, (before, after) in enumerate(pairwise(widths)):
        shapes |= {f"readout.{i}.w": (before, after), f"readout.{i}.b": (after,)}
    return shapes


def new_parameters(config: NetworkConfig, seeds: Sequence[int]) -> Parameters:
    """The weights at the start of training, one replica for each seed.

    Matrices are drawn with variance one over their inputs (LeCun), embeddings of
    symbols and positions with `symbol_std`, biases are 0 and gains 1. A seed gives the
    same weights whatever other seeds are there.

    Args:
        config: The shape of the network.
        seeds: A seed for each replica; conditions that share seeds start alike.

    Raises:
        ConfigError: If the shape cannot be.
    """
    check_config(config)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    parameters: Parameters = {}
    for name, shape in parameter_shapes(config).items():
        if name.endswith("gain"):
            parameters[name] = torch.ones(len(seeds), *shape)
        elif len(shape) == 1:
            parameters[name] = torch.zeros(len(seeds), *shape)
        else:
            std = 1 / math.sqrt(shape[0])
            if name in ("embed.symbols", "embed.positions"):
                std = config.symbol_std
            drawn = [torch.randn(shape, generator=g) for g in generators]
            parameters[name] = torch.stack(drawn) * std
    return parameters


def site_names(config: NetworkConfig) -> tuple[str, ...]:
    """The sites of a network in the order in which they are computed.

    `pattern` and `scores` are [replica, example, head, query, key]; `q`, `k`, `v` and
    `z` are [replica, example, position, head, width]; all others are [replica,
    example, position, width]. `q_input`, `k_input` and `v_input` are copies of the
    stream, before the norm, so that what a head reads can be changed by route.
    """
    attention = ("q_input", "k_input", "v_input", "q", "k", "v", "scores", "pattern")
    names = ["embedding"]
    for i in range(config.layers):
        block = f"block.{i}."
        names.append(f"{block}resid_pre")
        names += [f"{block}attn.{part}" for part in (*attention, "z", "out")]
        if config.mlp:
            names += [f"{block}{part}" for part in ("resid_mid", "mlp.post", "mlp.out")]
        names.append(f"{block}resid_post")
    return (*names, "logits")
