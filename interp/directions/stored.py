"""How directions, probes, subspaces and erasers lie in a file. Knows no torch.

Arrays are kept as they are, everything else as metadata. Files carry the version of
their schema, and old ones keep loading: fields that they lack get their defaults.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from interp import atomic
from interp.directions.direction import Direction
from interp.directions.probe import Probe
from interp.errors import InterpError, ResultError


if TYPE_CHECKING:
    from interp.directions.erasure import Eraser
    from interp.directions.subspace import Subspace

    Held = Direction | Probe | Subspace | Eraser

T = TypeVar("T")
Word = Literal["direction", "probe", "subspace", "eraser"]
# The arrays of each kind of file, with their numbers of axes.
AXES: Mapping[Word, Mapping[str, int]] = {
    "direction": {"unit": 1},
    "probe": {"weights": 1},
    "subspace": {"basis": 2},
    "eraser": {"left": 2, "right": 2, "mean": 1},
}
# 2: `revision` and `template` of directions; probes, subspaces and erasers.
SCHEMA = 2


def write(value: "Held", path: Path, *, word: Word) -> None:
    """Write a value as one file, whole or not at all.

    Args:
        value: What to keep.
        path: The file.
        word: Its kind.

    Raises:
        DiskFullError: If the disk is full.
        UnwritableError: If the file cannot be written.
    """
    atomic.write_bytes(path, file_bytes(value, word=word))


def file_bytes(value: "Held", *, word: Word) -> bytes:
    """The file of a value.

    Args:
        value: What to keep.
        word: Its kind.

    Example:
        >>> up = Direction.from_vector(np.array([0.0, 2.0]))
        >>> b"interp.direction" in file_bytes(up, word="direction")
        True
    """
    facts = asdict(value)
    arrays = {name: np.ascontiguousarray(facts.pop(name)) for name in AXES[word]}
    metadata = {
        "kind": f"interp.{word}",
        "schema": str(SCHEMA),
        word: json.dumps(facts, sort_keys=True, allow_nan=False),
    }
    return _ordered(to_bytes(arrays, metadata=metadata))


def _ordered(file: bytes) -> bytes:
    """The same file with its header in order: safetensors writes metadata in any."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps(
        json.loads(file[8:start]), sort_keys=True, separators=(",", ":")
    ).encode()
    # The arrays begin at a multiple of eight bytes, as safetensors lays them.
    header = header.ljust(-(-len(header) // 8) * 8)
    return len(header).to_bytes(8, "little") + header + file[start:]


def read_direction(path: str | Path) -> Direction:
    """Read a direction that `interp.directions.save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return read(Direction, Path(path), word="direction")


def read_probe(path: str | Path) -> Probe:
    """Read a probe that `interp.directions.save` or its own `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return read(Probe, Path(path), word="probe")


def read(kind: type[T], path: Path, *, word: Word) -> T:
    """Read a value of a kind.

    Args:
        kind: Its class.
        path: The file.
        word: The kind as the file spells it.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_kind(metadata, word, path)
            arrays = {name: file.get_tensor(name) for name in AXES[word]}
        for name, n_axes in AXES[word].items():
            if arrays[name].ndim != n_axes or arrays[name].dtype.kind != "f":
                raise ValueError(f"{name} has the shape {list(arrays[name].shape)}")
        facts = json.loads(metadata[word])
        return kind(**arrays, **_checked(facts, kind, word))
    except ResultError:
        raise
    except FileNotFoundError as error:
        raise ResultError(f"There is no file {str(path)!r}.") from error
    except (
        SafetensorError,
        InterpError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise ResultError(
            f"The {word} in {str(path)!r} cannot be read: {error}.",
            remedy="The file is damaged: make it again.",
        ) from error


def kind_of(path: str | Path) -> Word | None:
    """What a safetensors file holds, or None if it is none of ours.

    Args:
        path: The file; only its header is read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            found = (file.metadata() or {}).get("kind", "")
    except (SafetensorError, OSError, ValueError):
        return None
    return next((word for word in AXES if found == f"interp.{word}"), None)


def _check_kind(metadata: Mapping[str, str], word: Word, path: Path) -> None:
    found = metadata.get("kind", "")
    if found != f"interp.{word}":
        other = next((one for one in AXES if found == f"interp.{one}"), None)
        but = f" but a {other}" if other else ""
        raise ResultError(
            f"{str(path)!r} holds no {word}{but}.",
            expected="A file that interp.directions.save has written.",
        )
    if int(metadata["schema"]) > SCHEMA:
        raise ResultError(
            f"{str(path)!r} was written by a newer version of interp.",
            remedy="Update interp.",
        )


def _checked(facts: object, kind: type, word: Word) -> dict[str, Any]:
    """The facts, with the types that the fields' defaults have."""
    if not isinstance(facts, dict):
        raise ValueError("its facts are no table")
    known = {one.name: one.default for one in fields(kind)}
    items = {one.name: get_args(one.type) for one in fields(kind)}
    checked: dict[str, Any] = {}
    for name, value in facts.items():
        if name not in known or name in AXES[word]:
            raise ValueError(f"there is no field {name!r}")
        match known[name], value:
            case bool(), bool():
                checked[name] = value
            case (float() | None, int() | float()) if not isinstance(value, bool):
                checked[name] = float(value)
            case None, None:
                checked[name] = None
            case int(), int() if not isinstance(value, bool):
                checked[name] = value
            case str(), str():
                checked[name] = value
            case tuple(), list() if {type(one) for one in value} <= {items[name][0]}:
                checked[name] = tuple(value)
            case default, str() if default is MISSING:
                checked[name] = value
            case _:
                raise ValueError(f"the field {name!r} is {value!r:.40}")
    return checked
