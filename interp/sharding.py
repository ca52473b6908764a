"""Which parts of long work this process does, where several processes share it.

Work that resumes is made of parts, each a file that is whole or absent. A shard `i/n`
does every n-th part and leaves the others to other shards, which write into the same
folder; file names are those of the parts, so nothing has to be locked. Whoever finds
all parts there, a shard or the same command without one, puts the result together.

    with restricted(Shard(index=0, count=4)):
        interp.patching.trace(model, pairs, out=folder)   # a quarter of the pairs
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from interp.errors import ConfigError, InterpError


FROM_ENVIRONMENT = "auto"
# The variables of a SLURM array and of torchrun: number, first number, how many.
_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
_TORCHRUN = ("RANK", None, "WORLD_SIZE")
_WRITTEN = re.compile(r"(\d{1,9})/(\d{1,9})")


class OthersMissingError(InterpError, RuntimeError):
    """What this shard had to do is on disk; parts of other shards are not yet.

    Not a failure: the command line says it and exits with 0.
    """

    exit_code = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of several shares of the parts of a piece of work.

    Attributes:
        index: Which share, counted from 0.
        count: How many there are.

    Example:
        >>> [part for part in range(7) if Shard(index=1, count=3).has(part)]
        [1, 4]
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(
                f"There is no shard {self.index} of {self.count}.",
                expected=f"Shards are counted from 0 to {self.count - 1}."
                if self.count > 0
                else "There is at least one shard.",
                remedy="Write --shard 0/4 for the first of four.",
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, part: int) -> bool:
        """Whether a part belongs to this shard.

        Args:
            part: Its number, counted from 0.
        """
        return part % self.count == self.index


def parse_shard(
    text: str, *, environment: Mapping[str, str] | None = None
) -> Shard | None:
    """The shard that a text names; none if the environment asks for one process.

    Args:
        text: `"i/n"`, counted from 0, or `"auto"`: the place in a SLURM array
            (`SLURM_ARRAY_TASK_ID` and `_COUNT`) or in a torchrun group (`RANK` and
            `WORLD_SIZE`).
        environment: The variables; those of this process by default.

    Raises:
        ConfigError: If the text or the variables name no shard.

    Example:
        >>> parse_shard("2/8")
        Shard(index=2, count=8)
        >>> parse_shard("auto", environment={"RANK": "1", "WORLD_SIZE": "2"})
        Shard(index=1, count=2)
    """
    if text == FROM_ENVIRONMENT:
        return _from_environment(os.environ if environment is None else environment)
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"The shard is {text!r}.",
            expected="i/n, counted from 0, such as 0/4, or auto.",
        )
    return Shard(index=int(found[1]), count=int(found[2]))


@contextmanager
def restricted(shard: Shard | None) -> Iterator[None]:
    """Do only the parts of a shard inside the block; all of them with None.

    Args:
        shard: The shard.
    """
    token = _PRESENT.set(shard)
    try:
        yield
    finally:
        _PRESENT.reset(token)


def claim(shard: Shard | None) -> None:
    """Do only the parts of a shard from now on, to the end of the `restricted` block.

    Args:
        shard: The shard; None for all parts.
    """
    _PRESENT.set(shard)


def present_shard() -> Shard | None:
    """The shard that this process is, or None if it does everything."""
    return _PRESENT.get()


def is_mine(part: int) -> bool:
    """Whether a part is to be done here.

    Args:
        part: Its number among the parts of the work, counted from 0.
    """
    shard = _PRESENT.get()
    return shard is None or shard.has(part)


def require_all(missing: int, *, of: int, what: str) -> None:
    """Stop where the parts of other shards are needed.

    Args:
        missing: How many parts are not there.
        of: How many there are in all.
        what: What they are parts of.

    Raises:
        OthersMissingError: If any is missing.
    """
    if missing:
        shard = _PRESENT.get()
        raise OthersMissingError(
            f"Shard {shard} is done; {missing} of {of} {what} are those of other"
            " shards.",
            remedy="When all have run, the same command without --shard puts the"
            " result together.",
        )


def without_shard(words: list[str]) -> list[str]:
    """A command line without the words that name a shard.

    Example:
        >>> without_shard(["interp", "track", "m", "--shard", "0/4", "--out", "d"])
        ['interp', 'track', 'm', '--out', 'd']
    """
    kept: list[str] = []
    skips = False
    for word in words:
        if skips or word.startswith("--shard="):
            skips = False
            continue
        if word == "--shard":
            skips = True
            continue
        kept.append(word)
    return kept


_PRESENT: ContextVar[Shard | None] = ContextVar("shard", default=None)


def _from_environment(environment: Mapping[str, str]) -> Shard | None:
    for number, first, count in (_SLURM, _TORCHRUN):
        if number not in environment or count not in environment:
            continue
        try:
            start = int(environment.get(first, "0")) if first else 0
            shard = Shard(
                index=int(environment[number]) - start, count=int(environment[count])
            )
        except ValueError as error:
            raise ConfigError(
                f"{number} is {environment[number]!r} and {count} is"
                f" {environment[count]!r}.",
                expected="Whole numbers, the first less than the second.",
            ) from error
        return None if shard.count == 1 else shard
    raise ConfigError(
        "--shard auto finds no shard.",
        expected=f"{_SLURM[0]} and {_SLURM[2]}, or {_TORCHRUN[0]} and {_TORCHRUN[2]}.",
        remedy="Start it as a SLURM array or by torchrun, or write --shard i/n.",
    )
