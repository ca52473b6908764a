"""What a sweep reads: activations as one list of rows per site and position."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import DataError, EmptyClassError, ShapeError
from interp.positions import Positions
from interp.provenance import ModelRecord
from interp.results.sweep import NO_LAYER
from interp.sites import Site


@runtime_checkable
class Captured(Protocol):
    """What is read of `interp.Activations`.

    The class itself is not imported here: importing capture takes seconds, and plain
    arrays need none of it.
    """

    @property
    def sites(self) -> tuple[Site, ...]: ...

    @property
    def texts(self) -> tuple[str | None, ...]: ...

    @property
    def resolved(self) -> Positions: ...

    @property
    def mask(self) -> Bool[Tensor, "example pos"]: ...

    @property
    def provenance(self) -> ModelRecord | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, name: str) -> Float[Tensor, "example ..."]: ...


Rows = Captured | Float[Tensor, "example *sites d_model"] | np.ndarray
LabelValues = Sequence[bool] | Sequence[int] | np.ndarray | Tensor

# One call of a fit gets at most so many bytes of rows, as one stack.
BYTES_PER_STACK = 2**29
NAME = "activations"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """The rows of one site at one position."""

    site: str
    layer: int
    position: str
    rows: Float[Tensor, "example d_model"]


def readings(activations: Rows) -> list[Reading]:
    """The rows of every site and position, as views where that is possible.

    Args:
        activations: Captured activations, or an array `[example, d_model]`,
            `[example, layer, d_model]` or `[example, layer, pos, d_model]`.

    Raises:
        ShapeError: If an array has another number of axes, or a prompt lacks one of the
            positions.
    """
    if isinstance(activations, Captured):
        return [
            one
            for site in activations.sites
            for one in _of_site(activations, site.short, site.layer)
        ]
    if isinstance(activations, np.ndarray) and min(activations.strides, default=0) < 0:
        # An array read backwards, which torch has no tensors for.
        activations = activations.copy()
    rows = torch.as_tensor(activations)
    if not rows.is_floating_point():
        rows = rows.float()
    if rows.dim() not in (2, 3, 4):
        raise ShapeError(
            f"Activations of shape {list(rows.shape)} were given.",
            expected="[example, d_model], with axes for layer and pos in between.",
        )
    if rows.dim() == 2:
        return [Reading(site=NAME, layer=NO_LAYER, position="", rows=rows)]
    found = []
    for layer in range(rows.shape[1]):
        if rows.dim() == 3:
            places = {"": rows[:, layer]}
        else:
            places = {str(pos): rows[:, layer, pos] for pos in range(rows.shape[2])}
        for position, at in places.items():
            site = f"{NAME}.{layer}"
            found.append(Reading(site=site, layer=layer, position=position, rows=at))
    return found


def stacks(given: Sequence[Reading]) -> Iterator[Float[Tensor, "site example d_model"]]:
    """Neighbouring readings of one width as stacks of bounded size, in order."""
    for _, alike in groupby(given, key=lambda one: one.rows.shape):
        group = list(alike)
        each = group[0].rows.numel() * group[0].rows.element_size()
        size = max(1, BYTES_PER_STACK // max(each, 1))
        for start in range(0, len(group), size):
            yield torch.stack([one.rows for one in group[start : start + size]])


def truth_values(labels: LabelValues, n: int) -> Bool[np.ndarray, " example"]:
    """Labels as truth values.

    Raises:
        ShapeError: If there is not one for each of the `n` examples.
        DataError: If they are neither truth values nor 0 and 1.
        EmptyClassError: If a class has no example.

    Example:
        >>> truth_values([1, 0], 2).tolist()
        [True, False]
    """
    held = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    values = np.asarray(held)
    if values.shape != (n,):
        raise ShapeError(
            f"Labels of shape {list(values.shape)} were given for {n} examples.",
            expected="One label for each.",
        )
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        shown = sorted({str(value) for value in values.tolist()})[:4]
        raise DataError(
            f"The labels are {', '.join(shown)}.",
            expected="True and False, or 1 and 0.",
            remedy="For other classes compare one with the rest: labels == 'name'.",
        )
    found = values.astype(bool)
    if found.all() or not found.any():
        raise EmptyClassError(
            f"All {n} examples have the label {bool(found[0])}.",
            expected="A probe separates two classes.",
        )
    return found


def _of_site(activations: Captured, name: str, layer: int | None) -> Iterator[Reading]:
    rows = activations[name]
    layer = NO_LAYER if layer is None else layer
    if activations.resolved.kind != "several":
        at = activations.resolved.spec
        yield Reading(site=name, layer=layer, position=at, rows=rows.flatten(1))
        return
    lacking = (~activations.mask).any(1)
    if lacking.any():
        raise ShapeError(
            f"Prompt {int(lacking.nonzero()[0])} lacks some of the positions"
            f" {activations.resolved.spec!r}.",
            expected="A probe is fitted at a position that every example has.",
            remedy="Capture positions such as 'last' or 'template[-3:]'.",
        )
    spec = activations.resolved.spec
    listed = spec.split(", ")
    for slot in range(rows.shape[1]):
        # A list names each of its positions; of a range only the order is known.
        own = listed[slot] if len(listed) == rows.shape[1] else f"{spec}:{slot}"
        at = rows[:, slot].flatten(1)
        yield Reading(site=name, layer=layer, position=own, rows=at)
