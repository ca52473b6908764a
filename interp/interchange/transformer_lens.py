"""TransformerLens: a bridge on a model's weights, and activation caches in and out.

Site names are TransformerLens' hook names, so only the layout is translated: layers are
stacked here and single there, and a pattern is `[pos, head, key]` at each prompt here
and `[head, query, key]` there. Two names do not mean the same value, and are left out:
the logits of models with a soft cap (`unembed.hook_out` is ahead of it), and
`hook_embed` of models with a norm behind the embedding (Bloom).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import Activations
from interp.errors import (
    ConfigError,
    DataError,
    IncompatibleError,
    ShapeError,
    UnknownSiteError,
    UnsupportedModelError,
)
from interp.models.adapters import activation_cache, bridge_around
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed
from interp.models.traced import TracedModel
from interp.positions import Positions
from interp.sites import Site, parse


# A token of which only the activations are known.
UNKNOWN = -1


def as_bridge(model: LanguageModel) -> Any:
    """A `TransformerBridge` around the same weights.

    The model stays as it is, and both can be used in turn: the bridge has modules of
    its own that hold the model's tensors. Only fused query-key-value projections, which
    TransformerLens splits, are copied. A tokenizer comes along if it was loaded from a
    hub or a folder.

    Args:
        model: The model.

    Raises:
        ConfigError: If edits are in force.
        IncompatibleError: If nnsight runs the model.
        UnsupportedModelError: If TransformerLens has no bridge for it.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> as_bridge(model).cfg.d_model
        32
    """
    if isinstance(model, TracedModel):
        raise IncompatibleError(
            f"A bridge was asked for {model.name}, which nnsight runs.",
            expected="A bridge has the weights to itself.",
            remedy="Load the model without backend='nnsight'.",
        )
    if is_followed(model.hf):
        raise ConfigError(
            "A bridge was asked for inside a block of edits.",
            expected="It would keep hooks that the block takes away here.",
            remedy="Call as_bridge before or after the block.",
        )
    with model.lock:
        try:
            return bridge_around(model.hf, model.tokenizer, model.name)
        except Exception as error:  # an adapter may fail in any way on a new config
            line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UnsupportedModelError(
                f"TransformerLens has no bridge for {type(model.hf).__name__}: {line}.",
                remedy="Use interp.capture with to_cache.",
            ) from error


def to_cache(activations: Activations, *, bridge: Any = None) -> Any:
    """Captured activations as TransformerLens' `ActivationCache`.

    The axis `pos` holds the positions that were read, padded with zeros on the right:
    with `positions="all"` the tokens. Its methods that use weights need the bridge.

    Args:
        activations: What `interp.capture` returned.
        bridge: The model of the cache, from `as_bridge`.

    Raises:
        ShapeError: If they are means over positions.
        DataError: If nothing is left that has a name there.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> acts = interp.capture(model, [[5, 6, 7]], sites="z.1", positions="all")
        >>> to_cache(acts)["z", 1].shape
        torch.Size([1, 3, 4, 8])
    """
    kind = activations.resolved.kind
    if kind == "mean":
        raise ShapeError(
            "Means over positions were given for a cache.",
            expected="A cache has an axis of positions.",
            remedy="Capture positions='all' or 'last'.",
        )
    has_cap = bool(getattr(getattr(bridge, "cfg", None), "output_logits_soft_cap", 0))
    found: dict[str, Tensor] = {}
    for site in activations.sites:
        value = activations[site]
        value = value[:, None] if kind == "one" else value
        if site.component == "pattern":
            value = value.transpose(1, 2)
        if not (has_cap and site.component == "logits"):
            found[str(site)] = value
    if not found:
        raise DataError("No activation has a name in a cache.")
    return activation_cache(found, bridge)


def from_cache(
    cache: Mapping[str, Tensor] | Any,
    *,
    model: LanguageModel | None = None,
    ids: Sequence[Sequence[int]] | None = None,
) -> Activations:
    """TransformerLens' `ActivationCache` as activations at all positions.

    Hooks that are no site (norms, scores, inputs) are left out.

    Args:
        cache: What `run_with_cache` returned, or a dictionary of such values.
        model: The model, for its tokenizer and its name.
        ids: The token ids of each prompt. A prompt that is shorter than the cache is
            taken as padded on the right. Without them tokens are not known.

    Raises:
        DataError: If no hook in the cache is a site.
        ShapeError: If values differ in batch or positions, or do not fit the ids.

    Example:
        >>> cache = {"blocks.0.hook_resid_post": torch.zeros(2, 3, 8)}
        >>> from_cache(cache)["resid_post.0"].shape
        torch.Size([2, 3, 8])
    """
    values = _values(cache, model)
    if not values:
        raise DataError(
            "No hook in the cache is a site.",
            expected="Hooks such as 'blocks.0.hook_resid_post'.",
            remedy="Give run_with_cache other names, or none.",
        )
    shapes = {tuple(value.shape[:2]) for value in values.values()}
    if len(shapes) > 1:
        raise ShapeError(
            f"The values in the cache have batch and positions {sorted(shapes)}.",
            expected="The same for all.",
            remedy="Cache one forward pass without pos_slice.",
        )
    n_examples, n_slots = shapes.pop()
    rows = _ids(ids, n_examples, n_slots)
    return Activations(
        sites=tuple(values),
        values=_stacked(values),
        token_ids=rows,
        texts=(None,) * n_examples,
        resolved=Positions(
            spec="all",
            kind="several",
            index=tuple(range(len(row)) for row in rows),
        ),
        tokenizer=None if model is None or ids is None else model.tokenizer,
        provenance=None if model is None else model.identity(hashes=False),
    )


def _values(
    cache: Mapping[str, Tensor] | Any, model: LanguageModel | None
) -> dict[Site, Float[Tensor, "example pos *rest"]]:
    """The values of all sites in forward order, as they are laid out here."""
    left_out: set[str] = {"embed"} if "embed_ln.hook_out" in cache else set()
    config = None if model is None else model.hf.config.get_text_config(decoder=True)
    if getattr(config, "final_logit_softcapping", None):
        left_out.add("logits")
    found: dict[Site, Tensor] = {}
    for name in [*cache.keys()]:
        try:
            site = parse(name)
        except UnknownSiteError:
            continue
        if site.component in left_out:
            continue
        value = cache[name]
        if not getattr(cache, "has_batch_dim", True):
            value = value[None]
        is_pattern = site.component == "pattern"
        found[site] = value.transpose(1, 2) if is_pattern else value
    return {site: found[site] for site in sorted(found, key=lambda one: one.depth)}


def _stacked(values: Mapping[Site, Tensor]) -> dict[str, Tensor]:
    """Layers of a component as one tensor where their shapes agree."""
    layers: dict[str, list[Site]] = {}
    for site in values:
        layers.setdefault(site.component, []).append(site)
    stacked: dict[str, Tensor] = {}
    for component, sites in layers.items():
        same = len({values[site].shape for site in sites}) == 1
        if sites[0].layer is not None and same:
            stacked[component] = torch.stack([values[site] for site in sites], 1)
        else:
            stacked |= {site.short: values[site] for site in sites}
    return stacked


def _ids(
    ids: Sequence[Sequence[int]] | None, n_examples: int, n_slots: int
) -> tuple[tuple[int, ...], ...]:
    if ids is None:
        return ((UNKNOWN,) * n_slots,) * n_examples
    rows = tuple(tuple(map(int, row)) for row in ids)
    longest = max(map(len, rows), default=0)
    if len(rows) != n_examples or longest > n_slots or not all(rows):
        raise ShapeError(
            f"Token ids of {len(rows)} prompts with up to {longest} tokens were given.",
            expected=f"The cache holds {n_examples} prompts of {n_slots} positions.",
        )
    return rows
