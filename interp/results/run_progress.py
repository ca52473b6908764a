"""Progress of a run in its `events.jsonl`, so that others can see how far it is."""

import logging
import time

from interp.errors import InterpError
from interp.progress import Display, Progress, display_in_use
from interp.results.runs import RunFolder


logger = logging.getLogger("interp.results")
PROGRESS = "progress"
# Often enough to see that something goes on; a day of work is then half a megabyte.
SECONDS_BETWEEN_EVENTS = 20.0


def recorded(run: RunFolder, display: Display | None = None) -> Display:
    """A display that also writes what it shows into the events of a run.

    Each long step of a run is one bar; it is written when it has gone on for a while,
    then now and again, and at its end.

    Args:
        run: The run.
        display: What people see; where progress goes now by default.

    Example:
        >>> with using(recorded(run)):  # doctest: +SKIP
        ...     acts = capture(model, prompts, sites="resid_post.*")
    """
    shown = display or display_in_use()
    return lambda description, total, unit: RecordedProgress(
        shown(description, total, unit), run, what=description, total=total, unit=unit
    )


class RecordedProgress:
    """One bar that is shown and written."""

    def __init__(
        self, shown: Progress, run: RunFolder, *, what: str, total: int, unit: str
    ) -> None:
        self._shown = shown
        self._run = run
        self._facts = {"what": what, "of": total, "unit": unit}
        self._done = 0
        self._written: int | None = None
        self._begun = self._last = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._shown.advance(amount, note)
        self._done += amount
        if time.monotonic() - self._last >= SECONDS_BETWEEN_EVENTS:
            self._write()

    def close(self) -> None:
        self._shown.close()
        # Short steps are not worth an event.
        if self._written is not None and self._written != self._done:
            self._write()

    def _write(self) -> None:
        self._last = time.monotonic()
        self._written = self._done
        seconds = round(self._last - self._begun, 1)
        try:
            values = {**self._facts, "done": self._done, "seconds": seconds}
            self._run.append(PROGRESS, values)
        except InterpError as error:
            # What cannot be written will stop the run where it matters.
            logger.warning("%s", error)
