"""Directions, probes, subspaces and erasers from their files. Knows no torch.

Old files keep loading: fields that they lack get their defaults.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from safetensors import SafetensorError, safe_open

from interp.directions.direction import Direction
from interp.directions.probe import Probe
from interp.directions.written import AXES, SCHEMA, Word
from interp.errors import InterpError, ResultError


T = TypeVar("T")


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
