"""The tensors that write into the residual stream, and taking a span out of them.

What writes: the token embedding (or the projection behind it), position embeddings, the
output projection of every attention, the last layer of every MLP and of every expert,
and the biases of all these. What is found is a belief; `interp.edits.orthogonalise`
checks the edited model.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from interp.errors import UnsupportedModelError
from interp.models.language_model import LanguageModel


# What the last layer of an MLP, or of an expert, is called.
_DOWN = frozenset(
    {"down_proj", "w2", "c_proj", "fc2", "dense_4h_to_h", "out_proj", "output_linear"}
)
# A projection works in float64; in blocks of so many numbers it needs little memory.
BLOCK = 2**22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Write:
    """One tensor that writes.

    Attributes:
        path: Its name in the model's state.
        tensor: The parameter.
        axis: Which axis runs over the residual stream.
        norm: The norm through which it passes before it is added, or None.
    """

    path: str
    tensor: nn.Parameter
    axis: int
    norm: str | None = None


def writes_of(model: LanguageModel) -> tuple[Write, ...]:
    """Every tensor that writes into the residual stream, in forward order.

    Raises:
        UnsupportedModelError: If a block has no known output projection.
    """
    return (*_embedding_writes(model), *_block_writes(model))


def embedding_norm(model: LanguageModel) -> str | None:
    """The norm between the embedding and the first block, as Bloom has one."""
    known = model.architecture.map.final_norm
    for path, module in _outside_blocks(model):
        weight = getattr(module, "weight", None)
        is_norm = isinstance(weight, Tensor) and tuple(weight.shape) == (model.d_model,)
        # Not every map names the final norm, but what is final says so.
        if is_norm and path != known and "final" not in path:
            return path
    return None


def take_out(
    tensor: Float[Tensor, "..."], basis: Float[Tensor, "k d_model"], *, axis: int
) -> None:
    """Remove a span from a tensor in place: W <- W - B^T B W along an axis.

    Args:
        tensor: Of any shape and floating type; sums are in float64, and the result is
            rounded once.
        basis: Orthonormal rows.
        axis: Which axis runs over the residual stream.
    """
    # Apple's accelerator has no float64.
    exact = torch.float32 if tensor.device.type == "mps" else torch.float64
    basis = basis.to(tensor.device, exact)
    rows = tensor.detach().movedim(axis, -1)
    if rows.dim() == 1:
        rows = rows[None]
    step = max(1, BLOCK // rows[0].numel())
    with torch.no_grad():
        for part in rows.split(step):
            held = part.to(exact)
            part.copy_(held - (held @ basis.T) @ basis)


def untie(model: LanguageModel) -> bool:
    """Give the head its own weights if it shares the embedding's; whether it did."""
    hf = model.hf
    head, embedding = hf.get_output_embeddings(), hf.get_input_embeddings()
    for config in (hf.config, hf.config.get_text_config(decoder=True)):
        config.tie_word_embeddings = False
    if head is None or head.weight is not embedding.weight:
        return False
    head.weight = nn.Parameter(
        head.weight.detach().clone(), requires_grad=head.weight.requires_grad
    )
    # What `save_pretrained` would otherwise write once for both.
    hf.all_tied_weights_keys = {
        target: source
        for target, source in getattr(hf, "all_tied_weights_keys", {}).items()
        if hf.get_parameter(target) is hf.get_parameter(source)
    }
    return True


def _outside_blocks(model: LanguageModel) -> Iterator[tuple[str, nn.Module]]:
    """The modules of the decoder's trunk that belong to no block."""
    blocks = model.architecture.map.blocks
    trunk = blocks.rpartition(".")[0]
    for path, module in model.hf.named_modules():
        below = path.startswith(f"{trunk}.") if trunk else bool(path)
        if below and path != blocks and not path.startswith(f"{blocks}."):
            yield path, module


def _embedding_writes(model: LanguageModel) -> Iterator[Write]:
    norm = embedding_norm(model)
    found = False
    for path, module in _outside_blocks(model):
        # Token and position embeddings, or the projection behind a narrower one.
        is_table = isinstance(module, nn.Embedding) and (
            module.embedding_dim == model.d_model
        )
        is_projection = isinstance(module, nn.Linear) and (
            module.out_features == model.d_model and path.endswith("project_in")
        )
        if is_table or is_projection:
            found = True
            yield from _writes_by(path, module, norm)
    if not found:
        raise _unknown(model, "embedding")


def _block_writes(model: LanguageModel) -> Iterator[Write]:
    paths = model.architecture.map
    for layer, block in enumerate(model.architecture.blocks):
        prefix = f"{paths.blocks}.{layer}"
        norms = [
            f"{prefix}.{norm}" if norm is not None and _has(block, norm) else None
            for norm in (paths.attn_post_norm, paths.mlp_post_norm)
        ]
        if paths.o is None or not _has(block, paths.o):
            raise _unknown(model, f"attention of block {layer}")
        module = block.get_submodule(paths.o)
        yield from _writes_by(f"{prefix}.{paths.o}", module, norms[0])
        mlp = list(_mlp_writes(block, paths.mlp, paths.mlp_down, prefix, norms[1]))
        if not mlp:
            raise _unknown(model, f"MLP of block {layer}")
        yield from mlp


def _mlp_writes(
    block: nn.Module, mlp: str | None, down: str | None, prefix: str, norm: str | None
) -> Iterator[Write]:
    """Of a dense MLP its last layer; of experts all of theirs, fused or not."""
    seen: set[int] = set()
    inside = block.get_submodule(mlp) if mlp is not None and _has(block, mlp) else None
    found = [] if inside is None else list(inside.named_modules(prefix=mlp or ""))
    if down is not None and _has(block, down):
        found.insert(0, (down, block.get_submodule(down)))
    for path, module in found:
        name = path.rpartition(".")[2]
        is_down = path == down or name in _DOWN
        if is_down and isinstance(module, nn.Linear | Conv1D):
            writes = _writes_by(f"{prefix}.{path}", module, norm)
        else:
            writes = _fused_writes(f"{prefix}.{path}", module, norm)
        for write in writes:
            if id(write.tensor) not in seen:
                seen.add(id(write.tensor))
                yield write


def _fused_writes(path: str, module: nn.Module, norm: str | None) -> Iterator[Write]:
    """Experts as one tensor, `[expert, d_model, d_mlp]` or the last two swapped."""
    for name, tensor in module.named_parameters(recurse=False):
        if name in _DOWN and tensor.dim() == 3:
            axis = -1 if getattr(module, "is_transposed", False) else -2
        elif name.removesuffix("_bias") in _DOWN and tensor.dim() == 2:
            axis = -1
        else:
            continue
        yield Write(path=f"{path}.{name}", tensor=tensor, axis=axis, norm=norm)


def _writes_by(path: str, module: nn.Module, norm: str | None) -> Iterator[Write]:
    """The weight and the bias of a layer."""
    for name, tensor in module.named_parameters(recurse=False):
        if name not in ("weight", "bias"):
            continue
        # Only `nn.Linear` keeps its outputs in rows.
        by_row = name == "weight" and isinstance(module, nn.Linear)
        yield Write(
            path=f"{path}.{name}", tensor=tensor, axis=-2 if by_row else -1, norm=norm
        )


def _has(block: nn.Module, path: str) -> bool:
    try:
        block.get_submodule(path)
    except AttributeError:
        return False
    return True


def _unknown(model: LanguageModel, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"Cannot tell which weights of the {what} of {type(model.hf).__name__} write"
        " into the residual stream.",
        expected="A linear layer, or experts as one tensor, under a usual name.",
        remedy="Use interp.ablate, which needs no weights.",
    )
