"""A result in other forms: tables, one HTML page, the Python that opens it again."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from interp.figures.report import report_html
from interp.figures.sections import report_section
from interp.results.kinds import Result, title


def csv_bytes(rows: pd.DataFrame) -> bytes:
    r"""The rows as CSV in UTF-8.

    Args:
        rows: The rows.

    Example:
        >>> csv_bytes(pd.DataFrame({"layer": [3]}))
        b'layer\n3\n'
    """
    return rows.to_csv(index=False, lineterminator="\n").encode("utf-8")


def parquet_bytes(rows: pd.DataFrame) -> bytes:
    """The rows as a Parquet file.

    Args:
        rows: The rows.
    """
    file = io.BytesIO()
    rows.to_parquet(file, index=False)
    return file.getvalue()


def result_page(result: Result) -> bytes:
    """All figures of a result as one HTML page that works from a disk.

    Args:
        result: The result.
    """
    section = report_section(result)
    return report_html(title(result), [section], result.provenance).encode("utf-8")


def python_code(path: str | Path, *, figures: Sequence[str] = ()) -> str:
    """The Python that opens a result and shows its figures, or some of them.

    Args:
        path: The folder of the result or of its run.
        figures: Expressions of `figures` and `result` that make them; the figures of
            the report by default.

    Example:
        >>> print(python_code("run", figures=["figures.layer_curve(result)"]))
        from interp import figures, results
        <BLANKLINE>
        result = results.load('run')
        figures.layer_curve(result).show()
    """
    lines = [
        "from interp import figures, results",
        "",
        f"result = results.load({str(path)!r})",
    ]
    if figures:
        lines += [f"{figure}.show()" for figure in figures]
    else:
        lines += [
            "print(result.to_dataframe())",
            "for panel in figures.report_section(result).panels:",
            "    panel.figure.show()",
        ]
    return "\n".join(lines)
