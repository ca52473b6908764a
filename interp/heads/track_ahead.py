"""One piece of work done ahead by a thread."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar


Found = TypeVar("Found")
SECONDS_TO_END = 5.0


class Ahead(Generic[Found]):
    """Starts a function in a thread at once, and has its result when asked.

    The thread does not keep the process alive: a download of hours must not stand in
    the way of a stop.
    """

    def __init__(self, work: Callable[[], Found]) -> None:
        self._future: Future[Found] = Future()
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> Found:
        """What the function returned, or what it raised."""
        return self._future.result()

    def end(self) -> None:
        """Wait a little for the thread; its result is not wanted any more."""
        self._thread.join(SECONDS_TO_END)

    def _run(self) -> None:
        try:
            found = self._work()
        except BaseException as error:  # handed to whoever asks for the result
            self._future.set_exception(error)
        else:
            self._future.set_result(found)
