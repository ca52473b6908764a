"""Captured rows in memory: one tensor per component, filled batch by batch."""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from interp.activations.batching import is_out_of_memory
from interp.activations.recorder import Batch
from interp.errors import OutOfMemoryError
from interp.models.hookpoints import HookPoint
from interp.positions import Positions


AnyEvent = torch.Event | torch.cuda.Event


class Rows:
    """A sink that keeps every row.

    Rows on the device where they are to end are written straight to their place. Rows
    that have to cross from an accelerator are gathered there for the whole batch and
    copied once, while the next batch already computes.

    Attributes:
        values: For each component `[example, layer, ...]`; for a component whose layers
            differ in shape, and for those without layers, each site `[example, ...]`.
    """

    def __init__(
        self,
        points: Sequence[HookPoint],
        positions: Positions,
        *,
        dtype: torch.dtype,
        device: torch.device,
        longest: int,
    ) -> None:
        self._points = points
        self._positions = positions
        self._dtype = dtype
        self._device = device
        self._longest = longest
        self._siblings: dict[str, list[int]] = {}
        for number, point in enumerate(points):
            self._siblings.setdefault(point.site.component, []).append(number)
        self._targets: dict[int, Tensor] = {}
        self._stacks: dict[str, Tensor] = {}
        self._index = slice(0)
        self._staged: dict[int, Tensor] = {}
        self._shipment: _Shipment | None = None

    def begin(self, batch: Batch) -> None:
        self._index = _as_slice(batch.rows, self._device)
        self._staged = {}

    def put(self, number: int, rows: Tensor, *, is_view: bool) -> None:
        if number not in self._targets:
            self._targets[number] = self._allocate(number, rows)
        if _arrives(rows, self._device):
            self._write(number, rows, self._index)
            return
        kept = rows.to(self._dtype)
        # A view would keep the whole activation alive until the end of the batch.
        self._staged[number] = kept.clone() if is_view and kept is rows else kept

    def commit(self) -> None:
        if self._staged:
            shipment = _Shipment(self._staged, self._index)
            self._staged = {}
            self._receive()
            self._shipment = shipment

    def finish(self) -> dict[str, Tensor]:
        """All rows, once the last have arrived.

        Returns:
            For each component `[example, layer, ...]`; each site by itself if it has no
            layer or the layers of its component differ in shape.
        """
        self._receive()
        values: dict[str, Tensor] = {}
        for number, point in enumerate(self._points):
            component = point.site.component
            if component in self._stacks:
                values[component] = self._stacks[component]
            else:
                values[point.site.short] = self._targets[number]
        return values

    def _receive(self) -> None:
        if self._shipment is None:
            return
        for number, rows in self._shipment.received().items():
            self._write(number, rows, self._shipment.index)
        self._shipment = None

    def _write(self, number: int, rows: Tensor, index: slice | Tensor) -> None:
        target = self._targets[number]
        if self._positions.kind == "several":
            _clear(target[:, rows.shape[1] :], index)
            target = target[:, : rows.shape[1]]
        if self._points[number].site.component == "pattern":
            _clear(target[..., rows.shape[-1] :], index)  # keys beyond the batch's
            target = target[..., : rows.shape[-1]]
        if isinstance(index, slice):
            target[index] = rows
        else:
            target.index_copy_(0, index, rows.to(target.dtype))

    def _allocate(self, number: int, rows: Tensor) -> Tensor:
        """Where the rows of one site go."""
        site = self._points[number].site
        is_several = self._positions.kind == "several"
        rest = list(rows.shape[2 if is_several else 1 :])
        if site.component == "pattern":
            rest[-1] = self._longest
        slots = [self._positions.n_slots] if is_several else []
        n_examples = len(self._positions)
        if site.layer is None:
            return self._empty(site.short, [n_examples, *slots, *rest])
        siblings = self._siblings[site.component]
        stack = self._stacks.get(site.component)
        if stack is None and siblings[0] == number:
            shape = [n_examples, len(siblings), *slots, *rest]
            stack = self._stacks[site.component] = self._empty(site.component, shape)
        if stack is not None and list(stack.shape[2 + len(slots) :]) == rest:
            return stack[:, siblings.index(number)]
        return self._unstacked(number, [n_examples, *slots, *rest])

    def _unstacked(self, number: int, shape: list[int]) -> Tensor:
        """A tensor of its own for a site whose layers differ in shape."""
        component = self._points[number].site.component
        if self._stacks.pop(component, None) is not None:
            for other in self._siblings[component]:
                if other in self._targets:
                    with torch.inference_mode(False):
                        self._targets[other] = self._targets[other].clone()
        return self._empty(self._points[number].site.short, shape)

    def _empty(self, name: str, shape: list[int]) -> Tensor:
        try:
            # Outside inference mode, so that the rows can be used in training.
            with torch.inference_mode(False):
                return torch.empty(shape, dtype=self._dtype, device=self._device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = torch.Size(shape).numel() * self._dtype.itemsize / 1e9
            raise OutOfMemoryError(
                f"The captured rows of {name!r} need {size:.1f} GB.",
                expected=f"That is {tuple(shape)} values of {self._dtype}.",
                remedy="Capture fewer sites or positions, a smaller dtype, or into a"
                " store with `interp capture`; `moments` keeps no rows.",
            ) from error


class _Shipment:
    """The rows of one batch on their way from an accelerator, in one copy a device."""

    def __init__(self, rows: Mapping[int, Tensor], index: slice | Tensor) -> None:
        self.index = index
        self._shapes = {number: value.shape for number, value in rows.items()}
        self._parts: list[tuple[list[int], Tensor]] = []
        self._events: list[AnyEvent] = []
        for device in dict.fromkeys(value.device for value in rows.values()):
            numbers = [n for n, value in rows.items() if value.device == device]
            flat = torch.cat([rows[number].reshape(-1) for number in numbers])
            host, event = _sent(flat)
            self._parts.append((numbers, host))
            if event is not None:
                self._events.append(event)

    def received(self) -> dict[int, Tensor]:
        # Only this copy is waited for; the device may be at the next batch already.
        for event in self._events:
            event.synchronize()
        values: dict[int, Tensor] = {}
        for numbers, host in self._parts:
            sizes = [self._shapes[number].numel() for number in numbers]
            for number, flat in zip(numbers, host.split(sizes), strict=True):
                values[number] = flat.view(self._shapes[number])
        return values


def _sent(flat: Tensor) -> tuple[Tensor, AnyEvent | None]:
    """Where the values will be on the CPU, and the event after which they are there.

    On CUDA the copy has a stream of its own: in the stream that computes, the next
    batch would wait for it.
    """
    device = flat.device
    if device.type != "cuda":
        host = torch.empty(flat.shape, dtype=flat.dtype)
        host.copy_(flat, non_blocking=True)
        event = None if device.type == "cpu" else torch.Event(device)
        if event is not None:
            event.record()
        return host, event
    host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    stream = _copy_stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        host.copy_(flat, non_blocking=True)
        event = torch.cuda.Event()
        event.record(stream)
    # Its memory must not be given to the next batch before it is read.
    flat.record_stream(stream)
    return host, event


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which rows leave a device; one for all captures."""
    return torch.cuda.Stream(device)


def _arrives(rows: Tensor, device: torch.device) -> bool:
    """Whether rows are where they are to end."""
    return rows.device == device


def _clear(tail: Tensor, index: slice | Tensor) -> None:
    """Set to zero what the rows of a batch have not filled."""
    if not tail.numel():
        return
    if isinstance(index, slice):
        tail[index] = 0
    else:
        tail.index_fill_(0, index, 0)


def _as_slice(rows: Sequence[int], device: torch.device) -> slice | Tensor:
    """Consecutive rows as a slice, which copies faster than an index."""
    if tuple(rows) == tuple(range(rows[0], rows[0] + len(rows))):
        return slice(rows[0], rows[0] + len(rows))
    return torch.tensor(rows, device=device)
