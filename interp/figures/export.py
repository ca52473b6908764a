"""A result in other forms: tables, one HTML page, the Python that opens it again."""

import io
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


def python_code(path: str | Path, *, number: int | None = None) -> str:
    """The Python that opens a result and shows its figures, or one of them.

    Args:
        path: The folder of the result or of its run.
        number: Which of its figures; all by default.

    Example:
        >>> print(python_code("run", number=2))
        from interp import figures, results
        <BLANKLINE>
        result = results.load('run')
        panel = figures.report_section(result).panels[2]
        panel.figure.show()
    """
    opened = (
        f"from interp import figures, results\n\nresult = results.load({str(path)!r})\n"
    )
    if number is None:
        return (
            f"{opened}print(result.to_dataframe())\n"
            "for panel in figures.report_section(result).panels:\n"
            "    panel.figure.show()"
        )
    return (
        f"{opened}panel = figures.report_section(result).panels[{number}]\n"
        "panel.figure.show()"
    )
