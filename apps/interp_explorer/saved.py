"""The directions and probes saved below a folder of results, read without torch.

Studies keep theirs in `RUN/directions` and `RUN/probes`; other files that
`interp.directions.save` wrote are found as well. Links that lead out are not followed.
Knows nothing of Streamlit.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from interp.directions import Direction
from interp.directions.probe import Probe
from interp.directions.stored import kind_of, read_direction, read_probe
from interp.errors import InterpError
from interp.results.files import ARRAYS
from interp.results.runs import PROVENANCE, SPEC
from interp_explorer.catalog import MAX_DEPTH, MAX_FOLDERS, check_inside


ENDING = ".safetensors"
# Parts of runs and of stores of activations, which can be many.
PASSED_OVER = ("shards", "result")
# So that a folder of checkpoints ends, and the page says that it did not see all.
MAX_FILES = 5_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedDirection:
    """A direction or a probe in a file.

    Attributes:
        name: Its path below the folder, which is how links name it.
        path: The file.
        direction: The direction; of a probe that along its weights.
        run: The run that found it, as a path below the folder; empty if there is none.
        probe: The probe, if it is one.
    """

    name: str
    path: Path
    direction: Direction
    run: str
    probe: Probe | None = None

    @property
    def label(self) -> str:
        """A short name, which several can have."""
        word = "probe at " if self.probe is not None else ""
        return f"{self.path.stem} · {word}{self.direction.site}"

    @property
    def has_gap(self) -> bool:
        """Whether a strength in class gaps means something along it."""
        one = self.direction
        is_known = one.negative_mean is not None and one.positive_mean is not None
        return one.scale > 0 and (self.probe is None or is_known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The directions and probes below a folder.

    Attributes:
        found: By name.
        problems: Why files of them cannot be read, in sentences.
        complete: Whether all files were seen.
    """

    found: tuple[SavedDirection, ...]
    problems: tuple[str, ...]
    complete: bool


def saved_directions(root: Path) -> Saved:
    """The directions and probes in files below a folder.

    Args:
        root: The folder.
    """
    root = root.resolve()
    found: list[SavedDirection] = []
    problems: list[str] = []
    paths, complete = _files(root)
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            # The folders above it were reached without a link.
            if path.is_symlink():
                check_inside(path, root)
            status = path.stat()
            read = _read(str(path), status.st_mtime_ns, status.st_size)
            if read is None:
                continue
            probe = read if isinstance(read, Probe) else None
            direction = read.direction if isinstance(read, Probe) else read
        except (InterpError, OSError) as error:
            problems.append(f"{name}: {error}")
            continue
        found.append(
            SavedDirection(
                name=name,
                path=path,
                direction=direction,
                run=_run_of(path, root),
                probe=probe,
            )
        )
    return Saved(found=tuple(found), problems=tuple(problems), complete=complete)


def _files(root: Path) -> tuple[list[Path], bool]:
    """Files that may hold one, by name, and whether these are all."""
    found: list[Path] = []
    for visited, (place, folders, names) in enumerate(os.walk(root)):
        if visited >= MAX_FOLDERS or len(found) >= MAX_FILES:
            return sorted(found)[:MAX_FILES], False
        folder = Path(place)
        deep = len(folder.relative_to(root).parts) > MAX_DEPTH
        kept = [n for n in folders if not n.startswith(".") and n not in PASSED_OVER]
        folders[:] = [] if deep else sorted(kept)
        found += [
            folder / name for name in names if name.endswith(ENDING) and name != ARRAYS
        ]
    return sorted(found), True


@lru_cache(maxsize=MAX_FILES)
def _read(path: str, modified: int, size: int) -> Direction | Probe | None:
    """What a file holds, None if it is neither a direction nor a probe."""
    del modified, size
    match kind_of(path):
        case "direction":
            return read_direction(path)
        case "probe":
            return read_probe(path)
        case _:
            return None


def _run_of(path: Path, root: Path) -> str:
    for folder in path.parents[:2]:
        if not folder.is_relative_to(root):
            break
        if all((folder / name).is_file() for name in (SPEC, PROVENANCE)):
            return folder.relative_to(root).as_posix()
    return ""
