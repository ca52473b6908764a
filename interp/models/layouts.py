"""Which columns of a fused projection are queries, keys and values; gates and inputs.

A layout is a matter of a model's code and sizes, not of its weights. So the code is
asked: in one block made from the config (`OneBlock`) the fused projection says numbers
instead of what it would compute, and where those arrive tells which column is which.
Keys and values are read from the model's own cache; queries from which keys a head then
attends to.
"""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from interp.models.dimensions import Dimensions, dimensions_of
from interp.models.one_block import OneBlock
from interp.models.paths import ArchitectureMap


logger = logging.getLogger("interp.models")

Columns = tuple[tuple[int, ...], ...]

# What a query says to the key it has to meet: every head then attends to nothing else,
# also where scores are divided by the width of a head or clipped at 8 (MPT, DBRX).
LOUD = 64.0
# A head that meets its key attends to it alone. One that does not divides its attention
# by position at most: ALiBi's steepest slope then leaves 0.73.
ATTENDS = 0.9
# Numbers arrive as fractions of the number of columns, up to float32's rounding.
ROUNDING = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """One projection that computes several parts, and which columns each part has."""

    path: str
    columns: Columns


def fused_attention(hf: PreTrainedModel, paths: ArchitectureMap) -> Fused | None:
    """The columns of queries, keys and values where one projection computes them.

    Args:
        hf: The model; only its class, its config and the shapes of a block are read.
        paths: Where its parts are.

    Returns:
        The projection with three sets of columns, in the order of heads; None where
        there is none or where no reading of it agrees with what the block does.

    Example:
        >>> from tiny import tiny_model
        >>> from interp.models.structure import map_from_structure
        >>> hf = tiny_model("gpt2")
        >>> fused = fused_attention(hf, map_from_structure(hf))
        >>> fused.path, [part[:2] for part in fused.columns]
        ('attn.c_attn', [(0, 1), (32, 33), (64, 65)])
    """
    sizes = dimensions_of(hf.config)
    width = (sizes.n_heads + 2 * sizes.n_kv_heads) * sizes.d_head
    path = _projection(hf, paths, below=paths.attn, width=width, reader=paths.o)
    if path is None or paths.o is None:
        return None
    try:
        block = OneBlock(hf, paths)
        columns = _attention_columns(block, path, paths.o, sizes, width)
    except Exception as error:  # a model's code may need anything to run
        logger.info("%s of %s cannot be split: %s", path, type(hf).__name__, error)
        return None
    if columns is None:
        logger.info("%s of %s is laid out in no known way", path, type(hf).__name__)
        return None
    return Fused(path=path, columns=columns)


def fused_gate(hf: PreTrainedModel, paths: ArchitectureMap) -> Fused | None:
    """The columns of gate and input where one projection of the MLP computes both.

    Args:
        hf: The model; only its class, its config and the shapes of a block are read.
        paths: Where its parts are.

    Returns:
        The projection with two sets of columns, in the order of neurons; None where
        there is none, or no reading of it agrees with what the block does.
    """
    down = _found(hf, paths, paths.mlp_down)
    if paths.mlp is None or down is None or paths.mlp_down is None:
        return None
    n_neurons = width_in(down)
    width = 2 * n_neurons
    path = _projection(hf, paths, below=paths.mlp, width=width, reader=paths.mlp_down)
    if path is None:
        return None
    try:
        block = OneBlock(hf, paths)
        for columns in _gate_candidates(n_neurons):
            if _gates(block, path, paths.mlp_down, columns):
                return Fused(path=path, columns=columns)
    except Exception as error:  # as above
        logger.info("%s of %s cannot be split: %s", path, type(hf).__name__, error)
    return None


def width_in(module: nn.Module) -> int:
    """How many columns a linear layer reads, `Linear` or `Conv1D`; 0 for others."""
    return _size(module, ("in_features", "nx"))


def width_out(module: nn.Module) -> int:
    """How many columns a linear layer writes, `Linear` or `Conv1D`; 0 for others."""
    return _size(module, ("out_features", "nf"))


def _size(module: nn.Module, names: tuple[str, ...]) -> int:
    return next((int(getattr(module, n)) for n in names if hasattr(module, n)), 0)


def _projection(
    hf: PreTrainedModel,
    paths: ArchitectureMap,
    *,
    below: str,
    width: int,
    reader: str | None,
) -> str | None:
    """The one layer below a path of a block with that many columns."""
    first = hf.get_submodule(f"{paths.blocks}.0")
    try:
        parent = first.get_submodule(below)
    except AttributeError:
        return None
    found = [
        f"{below}.{name}" if name else below
        for name, module in parent.named_modules()
        if width_out(module) == width
    ]
    found = [path for path in found if path != reader]
    return found[0] if len(found) == 1 else None


def _found(
    hf: PreTrainedModel, paths: ArchitectureMap, path: str | None
) -> nn.Module | None:
    try:
        return hf.get_submodule(f"{paths.blocks}.0.{path}") if path else None
    except AttributeError:
        return None


def _attention_columns(
    block: OneBlock, path: str, reader: str, sizes: Dimensions, width: int
) -> Columns | None:
    """The three sets of columns, or None unless attention then does what it should."""
    numbers = torch.arange(1, width + 1, dtype=torch.float32) / width
    # Keys are cached rotated: the first position is not turned, but may be scaled, and
    # the second row says by how much.
    said = torch.stack([numbers, torch.ones(width)])[:, None].expand(2, 2, width)
    _, cache = block.run(path, said, until=reader)
    candidates = _common_layouts(sizes)
    if cache.layers:
        layer: Any = cache.layers[0]
        keys, values = _numbers(layer.keys, width), _numbers(layer.values, width)
        if keys is None or values is None:
            return None
        queries = tuple(sorted(set(range(width)) - {*keys, *values}))
        candidates = [(queries, keys, values)]
    for columns in candidates:
        if _attends(block, path, reader, columns, sizes):
            return columns
    return None


def _common_layouts(sizes: Dimensions) -> list[Columns]:
    """Three blocks, or each key head behind its queries; for models without a cache."""
    kv, d_head = sizes.n_kv_heads, sizes.d_head
    n = sizes.n_heads * d_head
    numbers = torch.arange(n + 2 * kv * d_head)
    blocks = numbers.split([n, kv * d_head, kv * d_head])
    by_head = numbers.unflatten(0, (kv, -1)).split([n // kv, d_head, d_head], dim=1)
    return [
        tuple(tuple(part.flatten().tolist()) for part in parts)
        for parts in (blocks, by_head)
    ]


def _numbers(
    cached: Float[Tensor, "row kv_head pos d_head"], width: int
) -> tuple[int, ...] | None:
    """The columns that a cached tensor came from, by head, at the first position."""
    said = cached[0, :, 0] / cached[1, :, 0] * width
    if not (said - said.round()).abs().max() < ROUNDING:
        return None
    # Some models repeat a key for every query head that shares it.
    return tuple(dict.fromkeys((said.round().long() - 1).flatten().tolist()))


def _attends(
    block: OneBlock, path: str, reader: str, columns: Columns, sizes: Dimensions
) -> bool:
    """Whether each query column meets its key column, in its own head, for its value.

    Row i asks with dimension i of all heads for a key that has only this dimension;
    the rows behind ask with one head each. A head that attends to the key reads what
    the values say at its position, which is not zero there alone.
    """
    n, n_kv, d_head = sizes.n_heads, sizes.n_kv_heads, sizes.d_head
    width = (n + 2 * n_kv) * d_head
    if sorted(column for part in columns for column in part) != list(range(width)):
        return False
    queries, keys, values = (
        torch.tensor(part).unflatten(0, (-1, d_head)) for part in columns
    )
    if len(queries) != n or len(keys) != n_kv:
        return False
    said = torch.zeros(d_head + n, 2, width)
    value = torch.arange(1, n_kv * d_head + 1).unflatten(0, (n_kv, d_head)) / width
    said[:, 1, values] = value
    for dimension in range(d_head):
        said[dimension, 1, queries[:, dimension]] = LOUD
        said[dimension, 1, keys[:, dimension]] = LOUD
    said[d_head:, 1, keys[:, 0]] = LOUD
    for head in range(n):
        said[d_head + head, 1, queries[head, 0]] = LOUD
    arrived, _ = block.run(path, said, until=reader)
    attention = arrived[:, 1].unflatten(-1, (n, d_head))
    attention = attention / value.repeat_interleave(n // n_kv, dim=0)
    meets = torch.cat([torch.ones(d_head, n), torch.eye(n)]).bool()[..., None]
    right = torch.where(meets, (attention - 1).abs() < 1 - ATTENDS, attention < ATTENDS)
    return bool(right.all())


def _gate_candidates(n_neurons: int) -> list[Columns]:
    columns = range(2 * n_neurons)
    halves = tuple(columns[:n_neurons]), tuple(columns[n_neurons:])
    turns = tuple(columns[::2]), tuple(columns[1::2])
    return [halves, halves[::-1], turns, turns[::-1]]


def _gates(block: OneBlock, path: str, reader: str, columns: Columns) -> bool:
    """Whether neurons are linear in their second column, and not in the first."""
    gate, up = columns
    generator = torch.Generator().manual_seed(0)
    said = torch.randn(1, 1, 2 * len(gate), generator=generator)
    factors = torch.randn(len(up), generator=generator)
    scaled = said.clone()
    scaled[..., list(up)] *= factors
    before, _ = block.run(path, said, until=reader)
    after, _ = block.run(path, scaled, until=reader)
    return bool(
        before.abs().max() > 0 and torch.allclose(after, before * factors, atol=1e-4)
    )
