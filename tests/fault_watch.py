"""What a forked child does with files is counted, and struck at the chosen moment.

An audit hook tells of the operations of Python on files, wrappers of flushing and of
what safetensors does in Rust. At the k-th of them the process is killed, gets a signal,
or is refused a read or a write. Counts lie in a page of memory that the parent shares.
"""

import errno
import mmap
import os
import random
import re
import resource
import signal
import struct
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal, get_args


FaultName = Literal[
    "SIGKILL", "SIGTERM", "Ctrl-C", "disk full", "read error", "clock jumps"
]
FAULTS: tuple[FaultName, ...] = get_args(FaultName)
SIGNALS: dict[str, signal.Signals] = {
    "SIGKILL": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "Ctrl-C": signal.SIGINT,
}
DAY = 24 * 3600.0
JUMPS = (-40 * 365 * DAY, -3 * DAY, -3600.0, -1.0, 1.0, 3600.0, 3 * DAY, 40 * 365 * DAY)
# Two bytes that parent and child both set: ready, and hit. Then what only the child
# writes: how many operations, reads and writes, and the place of the last one.
READY, HIT, COUNTS = 0, 1, 8
NUMBERS = struct.Struct("<III")
TEXT = COUNTS + NUMBERS.size
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PLACES = (
    (r"inputs/", "the inputs"),
    (r"events\.jsonl", "the events"),
    (r"/result[./]|/\.result\.", "the result"),
    (r"step-\d+[^/]*/?(state|$)|/\.?step-\d{8}\.", "a checkpoint"),
    (r"/shards(/|$)", "a shard"),
    (r"/organism/", "a family"),
    (r"manifest\.json", "the manifest"),
    (r"rows\.parquet", "the rows"),
    (r"provenance\.json|spec\.toml", "settings and origin"),
    (r"report\.html", "the report"),
    (r"/directions/", "a direction"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to a process, and when.

    Attributes:
        name: What happens.
        event: At which of its operations on files, counted from 1: reads for read
            errors, writes for a full disk, all of them for the others. None for a
            moment.
        seconds: After which time, where there is no event.
        largest: No file can grow beyond so many bytes: a full disk as the system
            itself reports it.
        seed: Of the jumps of a clock.
    """

    name: FaultName
    event: int | None = None
    seconds: float = 0.0
    largest: int | None = None
    seed: int = 0

    def __str__(self) -> str:
        if self.name == "clock jumps":
            return self.name
        if self.largest is not None:
            return f"{self.name} at {self.largest} bytes of a file"
        if self.event is not None:
            return f"{self.name} at operation {self.event}"
        return f"{self.name} after {self.seconds:.3f} s"


def place_of(path: str) -> str:
    """What a file is for, from its path.

    Example:
        >>> place_of("out/shards/00001-ab.safetensors"), place_of("out/else")
        ('a shard', 'else')
    """
    for pattern, place in _PLACES:
        if re.search(pattern, path):
            return place
    return Path(path).name[:40]


class Watch:
    """Counts what a child does with files, and strikes it at the chosen one."""

    def __init__(self, page: mmap.mmap, root: Path, fault: Fault | None) -> None:
        self._page = page
        self._root = str(root)
        self._fault = fault
        self._counts = {"event": 0, "read": 0, "write": 0}
        self._is_busy = False

    def install(self) -> None:
        sys.addaudithook(self._hook)
        self._wrap_flush()
        self._wrap_safetensors()
        fault = self._fault
        if fault is not None and fault.name == "clock jumps":
            self._page[HIT] = 1
            jump_clocks(fault.seed)
        if fault is not None and fault.largest is not None:
            most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest, most))
        self._page[READY] = 1

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            self.see("write" if flags & _WRITES else "read", path)
        elif event in ("os.mkdir", "os.rename"):
            self.see("write", arguments[0], verb=event[3:])
        elif event == "os.remove":
            # A full disk does not refuse it.
            self.see("remove", arguments[0])

    def see(self, kind: str, path: object, *, verb: str = "") -> None:
        if self._is_busy or not isinstance(path, str | os.PathLike):
            return
        text = os.fspath(path)
        if not isinstance(text, str) or not text.startswith(self._root):
            return
        self._is_busy = True
        try:
            for name in ("event", kind):
                self._counts[name] = self._counts.get(name, 0) + 1
            self._tell(f"{verb or kind}: {place_of(text[len(self._root) :])}")
            self._strike(kind, text)
        finally:
            self._is_busy = False

    def _tell(self, place: str) -> None:
        counts = (self._counts[name] for name in ("event", "read", "write"))
        NUMBERS.pack_into(self._page, COUNTS, *counts)
        # What was done when the fault came stays.
        if not self._page[HIT]:
            text = place.encode()[:200] + b"\0"
            self._page[TEXT : TEXT + len(text)] = text

    def _strike(self, kind: str, path: str) -> None:
        fault = self._fault
        if fault is None or fault.event is None:
            return
        if fault.name in SIGNALS:
            if self._counts["event"] == fault.event:
                self._page[HIT] = 1
                os.kill(os.getpid(), SIGNALS[fault.name])
            return
        refused = fault.name == "disk full" and kind == "write"
        if refused and self._counts["write"] >= fault.event:
            # A disk that is full stays full.
            self._page[HIT] = 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        refused = fault.name == "read error" and kind == "read"
        if refused and self._counts["read"] == fault.event:
            self._page[HIT] = 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def _wrap_flush(self) -> None:
        flush = os.fsync

        def fsync(number: int) -> None:
            link = Path(f"/proc/self/fd/{number}")
            if link.exists():
                self.see("write", str(link.readlink()), verb="flush")
            flush(number)

        os.fsync = fsync

    def _wrap_safetensors(self) -> None:
        """Files that Rust opens are not seen by Python: tell of them here."""
        for module, name in (
            ("safetensors", "safe_open"),
            ("safetensors.torch", "load_file"),
            ("safetensors.torch", "save_file"),
            ("safetensors.numpy", "save_file"),
        ):
            if module in sys.modules:
                self._wrap(getattr(sys.modules[module], name), name)

    def _wrap(self, original: Any, name: str) -> None:
        kind, at = ("write", 1) if name == "save_file" else ("read", 0)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.see(kind, arguments[at] if len(arguments) > at else None)
            return original(*arguments, **options)

        replace_everywhere(name, original, wrapped)


def replace_everywhere(name: str, original: object, replacement: object) -> None:
    """Put something else in the place of a name in every module that has it."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(name) is original:
            setattr(module, name, replacement)


def jump_clocks(seed: int) -> None:
    """Let the clock on the wall jump, back and forth, from now on in this process.

    Args:
        seed: Of the jumps.
    """
    draw = random.Random(seed)
    true_time = time.time

    def jumping() -> float:
        # Before 1970 a clock is not set at all.
        return max(0.0, true_time() + draw.choice(JUMPS))

    class JumpingDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return super().now(tz) + timedelta(seconds=draw.choice(JUMPS))

    time.time = jumping
    replace_everywhere("time", true_time, jumping)
    for name, module in list(sys.modules.items()):
        if name.startswith(("interp.", "probes.")) and hasattr(module, "datetime"):
            module.__dict__["datetime"] = JumpingDatetime
