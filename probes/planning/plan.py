"""The values of a plan: parts of the work, their shares among machines, what fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of the work that is done whole or not at all.

    Attributes:
        number: By which shards share the parts: shard `i` of `n` takes every n-th.
        tokens: Tokens that enter the model, as many as whole passes would cost as much.
        flops: Floating-point operations of its forward passes.
        passes: Forward passes.
        n_bytes: What it writes.
        reads: Bytes of weights that it reads, beside those of the models that every
            process loads.
        done: Whether it is on disk.
    """

    number: int
    tokens: int
    flops: int
    passes: int
    n_bytes: int = 0
    reads: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one process holds at its peak, by what it is.

    Attributes:
        weights: The weights, in the type in which they run.
        batch: The activations of one batch.
        rows: Captured rows that wait to be written or used.
        device: Where the models run.
        free: What is free there now; None if that is not known.
    """

    weights: int
    batch: int
    rows: int
    device: str
    free: int | None

    @property
    def peak(self) -> int:
        return self.weights + self.batch + self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """What real batches took.

    Attributes:
        loading: Loading the models.
        a_token: The median over the batches that were timed, of one token.
        batches: How many were timed.
    """

    loading: float
    a_token: float
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a command would do.

    Attributes:
        command: Its name.
        models: The models it runs.
        parts_are: What a part is, in the plural.
        parts: All of them.
        own: What every process does by itself before its parts.
        examples: Prompts, statements, texts or sequences.
        tokens: Their tokens, without padding and each once.
        parameters: The weights that each token is multiplied with.
        sites: Bytes that are kept of each site.
        free_disk: What is free where the results go.
        read_bytes: Weight files that every process reads.
        download_bytes: How much has to be fetched first.
        memory: The peak of one process.
        token_layers: Tokens times blocks of patching, and what one whole pass for each
            cell would compute; None where nothing is patched.
        estimates: What is an estimate, in sentences.
        notes: What else to know, in sentences.
        seconds: What real batches took, if some were timed.
    """

    command: str
    models: tuple[str, ...]
    parts_are: str
    parts: tuple[Part, ...]
    own: Part
    examples: int
    tokens: int
    parameters: int
    free_disk: int
    read_bytes: int
    download_bytes: int
    memory: Memory
    sites: Mapping[str, int] = field(default_factory=dict)
    token_layers: tuple[int, int] | None = None
    estimates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Seconds | None = None

    @property
    def todo(self) -> tuple[Part, ...]:
        """The parts that are not on disk."""
        return tuple(part for part in self.parts if not part.done)

    @property
    def write_bytes(self) -> int:
        """What is still to be written."""
        return sum(part.n_bytes for part in self.todo)

    def total(self, name: str) -> int:
        """A sum over all parts, done or not, and what one process does by itself."""
        return sum(getattr(part, name) for part in (*self.parts, self.own))

    def busiest(self, machines: int) -> Part:
        """What the machine with most work does of the parts that are left.

        Args:
            machines: Among how many they are shared.
        """
        shares = [
            together([part for part in self.todo if part.number % machines == index])
            for index in range(machines)
        ]
        most = max(shares, key=lambda share: share.tokens)
        return together([most, self.own])

    def used(self, machines: int) -> int:
        """How many of some machines have anything to do."""
        return len({part.number % machines for part in self.todo})

    def seconds_on(self, machines: int) -> float | None:
        """How long it takes, until the machine with most work is done."""
        if self.seconds is None:
            return None
        busiest = self.busiest(machines)
        return self.seconds.loading + busiest.tokens * self.seconds.a_token

    def refusals(self) -> tuple[str, ...]:
        """Why it does not fit, in sentences; nothing if it does."""
        found: list[str] = []
        needed = self.write_bytes + self.download_bytes
        if needed > self.free_disk:
            found.append(
                f"The disk has {size(self.free_disk)} free and {size(needed)} are "
                "needed."
            )
        memory = self.memory
        if memory.free is not None and memory.peak > memory.free:
            found.append(
                f"The {memory.device} has {size(memory.free)} of memory free and "
                f"{size(memory.peak)} are needed."
            )
        return tuple(found)


def together(parts: Sequence[Part]) -> Part:
    """The work of several parts as one, which is not done."""
    return Part(
        number=0,
        tokens=sum(part.tokens for part in parts),
        flops=sum(part.flops for part in parts),
        passes=sum(part.passes for part in parts),
        n_bytes=sum(part.n_bytes for part in parts),
        reads=sum(part.reads for part in parts),
    )


def size(n_bytes: int) -> str:
    """A number of bytes for people.

    Example:
        >>> size(512), size(3 << 20)
        ('512 bytes', '3.0 MiB')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if n_bytes >= 1 << power:
            return f"{n_bytes / (1 << power):.1f} {unit}"
    return f"{n_bytes} bytes"
