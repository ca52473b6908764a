"""Checkpoints where they lie, or fetched from a hub, ahead of their use."""

import errno
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants

from interp.errors import DiskFullError, OfflineError
from interp.heads.series import CheckpointRef, Series
from interp.models import hub


logger = logging.getLogger("interp.heads")

# Seconds before each further try: a hub that is overloaded needs time.
WAITS = (1.0, 5.0, 20.0)


class Downloads:
    """Gives the folder of each checkpoint, and removes what it fetched itself.

    What lies in the ordinary cache is used there and never removed. What does not goes
    into a folder of its own, or into the ordinary cache if it is to be kept.
    """

    def __init__(self, series: Series, folder: Path, *, keep: bool) -> None:
        self._series = series
        self._folder = folder
        self._keep = keep
        self._stopped = threading.Event()

    def fetch(self, ref: CheckpointRef) -> Path:
        """The folder of a checkpoint, fetched unless it is here.

        Raises:
            InterpError: If it cannot be fetched, after some tries if the hub does not
                answer as it should.
            DiskFullError: If there is no room.
        """
        if ref.folder is not None:
            return ref.folder
        kept = hub.whole_copy(self._series.name, ref.commit)
        if kept is not None:
            return kept.folder
        for wait in (*WAITS, None):
            try:
                return hub.fetch(
                    self._series.name,
                    ref.commit,
                    cache=None if self._keep else self._own(ref),
                ).folder
            except OfflineError as error:
                if getattr(error.__cause__, "errno", None) == errno.ENOSPC:
                    raise DiskFullError(
                        f"There is no room for {ref.name} of {self._series.name}.",
                        remedy="Free some space and run the same command again.",
                    ) from error
                if wait is None or constants.HF_HUB_OFFLINE or self._stopped.is_set():
                    raise
                logger.warning("%s Trying again in %g s.", error.what, wait)
                self._stopped.wait(wait)
        raise AssertionError("the last try returns or raises")

    def evict(self, ref: CheckpointRef) -> None:
        """Remove a checkpoint, if it was fetched into a folder of our own."""
        if ref.folder is None:
            shutil.rmtree(self._own(ref), ignore_errors=True)

    def stop(self) -> None:
        """Wait no longer between tries."""
        self._stopped.set()

    def _own(self, ref: CheckpointRef) -> Path:
        return self._folder / ref.commit


@contextmanager
def downloading(series: Series, folder: Path, *, keep: bool) -> Iterator[Downloads]:
    """Downloads into a folder that is gone afterwards, with what a dead process left.

    Args:
        series: The series.
        folder: Where checkpoints lie while they are needed.
        keep: Whether they go into the ordinary cache instead and stay there.
    """
    downloads = Downloads(series, folder, keep=keep)
    try:
        yield downloads
    finally:
        downloads.stop()
        shutil.rmtree(folder, ignore_errors=True)
