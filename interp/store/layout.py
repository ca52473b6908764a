"""The bytes of a store's files: names, headers and checksums. Knows no torch.

A shard is an ordinary safetensors file. Its name ends with the checksum of its content,
so that the one step of renaming it makes it whole *and* checked: there is no moment at
which a shard counts without its checksum. Its header follows from the spec, down to
the byte; so a header that differs is damaged or foreign, and it is parsed only to say
how.
"""

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from interp.atomic import json_text
from interp.errors import StoreError
from interp.store.spec import DTYPE_BYTES, SCHEMA, Dtype, Shard, StoreSpec


KIND = "interp.store"
MANIFEST = "manifest.json"
ROWS = "rows.parquet"
PROVENANCE = "provenance.json"
SHARDS = "shards"
_SHARD_NAME = re.compile(r"(\d{5,})-([0-9a-f]{64})\.safetensors")
_DTYPE_NAMES: dict[Dtype, str] = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
}
# safetensors asks for 8; whole cache lines are read faster.
_ALIGNMENT = 64
# Far above any real header, far below what would hurt to read.
_LARGEST_HEADER = 16 << 20
# Parts are hashed in blocks of this size, side by side.
_BLOCK = 8 << 20
_HASHING_THREADS = 4


def shard_name(index: int, digest: str) -> str:
    return f"{index:05d}-{digest}.safetensors"


def shard_header(spec: StoreSpec, shard: Shard) -> bytes:
    """The first bytes of a shard: what it is, and where each site begins."""
    header: dict[str, object] = {
        "__metadata__": {
            "kind": KIND,
            "schema": str(SCHEMA),
            "spec": spec.hash,
            "shard": str(shard.index),
            "first_row": str(shard.rows.start),
            "n_rows": str(len(shard.rows)),
        }
    }
    begin = 0
    for site in spec.sites:
        shape = spec.shape(site, shard)
        end = begin + math.prod(shape) * DTYPE_BYTES[spec.dtype]
        header[site] = {
            "dtype": _DTYPE_NAMES[spec.dtype],
            "shape": shape,
            "data_offsets": [begin, end],
        }
        begin = end
    text = json_text(header, compact=True).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def part_sizes(spec: StoreSpec, shard: Shard) -> list[int]:
    """The sizes of the header and of each site's values, in the order of the file."""
    sizes = [math.prod(spec.shape(site, shard)) for site in spec.sites]
    item = DTYPE_BYTES[spec.dtype]
    return [len(shard_header(spec, shard)), *(size * item for size in sizes)]


def checksum(blocks: Iterable[str]) -> str:
    """The checksum of a file: the SHA-256 of the SHA-256s of its blocks.

    The header and the values of each site are cut into blocks of 8 MiB of their own, so
    that several threads can hash one file: a single one would be slower than the disk.
    """
    return hashlib.sha256("".join(blocks).encode()).hexdigest()


def hash_blocks(part: memoryview, pool: Executor) -> Iterator[str]:
    """The hashes of the blocks of one part, begun at once, in order."""
    starts = range(0, len(part), _BLOCK)
    return pool.map(_sha256, (part[start : start + _BLOCK] for start in starts))


def hashing_pool() -> ThreadPoolExecutor:
    threads = min(_HASHING_THREADS, os.cpu_count() or 1)
    return ThreadPoolExecutor(threads, thread_name_prefix="interp-store-hash")


def checked_shards(folder: Path, spec: StoreSpec) -> dict[int, Path]:
    """The file of each shard that is there; reads only the headers.

    Raises:
        StoreError: That names a shard that is truncated, damaged or foreign.
    """
    checked: dict[int, Path] = {}
    n_shards = spec.plan.n_shards
    for index, paths in find_shards(folder).items():
        for path in paths:
            if index >= n_shards:
                refuse(path, f"is foreign: there are only {n_shards} shards")
            try:
                check_header(path, spec, spec.plan.shard(index))
            except StoreError:
                # Another process may have dropped a double in the meantime.
                if path.exists():
                    raise
            else:
                checked.setdefault(index, path)
    return checked


def find_shards(folder: Path) -> dict[int, list[Path]]:
    """The files of each shard, by index; normally one.

    Two processes that filled one folder with values that differ in their last bits
    leave two whole files, of which the first by name counts.

    Raises:
        StoreError: If a safetensors file has not the name of a shard.
    """
    found: dict[int, list[Path]] = {}
    for path in sorted((folder / SHARDS).glob("*")):
        if path.suffix != ".safetensors" or path.name.startswith("."):
            continue
        match = _SHARD_NAME.fullmatch(path.name)
        if match is None:
            raise StoreError(
                f"{_named(path)} in the store {str(folder)!r} is not a shard of it.",
                expected="Shards are called '<number>-<checksum>.safetensors'.",
                remedy="Move the file away.",
            )
        found.setdefault(int(match[1]), []).append(path)
    return found


def check_header(path: Path, spec: StoreSpec, shard: Shard) -> None:
    """Refuse a file that is not this shard of this store; reads only its header.

    Raises:
        StoreError: That names the file and what is wrong with it.
    """
    wanted = shard_header(spec, shard)
    try:
        with path.open("rb") as file:
            start = file.read(len(wanted))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        refuse(path, f"cannot be read: {error.strerror}", remedy="Check the folder.")
    if start != wanted:
        refuse(path, _difference(path, wanted, spec, shard))
    expected = sum(part_sizes(spec, shard))
    if size != expected:
        what = "is truncated" if size < expected else "is too long"
        refuse(path, f"{what}: {size} bytes of {expected}")


def check_content(path: Path, spec: StoreSpec, shard: Shard, pool: Executor) -> None:
    """Refuse a shard whose bytes have changed; reads all of it.

    Raises:
        StoreError: That names the file.
    """
    blocks: list[str] = []
    with path.open("rb") as file:
        for size in part_sizes(spec, shard):
            for start in range(0, size, _BLOCK * _HASHING_THREADS):
                part = file.read(min(_BLOCK * _HASHING_THREADS, size - start))
                blocks.extend(hash_blocks(memoryview(part), pool))
    if shard_name(shard.index, checksum(blocks)) != path.name:
        refuse(path, "is damaged: its checksum is not the one in its name")


def refuse(path: Path, what: str, *, remedy: str = "") -> NoReturn:
    raise StoreError(
        f"The shard {_named(path)} of the store {str(path.parent.parent)!r} {what}.",
        remedy=remedy or "Delete that file and capture again: only it is recomputed.",
    )


def _named(path: Path) -> str:
    """The name of a shard as a reader can tell it apart, without most of its hash."""
    match = _SHARD_NAME.fullmatch(path.name)
    if match is None:
        return repr(f"{SHARDS}/{path.name}")
    return repr(f"{SHARDS}/{match[1]}-{match[2][:8]}...safetensors")


def _difference(path: Path, wanted: bytes, spec: StoreSpec, shard: Shard) -> str:
    header = _parsed_header(path)
    if isinstance(header, str):
        return header
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.get("kind") != KIND:
        return "is foreign: it was not written by a store"
    if metadata.get("schema") != str(SCHEMA):
        return f"has the schema {metadata.get('schema')!r}, not '{SCHEMA}'"
    if metadata.get("spec") != spec.hash:
        return "is foreign: it belongs to the store of another capture"
    if metadata.get("shard") != str(shard.index):
        return f"is misplaced: its content is shard {metadata.get('shard')!r}"
    if set(header) != set(spec.sites):
        difference = sorted(set(header) ^ set(spec.sites))
        return f"has other sites than the store: {', '.join(difference[:5])}"
    entries = json.loads(wanted[8:])
    for site in spec.sites:
        if header[site] != entries[site]:
            return f"has another shape or dtype at {site!r} than the store"
    return "has a damaged header"


def _parsed_header(path: Path) -> dict[str, object] | str:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(8)
        if len(prefix) < 8:
            return f"is truncated: {size} bytes"
        length = struct.unpack("<Q", prefix)[0]
        if length > _LARGEST_HEADER:
            return "is not a safetensors file"
        if length > size - 8:
            return f"is truncated: {size} bytes"
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return "is not a safetensors file"
    return header if isinstance(header, dict) else "is not a safetensors file"


def _sha256(block: memoryview) -> str:
    return hashlib.sha256(block).hexdigest()
