"""How a result lies on disk: `result.json`, `arrays.safetensors`, `rows.parquet`.

The JSON holds everything but the arrays and the checksums of the other two files, so
that a damaged or foreign file is named. A folder is written beside and exchanged as a
whole. Nothing here knows the kinds of results.
"""

import dataclasses
import hashlib
import json
import math
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import jaxtyped
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays, save as save_arrays

from interp import atomic
from interp.errors import ResultError, ShapeError


RESULT, ARRAYS, ROWS = "result.json", "arrays.safetensors", "rows.parquet"
AGAIN = "Run the study again, or restore the folder from a copy."

# JSON has no NaN: it is written as null, and a number that reads null is NaN.
Number = Annotated[
    float, BeforeValidator(lambda value: math.nan if value is None else value)
]


@runtime_checkable
class Storable(Protocol):
    """What a result must offer to be written: a dataclass with a kind and rows."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    KIND: ClassVar[str]
    SCHEMA: ClassVar[int]

    def to_dataframe(self) -> pd.DataFrame: ...

    def headline(self) -> str: ...


Stored = TypeVar("Stored")


def write_result(result: Storable, folder: str | Path) -> Path:
    """Write a result folder, replacing an older result of that name as a whole.

    Args:
        result: The result.
        folder: Where to; made if absent.

    Raises:
        ShapeError: If an array does not have the shape its field declares.
        ResultError: If the folder holds something that is not a result.
        DiskFullError: If the disk is full; an older result stays as it was.
        UnwritableError: If the folder cannot be written.
    """
    folder = Path(folder).expanduser()
    fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    arrays = {
        name: np.ascontiguousarray(value)
        for name, value in fields.items()
        if isinstance(value, np.ndarray)
    }
    values = {name: _plain(fields[name]) for name in fields if name not in arrays}
    if problem := wrong_shape(arrays, type(result)):
        raise ShapeError(f"{type(result).__name__}: {problem}")
    _refuse_foreign(folder)
    with atomic.replacing_folder(folder) as beside:
        (beside / ARRAYS).write_bytes(save_arrays(arrays))
        result.to_dataframe().to_parquet(beside / ROWS, index=False)
        description = {
            "kind": result.KIND,
            "schema": result.SCHEMA,
            "headline": result.headline(),
            "values": values,
            "files": {
                name: hashlib.sha256((beside / name).read_bytes()).hexdigest()
                for name in (ARRAYS, ROWS)
            },
        }
        (beside / RESULT).write_text(atomic.json_text(description), encoding="utf-8")
    return folder


def read_description(folder: Path) -> dict[str, Any]:
    """What `result.json` says, without the arrays.

    Raises:
        ResultError: If the file is missing or damaged.
    """
    path = folder / RESULT
    try:
        description = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    fields = ("kind", "schema", "values", "files")
    if not isinstance(description, dict) or any(f not in description for f in fields):
        raise _damaged(path, "it does not describe a result")
    return description


def read_result(
    folder: Path, description: dict[str, Any], kind: type[Stored], *, newest: int
) -> Stored:
    """The result in a folder, checked against its checksums, types and shapes.

    Args:
        folder: The result folder.
        description: What `read_description` gave for it.
        kind: The class of the result.
        newest: The newest schema that the class reads.

    Raises:
        ResultError: If a file is missing, damaged or does not fit the class; the
            message names it.
    """
    path = folder / RESULT
    if not isinstance(description["schema"], int):
        raise _damaged(path, "its schema version is not a number")
    if description["schema"] > newest:
        raise ResultError(
            f"{str(path)!r} has schema {description['schema']}.",
            expected=f"This version of interp reads up to {newest}.",
            remedy="Update interp.",
        )
    contents = _checked_files(folder, description["files"])
    try:
        arrays = load_arrays(contents[ARRAYS])
    except (SafetensorError, ValueError) as error:
        raise _damaged(folder / ARRAYS, "it is not a safetensors file") from error
    values = description["values"]
    given = {*arrays, *(values if isinstance(values, dict) else ())}
    fields = dataclasses.fields(cast(Any, kind))
    # A field with a default came later: older files of the same schema lack it.
    required = {
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    wrong = (required - given) | (given - {f.name for f in fields})
    if wrong:
        name = sorted(wrong)[0]
        raise _damaged(path, f"the field {name!r} is missing or unknown")
    if problem := wrong_shape(arrays, kind):
        raise _damaged(folder / ARRAYS, problem)
    return kind(**arrays, **_validated(path, values, kind))


def wrong_shape(arrays: Mapping[str, np.ndarray], kind: type) -> str:
    """The first array whose shape or type is not what its field declares, in words.

    Axes of one name must have one length over all fields.
    """
    hints = _hints(kind)
    with jaxtyped("context"):
        for name, value in arrays.items():
            # Untyped because jaxtyping makes a class for each annotation.
            hint: Any = hints[name]
            if not hasattr(hint, "dim_str"):
                return f"the field {name!r} is an array and should not be."
            if not isinstance(value, hint):
                declared = f"{hint.dtype.__name__}[{hint.dim_str.strip()}]"
                return (
                    f"the array {name!r} is {value.dtype}{list(value.shape)}; "
                    f"{declared} was expected, with one length per axis name."
                )
    return ""


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


@cache
def _adapter(hint: Any) -> TypeAdapter:
    return TypeAdapter(hint)


def _plain(value: object) -> object:
    """Dataclasses and tuples as JSON values; NaN as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, str):
        # A model may emit half of a surrogate pair, which UTF-8 does not have.
        return value.encode("utf-8", errors="replace").decode("utf-8")
    return value


def _validated(path: Path, values: dict[str, Any], kind: type) -> dict[str, Any]:
    hints = _hints(kind)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        # JSON rules, strictly: a list becomes a tuple, but no text becomes a number.
        try:
            text = json.dumps(value)
            checked[name] = _adapter(hints[name]).validate_json(text, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in (name, *problem["loc"]))
            raise _damaged(path, f"{place}: {problem['msg']}") from error
    return checked


def _checked_files(folder: Path, checksums: object) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for name in (ARRAYS, ROWS):
        contents[name] = _bytes(folder / name)
        expected = checksums.get(name) if isinstance(checksums, dict) else None
        if hashlib.sha256(contents[name]).hexdigest() != expected:
            raise _damaged(folder / name, f"its checksum is not the one in {RESULT}")
    return contents


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ResultError(
            f"The result has no file {str(path)!r}.",
            expected=f"A result holds {RESULT}, {ARRAYS} and {ROWS}.",
            remedy=AGAIN,
        ) from error
    except OSError as error:
        raise ResultError(
            f"Cannot read {str(path)!r}: {error.strerror}.",
            remedy="Check the path and its permissions.",
        ) from error


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RESULT).exists():
        raise ResultError(
            f"The folder {str(folder)!r} holds files that are not a result.",
            expected="A new or empty folder was expected.",
            remedy="Choose another folder; nothing was changed.",
        )


def _damaged(path: Path, why: str) -> ResultError:
    return ResultError(
        f"{str(path)!r} is damaged: {why.rstrip('.')}.",
        expected="Nothing was read from it.",
        remedy=AGAIN,
    )
