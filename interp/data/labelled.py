"""`statements` and `join`: from tables with labels, checked strictly, to statements."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from interp.data.given import (
    KNOWN,
    Labels,
    Texts,
    table_of_frame,
    table_of_source,
    table_of_texts,
)
from interp.data.statements import Statements, fingerprint, subject
from interp.data.table import Row, Table, shortened
from interp.errors import DataError, EmptyClassError


logger = logging.getLogger("interp.data")

GROUP_COLUMNS = ("group", "entity", "subject", "city", "id")
# Above this share the label column is wrong rather than a few rows.
MAX_SHARE_OF_CONFLICTS = 0.05
_TRUE, _FALSE = {"1", "1.0", "true"}, {"0", "0.0", "false"}


def statements(
    source: str | Path | pd.DataFrame | Texts,
    *,
    labels: Labels | None = None,
    statement: str = "statement",
    label: str = "label",
    group: str | None = None,
    polarity: str | None = None,
) -> Statements:
    r"""The statements of a file, of a data set of the hub or of values in Python.

    Repeated rows are kept once; a statement that is called both true and false is left
    out. Both are said in `notes` and in the log.

    Args:
        source: A CSV, TSV, JSON, JSON Lines or Parquet file, or a data set of the hub
            as `owner/name[:config][@split]`; or a pandas DataFrame; or texts.
        labels: The label of each text, where texts are given.
        statement: The column of the statements.
        label: The column of the labels: 0 and 1, or true and false in any case.
        group: The column of the entities; by default the first of `group`, `entity`,
            `subject`, `city` that exists, or an `id` that repeats, or else the words
            before the verb (see `subject`).
        polarity: The column that says which statements are negated (-1 or 0 for
            negated, 1 for affirmative); by default `polarity` if it exists.

    Raises:
        DataError: If something cannot be read; the message names file, line and value.
        EmptyClassError: If all statements have one label.
        OfflineError: If a data set must come from the hub and it cannot be reached.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> text = "statement,label\nRome is in Italy.,1\nRome is in Peru.,0\n"
        >>> _ = (folder / "cities.csv").write_text(text)
        >>> statements(folder / "cities.csv")
        Statements('cities.csv', 2 statements, 1 true, 1 groups)
        >>> statements(["Rome is in Italy.", "Rome is in Peru."], labels=[True, False])
        Statements('the list', 2 statements, 1 true, 1 groups)
    """
    table = _given(source, labels, names=(statement, label))
    for column, option in ((statement, "statement"), (label, "label")):
        table.require(column, option=option, flag=f"--{option}-column")
    texts = table.texts(statement)
    truths = [
        _label(row.get(label), f"{table.name}, {place}")
        for row, place in zip(table.rows, table.places, strict=True)
    ]
    kept, notes = _without_repetitions(table, texts, truths)
    table = _rows(table, kept)
    texts, truth = [texts[i] for i in kept], np.array([truths[i] for i in kept], bool)
    _require_both_classes(table.name, truth, label)
    groups, rule = _groups(table, texts, group)
    for note in notes:
        logger.warning(note)
    return Statements(
        name=table.name,
        prompts=tuple(texts),
        labels=truth,
        groups=groups,
        group_rule=rule,
        polarity=_polarity(table, polarity),
        sources=(table.name,) * len(texts),
        columns=_other_columns(table, (statement, label)),
        fingerprint=fingerprint(texts, truth.tolist()),
        notes=notes,
    )


def join(parts: Sequence[Statements]) -> Statements:
    r"""Several sets of statements as one; a statement in two of them is kept once.

    Groups of one name are one group, so that a city that occurs in two files is never
    in two splits.

    Raises:
        DataError: If there is no part, or two parts disagree about too many labels.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> text = "statement,label\nRome is in Italy.,1\nRome is in Peru.,0\n"
        >>> _ = (folder / "cities.csv").write_text(text)
        >>> part = statements(folder / "cities.csv")
        >>> len(join([part, part]))
        2
    """
    if not parts:
        raise DataError("There are no statements.", remedy="Name at least one file.")
    if len(parts) == 1:
        return parts[0]
    name = ", ".join(dict.fromkeys(part.name for part in parts))
    texts = [text for part in parts for text in part.prompts]
    labels = np.concatenate([part.labels for part in parts])
    sources = [source for part in parts for source in part.sources]
    rows: list[Row] = [{} for _ in texts]
    table = Table(name=name, columns=(), rows=tuple(rows), places=tuple(sources))
    kept, notes = _without_repetitions(table, texts, labels.tolist())
    for note in notes:
        logger.warning(note)
    polarities = [part.polarity for part in parts if part.polarity is not None]
    whole = Statements(
        name=name,
        prompts=tuple(texts),
        labels=labels,
        groups=tuple(group for part in parts for group in part.groups),
        group_rule="; ".join(dict.fromkeys(part.group_rule for part in parts)),
        polarity=np.concatenate(polarities) if len(polarities) == len(parts) else None,
        sources=tuple(sources),
        columns=pd.concat([part.columns for part in parts], ignore_index=True),
        fingerprint="",
        notes=(*(note for part in parts for note in part.notes), *notes),
    )
    return whole.take(kept)


def _given(source: object, labels: Labels | None, *, names: tuple[str, str]) -> Table:
    if isinstance(source, list | tuple | np.ndarray | pd.Series):
        return table_of_texts(source, labels, names=names)
    if labels is not None:
        raise DataError(
            "labels= was given without a list of texts.",
            remedy="Name the column of the labels with label=.",
        )
    if isinstance(source, pd.DataFrame):
        return table_of_frame(source)
    if isinstance(source, str | Path):
        return table_of_source(source, text_column=names[0])
    raise DataError(f"The source is a {type(source).__name__}.", expected=KNOWN)


def _label(value: object, where: str) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    missing = value is None or not text
    raise DataError(
        f"{where}: the label is {'missing' if missing else shortened(value)}.",
        expected="Labels are 1 or 0, or true or false.",
        remedy="Correct or remove the row.",
    )


def _without_repetitions(
    table: Table, texts: Sequence[str], labels: Sequence[bool]
) -> tuple[list[int], tuple[str, ...]]:
    """The first place of each statement, without those that have both labels."""
    places: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        places.setdefault(text, []).append(i)
    conflicts = [p for p in places.values() if len({labels[i] for i in p}) > 1]
    notes: list[str] = []
    if conflicts:
        first = conflicts[0]
        said = shortened(texts[first[0]], 90)
        where = " and ".join(table.places[i] for i in first[:2])
        if len(conflicts) > MAX_SHARE_OF_CONFLICTS * len(places):
            raise DataError(
                f"{table.name}: {said} is called true and false ({where}), and so are "
                f"{len(conflicts) - 1} other statements.",
                expected="A statement has one label.",
                remedy="Check that the statement and label columns are the right ones.",
            )
        others = f" and {len(conflicts) - 1} others" if len(conflicts) > 1 else ""
        notes.append(
            f"{table.name}: left out {said}{others}, called true and false ({where})."
        )
    repeated = sum(len(p) - 1 for p in places.values())
    repeated -= sum(len(p) - 1 for p in conflicts)
    if repeated:
        rows = "row" if repeated == 1 else "rows"
        notes.append(f"{table.name}: left out {repeated} repeated {rows}.")
    contested = {p[0] for p in conflicts}
    return sorted({p[0] for p in places.values()} - contested), tuple(notes)


def _rows(table: Table, kept: Sequence[int]) -> Table:
    return Table(
        name=table.name,
        columns=table.columns,
        rows=tuple(table.rows[i] for i in kept),
        places=tuple(table.places[i] for i in kept),
    )


def _require_both_classes(name: str, labels: np.ndarray, column: str) -> None:
    if labels.size and labels.any() and not labels.all():
        return
    only = "no statement is left" if not labels.size else "all statements are "
    only += "" if not labels.size else "true" if labels.all() else "false"
    raise EmptyClassError(
        f"{name}: {only}.",
        expected="True and false statements are needed.",
        remedy=f"Check the column {column!r}.",
    )


def _groups(
    table: Table, texts: Sequence[str], column: str | None
) -> tuple[tuple[str, ...], str]:
    if column is not None:
        table.require(column, option="group", flag="--group")
    for name in (column,) if column is not None else GROUP_COLUMNS:
        if name not in table.columns:
            continue
        values = [
            "" if _missing(row.get(name)) else str(row.get(name)).strip()
            for row in table.rows
        ]
        # An id that never repeats numbers the rows and groups nothing.
        if name == "id" and len(set(values)) == len(values):
            continue
        rule = f"the column {name!r}"
        if "" in values:
            # What has no entry is not one thing with all else that has none.
            rule += ", and where it is empty the words before the verb"
        pairs = zip(values, texts, strict=True)
        return tuple(value or subject(text) for value, text in pairs), rule
    return tuple(subject(text) for text in texts), "the words before the verb"


def _missing(value: object) -> bool:
    # JSON has None, tables NaN, which is not equal to itself.
    return value is None or value is pd.NA or value != value


def _polarity(table: Table, column: str | None) -> np.ndarray | None:
    if column is not None:
        table.require(column, option="polarity")
    name = column or "polarity"
    if name not in table.columns:
        return None
    signs = {"1": 1, "1.0": 1, "-1": -1, "-1.0": -1, "0": -1, "0.0": -1}
    signs |= {"affirmative": 1, "true": 1, "negated": -1, "false": -1}
    values = []
    for row, place in zip(table.rows, table.places, strict=True):
        text = str(row.get(name)).strip().lower()
        if text not in signs:
            raise DataError(
                f"{table.name}, {place}: the polarity is {shortened(row.get(name))}.",
                expected="Polarities are 1 (affirmative) or -1 (negated).",
            )
        values.append(signs[text])
    return np.array(values, dtype=np.int8)


def _other_columns(table: Table, used: Sequence[str]) -> pd.DataFrame:
    names = [name for name in table.columns if name not in used]
    frame = pd.DataFrame([{n: row.get(n) for n in names} for row in table.rows])
    for name in frame.columns:
        # A time is no number, though it can be made one.
        if frame[name].dtype.kind in "mM":
            continue
        # Numbers arrive as text from CSV.
        try:
            frame[name] = pd.to_numeric(frame[name])
        except (ValueError, TypeError, OverflowError):
            continue
    return frame.reindex(columns=names)
