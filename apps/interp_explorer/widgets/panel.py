"""One figure with the numbers behind it, downloads, and the Python that rebuilds it."""

import html
from collections.abc import Callable
from typing import Any

import streamlit as st

from interp.figures import Hidden, Panel, Section, report_html
from interp.figures.export import csv_bytes, parquet_bytes, python_code
from interp_explorer.cache import Opened
from interp_explorer.catalog import Entry
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.svg import svg_button
from interp_explorer.widgets.text import escaped


# What a view shows in place of a figure alone.
Draw = Callable[[Any, Panel], None]


def heading(panel: Panel) -> str:
    """The title of a figure as plain text."""
    title = panel.figure.to_plotly_json()["layout"].get("title", {})
    return html.unescape(str(title.get("text", "Figure")))


@st.fragment
def show_panel(
    entry: Entry,
    opened: Opened,
    number: int,
    *,
    key: str,
    draw: Draw | None = None,
) -> None:
    """A figure; its numbers and downloads are made when they are asked for.

    Args:
        entry: The result it belongs to.
        opened: The same, opened.
        number: Which of its figures.
        key: What the keys of the widgets begin with.
        draw: Draws the figure instead, with choices and what belongs to them.
    """
    panel = opened.section.panels[number]
    place = f"{key}_{number}"
    st.subheader(escaped(heading(panel)), anchor=False)
    if draw is not None:
        draw(opened.result, panel)
    else:
        show_figure(panel.figure, alt=panel.alt, key=f"{place}_figure")
    box = st.expander(
        "Numbers, downloads, Python", key=f"{place}_more", on_change="rerun"
    )
    if box.open:
        with box:
            _show_more(entry, opened, number, place=place)


@st.fragment
def show_hidden(table: Hidden, *, key: str) -> None:
    """A table that stays closed, and is not sent, until the reader opens it.

    Args:
        table: The table.
        key: The key of its widget.
    """
    box = st.expander(escaped(table.title), key=key, on_change="rerun")
    if box.open:
        with box:
            st.dataframe(table.rows, hide_index=True, key=f"{key}_rows")


def figure_page(opened: Opened, number: int) -> bytes:
    """One figure as an HTML page that works from a disk, with numbers and provenance.

    Args:
        opened: The result.
        number: Which of its figures.
    """
    section = opened.section
    panel = section.panels[number]
    alone = Section(
        title=section.title,
        summary=section.summary,
        panels=(panel,),
        notes=section.notes,
    )
    page = report_html(heading(panel), [alone], opened.result.provenance)
    return page.encode("utf-8")


def _show_more(entry: Entry, opened: Opened, number: int, *, place: str) -> None:
    panel = opened.section.panels[number]
    rows = panel.rows
    stem = f"{opened.result.KIND}-{number + 1}"
    if rows is not None:
        st.dataframe(rows, hide_index=True, key=f"{place}_rows")
    with st.container(horizontal=True):
        if rows is not None:
            st.download_button(
                "CSV",
                lambda: csv_bytes(rows),
                f"{stem}.csv",
                "text/csv",
                key=f"{place}_csv",
                on_click="ignore",
            )
            st.download_button(
                "Parquet",
                lambda: parquet_bytes(rows),
                f"{stem}.parquet",
                "application/vnd.apache.parquet",
                key=f"{place}_parquet",
                on_click="ignore",
            )
        st.download_button(
            "Figure as HTML",
            lambda: figure_page(opened, number),
            f"{stem}.html",
            "text/html",
            key=f"{place}_html",
            on_click="ignore",
        )
        svg_button(key=f"{place}_svg")
    st.code(python_code(entry.path, number=number), language="python")
