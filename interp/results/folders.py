"""Which folder holds a result, and opening it as a kind that is known beforehand.

Knows no kind itself: each class of results opens its own folders with this.
"""

from pathlib import Path
from typing import Any

from interp import atomic
from interp.errors import ResultError
from interp.results.files import RESULT, Stored, read_description, read_result


def load_as(folder: str | Path, kind: type[Stored]) -> Stored:
    """The result in a folder, if it is of this kind.

    Raises:
        ResultError: If it is of another kind, absent or damaged.
    """
    place = result_folder(folder)
    description = read_description(place)
    # A bound to `Storable` could not be checked at run time: it has fields.
    known: Any = kind
    if description["kind"] != known.KIND:
        raise ResultError(
            f"{str(place)!r} holds a result of the kind {description['kind']!r}.",
            expected=f"{known.KIND!r} was expected.",
            remedy="Use interp.results.load for any kind.",
        )
    return read_result(place, description, kind, newest=known.SCHEMA)


def result_folder(folder: str | Path) -> Path:
    """The folder that holds `result.json`: the one given, or `result/` inside it.

    Raises:
        ResultError: If there is neither.
    """
    folder = Path(folder).expanduser()
    folder = folder.parent if folder.name == RESULT else folder
    inner = folder / "result"
    for place in (folder, inner):
        atomic.restore_folder(place)
        if (place / RESULT).is_file():
            return place
    if not folder.exists():
        raise ResultError(
            f"There is no folder {str(folder)!r}.",
            expected="A result or run folder was expected.",
            remedy="Check the path.",
        )
    if (folder / "spec.toml").is_file():
        raise ResultError(
            f"The run {str(folder)!r} has no result yet.",
            remedy="Start it again with the same settings: it resumes.",
        )
    raise ResultError(
        f"{str(folder)!r} holds no {RESULT}.",
        expected="A result or run folder was expected.",
        remedy="interp.results.find lists the runs below a folder.",
    )
