"""Directions, subspaces and erasers on disk: one safetensors file each.

Arrays are kept as they are, everything else as metadata. Files carry the version of
their schema, and old ones keep loading: fields that they lack get their defaults.
"""

import json
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar, assert_never, get_args

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from interp import atomic
from interp.directions.direction import Direction
from interp.directions.erasure import Eraser
from interp.directions.subspace import Subspace
from interp.errors import InterpError, ResultError


Saved = Direction | Subspace | Eraser
T = TypeVar("T", Direction, Subspace, Eraser)
# 2: `revision` and `template` of directions; subspaces and erasers.
SCHEMA = 2


def save(value: Saved, path: str | Path) -> Path:
    """Write a direction, subspace or eraser as one file, whole or not at all.

    Args:
        value: What to keep.
        path: The file; `.safetensors` by convention.

    Returns:
        The file.

    Raises:
        DiskFullError: If the disk is full.
        UnwritableError: If the file cannot be written.
    """
    path = Path(path)
    facts = asdict(value)
    arrays = {
        name: np.ascontiguousarray(facts.pop(name)) for name in _axes(type(value))
    }
    word = _word(type(value))
    metadata = {
        "kind": f"interp.{word}",
        "schema": str(SCHEMA),
        word: json.dumps(facts, sort_keys=True, allow_nan=False),
    }
    atomic.write_bytes(path, to_bytes(arrays, metadata=metadata))
    return path


def load(path: str | Path) -> Direction:
    """Read a direction that `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return _load(Direction, Path(path))


def load_subspace(path: str | Path) -> Subspace:
    """Read a subspace that `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return _load(Subspace, Path(path))


def load_eraser(path: str | Path) -> Eraser:
    """Read an eraser that `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return _load(Eraser, Path(path))


def _load(kind: type[T], path: Path) -> T:
    word = _word(kind)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_kind(metadata, word, path)
            arrays = {name: file.get_tensor(name) for name in _axes(kind)}
        for name, n_axes in _axes(kind).items():
            if arrays[name].ndim != n_axes or arrays[name].dtype.kind != "f":
                raise ValueError(f"{name} has the shape {list(arrays[name].shape)}")
        facts = json.loads(metadata[word])
        return kind(**arrays, **_checked(facts, kind))
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


def _check_kind(metadata: dict[str, str], word: str, path: Path) -> None:
    found = metadata.get("kind", "")
    if found != f"interp.{word}":
        known = {
            f"interp.{_word(kind)}": kind for kind in (Direction, Subspace, Eraser)
        }
        other = f" but a {_word(known[found])}" if found in known else ""
        raise ResultError(
            f"{str(path)!r} holds no {word}{other}.",
            expected="A file that interp.directions.save has written.",
        )
    if int(metadata["schema"]) > SCHEMA:
        raise ResultError(
            f"{str(path)!r} was written by a newer version of interp.",
            remedy="Update interp.",
        )


def _checked(facts: object, kind: type[Saved]) -> dict[str, Any]:
    """The facts, with the types that the fields' defaults have."""
    if not isinstance(facts, dict):
        raise ValueError("its facts are no table")
    known = {one.name: one.default for one in fields(kind)}
    items = {one.name: get_args(one.type) for one in fields(kind)}
    checked: dict[str, Any] = {}
    for name, value in facts.items():
        if name not in known or name in _axes(kind):
            raise ValueError(f"there is no field {name!r}")
        match known[name], value:
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


def _word(kind: type[Saved]) -> str:
    return kind.__name__.lower()


def _axes(kind: type[Saved]) -> dict[str, int]:
    """The arrays of a kind, with their numbers of axes."""
    if issubclass(kind, Direction):
        return {"unit": 1}
    if issubclass(kind, Subspace):
        return {"basis": 2}
    if issubclass(kind, Eraser):
        return {"left": 2, "right": 2, "mean": 1}
    assert_never(kind)
