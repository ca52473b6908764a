"""A model whose weights cannot write a direction: the same as ablating it, for good.

Where every write goes straight into the residual stream, W <- W - d d^T W for all
weights that write gives the logits of `interp.ablate`. Where a write passes a norm
first (Gemma 2 and 3, OLMo 2), see `interp.edits.weights_post_norm`.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal, assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.edits.shortcuts import Vector, _stacked, ablate
from interp.edits.subspace import orthonormal_basis
from interp.edits.weights import take_out, untie, writes_of
from interp.edits.weights_post_norm import approximated, widened
from interp.errors import (
    ConfigError,
    DataError,
    IncompatibleError,
    SelfCheckError,
    ShapeError,
)
from interp.models.hookpoints import plant
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed
from interp.models.selfcheck import SEED, TOLERANCE, writes_add_up


logger = logging.getLogger("interp.edits")

PostNorm = Literal["widen", "approximate", "refuse"]
CHECKED_TOKENS = (2, 9)
# How much of the direction rounding may leave in the residual stream.
SHARE, SHARE_HALF = 1e-5, 2e-2


def orthogonalise(
    model: LanguageModel,
    direction: Vector | Sequence[Vector],
    *,
    post_norm: PostNorm = "widen",
) -> LanguageModel:
    """A copy of a model whose weights cannot write a direction.

    Its logits are those of the model under `interp.ablate`, which is checked on random
    tokens before it is returned. A head that shares the embedding's weights gets its
    own. The copy is as large as the model; with `post_norm="widen"`, and only where
    writes pass a norm, it is about twice as large.

    Args:
        model: The model; it is not changed.
        direction: One direction, or several (a list, or vectors `[k, d_model]`) whose
            span is removed. Lengths do not matter.
        post_norm: What to do where writes pass a norm before they are added, so that no
            weights of the same width do: `"widen"` makes an exact model of twice the
            width, `"approximate"` one of the same width that has nothing of the
            direction but writes of slightly other lengths (see `logit_error`), and
            `"refuse"` raises.

    Raises:
        IncompatibleError: If weights are quantised, spread or offloaded; if a write
            passes a norm and that is refused or cannot be widened.
        UnsupportedModelError: If it cannot be told which weights write.
        SelfCheckError: If the writes do not add up to the residual stream, or the
            edited model differs from the ablated one.
        DataError: If a direction is zero, not finite, or in the span of the others.
        ShapeError: If a direction has another width than the model.

    Source:
        Arditi et al. (2024), arXiv:2406.11717, section 4.1.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("gpt2"))
        >>> edited = orthogonalise(model, torch.ones(32))
        >>> logit_error(edited, model, torch.ones(32)) < 1e-5
        True
    """
    basis = _basis(model, direction)
    _require_plain_weights(model)
    with model.lock, torch.no_grad():
        _require_writes(model)
        edited = _copied(model)
        writes = writes_of(edited)
        norms = tuple(dict.fromkeys(w.norm for w in writes if w.norm is not None))
        if not norms:
            untie(edited)
            for write in writes:
                take_out(write.tensor, basis, axis=write.axis)
        else:
            match post_norm:
                case "refuse":
                    raise _post_norm_error(model, norms)
                case "widen":
                    edited = widened(edited, writes, basis)
                case "approximate":
                    untie(edited)
                    approximated(edited, writes, basis)
                case _:
                    assert_never(post_norm)
        is_exact = not norms or post_norm == "widen"
        _verify(edited, model, basis, is_exact=is_exact)
    return edited


def logit_error(
    edited: LanguageModel,
    model: LanguageModel,
    direction: Vector | Sequence[Vector],
    *,
    ids: Sequence[Sequence[int]] | None = None,
) -> float:
    """How far an edited model's logits are from those of the model under ablation.

    Args:
        edited: What `orthogonalise` returned.
        model: The model that was edited.
        direction: The direction that was removed.
        ids: Prompts of equal length as token ids; by default two of random tokens.

    Returns:
        The largest difference, relative to the root mean square of the right logits.

    Raises:
        SelfCheckError: If directions cannot be ablated in the model.
    """
    tokens = _random_tokens(model) if ids is None else torch.tensor(ids)
    return _differences(edited, model, direction, tokens)[0]


def _differences(
    edited: LanguageModel,
    model: LanguageModel,
    direction: Vector | Sequence[Vector],
    tokens: Int[Tensor, "batch pos"],
) -> tuple[float, float]:
    """The largest and the typical difference of logits, relative to their size."""
    with model.lock, torch.no_grad():
        with ablate(model, direction):
            right = _logits(model, tokens)
        found = _logits(edited, tokens)
    scale = right.square().mean().sqrt().clamp_min(1e-30)
    off = (found - right) / scale
    return float(off.abs().max()), float(off.square().mean().sqrt())


def _basis(
    model: LanguageModel, direction: Vector | Sequence[Vector]
) -> Float[Tensor, "k d_model"]:
    vectors = _stacked(direction)
    vectors = vectors[None] if vectors.dim() == 1 else vectors
    if vectors.dim() != 2 or vectors.shape[-1] != model.d_model:
        raise ShapeError(
            f"Directions of the shape {list(vectors.shape)} were given to remove.",
            expected=f"[d_model] or [k, d_model], and the model has {model.d_model}.",
            remedy="Use directions that were found in this model.",
        )
    if not bool(vectors.isfinite().all()):
        raise DataError(
            "A direction to remove has values that are not finite.",
            remedy="Leave out the examples with NaN or infinite activations.",
        )
    return orthonormal_basis(vectors, "the weights")


def _require_plain_weights(model: LanguageModel) -> None:
    hf = model.hf
    if is_followed(hf):
        raise ConfigError(
            "Weights were to be edited inside a block of edits.",
            expected="The model as it is, to compare the result with.",
            remedy="Call orthogonalise before or after the block.",
        )
    name = model.name or type(hf).__name__
    if getattr(hf, "hf_quantizer", None) or any(
        not parameter.is_floating_point() or parameter.element_size() < 2
        for parameter in hf.parameters()
    ):
        raise IncompatibleError(
            f"The weights of {name} are quantised.",
            expected="A projection needs weights of at least 16 bits.",
            remedy="Load the model without quantisation, or use interp.ablate.",
        )
    is_placed = any(hasattr(module, "_hf_hook") for module in hf.modules())
    if is_placed or any(
        parameter.is_meta or type(parameter.data) is not Tensor
        for parameter in hf.parameters()
    ):
        raise IncompatibleError(
            f"The weights of {name} are offloaded or spread over several devices.",
            expected="All weights in the memory of one device.",
            remedy="Load it with device='cpu', or use interp.ablate.",
        )


def _require_writes(model: LanguageModel) -> None:
    found = writes_add_up(model)
    if not found.passed:
        why = (
            found.detail if found.error is None else f"they differ by {found.error:.1e}"
        )
        raise SelfCheckError(
            f"Orthogonalising was refused for {model.name or type(model.hf).__name__}.",
            expected="Embedding + sum of writes must equal the final residual stream:"
            f" {why}.",
            remedy="Name sites of your own: interp.ablate(..., sites='resid_post.*').",
        )


def _copied(model: LanguageModel) -> LanguageModel:
    hf = copy.deepcopy(model.hf)
    # Hooks of ours would be those of the model that was copied.
    for module in hf.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in list(hooks.items()):
                if getattr(hook, "__module__", "").startswith("interp."):
                    del hooks[key]
    name = f"{model.name or type(model.hf).__name__}, orthogonalised"
    return replace(model, hf=hf, name=name, revision=None, commit=None, folder=None)


def _verify(
    edited: LanguageModel,
    model: LanguageModel,
    basis: Float[Tensor, "k d_model"],
    *,
    is_exact: bool,
) -> None:
    """Nothing writes the direction, and the logits are those under ablation."""
    site, share = _largest_share(edited, basis)
    half = model.dtype.itemsize < torch.float32.itemsize
    if share > (SHARE_HALF if half else SHARE):
        raise SelfCheckError(
            f"Orthogonalising failed: {site} still has {share:.1e} of the direction.",
            expected="Another tensor than the known ones writes there.",
            remedy="Use interp.ablate, which edits the stream itself.",
        )
    largest, typical = _differences(edited, model, basis, _random_tokens(model))
    allowed = TOLERANCE.get(model.dtype, TOLERANCE[torch.float32])
    if not is_exact:
        logger.warning(
            "the logits of the approximately orthogonalised model differ from those "
            "under ablation by up to %.1e of their size",
            largest,
        )
    elif half and typical > allowed:
        # Rounding alone can send a token to another expert: no proof of a fault.
        logger.warning(
            "in half precision the logits of the orthogonalised model differ from "
            "those under ablation by %.1e of their size; load it as float32 to compare",
            typical,
        )
    elif not half and largest > allowed:
        raise SelfCheckError(
            f"Orthogonalising failed: logits differ from ablation by {largest:.1e}.",
            expected=f"At most {allowed:.0e} of their size.",
            remedy="Use interp.ablate, which edits the stream itself.",
        )


def _largest_share(
    edited: LanguageModel, basis: Float[Tensor, "k d_model"]
) -> tuple[str, float]:
    """Where most of the direction is left in the residual stream, and how much."""
    wide = nn.functional.pad(basis, (0, edited.d_model - basis.shape[1])).float()
    shares: dict[str, float] = {}
    points = [
        point
        for component in ("resid_pre.0", "resid_post.*")
        for point in edited.architecture.points(component)
    ]

    def noting(name: str) -> Callable[[Tensor], None]:
        def note(value: Tensor) -> None:
            held = value.detach().float().cpu()
            lengths = held.norm(dim=-1).clamp_min(1e-30)
            shares[name] = float(((held @ wide.T).norm(dim=-1) / lengths).max())

        return note

    with ExitStack() as stack:
        for point in points:
            for remove in plant(point, noting(point.site.short)):
                stack.callback(remove)
        _logits(edited, _random_tokens(edited))
    worst = max(shares, key=lambda name: shares[name])
    return worst, shares[worst]


def _random_tokens(model: LanguageModel) -> Int[Tensor, "batch pos"]:
    generator = torch.Generator().manual_seed(SEED)
    first = min(10, model.d_vocab // 2)
    return torch.randint(first, model.d_vocab, CHECKED_TOKENS, generator=generator)


def _logits(
    model: LanguageModel, ids: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos vocab"]:
    output = model.hf(input_ids=ids.to(model.device), use_cache=False)
    return output.logits.double().cpu()


def _post_norm_error(model: LanguageModel, norms: Sequence[str]) -> IncompatibleError:
    return IncompatibleError(
        f"In {type(model.hf).__name__} writes pass a norm before they are added"
        f" ({norms[0]}).",
        expected="No weights of the same width write what ablation leaves there.",
        remedy="Use post_norm='widen' (exact, twice the width) or 'approximate', or"
        " interp.ablate.",
    )
