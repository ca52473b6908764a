"""Filling a store, shard by shard, so that any interruption costs at most one shard."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePath

import torch
from jaxtyping import Float
from torch import Tensor

from interp import atomic
from interp.errors import DiskFullError, ShapeError, StoreError, UnwritableError
from interp.progress import progress_bar
from interp.sharding import is_mine, require_all
from interp.stopping import StoppedError, stop_if_requested
from interp.store.layout import (
    PROVENANCE,
    SHARDS,
    checked_shards,
    checksum,
    find_shards,
    hash_blocks,
    hashing_pool,
    shard_header,
    shard_name,
)
from interp.store.manifest import (
    RowTable,
    as_table,
    fingerprint,
    prepare_folder,
    read_manifest,
    rows_are_whole,
    write_manifest,
)
from interp.store.spec import StoreSpec


# Some are hashed and copied while another waits for the disk. Measured: 1, 2, 3 and 4
# at once write at 0.6, 0.75, 0.84 and 0.86 of the rate of safetensors' `save_file` and
# a flush.
_WRITES_AT_ONCE = 3
# For the rows, the manifest and what the file system itself needs.
_SPARE_BYTES = 1 << 20

Values = Mapping[str, Float[Tensor, "..."]]


class StoreWriter:
    """A store that is being filled; use it with `with`.

    Entering checks that the folder is new or holds the same capture, that it can be
    written and that the disk has room for what is missing; then it writes the manifest.
    What dead processes left half-written is removed. Nothing that is whole is lost,
    however the block ends.

    Args:
        folder: Where the store is or will be.
        spec: What it holds.
        rows: One row for each example, with the columns to keep.
        provenance: How and when it was made; kept in a file of its own that does not
            count when stores are compared.
        check_space: Refuse at once when the missing shards do not fit on the disk.

    Raises:
        StoreError: If the folder cannot be written, is not a store, or has a damaged
            or foreign shard.
        IncompatibleError: If it holds another capture.
        DiskFullError: If the disk has not enough room.

    Example:
        >>> with StoreWriter(folder, spec, rows) as writer:    # doctest: +SKIP
        ...     for index in writer.missing():
        ...         writer.write(index, values_of(spec.plan.shard(index).rows))
        ...     writer.finish()
    """

    def __init__(
        self,
        folder: str | PurePath,
        spec: StoreSpec,
        rows: RowTable,
        *,
        provenance: Mapping[str, object] | None = None,
        check_space: bool = True,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.spec = spec
        self._rows = rows
        self._provenance = provenance
        self._check_space = check_space
        self._pool: ThreadPoolExecutor | None = None
        self._has_written = False

    def __enter__(self) -> "StoreWriter":
        table = as_table(self._rows)
        content = fingerprint(table)
        there_is_one = prepare_folder(
            self.folder, self.spec, n_rows=table.num_rows, content=content
        )
        with _unwritable_is_a_store_error():
            with atomic.clear_errors(self.folder):
                (self.folder / SHARDS).mkdir(parents=True, exist_ok=True)
            atomic.remove_strays(self.folder)
            atomic.remove_strays(self.folder / SHARDS)
            if self._check_space:
                self._require_space()
            if not there_is_one or not rows_are_whole(
                self.folder, read_manifest(self.folder)
            ):
                write_manifest(self.folder, self.spec, table, content=content)
        self._pool = hashing_pool()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def missing(self) -> tuple[int, ...]:
        """The shards that are not there yet.

        Raises:
            StoreError: If a shard is there but truncated, damaged or foreign.
        """
        found = checked_shards(self.folder, self.spec)
        n_shards = self.spec.plan.n_shards
        return tuple(index for index in range(n_shards) if index not in found)

    def write(self, index: int, values: Values) -> None:
        """Write one shard; once this returns it is whole, checked and on the disk.

        May be called from several threads, each with its own shard.

        Args:
            index: Which shard.
            values: For each site of the spec (short name) its rows, in the spec's shape
                and dtype. They must not change until this returns.

        Raises:
            ShapeError: If the sites, a shape or a dtype are not those of the spec.
            DiskFullError: If the disk is full; nothing of this shard is left.
        """
        if self._pool is None:
            raise RuntimeError("StoreWriter.write is called inside `with`.")
        shard = self.spec.plan.shard(index)
        parts = [memoryview(shard_header(self.spec, shard))]
        self._require_fit(index, values)
        parts.extend(_bytes_of(values[site]) for site in self.spec.sites)
        digests = [hash_blocks(part, self._pool) for part in parts]
        with _unwritable_is_a_store_error():
            atomic.write_bytes(
                self.folder / SHARDS / f"{index:05d}.safetensors",
                parts,
                final_name=lambda: shard_name(
                    index, checksum(digest for blocks in digests for digest in blocks)
                ),
            )
        self._has_written = True

    def finish(self) -> None:
        """Say that the store is complete: drop doubles, write the provenance.

        Raises:
            StoreError: If a shard is missing.
        """
        if missing := self.missing():
            raise StoreError(
                f"The store {str(self.folder)!r} still misses {len(missing)} of "
                f"{self.spec.plan.n_shards} shards, the first is {missing[0]}.",
                remedy="Write them before `finish`.",
            )
        for _, *doubles in find_shards(self.folder).values():
            for path in doubles:
                path.unlink(missing_ok=True)
        path = self.folder / PROVENANCE
        # A run that found everything done keeps the record of the one that did it.
        is_due = self._has_written or not path.exists()
        if self._provenance is not None and is_due:
            with _unwritable_is_a_store_error():
                atomic.write_json(path, self._provenance)

    def _require_space(self) -> None:
        plan = self.spec.plan
        mine = filter(is_mine, self.missing())
        shards = [plan.shard(index) for index in mine]
        needed = sum(self.spec.shard_bytes(shard) for shard in shards)
        free = shutil.disk_usage(self.folder).free
        if shards and needed + _SPARE_BYTES > free:
            raise DiskFullError(
                f"The store {str(self.folder)!r} needs {_size(needed)} more and the "
                f"disk has {_size(free)} free.",
                expected="Nothing was computed.",
                remedy="Free some space, or keep fewer sites, fewer positions or a "
                "smaller dtype.",
            )

    def _require_fit(self, index: int, values: Values) -> None:
        shard = self.spec.plan.shard(index)
        if set(values) != set(self.spec.sites):
            difference = sorted(set(values) ^ set(self.spec.sites))
            raise ShapeError(
                f"Shard {index} has other sites than the store: {difference[:5]}.",
                expected=f"The store holds {len(self.spec.sites)} sites.",
            )
        for site, tensor in values.items():
            shape, dtype = self.spec.shape(site, shard), getattr(torch, self.spec.dtype)
            if tuple(tensor.shape) != shape or tensor.dtype != dtype:
                raise ShapeError(
                    f"Shard {index} has {tuple(tensor.shape)} {tensor.dtype} at "
                    f"{site!r}.",
                    expected=f"The store holds {shape} {dtype} there.",
                    remedy="Convert the values before writing them.",
                )


def fill(
    folder: str | PurePath,
    spec: StoreSpec,
    rows: RowTable,
    *,
    compute: Callable[[range], Values],
    provenance: Mapping[str, object] | None = None,
    description: str = "capture",
) -> None:
    """Fill a store, or what is missing of it, computing while writing.

    The same call after any interruption goes on where it stopped and ends with the
    same bytes. Up to four shards are in memory: one is computed, three are written.

    Args:
        folder: Where the store is or will be.
        spec: What it holds.
        rows: One row for each example, with the columns to keep.
        compute: The values of a range of rows: for each site (short name) a tensor in
            the spec's shape and dtype that is not changed afterwards.
        provenance: See `StoreWriter`.
        description: What the progress bar says.

    Raises:
        StoreError: See `StoreWriter`.
        IncompatibleError: If the folder holds another capture.
        DiskFullError: If the disk has not enough room, or runs full.
        StoppedError: If a signal asked to stop; what was computed is written first.
        OthersMissingError: If this is one of several shards and others are not done;
            see `interp.sharding`.
    """
    with StoreWriter(folder, spec, rows, provenance=provenance) as writer:
        missing = writer.missing()
        shards = [spec.plan.shard(index) for index in missing if is_mine(index)]
        total = sum(len(shard.rows) for shard in shards)
        threads = ThreadPoolExecutor(_WRITES_AT_ONCE, "interp-store-write")
        # Leaving the pool waits for what is being written: it becomes whole also when
        # the next shard fails or the user interrupts.
        with progress_bar(description, total, "examples") as bar, threads as pool:
            writing: list[Future[None]] = []
            for number, shard in enumerate(shards):
                whole = spec.plan.n_shards - len(missing) + number
                _stop_if_requested(writing, f"{whole} of {spec.plan.n_shards}")
                values = compute(shard.rows)
                if len(writing) == _WRITES_AT_ONCE:
                    writing.pop(0).result()
                # A full disk is noticed before many more shards are computed in vain.
                for future in filter(Future.done, writing):
                    future.result()
                writing.append(pool.submit(writer.write, shard.index, values))
                del values
                bar.advance(len(shard.rows))
            for future in writing:
                future.result()
        require_all(len(writer.missing()), of=spec.plan.n_shards, what="shards")
        writer.finish()


def _stop_if_requested(writing: list[Future[None]], whole: str) -> None:
    try:
        stop_if_requested(f"{whole} shards are whole")
    except StoppedError:
        # Not before they are: a disk that is full is then the error.
        for future in writing:
            future.result()
        raise


def _bytes_of(tensor: Float[Tensor, "..."]) -> memoryview:
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"


@contextmanager
def _unwritable_is_a_store_error() -> Iterator[None]:
    try:
        yield
    except UnwritableError as error:
        raise StoreError(
            error.what, expected=error.expected, remedy=error.remedy
        ) from error
