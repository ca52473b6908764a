"""The four matrices of every attention head, read from the weights.

What a layer reads has passed its norm. The norm's gain, and the mean that a LayerNorm
takes off, are folded into the reading matrices, so that products of heads are about the
residual stream itself; only the division by its size is left out.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import MissingSiteError
from interp.models.hookpoints import HookPoint
from interp.models.language_model import LanguageModel
from interp.models.norms import norm_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadWeights:
    """The matrices of one layer's heads, in float32, with the norm folded in.

    A head moves `x @ value @ output` from a key to a query, by the score
    `(x_query @ query) @ (x_key @ key)`. Heads that share keys and values each have
    their own copy here.

    Attributes:
        query: Reads the query.
        key: Reads the key.
        value: Reads what is moved.
        output: Writes it.
    """

    query: Float[Tensor, "head d_model d_head"]
    key: Float[Tensor, "head d_model d_head"]
    value: Float[Tensor, "head d_model d_value"]
    output: Float[Tensor, "head d_value d_model"]


def head_weights(model: LanguageModel) -> tuple[HeadWeights, ...]:
    """The matrices of every layer, first layer first.

    Biases are left out. So is what stands between projection and score: rotations by
    position, which keep lengths, and norms of queries and keys where a model has them.

    Args:
        model: The model; its weights are copied.

    Raises:
        MissingSiteError: If the layout of its projections is not known.

    Source:
        Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits".

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> layers = head_weights(interp.load(tiny_model("llama")))
        >>> len(layers), layers[0].key.shape, layers[0].output.shape
        (3, torch.Size([4, 32, 8]), torch.Size([4, 8, 32]))
    """
    with torch.no_grad():
        path = _norm_path(model)
        return tuple(_layer(model, layer, path) for layer in range(model.n_layers))


def output_matrices(
    model: LanguageModel, layer: int
) -> Float[Tensor, "head d_value d_model"]:
    """What each head of a layer writes with, in float32.

    Args:
        model: The model.
        layer: Which layer.

    Raises:
        MissingSiteError: If the layer's last projection is not known.
    """
    point = model.architecture.point(f"z.{layer}")
    return _weight(point.module).float().unflatten(0, (model.n_heads, -1))


def _layer(model: LanguageModel, layer: int, norm_path: str | None) -> HeadWeights:
    reading = {}
    for name in ("q", "k", "v"):
        point = model.architecture.point(f"{name}.{layer}")
        # The layers may lie on several devices, and heads of two are multiplied.
        matrix = _reads(point).to(model.device)
        repeats = model.n_heads // matrix.shape[0]
        reading[name] = matrix.repeat_interleave(repeats, dim=0)
    if norm_path is not None:
        block = model.architecture.blocks[layer]
        module = block.get_submodule(norm_path)
        norm = norm_of(
            module,
            dict(module.named_parameters()),
            width=model.d_model,
            name=f"norm of layer {layer}",
        ).to(model.device)
        reading = {
            name: norm.folded(matrix.transpose(1, 2)).transpose(1, 2)
            for name, matrix in reading.items()
        }
    return HeadWeights(
        query=reading["q"],
        key=reading["k"],
        value=reading["v"],
        output=output_matrices(model, layer).to(model.device),
    )


def _reads(point: HookPoint) -> Float[Tensor, "head d_model d_head"]:
    matrix = _weight(point.module).float()
    if point.columns is not None:
        matrix = matrix.index_select(1, point.columns.to(matrix.device))
    if point.n_heads is None:
        raise MissingSiteError(f"{point.path} is not divided into heads.")
    return matrix.unflatten(1, (point.n_heads, -1)).permute(1, 0, 2)


def _weight(module: Any) -> Float[Tensor, "into out"]:
    """A projection as a matrix that rows are multiplied with from the left."""
    weight = module.weight.detach()
    # GPT-2's projections hold their matrix the other way round.
    return weight if type(module).__name__ == "Conv1D" else weight.T


def _norm_path(model: LanguageModel) -> str | None:
    """The module in a block whose output is what the queries are projected from.

    Found by running a token: a norm in front of attention hands its output on as the
    same object. None where attention reads the stream itself.
    """
    block = model.architecture.blocks[0]
    outputs: dict[int, str] = {}
    found: list[str] = []
    alive: list[Tensor] = []  # an id is only unique while its object lives
    queries = model.architecture.point("q.0").module

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            if isinstance(output, Tensor):
                alive.append(output)
                outputs[id(output)] = name

        return hook

    def reads(module: nn.Module, args: tuple) -> None:
        found.extend(outputs[id(x)] for x in args if id(x) in outputs)

    with model.lock:
        handles = [
            module.register_forward_hook(note(name))
            for name, module in block.named_children()
        ]
        handles.append(queries.register_forward_pre_hook(reads))
        try:
            model.hf(torch.zeros(1, 1, dtype=torch.long, device=model.device))
        finally:
            for handle in handles:
                handle.remove()
    return found[0] if found else None
