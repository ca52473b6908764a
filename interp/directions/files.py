"""Directions on disk: one safetensors file each, with everything else as metadata."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from interp import atomic
from interp.directions.direction import Direction
from interp.errors import InterpError, ResultError


KIND = "interp.direction"
SCHEMA = 1


def save(direction: Direction, path: str | Path) -> Path:
    """Write a direction as one safetensors file, whole or not at all.

    Args:
        direction: The direction.
        path: The file; `.safetensors` by convention.

    Returns:
        The file.

    Raises:
        DiskFullError: If the disk is full.
        UnwritableError: If the file cannot be written.
    """
    path = Path(path)
    facts = asdict(direction)
    unit = facts.pop("unit")
    metadata = {
        "kind": KIND,
        "schema": str(SCHEMA),
        "direction": json.dumps(facts, sort_keys=True, allow_nan=False),
    }
    atomic.write_bytes(path, to_bytes({"unit": unit}, metadata=metadata))
    return path


def load(path: str | Path) -> Direction:
    """Read a direction that `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != KIND:
                raise ResultError(
                    f"{str(path)!r} holds no direction.",
                    expected="A file that interp.directions.save has written.",
                )
            if int(metadata["schema"]) > SCHEMA:
                raise ResultError(
                    f"{str(path)!r} was written by a newer version of interp.",
                    remedy="Update interp.",
                )
            unit = file.get_tensor("unit")
        facts = json.loads(metadata["direction"])
        return Direction(unit=unit, **facts)
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
    ) as error:
        raise ResultError(
            f"The direction in {str(path)!r} cannot be read: {error}.",
            remedy="The file is damaged: make it again.",
        ) from error
