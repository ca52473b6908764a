r"""Orthogonalised weights where a write passes a norm before it is added.

Gemma 2 and 3 and OLMo 2 add g * x / rms(x) with x = W y, and ablation leaves
(I - P) (g * x / rms(x)), where P projects on the removed span. **No other W' and g' of
the same shapes write that.** Suppose they did, for every y. Both sides would point
the same way, so that diag(g') W' = c (I - P) diag(g) W with one constant c, and the
lengths would agree, so that |W' y| = c |W y|. If W has full row rank the two together
say diag(g) (I - P) diag(g')^-2 (I - P) diag(g) = I; but the left side has the rank of
I - P, which is less than full. (The one exception is a removed axis of the basis
itself: there g' = 0 does it.)

What fails is the length alone: what was projected away still counts in rms(x). So one
may give it a place where it counts and is not heard. In **a model of twice the width**
every write has a second half, with gain 0, that holds exactly what rms(x) lacks:

    x' = [A x, B x]   with   A = s sqrt(2) (I - P) diag(g),   B^T B = 2 I - A^T A,

gain 1 / s on the first half, and s so small that 2 I - A^T A is positive. Then the
mean square of x' over 2 d entries is that of x over d, so that even the epsilon of the
norm is the same. The stream is [sqrt(2) h, 0]; every other norm sees the mean square of
h and keeps its gain, and every layer that reads is divided by sqrt(2).
"""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.initialization import no_init_weights

from interp.edits.subspace import orthonormal_basis
from interp.edits.weights import Write, take_out
from interp.errors import IncompatibleError, UnsupportedModelError
from interp.models.language_model import LanguageModel
from interp.models.norms import norm_of


logger = logging.getLogger("interp.edits")

# The gain of a coordinate that a norm all but switches off is raised to this share of
# its largest, so that the weights in front can be divided by it.
LEAST_GAIN = 1e-3
ROOT = math.sqrt(2)


def widened(
    model: LanguageModel,
    writes: Sequence[Write],
    basis: Float[Tensor, "k d_model"],
) -> LanguageModel:
    """A model of twice the width that writes nothing of a span; see the module.

    Args:
        model: Its parameters are read.
        writes: All that write.
        basis: Orthonormal rows of what is removed.

    Raises:
        IncompatibleError: If the architecture has parts that cannot be widened.
    """
    _require_root_mean_squares(model)
    wide = _wide_model(model)
    logger.warning(
        "writes of %s pass a norm, so the orthogonalised model has d_model %d for %d",
        type(model.hf).__name__,
        2 * model.d_model,
        model.d_model,
    )
    by_path = {write.path: write for write in writes}
    post_norms = {write.norm for write in writes}
    for path, target in wide.named_parameters():
        source = model.hf.get_parameter(path)
        owner = path.rpartition(".")[0]
        if path in by_path:
            scale = _embed_scale(model.hf, owner) / _embed_scale(wide, owner)
            new = _wide_write(model, by_path[path], basis) * scale
        elif source.shape == target.shape:
            new = source
        elif owner in post_norms:
            norm = read_norm(model.hf.get_submodule(owner))
            silent = torch.zeros_like(norm.gain)
            heard = torch.full_like(norm.gain, _loudness(norm))
            new = torch.cat([heard, silent]) - norm.offset
        elif source.dim() == 1:
            new = torch.cat([source, source])
        else:
            new = _wide_reader(model, path, target.shape)
        target.copy_(new)
    return replace(model, hf=wide.to(model.device).eval())


def approximated(
    model: LanguageModel,
    writes: Sequence[Write],
    basis: Float[Tensor, "k d_model"],
) -> None:
    """Take a span out of weights in place so that only the lengths of writes change.

    Before a norm with gain g this is W <- diag(g)^-1 (I - P) diag(g) W: what is added
    has nothing of the span, and points where it should, but its length lacks the factor
    rms(x) / rms(x'). The larger the model, the closer that is to 1.

    Args:
        model: Its parameters are changed.
        writes: All that write.
        basis: Orthonormal rows of what is removed.
    """
    paths = dict.fromkeys(write.norm for write in writes if write.norm is not None)
    norms = {path: read_norm(model.hf.get_submodule(path)) for path in paths}
    for write in writes:
        if write.norm is None:
            take_out(write.tensor, basis, axis=write.axis)
            continue
        norm = norms[write.norm]
        least = _raised(norm)
        rows = write.tensor.detach().movedim(write.axis, -1)
        held = rows.double().cpu()
        if norm.is_centred:
            held = held - held.mean(-1, keepdim=True)
            held = held / held.square().mean(-1, keepdim=True).sqrt()
        held = held * norm.gain
        held = (held - (held @ basis.T) @ basis) / least
        if norm.is_centred:
            # What the norm subtracts and scales may not bring the span back.
            away = torch.cat([torch.ones_like(least)[None], basis * least])
            away = orthonormal_basis(away, "the weights")
            held = held - (held @ away.T) @ away
        rows.copy_(held)
    for path, norm in norms.items():
        module: Any = model.hf.get_submodule(path)
        module.weight.copy_(_raised(norm) - norm.offset)
        if norm.is_centred and module.bias is not None:
            take_out(module.bias, basis, axis=-1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Norm:
    """What a norm does: gain * x / size of x.

    Attributes:
        gain: In float64.
        offset: What the module adds to its weight to get the gain.
        is_centred: Whether the mean of x is subtracted first (LayerNorm).
        dtype: Of its weight.
    """

    gain: Float[Tensor, " d_model"]
    offset: float
    is_centred: bool
    dtype: torch.dtype


def read_norm(module: nn.Module) -> Norm:
    """What a norm does, found by trying it.

    Raises:
        IncompatibleError: If it is neither RMSNorm nor LayerNorm.
    """
    layer: Any = module
    weight = layer.weight.detach()
    name, width = type(module).__name__, weight.numel()
    try:
        found = norm_of(module, dict(module.named_parameters()), width=width, name=name)
    except UnsupportedModelError as error:
        raise _unknown(module) from error
    offsets = (found.gain - weight.double().cpu()).unique()
    if len(offsets) != 1:
        raise _unknown(module)
    return Norm(
        gain=found.gain,
        offset=float(offsets[0]),
        is_centred=found.centres,
        dtype=weight.dtype,
    )


def _unknown(module: nn.Module) -> IncompatibleError:
    return IncompatibleError(
        f"What {type(module).__name__} does is not known.",
        expected="RMSNorm or LayerNorm, with the weight or 1 + the weight as gain.",
        remedy="Use interp.ablate, which needs no weights.",
    )


def _raised(norm: Norm) -> Float[Tensor, " d_model"]:
    """The gain as the module will have it: nowhere too small to divide by."""
    gain = norm.gain
    least = LEAST_GAIN * float(gain.abs().max()) or 1.0
    gain = torch.where(gain.abs() < least, torch.full_like(gain, least), gain)
    return (gain - norm.offset).to(norm.dtype).double() + norm.offset


def _loudness(norm: Norm) -> float:
    """1 / s: well above every gain, so that the second half is well above zero."""
    largest = float(norm.gain.abs().max()) or 1.0
    weight = torch.tensor(ROOT * largest - norm.offset, dtype=torch.float64)
    return float(weight.to(norm.dtype)) + norm.offset


def _wide_write(
    model: LanguageModel, write: Write, basis: Float[Tensor, "k d_model"]
) -> Float[Tensor, "..."]:
    held = write.tensor.detach().movedim(write.axis, -1).double().cpu()
    if write.norm is None:
        first = ROOT * (held - (held @ basis.T) @ basis)
        second = torch.zeros_like(first)
    else:
        norm = read_norm(model.hf.get_submodule(write.norm))
        loud = _loudness(norm)
        heard = held * norm.gain
        first = ROOT / loud * (heard - (heard @ basis.T) @ basis)
        # 2 I - A^T A = 2 D^(1/2) (I + V V^T) D^(1/2), of which the root is at hand.
        root = (1 - (norm.gain / loud).square()).sqrt()
        factor = (basis * norm.gain / loud / root).T
        values, vectors = torch.linalg.eigh(factor.T @ factor)
        turned = factor @ vectors
        held = held * root
        second = held + (held @ turned) / (1 + (1 + values).sqrt()) @ turned.T
        second = ROOT * second
    return torch.cat([first, second], dim=-1).movedim(-1, write.axis)


def _wide_reader(
    model: LanguageModel, path: str, shape: torch.Size
) -> Float[Tensor, "..."]:
    source = model.hf.get_parameter(path).detach()
    grown = [
        axis
        for axis, (before, after) in enumerate(zip(source.shape, shape, strict=True))
        if before != after
    ]
    if len(grown) != 1 or shape[grown[0]] != 2 * source.shape[grown[0]]:
        raise _cannot_widen(model, f"{path} has the shape {list(source.shape)}")
    halved = source.double().cpu() / ROOT
    return torch.cat([halved, torch.zeros_like(halved)], dim=grown[0])


def _embed_scale(hf: Any, path: str) -> float:
    """What an embedding multiplies its rows with, as Gemma's does."""
    module = hf.get_submodule(path)
    scale = getattr(module, "embed_scale", 1.0)
    return float(torch.as_tensor(scale).to(module.weight.dtype))


def _wide_model(model: LanguageModel) -> Any:
    config = copy.deepcopy(model.hf.config)
    if config.get_text_config(decoder=True) is not config:
        raise _cannot_widen(model, "it has parts beside the language model")
    config.hidden_size = 2 * model.d_model
    # Many configs derive it from the width.
    config.head_dim = model.d_head
    config.tie_word_embeddings = False
    # Every weight is set afterwards: drawing them would take long.
    with torch.random.fork_rng(devices=[]), no_init_weights():
        wide = type(model.hf)._from_config(config, dtype=model.dtype)
    wide.generation_config = copy.deepcopy(model.hf.generation_config)
    return wide


def _require_root_mean_squares(model: LanguageModel) -> None:
    for path, module in model.hf.named_modules():
        weight = getattr(module, "weight", None)
        is_norm = isinstance(weight, Tensor) and tuple(weight.shape) == (model.d_model,)
        if is_norm and read_norm(module).is_centred:
            raise _cannot_widen(model, f"{path} subtracts the mean")


def _cannot_widen(model: LanguageModel, why: str) -> IncompatibleError:
    return IncompatibleError(
        f"{type(model.hf).__name__} cannot be widened: {why}.",
        expected="A language model whose norms divide by the root mean square.",
        remedy="Use post_norm='approximate', or interp.ablate, which is exact.",
    )
