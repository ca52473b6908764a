"""Progress of long work, behind two methods so that any display can be put under it.

The library never prints. It opens a bar with `progress_bar`; where that goes is decided
by `INTERP_PROGRESS` (`auto`, `bar`, `lines`, `off`) or, inside `using`, by the caller.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from interp.errors import ConfigError


SECONDS_BEFORE_A_BAR_SHOWS = 1.0
SECONDS_BETWEEN_LINES = 30.0


@runtime_checkable
class Progress(Protocol):
    """What a display must offer: advance it, and close it."""

    def advance(self, amount: int = 1, note: str = "") -> None: ...

    def close(self) -> None: ...


Display = Callable[[str, int, str], Progress]


class SilentProgress:
    """Shows nothing."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        del amount, note

    def close(self) -> None:
        pass


class BarProgress:
    """A tqdm bar on stderr (a widget in notebooks)."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(
            total=total,
            desc=description,
            unit=f" {unit}",
            file=sys.stderr,
            delay=SECONDS_BEFORE_A_BAR_SHOWS,
            leave=False,
            dynamic_ncols=True,
        )

    def advance(self, amount: int = 1, note: str = "") -> None:
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)

    def close(self) -> None:
        self._bar.close()


class LineProgress:
    """One line on stderr every 30 seconds: for log files and batch systems."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        self._description = description
        self._total = total
        self._unit = unit
        self._done = 0
        self._last = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            line = f"{self._description}: {self._done}/{self._total} {self._unit}"
            sys.stderr.write(f"{line} {note}".rstrip() + "\n")

    def close(self) -> None:
        pass


def _silent(description: str, total: int, unit: str) -> Progress:
    del description, total, unit
    return SilentProgress()


DISPLAYS: dict[str, Display] = {
    "bar": BarProgress,
    "lines": LineProgress,
    "off": _silent,
}
_display: ContextVar[Display | None] = ContextVar("interp_progress", default=None)


def display_in_use() -> Display:
    """Where progress goes now: by `using`, or else by `INTERP_PROGRESS`.

    Raises:
        ConfigError: If the variable has another value.
    """
    chosen = _display.get()
    if chosen is not None:
        return chosen
    name = os.environ.get("INTERP_PROGRESS", "auto")
    if name == "auto":
        in_notebook = "ipykernel" in sys.modules
        name = "bar" if in_notebook or sys.stderr.isatty() else "lines"
    if name not in DISPLAYS:
        raise ConfigError(
            f"INTERP_PROGRESS is {name!r}.",
            expected=f"Known values: auto, {', '.join(DISPLAYS)}.",
            remedy="Set one of them or unset the variable.",
        )
    return DISPLAYS[name]


@contextmanager
def using(display: Display) -> Iterator[None]:
    """Send all progress inside the block to `display(description, total, unit)`."""
    token = _display.set(display)
    try:
        yield
    finally:
        _display.reset(token)


@contextmanager
def progress_bar(description: str, total: int, unit: str) -> Iterator[Progress]:
    """Open one bar, closed when the block ends, also by an exception.

    Args:
        description: What is being done, in a few words.
        total: How many units in all.
        unit: The plural of what is counted: `"examples"`, `"steps"`.

    Example:
        >>> with progress_bar("capture", 3, "examples") as bar:
        ...     bar.advance(3)
    """
    bar = display_in_use()(description, total, unit)
    try:
        yield bar
    finally:
        bar.close()
