"""Fitting the arrays of an edit to the value of a site, with errors that say how."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.edits.where import Where
from interp.errors import DataError, ShapeError
from interp.sites import Site


Sites = str | Site | Sequence[str | Site]
Array = Float[Tensor, "..."] | Float[np.ndarray, "..."]
Index = int | slice | Sequence[int] | tuple[int | slice | Sequence[int], ...]
E = TypeVar("E")


def as_array(given: object, name: str, site: Sites) -> Float[Tensor, "..."]:
    """A copy of the numbers as a tensor, on the device where they are.

    Raises:
        DataError: If they are not numbers, or not all finite.
    """
    try:
        held = (
            given.clone()
            if isinstance(given, Tensor)
            # NumPy first: torch is slow on lists and refuses read-only arrays.
            else torch.from_numpy(np.array(given))
        )
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The {name} for {site_words(site)} is no array of numbers: {given!r:.60}."
        ) from error
    if not held.is_floating_point():
        held = held.to(torch.float32)
    n_bad = held.numel() - int(held.isfinite().sum())
    if n_bad:
        raise DataError(
            f"The {name} for {site_words(site)} has {n_bad} values that are not finite,"
            f" of {held.numel()}.",
            remedy="Leave out the examples with NaN or infinite activations.",
        )
    return held


def site_words(site: Sites) -> str:
    """The sites of an edit as the user wrote them, for messages."""
    if isinstance(site, Site):
        return repr(site.short)
    if isinstance(site, str):
        return repr(site)
    return ", ".join(map(site_words, site))


def on_device(edit: E, device: torch.device) -> E:
    """The edit with its tensors on a device: no forward pass has to move them."""
    moved = copy.copy(edit)
    for entry in fields(edit):  # type: ignore[arg-type]
        held = getattr(edit, entry.name)
        if isinstance(held, Tensor):
            # Apple's accelerator has no float64.
            dtype = torch.float32 if device.type == "mps" else held.dtype
            object.__setattr__(moved, entry.name, held.to(device, dtype))
    return moved


def aligned(held: object, name: str, value: Tensor, where: Where) -> Tensor:
    """The array so that it broadcasts against a site's value.

    Args:
        held: `[*rest]`, `[prompt, *rest]` or `[prompt, pos, *rest]`, where the site has
            `[batch, pos, *rest]`. The positions are those that the edit names, in its
            order; if it names all, the tokens of the prompt.
        name: What it is called, for messages.
        value: The site's value.
        where: What the rows and slots of the value are.

    Raises:
        ShapeError: If it has none of these shapes.
    """
    # `as_array` made it one when the edit was made.
    assert isinstance(held, Tensor)
    rest = value.shape[2:]
    extra = held.dim() - len(rest)
    held = held.to(value.device, value.dtype)
    if not 0 <= extra <= 2 or held.shape[extra:] != rest:
        raise _misfit(held, name, rest, where)
    if extra == 0:
        return held
    if len(held) != where.n_rows:
        raise _misfit(held, name, rest, where)
    if extra == 1:
        return held[where.rows][:, None]
    order = where.order
    if where.chosen is not None:
        order = order.masked_fill(~where.chosen, 0)
    order = order.clamp_min(0)
    longest = int(order.max()) + 1 if order.numel() else 0
    if longest > held.shape[1]:
        raise ShapeError(
            f"The {name} for the site {where.site!r} are given at {held.shape[1]}"
            " positions.",
            expected=f"The edit meets {longest} positions.",
            remedy="Name as many positions as there are values, or use when='prompt'.",
        )
    return held[where.rows[:, None], order]


def per_row(held: object, name: str, like: Tensor, where: Where) -> Tensor:
    """A number, or one for each prompt, so that it broadcasts against a value.

    Raises:
        ShapeError: If there are not as many as prompts.
    """
    assert isinstance(held, Tensor)
    held = held.to(like.device, like.dtype)
    if held.dim() == 0:
        return held
    if held.dim() > 1 or len(held) != where.n_rows:
        raise ShapeError(
            f"The {name} for the site {where.site!r} has the shape {list(held.shape)}.",
            expected=f"One number, or one for each of {where.n_rows} prompts.",
        )
    return held[where.rows].view(-1, *(1,) * (like.dim() - 1))


def with_part(
    value: Tensor,
    index: Index | None,
    change: Callable[[Tensor], Tensor],
    where: Where,
) -> Tensor:
    """The value with one part of the axes behind batch and position changed.

    Raises:
        ShapeError: If there is no such part, or its new value has another shape.
    """
    if index is None:
        return _changed(value, change, where)
    places: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
    whole = slice(None)
    selected = (
        whole,
        whole,
        *(p if isinstance(p, slice) else _list(p) for p in places),
    )
    try:
        part = value[selected]
    except IndexError as error:
        raise ShapeError(
            f"The site {where.site!r} has no part {index!r}.",
            expected=f"It has the shape {list(value.shape[2:])} at each position.",
        ) from error
    new = value.clone()
    new[selected] = _changed(part, change, where)
    return new


def chosen_only(value: Tensor, new: Tensor, where: Where) -> Tensor:
    """The new value where the edit acts, the old one elsewhere."""
    if where.chosen is None:
        return new
    chosen = where.chosen.view(*where.chosen.shape, *(1,) * (value.dim() - 2))
    return torch.where(chosen, new, value)


def _list(place: Any) -> Any:
    return place if isinstance(place, int) else list(place)


def _changed(part: Tensor, change: Callable[[Tensor], Tensor], where: Where) -> Tensor:
    new = change(part)
    inner = part.shape[2:]
    # From a constant only the axes behind batch and position may come: one that has
    # as many rows as there are positions by chance must not pass.
    fits = new.shape == part.shape or (
        new.dim() <= len(inner)
        and all(n in (1, m) for n, m in zip(new.shape[::-1], inner[::-1], strict=False))
    )
    if not fits:
        raise ShapeError(
            f"The new value for the site {where.site!r} has the shape"
            f" {list(new.shape)}.",
            expected=f"The part has {list(inner)} at each position"
            f" ({list(part.shape)} in all).",
        )
    return new.to(part.dtype).expand_as(part)


def _misfit(held: Tensor, name: str, rest: Sequence[int], where: Where) -> ShapeError:
    inner = ", ".join(map(str, rest))
    return ShapeError(
        f"The {name} for the site {where.site!r} has the shape {list(held.shape)}.",
        expected=f"The site has [{inner}] at each position: give [{inner}],"
        f" [{where.n_rows}, {inner}] for {where.n_rows} prompts, or"
        f" [{where.n_rows}, pos, {inner}].",
    )
