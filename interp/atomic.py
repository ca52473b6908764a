"""Files that are either whole or absent, whatever happens to the process or the disk.

Everything is written beside its final name, flushed to the disk and then renamed,
which file systems do in one step. A full disk becomes `DiskFullError` and any other
refusal of the system `UnwritableError`; in both cases the unfinished file is gone and
the older file of that name, if there was one, is untouched.

    atomic.write_json(folder / "result.json", {"auroc": 0.93})
    with atomic.replacing(folder / "rows.parquet") as beside:
        frame.to_parquet(beside)
    with atomic.replacing_folder(folder / "result") as beside:
        result.save(beside)
"""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path, PurePath
from typing import IO, Any, cast

from interp.errors import DiskFullError, InterpError, UnwritableError


try:
    import fcntl
except ImportError:  # Windows has no advisory locks: strays are judged by their age.
    fcntl = None

Buffer = bytes | bytearray | memoryview

UNFINISHED = ".part"
SET_ASIDE = ".old"
# Long enough that no living writer of another machine is mistaken for a dead one.
STRAY_AFTER_SECONDS = 24 * 3600.0
# The last is the limit of one file's size (`ulimit -f`); Windows knows no quota error.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_OVERTAKEN = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}
_TRIES = 20
_REASONS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "part of the path is a file",
    errno.EEXIST: "a file of this name is in the way",
    errno.EISDIR: "a folder of this name is in the way",
    errno.ENAMETOOLONG: "the name is too long",
}


def write_bytes(
    path: str | PurePath,
    data: Buffer | Iterable[Buffer],
    *,
    final_name: Callable[[], str] | None = None,
) -> None:
    """Write a whole file, or leave what was there.

    Args:
        path: The file; its folder is made if it is absent.
        data: The content, in one piece or in several that are never joined in memory.
        final_name: Asked for the file's name when all is written, for names that tell
            the content; `path` then only says where and, in messages, what.

    Raises:
        DiskFullError: If the disk or the quota is full.
        UnwritableError: If the system refuses for another reason.
    """
    pieces = cast(Iterable[Buffer], [data] if isinstance(data, Buffer) else data)
    with _opened_beside(Path(path), final_name=final_name) as file:
        for piece in pieces:
            write_all(file, piece)


def write_all(file: IO[bytes], piece: Buffer) -> None:
    """Write all of a piece: one call takes at most 2 GiB, and less on a full disk."""
    rest = memoryview(piece)
    # An empty view cannot be cast.
    rest = rest.cast("B") if rest.nbytes else rest
    while rest.nbytes:
        rest = rest[file.write(rest) :]


def write_text(path: str | PurePath, text: str) -> None:
    """Write a whole UTF-8 file with the line ends as given; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: str | PurePath, value: object) -> None:
    """Write a value as JSON that is the same for the same value; see `json_text`."""
    write_text(path, json_text(value))


def json_text(value: object, *, compact: bool = False) -> str:
    """The one spelling of a value in JSON: sorted keys, UTF-8, no NaN or infinity.

    Args:
        value: Anything of dicts, lists, strings, numbers, booleans and None; tuples,
            paths and NumPy scalars are taken too.
        compact: On one line and without spaces, for hashes, instead of indented.

    Raises:
        ValueError: If a number is NaN or infinite, which is not JSON: say None.
        TypeError: If something has no spelling in JSON.

    Example:
        >>> json_text({"b": (1, 2), "a": None}, compact=True)
        '{"a":null,"b":[1,2]}'
    """
    text = json.dumps(
        value,
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        indent=None if compact else 2,
        separators=(",", ":") if compact else (",", ": "),
        default=_plain,
    )
    return text if compact else text + "\n"


def parse_json(text: str | bytes) -> Any:
    """The value that JSON says, for files that may come from anywhere.

    Raises:
        ValueError: If it is not JSON, or nested deeper than can be read.

    Example:
        >>> parse_json("[" * 100_000)
        Traceback (most recent call last):
        ValueError: it is nested too deep
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def json_hash(value: object, *, length: int = 16) -> str:
    """A short hexadecimal name for a value: the hash of its compact JSON.

    Example:
        >>> json_hash({"a": 1, "b": 2}) == json_hash({"b": 2, "a": 1})
        True
    """
    compact = json_text(value, compact=True).encode()
    return hashlib.sha256(compact).hexdigest()[:length]


@contextmanager
def replacing(path: str | PurePath) -> Iterator[Path]:
    """Offer a name beside `path` to write to; take its place when the block ends well.

    For writers that want a file name (`DataFrame.to_parquet`). After an exception
    nothing is left.

    Raises:
        DiskFullError: If the disk or the quota is full, also inside the block.
        UnwritableError: If the system refuses for another reason.
    """
    path = Path(path)
    with _opened_beside(path) as file:
        yield Path(file.name)


@contextmanager
def replacing_folder(path: str | PurePath) -> Iterator[Path]:
    """Offer an empty folder beside `path`; take its place when the block ends well.

    The former folder is set aside for the moment of the exchange. If the process dies
    in that moment the next call, or `restore_folder`, brings it back.

    Raises:
        DiskFullError: If the disk or the quota is full, also inside the block.
        UnwritableError: If the system refuses for another reason.
    """
    path = Path(path)
    restore_folder(path)
    with clear_errors(path):
        if path.exists() and not path.is_dir():
            raise FileExistsError(errno.EEXIST, "", str(path))
        beside, lock = _new_folder_beside(path)
    try:
        with clear_errors(path, beside=beside):
            yield beside
            for inner in sorted(beside.rglob("*")):
                _flush(inner)
            _flush(beside)
            _exchange(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def restore_folder(path: str | PurePath) -> None:
    """Bring back a folder that a process had set aside when it died."""
    path = Path(path)
    if path.exists():
        return
    for aside in sorted(path.parent.glob(f".{path.name}.*{SET_ASIDE}")):
        with suppress(OSError):
            aside.rename(path)
            return


def remove_strays(folder: str | PurePath) -> None:
    """Remove what processes left unfinished in a folder when they died.

    What another process is writing at this moment is kept: its writer holds a lock on
    it, which the system lifts when the writer dies.
    """
    for path in Path(folder).glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if not _abandoned(path):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def clear_errors(
    path: str | PurePath, *, beside: str | PurePath | None = None
) -> Iterator[None]:
    """Turn what the system says about a write into an error with a remedy.

    Args:
        path: What is being written, as the user knows it.
        beside: Its name while it is written. If given, errors about other files pass,
            because a block that writes may also read. A full disk never passes.

    Raises:
        DiskFullError: Instead of "no space left" and its relatives, whoever says it.
        UnwritableError: Instead of any other `OSError`.
    """
    try:
        yield
    except InterpError:
        raise
    except Exception as error:
        if _system_error(error) in _FULL:
            raise DiskFullError(
                f"The disk is full: {str(path)!r} was not written.",
                expected="What was whole before stays as it was.",
                remedy="Free some space and run the same command again.",
            ) from error
        if not isinstance(error, OSError):
            raise
        if beside and str(beside) not in (error.filename or str(beside)):
            raise
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise UnwritableError(
            f"Cannot write {str(path)!r}: {reason}.",
            remedy="Choose a folder in which you may write.",
        ) from error


@contextmanager
def _opened_beside(
    path: Path, *, final_name: Callable[[], str] | None = None
) -> Iterator[IO[bytes]]:
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _new_file_beside(path)
    beside = Path(file.name)
    with file, clear_errors(path, beside=beside):
        try:
            yield file
            os.fsync(file.fileno())
            beside.replace(path.with_name(final_name()) if final_name else path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _system_error(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    # Libraries written in Rust have exceptions of their own, which say it in words.
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else None


def _new_file_beside(path: Path) -> IO[bytes]:
    while True:
        beside = path.with_name(_temporary(path.name, UNFINISHED))
        # Unbuffered: the pieces are large.
        file = beside.open("xb", buffering=0)
        if fcntl is not None:
            # A file system without locks is no reason to fail: see `_abandoned`.
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        # `remove_strays` may have come between the two lines above.
        if beside.exists():
            return file
        file.close()


def _new_folder_beside(path: Path) -> tuple[Path, int | None]:
    """An empty folder, and the descriptor whose lock says that it is being filled."""
    while True:
        beside = path.with_name(_temporary(path.name, UNFINISHED))
        beside.mkdir(parents=True)
        lock = None
        # Not every system opens folders: then its age tells, see `_abandoned`.
        with suppress(OSError):
            lock = os.open(beside, os.O_RDONLY)
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
        # `remove_strays` may have come between.
        if beside.exists():
            return beside, lock
        if lock is not None:
            os.close(lock)


def _temporary(name: str, suffix: str) -> str:
    # File names end at 255 bytes on the usual file systems.
    return f".{name[:120]}.{secrets.token_hex(8)}{suffix}"


def _abandoned(path: Path) -> bool:
    if fcntl is None:
        return _old(path)
    number = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return _old(path)
    finally:
        os.close(number)
    return True


def _old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > STRAY_AFTER_SECONDS


def _exchange(beside: Path, path: Path) -> None:
    asides: list[Path] = []
    try:
        for tries_left in reversed(range(_TRIES)):
            aside = path.with_name(_temporary(path.name, SET_ASIDE))
            there_was_one = path.exists()
            try:
                if there_was_one:
                    path.rename(aside)
                    asides.append(aside)
                beside.rename(path)
            except OSError as error:
                if there_was_one and aside.exists() and not path.exists():
                    aside.rename(path)
                # Another process puts its own there at this moment.
                overtaken = error.errno in _OVERTAKEN and tries_left
                if not overtaken or not beside.exists():
                    raise
                continue
            return
    finally:
        for aside in asides:
            _discard(aside)


def _discard(aside: Path) -> None:
    # Under another name: half removed it must never be brought back.
    doomed = aside.with_suffix(UNFINISHED)
    with suppress(OSError):
        aside.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _flush(path: Path) -> None:
    """Make a file, or the names in a folder, survive a loss of power."""
    # Not every system can open or flush a folder.
    with suppress(OSError) if path.is_dir() else nullcontext():
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _plain(value: object) -> object:
    if isinstance(value, PurePath):
        return value.as_posix()
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        return item()
    raise TypeError(f"{type(value).__name__} has no spelling in JSON: {value!r}")
