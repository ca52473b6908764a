"""Tables of what is already in Python: a data frame, or texts with labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from interp.data.hub import hub_table, is_hub_id
from interp.data.table import Row, Table, read_table
from interp.errors import DataError


FRAME = "the data frame"
TEXTS = "the list"
KNOWN = (
    "Statements come from a file, a data set of the hub, a pandas DataFrame, or a list "
    "of texts with labels=."
)
Texts = Sequence[str] | Shaped[np.ndarray, " example"] | pd.Series
Labels = Sequence[object] | Shaped[np.ndarray, " example"] | pd.Series


def table_of_frame(frame: pd.DataFrame) -> Table:
    """The rows of a data frame; what is missing in it is None.

    Raises:
        DataError: If it has no rows, or a column twice.

    Example:
        >>> table_of_frame(pd.DataFrame({"statement": ["Rome is old."]})).places
        ('row 1',)
    """
    columns = tuple(map(str, frame.columns))
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise DataError(
            f"{FRAME} has the column {repeated[0]!r} twice.",
            remedy="Rename or remove one.",
        )
    # Missing values of pandas are neither equal nor unequal to anything.
    held = frame.astype(object).where(frame.notna(), None)
    rows = [dict(zip(columns, row, strict=True)) for row in held.to_numpy().tolist()]
    return _table(FRAME, columns, rows)


def table_of_texts(
    texts: Texts, labels: Labels | None, *, names: Sequence[str]
) -> Table:
    """The rows of texts with their labels.

    Args:
        texts: The texts.
        labels: The label of each.
        names: The columns of the texts and of the labels.

    Raises:
        DataError: If there are no texts, no labels, or not one label for each text.
    """
    if labels is None:
        raise DataError(
            f"{len(texts)} texts were given without labels.",
            expected="Statements are true or false.",
            remedy="Add labels=, one for each; a list of files is read one by one "
            "and put together by interp.data.join.",
        )
    if len(texts) != len(labels):
        raise DataError(
            f"{len(texts)} texts were given with {len(labels)} labels.",
            expected="Each text has one label.",
        )
    pairs = zip(list(texts), list(labels), strict=True)
    return _table(TEXTS, names, [dict(zip(names, pair, strict=True)) for pair in pairs])


def _table(name: str, columns: Iterable[str], rows: Sequence[Row]) -> Table:
    if not rows:
        raise DataError(f"{name} has no rows.", expected="At least one was expected.")
    return Table(
        name=name,
        columns=tuple(columns),
        rows=tuple(rows),
        places=tuple(f"row {i + 1}" for i in range(len(rows))),
    )


def table_of_source(source: str | Path, *, text_column: str) -> Table:
    """The rows of a file or of a data set of the hub.

    Args:
        source: A file, or a data set as `owner/name[:config][@split]`.
        text_column: What the column of texts is called where a file names none.

    Raises:
        DataError: If something cannot be read.
        OfflineError: If a data set must come from the hub and it cannot be reached.
    """
    if isinstance(source, str) and is_hub_id(source):
        return hub_table(source)
    return read_table(source, text_column=text_column)
