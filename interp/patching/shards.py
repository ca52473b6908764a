"""Finished groups of a trace on disk, so that an interrupted one goes on.

Each group is one file, whole or absent. Its name begins with a hash of everything that
decides its numbers, so a folder may hold the shards of several traces, and those of
other settings are never taken for one's own.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from interp import atomic
from interp.patching.group_grid import GroupGrid
from interp.patching.plan import PAIRS_PER_GROUP, Job


logger = logging.getLogger("interp.patching")

FORMAT = 1
_FIELDS = {"ld", "base_ld", "other_ld", "token_layers"}


class Shards:
    """The shards of one trace in a folder.

    Args:
        folder: Where they are kept; made if absent.
        key: What tells them from those of other traces; see `shard_key`.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        if folder.is_dir():
            atomic.remove_strays(folder)

    @property
    def folder(self) -> Path:
        return self._folder

    def read(self, index: int, shape: tuple[int, ...]) -> GroupGrid | None:
        """The grid of a group, or None if it is absent or damaged."""
        path = self._path(index)
        try:
            arrays = load(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError) as error:
            logger.warning("%s cannot be read and is computed again: %s", path, error)
            return None
        if not _fits(arrays, shape):
            logger.warning("%s holds something else and is computed again", path)
            return None
        return GroupGrid(
            ld=arrays["ld"],
            base_ld=arrays["base_ld"],
            other_ld=arrays["other_ld"],
            token_layers=int(arrays["token_layers"][0]),
        )

    def write(self, index: int, grid: GroupGrid) -> None:
        """Keep the grid of a group.

        Raises:
            DiskFullError: If the disk is full.
            UnwritableError: If the folder cannot be written.
        """
        arrays = {
            "ld": np.ascontiguousarray(grid.ld),
            "base_ld": np.ascontiguousarray(grid.base_ld),
            "other_ld": np.ascontiguousarray(grid.other_ld),
            "token_layers": np.array([grid.token_layers], dtype=np.int64),
        }
        atomic.write_bytes(self._path(index), save(arrays))

    def _path(self, index: int) -> Path:
        return self._folder / f"{self._key}-{index:05d}.safetensors"


def _fits(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> bool:
    if set(arrays) != _FIELDS or arrays["token_layers"].dtype.kind != "i":
        return False
    wanted = {"ld": shape, "base_ld": shape[1:2], "other_ld": shape[1:2]}
    wanted["token_layers"] = (1,)
    return all(arrays[name].shape == axes for name, axes in wanted.items())


def shard_key(job: Job, wanted: tuple[tuple[int, ...], ...]) -> str:
    """A hash of everything that decides the numbers of a trace."""
    models = [job.model.identity(), job.source.identity()]
    return atomic.json_hash(
        {
            "format": FORMAT,
            "models": [[m.weights_hash, m.config_hash, m.dtype] for m in models],
            "pairs": job.pairs.fingerprint,
            "units": [unit.name for unit in job.units],
            "window": job.window,
            "direction": job.direction,
            "wanted": wanted,
            "pairs per group": PAIRS_PER_GROUP,
        }
    )
