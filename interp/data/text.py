"""Reads text files strictly: one clear error instead of a guess, in bounded memory.

A file is read line by line, so that a binary file, a wrong encoding or a line without
end is found before anything is parsed.
"""

from pathlib import Path

from interp.errors import DataError


MAX_LINE_BYTES = 1 << 20
# JSON may be written on one line; the limits on single texts hold all the same.
MAX_JSON_BYTES = 1 << 28
BYTES_TO_SNIFF = 4096


def checked_file(path: str | Path) -> Path:
    """The path of a file that exists, is a file and is not empty.

    Raises:
        DataError: If it is missing, a folder, a device, unreadable or empty.
    """
    path = Path(path).expanduser()
    shown = repr(str(path))
    try:
        if not path.exists():
            raise DataError(
                f"There is no file {shown}.",
                expected=_neighbours(path),
                remedy="Check the path; ids of the hub are written 'owner/name'.",
            )
        if path.is_dir():
            raise DataError(
                f"{shown} is a folder.",
                expected="A data file was expected.",
                remedy=_neighbours(path / "any"),
            )
        if not path.is_file():
            raise DataError(f"{shown} is a device or a pipe, not a file.")
        if path.stat().st_size == 0:
            raise DataError(
                f"The file {shown} is empty.", expected="At least one row was expected."
            )
    except OSError as error:
        raise _unreadable(path, error) from error
    return path


def text_of(path: str | Path, *, max_line_bytes: int | None = MAX_LINE_BYTES) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Args:
        path: The file.
        max_line_bytes: The longest line that is read; None for files whose lines mean
            nothing (JSON), which have a limit on their size instead.

    Raises:
        DataError: If the file is missing, empty, binary, not UTF-8 or has a line that
            is too long; the message names the line or the byte.
    """
    path = checked_file(path)
    try:
        with path.open("rb") as file:
            _refuse_other_encodings(path, file.read(BYTES_TO_SNIFF))
        if max_line_bytes is None:
            _refuse_huge(path)
            text = _decoded(path, path.read_bytes(), line=1, offset=0)
        else:
            text = _lines(path, max_line_bytes)
    except OSError as error:
        raise _unreadable(path, error) from error
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise DataError(
            f"The file {str(path)!r} is empty.",
            expected="At least one row was expected.",
        )
    return text


def _lines(path: Path, limit: int) -> str:
    parts: list[str] = []
    offset = 0
    with path.open("rb") as file:
        while line := file.readline(limit + 1):
            number = len(parts) + 1
            if len(line) > limit:
                raise DataError(
                    f"Line {number} of {str(path)!r} is longer than {limit:,} bytes.",
                    expected="One row of a table is short.",
                    remedy="Check that this is the right file and its quotes are shut.",
                )
            parts.append(_decoded(path, line, line=number, offset=offset))
            offset += len(line)
    return "".join(parts)


def _decoded(path: Path, data: bytes, *, line: int, offset: int) -> str:
    if (zero := data.find(b"\0")) >= 0:
        raise DataError(
            f"{str(path)!r} is not a text file: byte {offset + zero:,} is zero.",
            expected="A text file in UTF-8 was expected.",
            remedy="Check that this is the right file.",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise DataError(
            f"{str(path)!r} is not UTF-8: byte {offset + error.start:,} (line {line}) "
            f"is 0x{data[error.start]:02x}.",
            expected="A text file in UTF-8 was expected.",
            remedy="Save it as UTF-8.",
        ) from error


def _refuse_other_encodings(path: Path, head: bytes) -> None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _looks_like_utf16(head):
        raise DataError(
            f"{str(path)!r} is written in UTF-16.",
            expected="A text file in UTF-8 was expected.",
            remedy="Save it as UTF-8.",
        )


def _looks_like_utf16(head: bytes) -> bool:
    """Western text in UTF-16 has a zero in nearly every second byte, and no others."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) / 2
    return (
        len(head) > 8 and max(even, odd) > 0.8 * half and min(even, odd) < 0.05 * half
    )


def _refuse_huge(path: Path) -> None:
    if (size := path.stat().st_size) > MAX_JSON_BYTES:
        raise DataError(
            f"{str(path)!r} has {size / 1e6:,.0f} MB, too much for a JSON file.",
            expected=f"At most {MAX_JSON_BYTES / 1e6:,.0f} MB are read.",
            remedy="Write it as JSON Lines or Parquet.",
        )


def _neighbours(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {str(folder)!r} does not exist either."
    names = sorted(p.name for p in folder.iterdir() if p.is_file())[:8]
    return f"Files there: {', '.join(names)}." if names else "That folder has no files."


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"Cannot read {str(path)!r}: {error.strerror or error}.",
        remedy="Check the path and its permissions.",
    )
