"""Edits of a model that nnsight runs: plain operations, worked out batch by batch.

A forward pass there cannot call an edit's `apply`, which is Python of this library. But
what a batch holds is known before it runs, so everything that depends on prompts and
positions is computed here, and what is left is a few tensors and the name of what to do
with them (`interp.models.traced_body`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations.capture import capture
from interp.edits.alignment import aligned, per_row, with_part
from interp.edits.values import Add, Clamp, Edit, Erase, ProjectOut, Replace, Scale
from interp.edits.where import Where, locate, read_places
from interp.errors import ConfigError, ShapeError
from interp.models.hookpoints import HookPoint
from interp.models.reading import Reading
from interp.models.selfcheck import Check, random_tokens, writes_verdict
from interp.models.traced import TracedModel, refuse_patterns, refuse_remote
from interp.models.traced_body import Operation
from interp.sites import Site


@contextmanager
def traced_edits(
    model: TracedModel, planned: Sequence[tuple[HookPoint, Sequence[Edit]]]
) -> Iterator[None]:
    """Have edits in force for the traces inside the block.

    Args:
        model: The model.
        planned: For every site its edits in their order.

    Raises:
        MissingSiteError: If a pattern is to be edited.
        ConfigError: If an edit holds a function and the model runs elsewhere.
    """
    for point, edits in planned:
        for one in edits:
            if isinstance(one, Clamp) and callable(one.value):
                refuse_remote(
                    model,
                    f"A clamp of {point.site.short!r} by a function",
                    "Clamp to a number or an array, or use remote=False.",
                )
    refuse_patterns(point for point, _ in planned)
    with model.lock:
        model.edits.append(partial(_operations, model, planned))
        guard = model.hf.register_forward_pre_hook(partial(_refuse_call, model))
        try:
            yield
        finally:
            guard.remove()
            model.edits.pop()


@contextmanager
def traced_unedited(model: TracedModel) -> Iterator[None]:
    """Have no edit in force for the traces inside the block."""
    with model.lock:
        held = [*model.edits]
        model.edits.clear()
        try:
            yield
        finally:
            model.edits[:] = held


def traced_writes(model: TracedModel) -> Check:
    """Whether embedding + sum of writes = final residual, by one trace.

    Args:
        model: The model.
    """
    writes = model.architecture.write_sites
    last = Site("resid_post", model.n_layers - 1)
    ids = [random_tokens(model)[0].tolist()]
    acts = capture(model, ids, sites=[*writes, last], positions="all", dtype="float32")
    total = torch.stack([acts[site].double() for site in writes]).sum(0)
    return writes_verdict(model, total, acts[last])


def _refuse_call(model: TracedModel, module: torch.nn.Module, args: object) -> None:
    """Refuse a call of the model past nnsight: it would run without the edits."""
    if model.edits and not model.envoy.interleaver.interleaving:
        raise ConfigError(
            f"{model.name} was called by itself in a block of edits, and is run by"
            " nnsight.",
            expected="There edits act in interp.capture and in generate.",
            remedy="Load it without backend='nnsight'.",
        )


def _operations(
    model: TracedModel,
    planned: Sequence[tuple[HookPoint, Sequence[Edit]]],
    reading: Reading,
) -> list[tuple[HookPoint, list[Operation]]]:
    """What the edits do in one forward pass."""
    found = []
    for point, edits in planned:
        operations = []
        for one in edits:
            where = locate(reading, read_places(one.positions, one.when), one.when)
            if where.chosen is not None and not bool(where.chosen.any()):
                continue
            where = replace(where, site=point.site.short)
            value = _stand_in(model, point, one)
            operations.append(_operation(one, value, where, reading))
        found.append((point, operations))
    return found


def _operation(one: Edit, value: Tensor, where: Where, reading: Reading) -> Operation:
    """One edit as an operation; `value` has the shape that the site has."""
    a, b, mean, part = None, None, None, None
    match one:
        case Add():
            kind = "add"
            step = per_row(one.strength, "strength", value, where)
            a = step * aligned(one.vector, "vector", value, where)
        case Replace():
            kind, a = "set", aligned(one.values, "values", value, where)
        case ProjectOut():
            kind = "project"
            a = one._rows(one._basis, value, where)
            b = one._rows(one._offset, value, where)
        case Erase():
            kind = "erase"
            one.apply(value, where)  # refuses another width
            a, b, mean = one._right, one._left, one._mean
        case Scale():
            kind, part, a = "scale", one.index, one.factor
            per_row(a, "factor", value, where)
            with_part(value, part, lambda inner: inner, where)
            if isinstance(a, Tensor) and a.dim():
                a = a[where.rows]
        case Clamp():
            part = one.index
            kind, a, b = _clamp(one, where)
            if kind != "call":
                with_part(value, part, one._new, where)
        case _:
            assert_never(one)
    by_slot = kind in ("add", "set") and isinstance(a, Tensor) and _has_slots(a, value)
    if by_slot and not reading.starts:
        raise ShapeError(
            f"The values for the site {where.site!r} are given by position.",
            expected="The edit meets positions behind the prompt.",
            remedy="Use when='prompt'.",
        )
    return Operation(
        kind=kind,
        a=a,
        b=b,
        mean=mean,
        chosen=where.chosen,
        part=_places(part),
        by_slot=by_slot,
    )


def _clamp(one: Clamp, where: Where) -> tuple[str, Any, Any]:
    """What a clamp is as an operation: its kind, and its two values."""
    if isinstance(one.value, Tensor):
        return "set", one.value, None
    if callable(one.value):
        return "call", lambda part: with_part(part, None, one._new, where), None
    return "bound", one.min, one.max


def _places(index: Any) -> tuple[Any, ...] | None:
    """The part of the axes behind batch and position, as an index."""
    if index is None:
        return None
    places = index if isinstance(index, tuple) else (index,)
    return tuple(p if isinstance(p, int | slice) else list(p) for p in places)


def _has_slots(held: Tensor, value: Tensor) -> bool:
    return held.dim() == value.dim() and held.shape[1] > 1


def _stand_in(
    model: TracedModel, point: HookPoint, one: Edit
) -> Float[Tensor, "1 1 *rest"]:
    """Zeros with the shape that the site's value has behind batch and position."""
    width = _width(model, point)
    if width is None:
        # Only the edit knows; a wrong width then shows where the model runs.
        held = one.vector if isinstance(one, Add) else getattr(one, "values", None)
        width = held.shape[-1] if isinstance(held, Tensor) and held.dim() else 1
    if point.n_heads is None:
        return torch.zeros(1, 1, width)
    return torch.zeros(1, 1, point.n_heads, width // point.n_heads)


def _width(model: TracedModel, point: HookPoint) -> int | None:
    """The last axis of what the module gets or returns, of the site's columns."""
    module: Any = point.module
    if point.columns is not None:
        return len(point.columns)
    if point.side == "logits":
        return model.d_vocab
    sizes = ("in_features", "nx") if point.side == "input" else ("out_features", "nf")
    for name in sizes:
        if isinstance(getattr(module, name, None), int):
            return getattr(module, name)
    if point.site.component in ("router", "mlp_pre", "mlp_post"):
        return None
    return model.d_model
