"""What nnsight runs beside a forward pass: code that needs only torch.

nnsight takes the text of the block under `with envoy.trace(...)` and, for a remote run,
sends it to another machine with the values and the functions that it names. So this
file uses nothing else of the library, and a run is described by plain values: `Task`
says which. It knows how a site's value is read and written (as `HookPoint` does), how
rows are taken (as `Selection` does), and a few ways to change a value.
"""

import hashlib
import inspect
import linecache
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, TypedDict, TypeVar

import torch
from torch import Tensor


class Operation(TypedDict):
    """A change of a site's value `[batch, pos, ...]`, computed in float32.

    Attributes:
        kind: `"add"` or `"set"` the value `a`; `"scale"` by `a`, a number or one for
            each row; `"project"`: minus what it has along the rows of `a`, plus `b`;
            `"erase"`: minus `(value - mean) a.T b.T`; `"bound"` from `a` to `b`;
            `"call"` the function `a`.
        chosen: Which slots are changed, `[batch, pos]`; None for all.
        part: An index behind batch and position, or None.
        by_slot: Whether `a` has an entry for each slot.
    """

    kind: str
    a: Any
    b: Any
    mean: Tensor | None
    chosen: Tensor | None
    part: tuple[Any, ...] | None
    by_slot: bool


class Taken(TypedDict):
    """Which rows of a value leave the model, as in `Selection`, and their number."""

    number: int
    kind: str
    index: Tensor | None
    same: int | None
    valid: Tensor | None


class Act(TypedDict):
    """What happens to one site's value.

    Attributes:
        columns: As in `HookPoint`.
        n_heads: As in `HookPoint`.
        operations: Changes in the first pass, and in each of those behind it.
        taken: What is kept of the value afterwards.
    """

    columns: Tensor | None
    n_heads: int | None
    operations: tuple[Sequence[Operation], Sequence[Operation]]
    taken: Taken | None


class Task(TypedDict):
    """What happens at one side of one module.

    Attributes:
        path: The module's, from the model; empty for the model itself.
        side: `"input"`, `"output"` or `"logits"`.
        around: The block to whose output the difference is added, for a value that
            also travels past the module.
        acts: In their order.
    """

    path: str
    side: str
    around: str | None
    acts: list[Act]


F = TypeVar("F", bound=Callable[..., Any])


_TEXT = inspect.getsource(sys.modules[__name__])
# Differs between versions of the text, since nnsight reads each name only once.
_NAME = f"<{__name__} {hashlib.sha256(_TEXT.encode()).hexdigest()[:12]}>"


def keep_text() -> None:
    """Have Python find this file's text under its other name.

    Whoever clears Python's cache of lines takes it away, and then functions would be
    sent as byte code, with the path of this file.
    """
    lines = _TEXT.splitlines(keepends=True)
    linecache.cache[_NAME] = (len(_TEXT), None, lines, _NAME)


def _travels(function: F) -> F:
    """The function under a file name that says nothing of this machine.

    The name goes along with a remote run, and is where nnsight looks up the text.
    Annotations stay here: on the other side their names mean nothing.
    """
    plain: Any = inspect.unwrap(function)
    code = plain.__code__.replace(co_filename=_NAME)
    moved: Any = FunctionType(code, plain.__globals__, plain.__name__)
    moved.__kwdefaults__ = plain.__kwdefaults__
    moved.__doc__, moved.__module__ = plain.__doc__, plain.__module__
    return moved


@_travels
def run_tasks(
    envoy: Any,
    inputs: Mapping[str, Any],
    tasks: Sequence[Task],
    *,
    backend: Any = None,
    method: str | None = None,
    n_passes: int = 1,
) -> dict[int | str, Tensor]:
    """Run a model once with tasks beside it; it stops when all that is kept is there.

    Args:
        envoy: nnsight's wrapper of the model.
        inputs: The keyword arguments of the call.
        tasks: At one place the first is served first.
        backend: Where it runs; None for here.
        method: Which method of the model is called; None for a forward pass.
        n_passes: The most forward passes that there can be.

    Returns:
        The rows by their number and, where there is a method, what it returned under
        `"result"`.
    """
    from nnsight import save

    n_rows = len(inputs["input_ids"])
    numbers = [
        act["taken"]["number"] for task in tasks for act in task["acts"] if act["taken"]
    ]
    waiting = set(numbers)
    kept: dict[int | str, Tensor] = {}
    # A worker for each place: so none has to know which place comes first. No comment
    # stands in the block: its lines are those of its text as it is written out anew.
    with envoy.trace(fn=method, backend=backend) as tracer:
        kept = save({})
        with tracer.invoke(**inputs):
            if method is not None:
                kept["result"] = tracer.result
        for task in tasks:
            with tracer.invoke():
                module = envoy.get(task["path"]) if task["path"] else envoy
                for step in tracer.iter[:n_passes]:
                    whole = module.input if task["side"] == "input" else module.output
                    before = _value(whole, task["side"])
                    value = _acted(before, task["acts"], n_rows, step, kept)
                    waiting.difference_update(kept)
                    if value is not before:
                        new = _with_value(whole, task["side"], value)
                        if task["side"] == "input":
                            module.input = new
                        elif task["side"] == "output":
                            module.output = new
                        if task["around"] is not None:
                            block = envoy.get(task["around"])
                            block.output = _moved(block.output, value - before)
                    if numbers and not waiting:
                        tracer.stop()
    return kept


@_travels
def _value(whole: Any, side: str) -> Tensor:
    """The tensor that a module gets or returns."""
    if side == "logits":
        return whole.logits
    return whole[0] if isinstance(whole, tuple) else whole


@_travels
def _with_value(whole: Any, side: str, value: Tensor) -> Any:
    """What a module gets or returns with another tensor in it."""
    if side == "logits":
        whole.logits = value
        return whole
    return (value, *whole[1:]) if isinstance(whole, tuple) else value


@_travels
def _moved(whole: Any, difference: Tensor) -> Any:
    """A block's output with something added."""
    value = _value(whole, "output")
    return _with_value(whole, "output", value + difference.reshape(value.shape))


@_travels
def _acted(
    value: Tensor,
    acts: Sequence[Act],
    n_rows: int,
    step: int,
    kept: dict[int | str, Tensor],
) -> Tensor:
    """The value after all acts; what they take is added to `kept`."""
    for act in acts:
        columns = act["columns"]
        held = value
        if columns is not None:
            columns = columns.to(value.device)
            held = held.index_select(-1, columns)
        if held.dim() == 2:
            held = held.unflatten(0, (n_rows, -1))
        if act["n_heads"] is not None:
            held = held.unflatten(-1, (act["n_heads"], -1))
        operations = act["operations"][min(step, 1)]
        if operations:
            # Sums and projections in half precision would lose what they are about.
            held = held.to(torch.promote_types(held.dtype, torch.float32))
            for operation in operations:
                held = _changed(held, operation)
            new = held = held.to(value.dtype)
            if act["n_heads"] is not None:
                new = new.flatten(-2)
            if value.dim() == 2:
                new = new.flatten(0, 1)
            value = new if columns is None else value.index_copy(-1, columns, new)
        if act["taken"] is not None:
            kept[act["taken"]["number"]] = _rows(held.detach(), act["taken"])
    return value


@_travels
def _changed(value: Tensor, operation: Operation) -> Tensor:
    """The value after one operation."""
    # `generate` asks for the logits of the last token only.
    n_slots = value.shape[1]
    places = (slice(None), slice(None), *(operation["part"] or ()))
    part = value[places]
    a: Any
    b: Any
    mean: Any
    a, b, mean = [
        given.to(value.device, value.dtype)
        if isinstance(given, torch.Tensor)
        else given
        for given in (operation["a"], operation["b"], operation["mean"])
    ]
    if operation["by_slot"]:
        a = a[:, -n_slots:]
    if operation["kind"] == "add":
        part = part + a
    elif operation["kind"] == "set":
        part = a.expand_as(part)
    elif operation["kind"] == "scale":
        part = part * (a.view(-1, *[1] * (part.dim() - 1)) if a.dim() else a)
    elif operation["kind"] == "project":
        flat = part.flatten(2, -2) if part.dim() > 3 else part.unsqueeze(2)
        a = a.expand(len(flat), -1, -1)
        along = torch.einsum("bpnd,bkd->bpnk", flat, a)
        flat = flat - torch.einsum("bpnk,bkd->bpnd", along, a) + b[:, None, None]
        part = flat.reshape(part.shape)
    elif operation["kind"] == "erase":
        part = part - ((part - mean) @ a.mT) @ b.mT
    elif operation["kind"] == "bound":
        part = part.clamp(a, b)
    else:
        part = a(part).to(part.dtype).expand_as(part)
    new = part
    if operation["part"] is not None:
        new = value.clone()
        new[places] = part
    if operation["chosen"] is None:
        return new
    chosen = operation["chosen"][:, -n_slots:].to(value.device)
    return torch.where(chosen.view(*chosen.shape, *[1] * (value.dim() - 2)), new, value)


@_travels
def _rows(value: Tensor, taken: Taken) -> Tensor:
    """The rows that are kept of a value; slots that a prompt does not have are zero."""
    index, valid = [
        None if given is None else given.to(value.device)
        for given in (taken["index"], taken["valid"])
    ]
    ones = [1] * (value.dim() - 2)
    batch = torch.arange(len(value), device=value.device)
    if taken["same"] is not None:
        rows = value[:, taken["same"]].clone()
    elif taken["kind"] == "one":
        rows = value[batch, index]
    elif taken["kind"] == "several":
        rows = value[batch[:, None], index]
    else:
        # Falcon adds to values in place: what is kept must be a copy.
        rows = value.float() if taken["kind"] == "mean" else value
        rows = rows.clone()
    if valid is not None:
        # A padded position may hold anything, even NaN: it must not be multiplied.
        rows = rows.masked_fill(~valid.view(*valid.shape, *ones), 0)
    if taken["kind"] != "mean":
        return rows
    return rows.mean(1) if valid is None else rows.sum(1) / valid.sum(1).view(-1, *ones)
