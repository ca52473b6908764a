"""Stopping long work between two of its steps, when the system asks for it.

Batch systems send SIGTERM (or SIGUSR1) some time before they kill. The command line
turns the signal into a request; long work calls `stop_if_requested` after each part
that is safely on disk, so that the next start resumes there.
"""

import signal
import threading
from types import FrameType

from interp.errors import InterpError


_requested = threading.Event()


class StoppedError(InterpError):
    """Stopped by a signal after a clean step; the same command resumes."""

    exit_code = 75


def request_stop(number: int = 0, frame: FrameType | None = None) -> None:
    """Ask long work to stop after its present step; usable as a signal handler."""
    del number, frame
    _requested.set()


def stop_if_requested(done: str) -> None:
    """Raise if a stop was requested.

    Args:
        done: What is safely kept, in a few words.

    Raises:
        StoppedError: If a stop was requested since the last call of `listen`.
    """
    if _requested.is_set():
        raise StoppedError(
            f"Stopped by a signal; {done}.",
            remedy="Run the same command again to go on from here.",
        )


def listen() -> None:
    """Turn SIGTERM and SIGUSR1 of this process into a stop request."""
    _requested.clear()
    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGUSR1, request_stop)
