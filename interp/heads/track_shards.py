"""What was measured at each checkpoint, on disk, so that a run resumes."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from interp import atomic
from interp.heads.metrics import Measured
from interp.heads.series import CheckpointRef
from interp.heads.track_patterns import ShownSequence


# What is kept of each kind, and how many axes it has.
AXES = {"values": 1, "heads": 3, "vectors": 1, "chance": 1}
# An array, and what it is of; beside the others, since no number depends on it.
PATTERNS, FACTS = "patterns", "facts"
_SHOWN = TypeAdapter(ShownSequence)
logger = logging.getLogger("interp.heads")


@dataclass(frozen=True, slots=True)
class Shards:
    """One file for each checkpoint that was measured.

    Attributes:
        folder: Where they lie.
    """

    folder: Path

    def write(self, ref: CheckpointRef, measured: Measured) -> None:
        """Keep what was measured at a checkpoint.

        Raises:
            DiskFullError: If the disk is full.
            UnwritableError: If the folder cannot be written.
        """
        arrays = {
            f"{kind}/{name}": np.ascontiguousarray(array, dtype=np.float32)
            for kind, group in (
                ("values", measured.values),
                ("heads", measured.heads),
                ("vectors", measured.vectors),
            )
            for name, array in group.items()
        }
        arrays |= {
            f"chance/{name}": np.array([value], dtype=np.float32)
            for name, value in measured.chance.items()
        }
        # The file keeps no order of its own, neither of arrays nor of texts: one text
        # for all, so that whoever measures a checkpoint writes the same bytes.
        facts: dict[str, Any] = {"checkpoint": _identity(ref), "order": list(arrays)}
        if measured.patterns is not None:
            arrays[PATTERNS] = np.ascontiguousarray(measured.patterns.values)
            facts[PATTERNS] = asdict(measured.patterns.shown)
        held = {FACTS: json.dumps(facts)}
        atomic.write_bytes(self._path(ref), save(arrays, metadata=held))

    def read(self, ref: CheckpointRef) -> Measured | None:
        """What was measured at a checkpoint; None if nothing was, or its files changed.

        A damaged file counts as none: the checkpoint is measured again. Patterns are
        left out, which `shown` and `patterns` read.
        """
        path = self._path(ref)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                facts = _facts(file)
                if facts.get("checkpoint") != _identity(ref):
                    logger.warning("%s has changed: it is measured again.", ref.name)
                    return None
                if PATTERNS in facts:
                    _check_patterns(file, _SHOWN.validate_python(facts[PATTERNS]))
                return _measured({key: file.get_tensor(key) for key in facts["order"]})
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is damaged (%s): measured again.", path, error)
            return None

    def shown(self, ref: CheckpointRef) -> ShownSequence | None:
        """Of which heads and sequence patterns were kept at a checkpoint, if of any.

        Args:
            ref: A checkpoint that `read` reads.
        """
        with safe_open(self._path(ref), framework="numpy") as file:
            kept = _facts(file).get(PATTERNS)
        return None if kept is None else _SHOWN.validate_python(kept)

    def patterns(
        self, ref: CheckpointRef, rows: Sequence[int]
    ) -> Float16[np.ndarray, "head query key"]:
        """The patterns of some heads at a checkpoint; the others stay on disk.

        Args:
            ref: A checkpoint of which `shown` knows patterns.
            rows: The places of the heads in `ShownSequence.heads`.
        """
        with safe_open(self._path(ref), framework="numpy") as file:
            kept = file.get_slice(PATTERNS)
            return np.concatenate([kept[row : row + 1] for row in rows])

    def _path(self, ref: CheckpointRef) -> Path:
        return self.folder / f"step-{ref.step:09d}.safetensors"


def _measured(arrays: Mapping[str, np.ndarray]) -> Measured:
    groups: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in AXES}
    for key, array in arrays.items():
        kind, _, name = key.partition("/")
        if array.ndim != AXES[kind] or array.dtype.kind != "f":
            raise ValueError(f"{key} is {array.dtype}{list(array.shape)}")
        groups[kind][name] = array
    return Measured(
        values=groups["values"],
        heads=groups["heads"],
        vectors=groups["vectors"],
        chance={name: array.item() for name, array in groups["chance"].items()},
    )


def _facts(file: Any) -> dict[str, Any]:
    """What a part says about its arrays."""
    held = file.metadata() or {}
    if FACTS in held:
        facts = atomic.parse_json(held[FACTS])
        if not isinstance(facts, dict):
            raise ValueError(f"its {FACTS} are no table")
        return facts
    # Older parts have a text for each.
    return {**held, "order": atomic.parse_json(held.get("order", "[]"))}


def _check_patterns(file: Any, shown: ShownSequence) -> None:
    kept, size = file.get_slice(PATTERNS), len(shown.ids)
    found = kept.get_dtype(), kept.get_shape()
    if found != ("F16", [len(shown.heads), size, size]):
        raise ValueError(f"{PATTERNS} is {found[0]}{found[1]}")


def _identity(ref: CheckpointRef) -> str:
    """What changes when the weights of a checkpoint do."""
    files: list[list[object]] = []
    if ref.folder is not None:
        files = [
            [path.name, path.stat().st_size, path.stat().st_mtime_ns]
            for path in sorted(ref.folder.glob("*.safetensors"))
        ]
    return json.dumps([ref.name, ref.commit, files])
