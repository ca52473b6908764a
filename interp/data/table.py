"""Tables of rows from CSV, TSV, JSON, JSON Lines, Parquet and plain text files."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interp.data.text import checked_file, text_of
from interp.errors import DataError, closest


if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt")
MAX_TEXT_CHARACTERS = 100_000
MAX_PARQUET_BYTES = 1 << 30
MAX_PARQUET_ROWS = 10_000_000
PARQUET_ROWS_AT_ONCE = 256
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows with their places in the file, so that an error can name them."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    places: tuple[str, ...]

    def require(self, column: str, *, option: str, flag: str = "") -> None:
        """Check that a column exists.

        Args:
            column: Its name.
            option: The name of the argument with which the caller can choose another.
            flag: The option of the command line that does the same, if there is one.

        Raises:
            DataError: If it does not, with the columns there are and a close match.
        """
        if column in self.columns:
            return
        shown = ", ".join(repr(name) for name in self.columns[:20]) or "none"
        way = f"{flag} ({option}= in Python)" if flag else f"{option}= in Python"
        hint = closest(column, self.columns)
        raise DataError(
            f"{self.name} has no column {column!r}.",
            expected=f"Its columns: {shown}.",
            remedy=_other_separator(self.name, self.columns)
            or f"{hint} Rename one, or name it with {way}.",
        )

    def texts(self, column: str) -> list[str]:
        """The texts of one column, without surrounding white space.

        Raises:
            DataError: If one is missing, not a text, or absurdly long.
        """
        return [
            self._text(row, place, column)
            for row, place in zip(self.rows, self.places, strict=True)
        ]

    def _text(self, row: Row, place: str, column: str) -> str:
        value = row.get(column)
        where = f"{self.name}, {place}"
        if (
            value is None
            or value != value
            or (isinstance(value, str) and not value.strip())
        ):
            raise DataError(
                f"{where}: the {column} is empty.",
                expected="Every row needs one.",
                remedy="Fill it in or remove the row.",
            )
        if not isinstance(value, str):
            raise DataError(
                f"{where}: the {column} is {shortened(value)}, not a text.",
                remedy=f"Check that {column!r} is the right column.",
            )
        if len(value) > MAX_TEXT_CHARACTERS:
            raise DataError(
                f"{where}: the {column} has {len(value):,} characters.",
                expected=f"At most {MAX_TEXT_CHARACTERS:,} are read.",
                remedy="Shorten it or remove the row.",
            )
        return value.strip()


def shortened(value: object, limit: int = 60) -> str:
    """How a value is quoted in an error: its repr, cut when it is long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def read_table(path: str | Path, *, text_column: str) -> Table:
    """The rows of a data file.

    Args:
        path: A CSV, TSV, JSON (a list of objects), JSON Lines, Parquet or text file.
        text_column: The column under which plain texts are filed: the lines of a text
            file and the strings of a JSON list.

    Raises:
        DataError: If the file cannot be read as what its name says; the message names
            the file and the line.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    checked_file(path)
    match suffix:
        case ".csv" | ".tsv":
            table = _separated(path, "," if suffix == ".csv" else "\t")
        case ".json":
            table = _json(path, text_column)
        case ".jsonl" | ".ndjson":
            table = _json_lines(path, text_column)
        case ".parquet":
            table = _parquet(path)
        case ".txt":
            table = _plain(path, text_column)
        case _:
            raise DataError(
                f"{str(path)!r} has an unknown file type {suffix!r}.",
                expected=f"Known types: {', '.join(SUFFIXES)}.",
                remedy="Convert the file or correct its name.",
            )
    if not table.rows:
        raise DataError(
            f"{str(path)!r} has no rows.", expected="At least one row was expected."
        )
    return table


def _separated(path: Path, delimiter: str) -> Table:
    header: list[str] | None = None
    rows: list[Row] = []
    places: list[str] = []
    for number, cells in _records(path, delimiter):
        if header is None:
            header = _header(path, cells)
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path.name}, line {number}: {_fields(len(cells))}.",
                expected=f"The header has {_fields(len(header))}.",
                remedy=_other_separator(path.name, header)
                or "Put quotes around texts that contain the separator.",
            )
        rows.append(dict(zip(header, cells, strict=True)))
        places.append(f"line {number}")
    return Table(
        name=path.name,
        columns=tuple(header or ()),
        rows=tuple(rows),
        places=tuple(places),
    )


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line on which it begins.

    A field that opens with a quotation, as in `"Dune" is a novel.,1`, is not valid CSV
    but common; when its quotes are paired it is read as it stands, quotes included.
    """
    lines = list(io.StringIO(text_of(path), newline=""))
    start = 0
    while start < len(lines):
        # By number: a copy of the rest for each odd row would take quadratic time.
        rest = map(lines.__getitem__, range(start, len(lines)))
        reader = csv.reader(rest, delimiter=delimiter, strict=True)
        first = start
        try:
            for cells in reader:
                if cells:
                    yield start + 1, cells
                start = first + reader.line_num
        except csv.Error as error:
            line = lines[start].rstrip("\r\n")
            if line.count('"') % 2 or reader.line_num > start - first + 1:
                raise DataError(
                    f"{path.name}, line {start + 1}: the row cannot be read ({error}).",
                    expected="A quoted field ends with a quote; inside it quotes are "
                    "doubled.",
                    remedy="Check the quotes of that row.",
                ) from error
            yield start + 1, line.split(delimiter)
            start += 1


def _other_separator(name: str, columns: Sequence[str]) -> str:
    """What to do about a file whose only column looks like several; else nothing."""
    marks = [mark for mark in ";\t|," if len(columns) == 1 and mark in columns[0]]
    if not marks:
        return ""
    right = "tabs" if name.lower().endswith(".tsv") else "commas"
    saved = "" if right == "commas" else ", sep='\\t'"
    return (
        f"It seems to be separated by {marks[0]!r}; {right} were expected. Save it "
        f"with {right}: pandas.read_csv({name!r}, sep={marks[0]!r}).to_csv({name!r}"
        f"{saved}, index=False)."
    )


def _fields(n: int) -> str:
    return "1 field" if n == 1 else f"{n} fields"


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"{path.name} has the column {repeated[0]!r} twice.",
            remedy="Rename or remove one.",
        )
    return names


def _json(path: Path, text_column: str) -> Table:
    text = text_of(path, max_line_bytes=None)
    value = _parsed(text, path.name, line=0)
    if not isinstance(value, list):
        raise DataError(
            f"{path.name} holds {_kind(value)}.",
            expected=f"A list of objects with {text_column!r} was expected.",
            remedy="One object per line is read from a .jsonl file.",
        )
    return _from_objects(
        path, value, [f"row {i + 1}" for i in range(len(value))], text_column
    )


def _json_lines(path: Path, text_column: str) -> Table:
    values: list[object] = []
    places: list[str] = []
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if line.strip():
            values.append(_parsed(line, path.name, line=number))
            places.append(f"line {number}")
    return _from_objects(path, values, places, text_column)


def _parsed(text: str, name: str, *, line: int) -> object:
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            # Half of a pair of surrogates can be escaped, but is in no text.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name}{f', line {line}' if line else ''}: a text holds "
            f"{error.object[error.start]!r}, half of a character.",
            remedy="Remove it, or write the file again from its source.",
        ) from error
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, column {error.colno}"
        raise DataError(
            f"{name}, {place}: not JSON ({error.msg}).", remedy="Correct that place."
        ) from error
    except (RecursionError, ValueError) as error:
        raise DataError(
            f"{name}: the JSON cannot be read (nested too deep, or a number too long).",
            expected="A flat table was expected.",
        ) from error


def _kind(value: object) -> str:
    names = {dict: "one object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), "a number")


def _from_objects(
    path: Path, values: Iterable[object], places: list[str], text_column: str
) -> Table:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    for value, place in zip(values, places, strict=True):
        if isinstance(value, str):
            value = {text_column: value}
        if not isinstance(value, dict):
            raise DataError(
                f"{path.name}, {place}: {_kind(value)}.",
                expected=f"An object with {text_column!r} was expected.",
            )
        columns.update(dict.fromkeys(value))
        rows.append(value)
    return Table(
        name=path.name, columns=tuple(columns), rows=tuple(rows), places=tuple(places)
    )


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    rows: list[Row] = []
    n_bytes = 0
    try:
        # Opened here: pyarrow would take a path with "=" for a partitioned data set.
        with path.open("rb") as file:
            # In small batches: a few bytes may stand for very many equal texts.
            opened = pyarrow.parquet.ParquetFile(file)
            if opened.metadata.num_rows > MAX_PARQUET_ROWS:
                raise _too_large(path)
            for batch in opened.iter_batches(batch_size=PARQUET_ROWS_AT_ONCE):
                n_bytes += sum(_decoded_bytes(column) for column in batch.columns)
                if n_bytes > MAX_PARQUET_BYTES or len(rows) > MAX_PARQUET_ROWS:
                    raise _too_large(path)
                rows.extend(batch.to_pylist())
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{str(path)!r} is not a readable Parquet file.",
            expected=" ".join(str(error).split())[:120],
            remedy="Write it again.",
        ) from error
    return _from_objects(path, rows, [f"row {i + 1}" for i in range(len(rows))], "text")


def _decoded_bytes(column: "pyarrow.Array") -> int:
    import pyarrow

    kept_once = pyarrow.types.is_dictionary(column.type)
    return (column.dictionary_decode() if kept_once else column).nbytes


def _too_large(path: Path) -> DataError:
    return DataError(
        f"{str(path)!r} holds too much for a table of texts.",
        expected=f"At most {MAX_PARQUET_BYTES / 1e9:.0f} GB and "
        f"{MAX_PARQUET_ROWS:,} rows are read.",
        remedy="Keep the rows and columns that you need.",
    )


def _plain(path: Path, text_column: str) -> Table:
    lines = text_of(path).split("\n")
    kept = [(i, line) for i, line in enumerate(lines, start=1) if line.strip()]
    return Table(
        name=path.name,
        columns=(text_column,),
        rows=tuple({text_column: line} for _, line in kept),
        places=tuple(f"line {i}" for i, _ in kept),
    )
