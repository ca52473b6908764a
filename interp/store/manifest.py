"""The two files beside the shards: what the store is, and its table of rows. No torch.

The rows are written first and the manifest, which holds their checksum, last: a folder
with a manifest is a store, one without is not.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from interp import atomic
from interp.errors import DataError, IncompatibleError, StoreError
from interp.store.layout import KIND, MANIFEST, PROVENANCE, ROWS, SHARDS
from interp.store.spec import SCHEMA, StoreSpec, require_same, spec_from_json


RowTable = pd.DataFrame | pa.Table | Sequence[Mapping[str, object]]
OWN_COLUMNS = ("row", "shard", "shard_row")
# Far above any real manifest, far below what would hurt to read.
_LARGEST_MANIFEST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What stands in `manifest.json`: the spec, and how to check the table of rows."""

    spec: StoreSpec
    rows_content: str
    rows_sha256: str
    rows_bytes: int


def fingerprint(rows: RowTable) -> str:
    """A short name for the content of a table, for `StoreSpec.data`.

    It depends on the names, types and values of the columns and on the order of the
    rows, not on where the table came from.

    Example:
        >>> fingerprint([{"prompt": "a"}]) == fingerprint([{"prompt": "b"}])
        False
    """
    table = as_table(rows)
    columns = [
        [name, str(column.type), [_comparable(value) for value in column.to_pylist()]]
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return atomic.json_hash(columns, length=32)


def as_table(rows: RowTable) -> pa.Table:
    """Any of the accepted tables as an Arrow table, without a memory of its source.

    Raises:
        DataError: If a column mixes types or has a name that the store itself uses.
    """
    try:
        if isinstance(rows, Sequence):
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: [row.get(name) for row in rows] for name in names}
            table = pa.table(columns)
        elif isinstance(rows, pa.Table):
            table = rows
        else:
            table = pa.Table.from_pandas(rows, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"The rows do not make a table: {str(error).splitlines()[0]}",
            expected="All values of a column have one type.",
            remedy="Convert the column to text.",
        ) from error
    for name in OWN_COLUMNS:
        if name in table.column_names:
            raise DataError(
                f"The data has a column {name!r}, a name that the store itself uses.",
                remedy="Rename the column.",
            )
    return table.cast(pa.schema([_plain_field(field) for field in table.schema]))


def prepare_folder(folder: Path, spec: StoreSpec, *, n_rows: int, content: str) -> bool:
    """Whether a store of this very capture is there already; refuses anything else.

    Writes nothing.

    Args:
        folder: Where the store is or will be.
        spec: What it holds.
        n_rows: How many rows are given.
        content: Their fingerprint.

    Raises:
        StoreError: If the folder is a file, or holds something that is not a store.
        IncompatibleError: If it holds another capture.
        DataError: If the rows are not as many as the spec says.
    """
    if n_rows != spec.plan.n_examples:
        raise DataError(
            f"{n_rows} rows for a store of {spec.plan.n_examples} examples.",
            expected="There is one row for each example.",
        )
    if folder.exists() and not folder.is_dir():
        raise StoreError(
            f"{str(folder)!r} is a file.", remedy="Choose a folder for the store."
        )
    if not (folder / MANIFEST).exists():
        other = _other_files(folder)
        # Another process may have begun this very store in the meantime.
        if not (folder / MANIFEST).exists():
            _require_none(other, folder)
            return False
    manifest = read_manifest(folder)
    require_same(manifest.spec, spec, where=str(folder))
    if manifest.rows_content != content:
        raise IncompatibleError(
            f"The store {str(folder)!r} has other rows than the data given now.",
            expected="One folder holds one capture.",
            remedy="Choose another folder, or delete that one.",
        )
    return True


def write_manifest(
    folder: Path, spec: StoreSpec, table: pa.Table, *, content: str
) -> None:
    """Write the table of rows and then the manifest, each in one step."""
    size = spec.plan.rows_per_shard
    numbers = range(table.num_rows)
    own = pa.table(
        {
            "row": pa.array(numbers, pa.int64()),
            "shard": pa.array((row // size for row in numbers), pa.int32()),
            "shard_row": pa.array((row % size for row in numbers), pa.int32()),
        }
    )
    for name, column in zip(table.column_names, table.columns, strict=True):
        own = own.append_column(name, column)
    buffer = io.BytesIO()
    pq.write_table(own.combine_chunks(), buffer)
    written = buffer.getvalue()
    atomic.write_bytes(folder / ROWS, written)
    manifest = {
        "kind": KIND,
        "schema": SCHEMA,
        "spec": spec.to_json(),
        "rows": {
            "content": content,
            "sha256": hashlib.sha256(written).hexdigest(),
            "bytes": len(written),
        },
    }
    atomic.write_json(folder / MANIFEST, manifest)


def read_manifest(folder: Path) -> Manifest:
    """What the store says that it is.

    Raises:
        StoreError: If there is no store, or its manifest is damaged or too new.
    """
    path = folder / MANIFEST
    try:
        size = path.stat().st_size
        text = path.read_bytes() if size <= _LARGEST_MANIFEST else b""
        value = json.loads(text)
    except OSError as error:
        raise StoreError(
            f"There is no store in {str(folder)!r}: {error.strerror} ({MANIFEST}).",
            remedy="Make one with `interp capture MODEL DATA --out STORE`.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON.") from error
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise _damaged(path, "it is not the manifest of a store.")
    if value.get("schema") != SCHEMA:
        raise StoreError(
            f"The store {str(folder)!r} has the schema {value.get('schema')!r}.",
            expected=f"This version reads schema {SCHEMA}.",
            remedy="Read it with the version that wrote it.",
        )
    rows = value.get("rows")
    if not isinstance(rows, dict) or not isinstance(rows.get("bytes"), int):
        raise _damaged(path, "it does not describe its rows.")
    return Manifest(
        spec=spec_from_json(value.get("spec"), where=str(path)),
        rows_content=str(rows.get("content")),
        rows_sha256=str(rows.get("sha256")),
        rows_bytes=rows["bytes"],
    )


def rows_are_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether the table of rows is there, to the byte; reads all of it."""
    path = folder / ROWS
    if not path.is_file() or path.stat().st_size != manifest.rows_bytes:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == manifest.rows_sha256


def read_rows(folder: Path, *, n_rows: int) -> pd.DataFrame:
    """The table of rows as a data frame.

    Args:
        folder: The store.
        n_rows: How many it must hold.

    Raises:
        StoreError: If it is absent, damaged, or holds another number of rows.
    """
    try:
        # Few bytes may claim many rows, so they are counted before they are read.
        with pq.ParquetFile(folder / ROWS) as file:
            if file.metadata.num_rows != n_rows:
                found = file.metadata.num_rows
                raise ValueError(f"there are {found} rows for {n_rows} examples")
            return file.read().to_pandas()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise StoreError(
            f"The rows of the store {str(folder)!r} cannot be read: "
            f"{' '.join(str(error).split())[:200]}.",
            remedy="Capture again with the same command: only the rows are rewritten.",
        ) from error


def _plain_field(field: pa.Field) -> pa.Field:
    """One Arrow type for what lists, pandas and Arrow each call differently."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        kind = pa.large_string()
    return pa.field(field.name, kind)


def _other_files(folder: Path) -> list[str]:
    """What lies in a folder and could not be that of a store without a manifest."""
    own = {ROWS, SHARDS, PROVENANCE}
    if not folder.is_dir():
        return []
    other = [path.name for path in folder.iterdir() if path.name not in own]
    other = [name for name in other if not name.endswith(atomic.UNFINISHED)]
    if any((folder / SHARDS).glob("*")):
        other.append(SHARDS)
    return other


def _require_none(other: Sequence[str], folder: Path) -> None:
    if other:
        raise StoreError(
            f"The folder {str(folder)!r} is not empty and not a store: "
            f"it holds {min(other)!r}.",
            remedy="Choose a new or an empty folder.",
        )


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(
        f"The manifest {str(path)!r} is damaged: {what}",
        remedy="Capture again into an empty folder.",
    )


def _comparable(value: object) -> object:
    if isinstance(value, str | int | None):
        return value
    # The shortest text that gives the same number back; also for NaN, dates, bytes.
    return [type(value).__name__, repr(value)]
