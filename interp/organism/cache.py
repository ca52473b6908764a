"""Families are trained once: a folder for each spec under `INTERP_HOME`.

A family is written beside its place and renamed when it is whole. A lock for each spec
makes a second process wait and then find what the first one made; what a killed process
left half-written is swept away by the next one that holds the lock.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from interp.errors import ConfigError, DataError, DiskFullError

from .family import DESCRIPTION, Family, read_family


HASH_LENGTH = 16


def interp_home() -> Path:
    """Where things are kept between runs: `INTERP_HOME`, or `~/.cache/interp`."""
    return Path(os.environ.get("INTERP_HOME") or Path.home() / ".cache" / "interp")


def spec_hash(spec: dict[str, object]) -> str:
    """A short hash of a JSON value that does not depend on the order of its keys.

    Example:
        >>> spec_hash({"a": 1, "b": 2}) == spec_hash({"b": 2, "a": 1})
        True
    """
    text = json.dumps(spec, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def cached(name: str, spec: str, make: Callable[[Path], None]) -> Family:
    """The family of this spec, made by `make(folder)` if it is not there yet."""
    shelf = interp_home() / "organism"
    place = shelf / f"{name}-{spec}"
    with _disk_errors(shelf):
        shelf.mkdir(parents=True, exist_ok=True)
        with FileLock(shelf / f"{place.name}.lock"):
            if not _is_whole(place, spec):
                for leftover in shelf.glob(f".{place.name}.*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                with staged(place) as folder:
                    make(folder)
    return read_family(place)


def _is_whole(place: Path, spec: str) -> bool:
    if not (place / DESCRIPTION).exists():
        return False
    try:
        return read_family(place).spec == spec
    except DataError:
        return False


@contextmanager
def staged(place: Path) -> Iterator[Path]:
    """A new folder beside the place that takes its place when the block ends well."""
    folder = place.parent / f".{place.name}.{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
        if place.exists():
            shutil.rmtree(place)
        folder.rename(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_out(out: Path, spec: str) -> bool:
    """Whether the folder already holds this very family.

    Raises:
        ConfigError: If the folder holds anything else: nothing is overwritten.
    """
    if not out.exists():
        return False
    if not out.is_dir():
        raise ConfigError(f"{out} is a file.", expected="The family needs a folder.")
    if _is_whole(out, spec):
        return True
    if any(out.iterdir()):
        raise ConfigError(
            f"The folder {out} is not empty.",
            expected="A family is written to a new folder, nothing is overwritten.",
            remedy="Name another folder or empty this one.",
        )
    return False


def copy_family(family: Family, out: Path) -> Family:
    """Put a copy of a cached family at `out`, whole or not at all."""
    with _disk_errors(out), staged(out) as folder:
        shutil.copytree(family.folder, folder, dirs_exist_ok=True)
    return read_family(out)


@contextmanager
def _disk_errors(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(
                f"The disk is full at {where}.",
                expected="A family takes about 60 MB.",
                remedy="Free some space, or set INTERP_HOME to another disk.",
            ) from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            raise ConfigError(
                f"Cannot write to {where}: {error.strerror}.",
                remedy="Name a folder that can be written, or set INTERP_HOME.",
            ) from None
        raise


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Start the block with nothing in the folder."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    yield
