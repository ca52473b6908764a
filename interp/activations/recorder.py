"""Hooks that hand the rows of each site to a sink and end the forward pass early."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from interp.activations.selection import Selection
from interp.errors import MissingSiteError
from interp.models.attention import watched_attention
from interp.models.hookpoints import HookPoint, plant
from interp.models.language_model import LanguageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a sink has to know about one batch.

    Attributes:
        rows: Which prompts it holds, in its order.
        selection: What is read of each, on the CPU.
    """

    rows: tuple[int, ...]
    selection: Selection


@runtime_checkable
class Sink(Protocol):
    """Where captured rows go.

    A batch that runs out of memory is begun again with fewer rows: what was put since
    the last commit is then to be forgotten or overwritten.
    """

    def begin(self, batch: Batch) -> None: ...

    def put(self, number: int, rows: Tensor, *, is_view: bool) -> None: ...

    def commit(self) -> None: ...


class AllRecorded(Exception):
    """Ends a forward pass once every site has been seen; never leaves this package."""


class Recorder:
    """Listens at several hook points of a model, for one batch after another."""

    def __init__(self, points: Sequence[HookPoint], sink: Sink) -> None:
        self._points = points
        self._sink = sink
        self._selections: dict[torch.device, Selection] = {}
        self._logits: Selection | None = None
        self._waiting: set[int] = set()
        self._is_listening = False

    def skip(self) -> None:
        """Prepare for a forward pass of which nothing is kept."""
        self._is_listening = False
        self._waiting = set(range(len(self._points)))

    def begin(self, batch: Batch, *, logits: Selection | None = None) -> None:
        """Prepare for the forward pass of one batch.

        Args:
            batch: The batch.
            logits: What to read of the logits, if the model computes only some of them.
        """
        self._is_listening = True
        self._waiting = set(range(len(self._points)))
        self._selections = {torch.device("cpu"): batch.selection}
        self._logits = logits
        self._sink.begin(batch)

    def commit(self) -> None:
        """Tell the sink that the batch is complete.

        Raises:
            MissingSiteError: If a site did not run.
        """
        if self._waiting:
            point = self._points[min(self._waiting)]
            raise MissingSiteError(
                f"The site {point.site.short!r} was not reached in a forward pass.",
                expected=f"The model did not call {point.path!r}.",
                remedy="Leave the site out; `interp doctor` shows which sites work.",
            )
        self._sink.commit()

    def on_value(self, number: int, value: Tensor) -> None:
        """Take the value of a hook point; end the pass if it was the last one."""
        if number not in self._waiting:
            return
        self._waiting.discard(number)
        if self._is_listening:
            component = self._points[number].site.component
            if component == "pattern":
                value = value.transpose(1, 2)  # queries are positions like any other
            if component == "logits" and self._logits is not None:
                selection = self._logits.to(value.device)
            else:
                selection = self._selection(value.device)
            rows = selection.take(value)
            self._sink.put(number, rows, is_view=selection.is_view)
        if not self._waiting:
            raise AllRecorded

    def _selection(self, device: torch.device) -> Selection:
        if device not in self._selections:
            on_cpu = self._selections[torch.device("cpu")]
            self._selections[device] = on_cpu.to(device)
        return self._selections[device]


@contextmanager
def recording(
    model: LanguageModel, points: Sequence[HookPoint], recorder: Recorder
) -> Iterator[dict[str, object]]:
    """Plant the recorder's hooks for the length of the block, holding the model's lock.

    Yields:
        Keyword arguments that every forward pass inside the block has to get.
    """
    # Hooks are global to a module: without the lock another thread's forward pass would
    # be recorded, or another thread's edit would be seen.
    with model.lock, ExitStack() as stack:
        for number, point in enumerate(points):
            for remove in plant(point, partial(recorder.on_value, number)):
                stack.callback(remove)
        arguments: dict[str, object] = {}
        if any(point.side == "pattern" for point in points):
            arguments |= stack.enter_context(watched_attention(model.hf))
        yield arguments
