"""Tables of results as escaped HTML, for notebooks and reports."""

import html
import math

import pandas as pd


MAX_ROWS = 20


def table_html(
    frame: pd.DataFrame, *, caption: str = "", max_rows: int = MAX_ROWS
) -> str:
    """A plain HTML table; every text in it is escaped.

    Args:
        frame: The rows.
        caption: A sentence above the table.
        max_rows: Rows beyond this are left out, and the table says how many.

    Example:
        >>> "<b>" in table_html(pd.DataFrame({"x": ["<b>"]}))
        False
    """
    shown = frame.head(max_rows)
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    head = "".join(
        f'<th scope="col"{_alignment(right)}>{html.escape(str(name))}</th>'
        for name, right in zip(frame.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_alignment(right)}>{html.escape(cell(value))}</td>"
            for value, right in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in shown.itertuples(index=False, name=None)
    )
    left_out = len(frame) - len(shown)
    more = f"<p>{left_out} more rows.</p>" if left_out else ""
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{more}"
    )


def cell(value: object) -> str:
    """How a value reads in a table: three decimals, a dash for what is missing.

    Example:
        >>> cell(0.12345), cell(float("nan")), cell(True)
        ('0.123', '–', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 1e4 else f"{value:.3g}"
    return str(value)


def _alignment(right: bool) -> str:
    return ' style="text-align:right"' if right else ""
