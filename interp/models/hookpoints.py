"""One way to read and to replace the value of a site during a forward pass.

A `HookPoint` says at which module a site's value can be seen and in which shape;
`plant` puts a callback there. Everything that captures or edits goes through these two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.models.attention import watch_attention
from interp.sites import Site


Callback = Callable[[Float[Tensor, "batch pos *rest"]], Tensor | None]
Remove = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HookPoint:
    """Where one site's value passes.

    Attributes:
        site: The site.
        path: The module's dotted path in the Hugging Face model.
        module: That module.
        side: Whether the value is the module's first input, its (first) output, the
            `logits` of the model's output, or the attention pattern inside it.
        columns: Which columns of a fused projection belong to the site.
        n_heads: Into how many heads the last axis is split, or None.
        block: The block that holds the module; it tells the batch shape where the
            module itself sees flattened rows.
        bypassed: Whether the value also travels around the module (`resid_mid`), so
            that a change has to be added to the block's output too.
    """

    site: Site
    path: str
    module: nn.Module
    side: Literal["input", "output", "logits", "pattern"]
    columns: Tensor | None = None
    n_heads: int | None = None
    block: nn.Module | None = None
    bypassed: bool = False

    def read(self, value: Tensor, batch: int) -> Tensor:
        """The site's value, `[batch, pos, ...]`, as a view where that is possible."""
        if self.columns is not None:
            value = value.index_select(-1, self.columns.to(value.device))
        if value.dim() == 2:
            value = value.unflatten(0, (batch, -1))
        if self.n_heads is not None:
            value = value.unflatten(-1, (self.n_heads, -1))
        return value

    def written(self, value: Tensor, new: Tensor) -> Tensor:
        """What the module's value becomes when the site's value is to be `new`."""
        new = new.to(value.dtype)
        if self.n_heads is not None:
            new = new.flatten(-2)
        if value.dim() == 2:
            new = new.flatten(0, 1)
        if self.columns is not None:
            return value.index_copy(-1, self.columns.to(value.device), new)
        return new


def plant(point: HookPoint, callback: Callback) -> list[Remove]:
    """Call `callback` with the site's value in every forward pass until removed.

    Args:
        point: Where.
        callback: Gets the value, `[batch, pos, ...]`; returns None to leave it, or the
            value that shall replace it. Callbacks at one site run in the order of
            planting, each seeing what the one before left.

    Returns:
        Functions that undo the planting; call all of them, in reverse order.
    """
    if point.side == "pattern":
        return [watch_attention(point.module, callback)]
    if point.side == "logits":
        return [_plant_on_logits(point.module, callback)]
    batch = _BatchSize()
    removers: list[Remove] = []
    if point.block is not None:
        handle = point.block.register_forward_pre_hook(
            batch.note, prepend=True, with_kwargs=True
        )
        removers.append(handle.remove)
    if point.bypassed:
        return removers + _plant_on_bypassed(point, callback, batch)
    if point.side == "input":

        def on_input(module: nn.Module, args: tuple, kwargs: dict) -> Any:
            value = _first_input(args, kwargs)
            new = callback(point.read(value, batch.of(value)))
            if new is None:
                return None
            return _with_first_input(args, kwargs, point.written(value, new))

        handle = point.module.register_forward_pre_hook(on_input, with_kwargs=True)
    else:

        def on_output(module: nn.Module, args: tuple, output: Any) -> Any:
            value = output[0] if isinstance(output, tuple) else output
            new = callback(point.read(value, batch.of(value)))
            if new is None:
                return None
            new = point.written(value, new)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        handle = point.module.register_forward_hook(on_output)
    removers.append(handle.remove)
    return removers


class _BatchSize:
    """The batch size of the running forward, noted at the block's entry."""

    def __init__(self) -> None:
        self._size = 1

    def note(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._size = _first_input(args, kwargs).shape[0]

    def of(self, value: Tensor) -> int:
        return value.shape[0] if value.dim() > 2 else self._size


def _first_input(args: tuple, kwargs: dict) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _with_first_input(args: tuple, kwargs: dict, new: Tensor) -> tuple[tuple, dict]:
    if args:
        return (new, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": new}


def _plant_on_logits(model: nn.Module, callback: Callback) -> Remove:
    def on_output(module: nn.Module, args: tuple, output: Any) -> Any:
        new = callback(output.logits)
        if new is not None:
            output.logits = new.to(output.logits.dtype)
        return output

    return model.register_forward_hook(on_output).remove


def _plant_on_bypassed(
    point: HookPoint, callback: Callback, batch: _BatchSize
) -> list[Remove]:
    """Edit a value that goes both into a branch and past it.

    The branch gets the new value; the block's output gets the difference, ahead of any
    other hook there.
    """
    assert point.block is not None
    difference: list[Tensor] = []

    def on_input(module: nn.Module, args: tuple, kwargs: dict) -> Any:
        value = _first_input(args, kwargs)
        new = callback(point.read(value, batch.of(value)))
        difference.clear()
        if new is None:
            return None
        new = point.written(value, new)
        difference.append(new - value)
        return _with_first_input(args, kwargs, new)

    def on_block_output(module: nn.Module, args: tuple, output: Any) -> Any:
        if not difference:
            return None
        value = output[0] if isinstance(output, tuple) else output
        new = value + difference.pop().reshape(value.shape)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    return [
        point.module.register_forward_pre_hook(on_input, with_kwargs=True).remove,
        point.block.register_forward_hook(on_block_output, prepend=True).remove,
    ]


def as_index(columns: tuple[int, ...]) -> Tensor:
    """Column numbers as an index tensor."""
    return torch.tensor(columns, dtype=torch.long)
