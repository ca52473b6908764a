"""How directions, probes, subspaces and erasers lie in a file. Knows no torch.

Arrays are kept as they are, everything else as metadata. Files carry the version of
their schema. Knows none of their classes, so that each of them can write itself.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import save as to_bytes

from interp import atomic


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


def write(fields: Mapping[str, object], path: Path, *, word: Word) -> None:
    """Write a value as one file, whole or not at all.

    Args:
        fields: What to keep, from `dataclasses.asdict`.
        path: The file.
        word: Its kind.

    Raises:
        DiskFullError: If the disk is full.
        UnwritableError: If the file cannot be written.
    """
    atomic.write_bytes(path, file_bytes(fields, word=word))


def file_bytes(fields: Mapping[str, object], *, word: Word) -> bytes:
    """The file of a value.

    Args:
        fields: What to keep, from `dataclasses.asdict`.
        word: Its kind.

    Example:
        >>> up = {"unit": np.array([0.0, 1.0], np.float32), "norm": 2.0}
        >>> b"interp.direction" in file_bytes(up, word="direction")
        True
    """
    facts = dict(fields)
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
