"""Families are trained once: a folder for each spec under `INTERP_HOME`.

A family is written beside its place and renamed when it is whole (`interp.atomic`). A
lock for each spec makes a second process wait and then find what the first one made;
what a killed process left half-written is swept away by the next one that holds the
lock.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from interp import atomic
from interp.errors import ConfigError, DataError
from interp.home import interp_home

from .family import DESCRIPTION, Family, read_family


def cached(name: str, spec: str, make: Callable[[Path], None]) -> Family:
    """The family of this spec, made by `make(folder)` if it is not there yet.

    Args:
        name: The family.
        spec: Hash of all that decides it.
        make: Fills an empty folder; when it raises, nothing is kept.

    Raises:
        DiskFullError: If the disk is full.
        UnwritableError: If nothing can be written under `INTERP_HOME`.
    """
    place = interp_home() / "organism" / f"{name}-{spec}"
    if not _is_whole(place, spec):
        with atomic.clear_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place.with_name(f"{place.name}.lock"))
            lock.acquire()
        try:
            if not _is_whole(place, spec):
                _sweep(place)
                with atomic.replacing_folder(place) as folder:
                    make(folder)
        finally:
            lock.release()
    return read_family(place)


def _sweep(place: Path) -> None:
    # Whoever holds the lock is alone, so these belong to processes that died.
    for stray in place.parent.glob(f".{place.name}.*{atomic.UNFINISHED}"):
        shutil.rmtree(stray, ignore_errors=True)


def _is_whole(place: Path, spec: str) -> bool:
    if not (place / DESCRIPTION).exists():
        return False
    try:
        return read_family(place).spec == spec
    except DataError:
        return False


def holds(out: Path, spec: str) -> bool:
    """Whether the folder already is this very family.

    Raises:
        ConfigError: If there is anything else: nothing is overwritten.
    """
    if not out.exists():
        return False
    if not out.is_dir():
        raise ConfigError(
            f"{str(out)!r} is a file.",
            expected="A family is written to a folder.",
            remedy="Name another place.",
        )
    if _is_whole(out, spec):
        return True
    if any(out.iterdir()):
        raise ConfigError(
            f"The folder {str(out)!r} is not empty.",
            expected="A family is written to a new folder, nothing is overwritten.",
            remedy="Name another folder or empty this one.",
        )
    return False


def copy_family(family: Family, out: Path) -> Family:
    """Put a copy of a cached family at `out`, whole or not at all."""
    with atomic.replacing_folder(out) as folder:
        shutil.copytree(family.folder, folder, dirs_exist_ok=True)
    return read_family(out)


def empty(folder: Path) -> None:
    """Remove what is in a folder, so that a new attempt starts clean."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
