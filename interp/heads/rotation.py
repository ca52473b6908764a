"""What stands between queries and keys a given number of tokens apart.

Rotary models turn both by their positions, each architecture in its own way: half-split
or interleaved pairs, all axes or some, frequencies by many rules. Nothing of that is
written a second time: unit vectors are put in place of the keys, and what the model
keeps of them in its cache is read.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from interp.errors import ConfigError, UnsupportedModelError
from interp.models.hookpoints import HookPoint, plant
from interp.models.language_model import LanguageModel


# Keys are computed in float32 or less; a wrong rotation is off by order one.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
ROUGH = 5e-2
# Unit vectors a pass, so that long lags do not need much memory.
TOKENS_AT_A_TIME = 4096


def lag_matrices(
    model: LanguageModel, lags: Sequence[int]
) -> Float[Tensor, "layer lag d_head d_head"]:
    r"""The matrices B with scores $q B_\Delta k^T$ for a query $\Delta$ tokens later.

    q and k are rows, ahead of any rotation, so that $B_0$ is one. It is one for all
    lags in models and layers that do not rotate. Norms of queries and keys are left
    out, as in `head_weights`.

    Args:
        model: The model; inside `interp.edit` the result is of no use.
        lags: How many tokens the query comes after the key; 0 or more.

    Returns:
        One matrix for each layer and lag, in float64.

    Raises:
        ConfigError: If a lag is negative or beyond the context.
        MissingSiteError: If the model's keys cannot be reached.
        UnsupportedModelError: If what the model does to its keys is no rotation that
            depends on the lag alone, or cannot be seen in its cache.

    Source:
        Su et al. (2021), arXiv:2104.09864.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> found = lag_matrices(interp.load(tiny_model("llama")), [0, 3])
        >>> found.shape, bool(torch.allclose(found[0, 0], torch.eye(8).double()))
        (torch.Size([3, 2, 8, 8]), True)
    """
    wanted = _checked(model, lags)
    # With each its neighbour: the check composes a rotation with that by one token.
    places = sorted({0, 1, 2, *wanted, *(lag + 1 for lag in wanted)})
    limit = model.context_length
    places = [place for place in places if limit is None or place < limit]
    with model.lock, torch.inference_mode():
        keys = _cached_keys(model, places)
    start = keys[:, 0]
    if bool((torch.linalg.cond(start) > 1 / _tolerance(model)).any()):
        raise _not_found(model, "its keys pass a norm that forgets an axis")
    # Row i of it is what becomes of unit vector i; a query turned by its own place and
    # a key turned by an earlier one meet as if one of them was turned by the lag.
    turned = torch.linalg.solve(start[:, None], keys)
    _require_rotations(model, turned, places)
    chosen = [places.index(lag) for lag in wanted]
    return turned[:, chosen]


def _cached_keys(
    model: LanguageModel, places: list[int]
) -> Float[Tensor, "layer place unit d_head"]:
    """What the cache keeps of each unit vector at each place, of the first key head."""
    points = [model.architecture.point(f"k.{i}") for i in range(model.n_layers)]
    n, width = max(places) + 1, _width(points[0], model)
    units = torch.eye(width, dtype=model.dtype, device=model.device)
    step = max(1, TOKENS_AT_A_TIME // n)
    parts = []
    for rows in units.split(step):
        with ExitStack() as stack:
            for point in points:
                for remove in plant(point, _Planted(rows)):
                    stack.callback(remove)
            ids = torch.zeros(len(rows), n, dtype=torch.long, device=model.device)
            # A cache without a config keeps all keys, also of sliding windows.
            cache = DynamicCache()
            model.hf(input_ids=ids, past_key_values=cache, use_cache=True)
        held = [_keys_of(layer, (len(rows), n, width)) for layer in cache.layers]
        found = [keys[:, places].cpu().double() for keys in held if keys is not None]
        if len(found) != model.n_layers:
            raise _not_found(model, "its cache does not hold its keys")
        parts.append(torch.stack(found))
    return torch.cat(parts, dim=1).transpose(1, 2)


def _keys_of(
    layer: object, shape: tuple[int, int, int]
) -> Float[Tensor, "unit place d_head"] | None:
    """The first head's keys in one layer of a cache, if they have the shape."""
    keys = getattr(layer, "keys", None)
    if not isinstance(keys, Tensor) or keys.dim() != 4:
        return None
    return keys[:, 0] if keys[:, 0].shape == shape else None


class _Planted:
    """Puts one vector per row in place of all keys."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def __call__(self, value: Tensor) -> Tensor:
        rows = self._rows.to(value.device)
        return rows[:, None, None].expand(value.shape)


def _width(point: HookPoint, model: LanguageModel) -> int:
    seen: list[int] = []
    removers = plant(point, lambda value: seen.append(value.shape[-1]))
    try:
        model.hf(torch.zeros(1, 1, dtype=torch.long, device=model.device))
    finally:
        for remove in reversed(removers):
            remove()
    return seen[0]


def _require_rotations(
    model: LanguageModel, turned: Tensor, places: Sequence[int]
) -> None:
    tolerance = _tolerance(model)
    one = torch.eye(turned.shape[-1], dtype=turned.dtype)
    lengths = (turned @ turned.mT - one).abs().max()
    if not lengths <= tolerance:
        raise _not_found(model, "what it does to its keys is no rotation")
    for here, after in pairwise(places):
        if after != here + 1:
            continue
        step = turned[:, places.index(1)] @ turned[:, places.index(here)]
        if not (step - turned[:, places.index(after)]).abs().max() <= tolerance:
            raise _not_found(model, "its rotations do not depend on the lag alone")
    never = bool((turned - one).abs().max() <= tolerance)
    if never and _says_rotary(model):
        raise _not_found(model, "its cache holds keys that are not rotated yet")


def _says_rotary(model: LanguageModel) -> bool:
    """Whether the model has a part that makes rotations."""
    if getattr(model.hf.config.get_text_config(), "alibi", False):
        return False
    return any("Rotary" in type(module).__name__ for module in model.hf.modules())


def _tolerance(model: LanguageModel) -> float:
    return TOLERANCE.get(model.dtype, ROUGH)


def _not_found(model: LanguageModel, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The rotations of {model.name or type(model.hf).__name__} by position were not"
        f" found: {why}.",
        expected="Queries and keys are turned by their positions, or not at all.",
        remedy="Leave lags out: then products are as if query and key were at one"
        " place.",
    )


def _checked(model: LanguageModel, lags: Sequence[int]) -> tuple[int, ...]:
    wanted, limit = tuple(int(lag) for lag in lags), model.context_length
    beyond = [lag for lag in wanted if lag < 0 or (limit is not None and lag >= limit)]
    if beyond or not wanted:
        within = "" if limit is None else f", below the context of {limit}"
        raise ConfigError(
            f"The lag {beyond[0]} makes no sense." if beyond else "No lag was given.",
            expected=f"One lag or more, each 0 or more{within}.",
        )
    return wanted
