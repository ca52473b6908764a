"""Edits as values: what to do to a site's value, and at which tokens.

Every edit is frozen and has one method, `apply(value, where)`, a pure function from a
site's value to its new value. `interp.edit` decides when it is called. Values are
computed in float32 (float64 where the model is), on the device of the activation.

`vector`, `values` and `strength` may differ between the prompts of a batch: a leading
axis beyond the site's own is one entry per prompt, a second one is one per position.

All edits have three fields in common:

* `site`: one or several sites; wildcards as in `interp.sites`.
* `positions`: places in the prompt, counted without padding: `"all"`, `"last"`, an
  index (negative from the end of the prompt), a list of them, or such a list for each
  prompt. Only `"all"` reaches generated tokens.
* `when`: with `"all"`, whether the tokens of the prompt, the generated ones, or both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from interp.directions.erasure import Eraser
from interp.edits.alignment import (
    Array,
    Index,
    Sites,
    aligned,
    as_array,
    chosen_only,
    per_row,
    site_words,
    with_part,
)
from interp.edits.subspace import orthonormal_basis, point_with_projections
from interp.edits.where import PositionsAsked, When, Where, read_places
from interp.errors import ConfigError, ShapeError


Value = Float[Tensor, "batch pos *rest"]
Change = Callable[[Float[Tensor, "batch pos *part"]], Float[Tensor, "batch pos *part"]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Add:
    """Add `strength * vector`.

    Example:
        >>> edit = Add(site="resid_post.1", vector=torch.ones(32), strength=0.5)
    """

    site: Sites
    vector: Array
    strength: float | Array = 1.0
    positions: PositionsAsked = "all"
    when: When = "both"

    def __post_init__(self) -> None:
        read_places(self.positions, self.when)
        _set(self, vector=as_array(self.vector, "vector", self.site))
        _set(self, strength=as_array(self.strength, "strength", self.site))

    def apply(self, value: Value, where: Where) -> Value:
        step = per_row(self.strength, "strength", value, where)
        step = step * aligned(self.vector, "vector", value, where)
        return chosen_only(value, value + step, where)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replace:
    """Put other values in place: those of another run, a mean, zeros."""

    site: Sites
    values: Array
    positions: PositionsAsked = "all"
    when: When = "both"

    def __post_init__(self) -> None:
        read_places(self.positions, self.when)
        _set(self, values=as_array(self.values, "values", self.site))

    def apply(self, value: Value, where: Where) -> Value:
        new = aligned(self.values, "values", value, where)
        return chosen_only(value, new.expand_as(value), where)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProjectOut:
    """Remove what the value has along one or several vectors of its last axis.

    Attributes:
        vectors: `[d]`, or `[k, d]` for the subspace that k vectors span. With `per_row`
            one for each prompt: `[prompt, d]` or `[prompt, k, d]`. Lengths do not
            matter.
        to: What the projection on each vector's unit shall be instead of 0.
        per_row: Whether the first axis of `vectors` (and of a `to` that has one axis
            more than otherwise) is the prompt.
    """

    site: Sites
    vectors: Array
    to: float | Array = 0.0
    per_row: bool = False
    positions: PositionsAsked = "all"
    when: When = "both"
    _basis: Tensor = field(init=False, repr=False)
    _offset: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        read_places(self.positions, self.when)
        vectors = as_array(self.vectors, "vectors", self.site)
        vectors = (
            vectors.unsqueeze(-2) if vectors.dim() == 1 + self.per_row else vectors
        )
        if vectors.dim() != 2 + self.per_row:
            raise ShapeError(
                f"The vectors to project out at {site_words(self.site)} have the shape"
                f" {list(self.vectors.shape)}.",
                expected="[prompt, d] or [prompt, k, d] with per_row=True."
                if self.per_row
                else "[d] or [k, d].",
            )
        to = as_array(self.to, "to", self.site)
        _set(self, vectors=vectors, to=to)
        _set(self, _basis=orthonormal_basis(vectors, self.site))
        _set(self, _offset=point_with_projections(vectors, to, self.site))

    def apply(self, value: Value, where: Where) -> Value:
        basis = self._rows(self._basis, value, where)
        offset = self._rows(self._offset, value, where)
        rest = value.flatten(2, -2) if value.dim() > 3 else value.unsqueeze(2)
        inside = torch.einsum("bpnd,bkd->bpnk", rest, basis)
        new = rest - torch.einsum("bpnk,bkd->bpnd", inside, basis)
        new = (new + offset[:, None, None]).reshape(value.shape)
        return chosen_only(value, new, where)

    def _rows(self, held: Tensor, value: Tensor, where: Where) -> Tensor:
        """The basis or offset for each row of the batch, in the value's dtype."""
        held = held.to(value.device, value.dtype)
        if held.shape[-1] != value.shape[-1]:
            raise ShapeError(
                f"The vectors to project out at {where.site!r} have"
                f" {held.shape[-1]} entries.",
                expected=f"The last axis of the site has {value.shape[-1]}.",
            )
        if not self.per_row:
            return held.expand(len(value), *held.shape)
        if len(held) != where.n_rows:
            raise ShapeError(
                f"Vectors to project out at {where.site!r} were given for {len(held)}"
                " prompts.",
                expected=f"There are {where.n_rows} prompts.",
            )
        return held[where.rows]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Erase:
    """Remove what an `Eraser` removes from the last axis of the value.

    Unlike `ProjectOut` this is affine, and oblique if the eraser is.
    """

    site: Sites
    eraser: Eraser
    positions: PositionsAsked = "all"
    when: When = "both"
    _left: Tensor = field(init=False, repr=False)
    _right: Tensor = field(init=False, repr=False)
    _mean: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        read_places(self.positions, self.when)
        _set(self, _left=as_array(self.eraser.left, "eraser", self.site))
        _set(self, _right=as_array(self.eraser.right, "eraser", self.site))
        _set(self, _mean=as_array(self.eraser.mean, "eraser", self.site))

    def apply(self, value: Value, where: Where) -> Value:
        if len(self._mean) != value.shape[-1]:
            raise ShapeError(
                f"The eraser for {where.site!r} was fitted to {len(self._mean)}"
                " dimensions.",
                expected=f"The last axis of the site has {value.shape[-1]}.",
            )
        left, right, mean = (
            held.to(value.device, value.dtype)
            for held in (self._left, self._right, self._mean)
        )
        new = value - ((value - mean) @ right.mT) @ left.mT
        return chosen_only(value, new, where)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scale:
    """Multiply a part of the value by a factor.

    Attributes:
        factor: A number, or one for each prompt.
        index: Which part, as in `Clamp`.
    """

    site: Sites
    factor: float | Array
    index: Index | None = None
    positions: PositionsAsked = "all"
    when: When = "both"

    def __post_init__(self) -> None:
        read_places(self.positions, self.when)
        _set(self, factor=as_array(self.factor, "factor", self.site))

    def apply(self, value: Value, where: Where) -> Value:
        def scaled(part: Tensor) -> Tensor:
            return part * per_row(self.factor, "factor", part, where)

        return chosen_only(value, with_part(value, self.index, scaled, where), where)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clamp:
    """Set a part of the value, or keep it within bounds.

    Attributes:
        index: Which part of the axes behind batch and position: a head `3` or a single
            coordinate of it `(3, 5)` of `z`, neurons `[7, 9]` of `mlp_post`; None for
            all.
        value: What the part becomes: a number, an array that fits it, or a function
            from the part `[batch, pos, ...]` to its new value.
        min: The least value of the part.
        max: The greatest value of the part.
    """

    site: Sites
    index: Index | None = None
    value: float | Array | Change | None = None
    min: float | None = None
    max: float | None = None
    positions: PositionsAsked = "all"
    when: When = "both"

    def __post_init__(self) -> None:
        read_places(self.positions, self.when)
        bounds = self.min is not None or self.max is not None
        if bounds == (self.value is not None):
            raise ConfigError(
                f"A clamp at {site_words(self.site)} needs a value or bounds, and not"
                " both.",
                remedy="Give value=..., or min=... and/or max=....",
            )
        if self.value is not None and not callable(self.value):
            _set(self, value=as_array(self.value, "value", self.site))

    def apply(self, value: Value, where: Where) -> Value:
        return chosen_only(value, with_part(value, self.index, self._new, where), where)

    def _new(self, part: Tensor) -> Tensor:
        if isinstance(self.value, Tensor):
            return self.value.to(part.device, part.dtype)
        if callable(self.value):
            return self.value(part)
        return part.clamp(self.min, self.max)


Edit = Add | Replace | ProjectOut | Erase | Scale | Clamp


def _set(edit: Edit, **values: Tensor) -> None:
    """Set fields of a frozen edit while it is being made."""
    for name, value in values.items():
        object.__setattr__(edit, name, value)
