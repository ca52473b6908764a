"""Finished parts of a study on disk, so that a stopped one goes on where it was."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from interp import atomic
from interp.stopping import stop_if_requested


logger = logging.getLogger("interp.studies")

# In a run folder.
SHARDS = "shards"
Part = TypeVar("Part")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """Parts of one run, each a file: JSON of plain values, or safetensors of arrays.

    Attributes:
        folder: Where they are, named by settings, weights and data; None keeps nothing.
    """

    folder: Path | None = None

    @classmethod
    def of_run(cls, run: Path | None) -> "Shards":
        """The parts of a run, in its folder; without one nothing is kept."""
        return cls(folder=None if run is None else run / SHARDS)

    def kept(self, name: str, kind: type[Part], make: Callable[[], Part]) -> Part:
        """A part that is on disk, or is made now and written; then a signal may stop.

        Args:
            name: The file, without its ending.
            kind: The class of the part, a dataclass of plain values.
            make: Makes it.

        Raises:
            StoppedError: If a signal asked for it; the part is kept.
            DiskFullError: If the disk is full.
            UnwritableError: If the folder cannot be written.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.json"
        found = _read(path, kind)
        if found is None:
            found = make()
            atomic.write_text(path, _adapter(kind).dump_json(found).decode())
        stop_if_requested(f"{name} is finished and kept in {self.folder}")
        return found

    def kept_arrays(
        self, name: str, names: Collection[str], make: Callable[[], Arrays]
    ) -> Arrays:
        """Arrays that are on disk, or are made now and written; see `kept`.

        Args:
            name: The file, without its ending.
            names: What the arrays are called.
            make: Makes them.

        Raises:
            StoppedError: If a signal asked for it; the part is kept.
            DiskFullError: If the disk is full.
            UnwritableError: If the folder cannot be written.

        Example:
            >>> shards = Shards(folder=getfixture("tmp_path"))
            >>> made = shards.kept_arrays("a", ["x"], lambda: {"x": np.arange(3)})
            >>> shards.kept_arrays("a", ["x"], dict)["x"].tolist()
            [0, 1, 2]
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.safetensors"
        found = _read_arrays(path)
        if found is None or found.keys() != {*names}:
            found = {key: np.ascontiguousarray(one) for key, one in make().items()}
            atomic.write_bytes(path, save(found))
        stop_if_requested(f"{name} is finished and kept in {self.folder}")
        return found


def _read(path: Path, kind: type[Part]) -> Part | None:
    try:
        return _adapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        logger.warning("%s is damaged and made again: %s", path, error)
        return None


def _read_arrays(path: Path) -> Arrays | None:
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError) as error:
        logger.warning("%s is damaged and made again: %s", path, error)
        return None


@cache
def _adapter(kind: type[Any]) -> TypeAdapter:
    return TypeAdapter(kind)
