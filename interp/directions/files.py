"""Directions, probes, subspaces and erasers on disk: one safetensors file each."""

from dataclasses import asdict
from pathlib import Path
from typing import assert_never

from interp.directions.direction import Direction
from interp.directions.erasure import Eraser
from interp.directions.probe import Probe
from interp.directions.stored import read, read_direction, read_probe
from interp.directions.subspace import Subspace
from interp.directions.written import Word, write


Saved = Direction | Probe | Subspace | Eraser


def save(value: Saved, path: str | Path) -> Path:
    """Write a direction, probe, subspace or eraser as one file, whole or not at all.

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
    write(asdict(value), path, word=_word(value))
    return path


def load(path: str | Path) -> Direction:
    """Read a direction that `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return read_direction(path)


def load_probe(path: str | Path) -> Probe:
    """Read a probe that `save` has written, bit for bit.

    Raises:
        ResultError: If the file is absent, damaged, or something else.

    Example:
        >>> import numpy as np, tempfile
        >>> probe = Probe(weights=np.ones(3), intercept=0.1, site="resid_post.1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_probe(probe.save(f"{folder}/mine.safetensors")).intercept
        0.1
    """
    return read_probe(path)


def load_subspace(path: str | Path) -> Subspace:
    """Read a subspace that `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return read(Subspace, Path(path), word="subspace")


def load_eraser(path: str | Path) -> Eraser:
    """Read an eraser that `save` has written.

    Raises:
        ResultError: If the file is absent, damaged, or something else.
    """
    return read(Eraser, Path(path), word="eraser")


def _word(value: Saved) -> Word:
    match value:
        case Direction():
            return "direction"
        case Probe():
            return "probe"
        case Subspace():
            return "subspace"
        case Eraser():
            return "eraser"
        case _:
            assert_never(value)
