"""Faults that hit forked processes at a chosen moment.

Importing torch takes seconds and forking milliseconds, so one process imports and each
trial is a child of it. The parent knows what a child did, and where it was when it was
hit, from a page of memory that both share, also when the child is dead.
"""

import fcntl
import mmap
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from fault_watch import (
    COUNTS,
    HIT,
    NUMBERS,
    READY,
    SIGNALS,
    TEXT,
    Fault,
    FaultName,
    Watch,
)


# After this a child hangs, which is a failure of its own.
SECONDS_TO_END = 120.0
HUNG = "hung"
# Of the time of a quiet run: what comes later often comes after the end.
LATEST = 0.8
_PAGE, _PIPE_BYTES = 4096, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended.

    Attributes:
        code: Its exit code; negative for the signal that killed it.
        hit: Whether the fault happened before its end.
        place: What it was doing then, or last.
        events: How many operations on files it made.
        reads: How many of them were reads.
        writes: How many were writes.
        seconds: How long it took from the start of the work.
        said: What it wrote to stdout and stderr.
    """

    code: int
    hit: bool
    place: str
    events: int
    reads: int
    writes: int
    seconds: float
    said: str


class Child:
    """A forked process that does some work under a fault.

    Args:
        work: Returns the exit code.
        root: Operations on files below it count.
        fault: What happens to it; None for nothing.
    """

    def __init__(
        self, work: Callable[[], int], root: Path, fault: Fault | None = None
    ) -> None:
        self._page = mmap.mmap(-1, _PAGE)
        self._fault = fault
        self._reads, output = os.pipe()
        # A child that says much must not wait for a reader who waits for its end.
        fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reads)
            _child(work, Watch(self._page, root, fault), output)
        os.close(output)
        self._started = time.monotonic()

    def strike(self) -> None:
        """Wait for the moment of the fault, where it is one of time, and send it."""
        fault = self._fault
        if fault is None or fault.name not in SIGNALS or fault.event is not None:
            return
        while not self._page[READY] and not self._has_ended():
            time.sleep(0.001)
        self._started = time.monotonic()
        while time.monotonic() - self._started < fault.seconds:
            if self._has_ended():
                return
            time.sleep(0.0005)
        if not self._has_ended():
            self._page[HIT] = 1
            os.kill(self._pid, SIGNALS[fault.name])

    def ended(self) -> Ended:
        """Send the fault, wait for the end and tell how it came."""
        self.strike()
        hung = False
        while not self._has_ended():
            time.sleep(0.001)
            if time.monotonic() - self._started > SECONDS_TO_END:
                hung = True
                os.kill(self._pid, signal.SIGKILL)
                break
        _, status = os.waitpid(self._pid, 0)
        seconds = time.monotonic() - self._started
        with os.fdopen(self._reads, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        # The system, not the watch, refuses what is too large.
        refused = self._fault is not None and self._fault.largest is not None and code
        hit = self._page[HIT] or refused
        events, reads, writes = NUMBERS.unpack_from(self._page, COUNTS)
        place = self._page[TEXT:].split(b"\0", 1)[0].decode()
        self._page.close()
        return Ended(
            code=code,
            hit=bool(hit),
            place=HUNG if hung else place or "the start",
            events=events,
            reads=reads,
            writes=writes,
            seconds=seconds,
            said=said,
        )

    def _has_ended(self) -> bool:
        # Not reaped yet: the number stays ours until `waitpid`.
        found = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None


def run(work: Callable[[], int], root: Path, fault: Fault | None = None) -> Ended:
    """How a child ended that did the work under a fault.

    Args:
        work: Returns the exit code.
        root: Operations on files below it count.
        fault: What happens to it; None for nothing.
    """
    return Child(work, root, fault).ended()


def drawn(
    name: FaultName, draw: random.Random, quiet: Ended, sizes: Sequence[int]
) -> Fault:
    """A fault at a moment drawn at random.

    Args:
        name: What happens.
        draw: The source of randomness.
        quiet: How the same work ends without a fault.
        sizes: Sizes of the files that the work writes.
    """
    seed = draw.randrange(2**31)
    by_event = draw.random() < 0.75
    match name:
        case "SIGKILL" | "SIGTERM" | "Ctrl-C":
            if by_event:
                return Fault(name=name, event=draw.randint(1, quiet.events))
            return Fault(name=name, seconds=draw.uniform(0, LATEST * quiet.seconds))
        case "disk full":
            if by_event:
                return Fault(name=name, event=draw.randint(1, quiet.writes))
            return Fault(name=name, largest=draw.randrange(draw.choice(sizes)))
        case "read error":
            return Fault(name=name, event=draw.randint(1, quiet.reads))
        case "clock jumps":
            return Fault(name=name, seed=seed)
        case _:
            assert_never(name)


def _child(work: Callable[[], int], watch: Watch, output: int) -> None:
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch.install()
        code = work()
    except KeyboardInterrupt:
        # Before the work began or after it ended.
        code = 130
    except BaseException:  # the parent is told by the code, whatever it is
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                continue
        os._exit(code)
