"""What lies below a folder of results, found quickly and without leaving the folder.

Every rerun of a page lists the folder again: directories are read, but what a run says
of itself is read once for each state of its files. Links that lead out are not
followed. Knows nothing of Streamlit.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from interp.config import parse_toml
from interp.errors import InterpError, ResultError
from interp.provenance import from_json
from interp.results import run_info
from interp.results.files import ARRAYS, RESULT, ROWS, read_description
from interp.results.runs import EVENTS, PROVENANCE, SPEC


# DIR/<study>/<models>/<hash>, and a folder or two that hold several such DIR.
MAX_DEPTH = 6
# So that the explorer of a home folder ends, and says that it did not see all.
MAX_FOLDERS = 20_000
READ_FILES = (
    SPEC,
    PROVENANCE,
    EVENTS,
    *(f"result/{name}" for name in (RESULT, ARRAYS, ROWS)),
    RESULT,
    ARRAYS,
    ROWS,
)
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run or saved result, as a list shows it.

    Attributes:
        name: Its path below the folder, which is how links name it.
        path: The run folder, or the folder of a result that belongs to no run.
        study: What was done.
        kind: Kind of the result, empty if there is none.
        models: Names of the models.
        created: UTC time in ISO 8601, empty if unknown.
        state: `finished`, `unfinished` or `damaged`.
        headline: What was found, or why it cannot be read.
        stamp: Names, times and sizes of its files; another stamp is another result.
    """

    name: str
    path: Path
    study: str
    kind: str
    models: tuple[str, ...]
    created: str
    state: str
    headline: str
    stamp: Stamp

    @property
    def is_run(self) -> bool:
        """Whether it is a run folder, which knows its settings and events."""
        return any(name == SPEC for name, _, _ in self.stamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What lies below a folder.

    Attributes:
        entries: The newest first.
        refused: Paths that were not read because they lead out of the folder.
        complete: Whether all folders were seen.
    """

    entries: tuple[Entry, ...]
    refused: tuple[str, ...]
    complete: bool

    def of_kinds(self, kinds: tuple[str, ...]) -> tuple[Entry, ...]:
        """The entries whose result is of one of these kinds."""
        return tuple(entry for entry in self.entries if entry.kind in kinds)


def catalog(root: Path) -> Catalog:
    """The runs and results below a folder, the newest first.

    Args:
        root: The folder.

    Raises:
        ResultError: If there is no such folder.
    """
    if not root.is_dir():
        raise ResultError(
            f"There is no folder {str(root)!r}.",
            expected="A folder of results was expected.",
            remedy="Check the path.",
        )
    root = root.resolve()
    entries: list[Entry] = []
    refused: list[str] = []
    walk = _walk(root)
    for folder in walk.folders:
        name = folder.relative_to(root).as_posix()
        stamp = _stamp(folder)
        if any(_leads_out(path, root) for path in _linked(folder, stamp)):
            refused.append(name)
        else:
            entries.append(_entry(name, folder, stamp))
    entries.sort(key=lambda entry: (entry.created, entry.name), reverse=True)
    refused += [path.relative_to(root).as_posix() for path in walk.leading_out]
    return Catalog(
        entries=tuple(entries), refused=tuple(refused), complete=walk.complete
    )


def check_inside(path: Path, root: Path) -> None:
    """Refuse to read a file or folder that is not below the folder of results.

    Raises:
        ResultError: If it leads out.
    """
    if _leads_out(path, root.resolve()):
        raise ResultError(
            f"{str(path)!r} leads out of the folder of results.",
            remedy="Copy what it points to into the folder.",
        )


def settings_of(entry: Entry, root: Path) -> dict[str, object] | None:
    """The settings of a run, or None where they are not known.

    Args:
        entry: A run, or a result that belongs to none.
        root: The folder of results.
    """
    path = entry.path / SPEC
    try:
        check_inside(path, root)
        return parse_toml(path.read_text("utf-8")) if entry.is_run else None
    except (OSError, ValueError, RecursionError, ResultError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    folders: tuple[Path, ...]
    leading_out: tuple[Path, ...]
    complete: bool


def _walk(root: Path) -> _Walk:
    """Runs and results below a folder, and links to folders outside of it."""
    waiting = [(root, 0)]
    folders: list[Path] = []
    leading_out: list[Path] = []
    visited = 0
    while waiting and visited < MAX_FOLDERS:
        folder, depth = waiting.pop()
        visited += 1
        try:
            with os.scandir(folder) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError:
            continue
        names = {item.name for item in items}
        if RESULT in names or {SPEC, PROVENANCE} <= names:
            folders.append(folder)
            continue
        for item in items:
            if item.name.startswith(".") or not item.is_dir():
                continue
            path = Path(item.path)
            if not item.is_symlink():
                if depth < MAX_DEPTH:
                    waiting.append((path, depth + 1))
            # A link inside the folder shows what is listed anyway.
            elif _leads_out(path, root):
                leading_out.append(path)
    return _Walk(
        folders=tuple(folders), leading_out=tuple(leading_out), complete=not waiting
    )


def _leads_out(path: Path, root: Path) -> bool:
    try:
        return not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        return True


def _linked(folder: Path, stamp: Stamp) -> list[Path]:
    """The files of a folder that are reached over a link; to resolve all takes long.

    The folder itself was reached without one.
    """
    names = [name for name, _, _ in stamp]
    over = {name.split("/")[0] for name in names if "/" in name}
    links = {name for name in over if (folder / name).is_symlink()}
    return [
        folder / name
        for name in names
        if name.split("/")[0] in links or (folder / name).is_symlink()
    ]


def _stamp(folder: Path) -> Stamp:
    found: list[tuple[str, int, int]] = []
    for name in READ_FILES:
        try:
            # Not followed: a link is judged by where it leads before it is read.
            status = os.lstat(folder / name)
        except OSError:
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return tuple(found)


@lru_cache(maxsize=8192)
def _entry(name: str, folder: Path, stamp: Stamp) -> Entry:
    names = {file for file, _, _ in stamp}
    if not {SPEC, PROVENANCE} <= names:
        return _result_entry(name, folder, stamp)
    info = run_info(folder)
    return Entry(
        name=name,
        path=folder,
        study=info.study,
        kind=info.kind,
        models=info.models,
        created=info.created,
        state=info.state,
        headline=info.headline,
        stamp=stamp,
    )


def _result_entry(name: str, folder: Path, stamp: Stamp) -> Entry:
    """A result that was saved by itself, described from its JSON alone."""
    try:
        description = read_description(folder)
        values = description["values"]
        source = values.get("provenance") if isinstance(values, dict) else None
        provenance = from_json(source)
    except InterpError as error:
        return Entry(
            name=name,
            path=folder,
            study=folder.name,
            kind="",
            models=(),
            created="",
            state="damaged",
            headline=str(error),
            stamp=stamp,
        )
    return Entry(
        name=name,
        path=folder,
        study=provenance.study,
        kind=str(description["kind"]),
        models=tuple(model.name for model in provenance.models),
        created=provenance.created,
        state="finished",
        headline=str(description.get("headline", "")),
        stamp=stamp,
    )
