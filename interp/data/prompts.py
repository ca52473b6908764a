"""Prompts from any table: the column that holds the text, and everything beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interp.data.hub import hub_table, is_hub_id
from interp.data.table import read_table
from interp.errors import DataError


# Tried in this order when the user names no column.
COLUMNS = ("prompt", "text", "statement", "instruction")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTable:
    """Texts and the rows they come from, in the order of the source.

    Attributes:
        name: The name of the source.
        column: The column that holds the texts.
        texts: One text per row.
        rows: All columns of each row.
    """

    name: str
    column: str
    texts: tuple[str, ...]
    rows: tuple[Mapping[str, object], ...]

    def __len__(self) -> int:
        return len(self.texts)


def prompts(source: str | Path, *, column: str | None = None) -> PromptTable:
    r"""The prompts of a file or of a data set of the hub, nothing dropped or merged.

    Args:
        source: A CSV, TSV, JSON, JSON Lines or Parquet file, a text file with one
            prompt per line, or a data set of the hub.
        column: The column of the texts; by default the first of `prompt`, `text`,
            `statement`, `instruction` that exists.

    Raises:
        DataError: If something cannot be read; the message names file, line and value.
        OfflineError: If a data set must come from the hub and it cannot be reached.

    Example:
        >>> path = getfixture("tmp_path") / "two.txt"
        >>> _ = path.write_text("Rome is\nParis is\n")
        >>> prompts(path).texts
        ('Rome is', 'Paris is')
    """
    if is_hub_id(str(source)):
        table = hub_table(str(source))
    else:
        table = read_table(source, text_column=column or COLUMNS[0])
    if column is None:
        column = next((name for name in COLUMNS if name in table.columns), None)
    if column is None:
        shown = ", ".join(repr(name) for name in table.columns[:20])
        raise DataError(
            f"{table.name} has none of the columns {', '.join(COLUMNS)}.",
            expected=f"Its columns: {shown}.",
            remedy="Name the one that holds the prompts with --column (column=).",
        )
    table.require(column, option="column", flag="--column")
    return PromptTable(
        name=table.name,
        column=column,
        texts=tuple(table.texts(column)),
        rows=table.rows,
    )
