"""Tables and figures as files: what a page shows now, in every form people ask for.

A button makes its file when it is pressed.
"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from interp.figures import Panel, Section, report_html
from interp.figures.export import csv_bytes, parquet_bytes
from interp.provenance import Provenance
from interp_explorer.widgets.chart import Drawn
from interp_explorer.widgets.svg import svg_button


def show_table(rows: pd.DataFrame, *, key: str, name: str, alt: str = "") -> None:
    """A table with its downloads below it.

    Tables with clicks or formats of columns call `st.dataframe` and then
    `table_downloads`.

    Args:
        rows: The table.
        key: The key of its widget.
        name: What its files are called, without an ending.
        alt: What it shows, for readers who cannot see it.
    """
    st.dataframe(rows, hide_index=True, key=key, alt=alt or None)
    table_downloads(rows, key=key, name=name)


def table_downloads(rows: pd.DataFrame, *, key: str, name: str) -> None:
    """CSV and Parquet of a table, all of its rows.

    Args:
        rows: The table, whole where only its beginning is shown.
        key: The key of the table's widget.
        name: What the files are called, without an ending.
    """
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "CSV",
            lambda: csv_bytes(rows),
            f"{name}.csv",
            "text/csv",
            key=f"{key}_csv",
            on_click="ignore",
            type="tertiary",
            icon=":material/download:",
        )
        st.download_button(
            "Parquet",
            lambda: parquet_bytes(rows),
            f"{name}.parquet",
            "application/vnd.apache.parquet",
            key=f"{key}_parquet",
            on_click="ignore",
            type="tertiary",
            icon=":material/download:",
        )


def figure_downloads(
    drawn: Sequence[Drawn],
    *,
    section: Section,
    provenance: Provenance,
    key: str,
    name: str,
) -> None:
    """The figures as they are shown above: one HTML page, and an SVG of each.

    Args:
        drawn: The figures, which stand right above in this order.
        section: What the page says of them: title, summary and notes.
        provenance: What produced them.
        key: What the keys of the widgets begin with.
        name: What the file is called, without an ending.
    """
    if not drawn:
        return
    with st.container(horizontal=True):
        st.download_button(
            "Figure as HTML" if len(drawn) == 1 else f"{len(drawn)} figures as HTML",
            lambda: figures_page(drawn, section=section, provenance=provenance),
            f"{name}.html",
            "text/html",
            key=f"{key}_html",
            on_click="ignore",
        )
        for place in range(len(drawn)):
            number = f"Figure {place + 1}" if len(drawn) > 1 else "Figure"
            svg_button(
                f"{number} as SVG",
                key=f"{key}_svg_{place}",
                above=len(drawn) - 1 - place,
            )


def figures_page(
    drawn: Sequence[Drawn], *, section: Section, provenance: Provenance
) -> bytes:
    """Figures as an HTML page that works from a disk, with their provenance.

    Args:
        drawn: The figures.
        section: What the page says of them: title, summary and notes.
        provenance: What produced them.
    """
    own = Section(
        title=section.title,
        summary=section.summary,
        panels=tuple(
            Panel(figure=one.figure, alt=one.alt, rows=one.rows) for one in drawn
        ),
        notes=section.notes,
    )
    return report_html(section.title, [own], provenance).encode("utf-8")
