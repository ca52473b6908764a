"""One figure with the numbers behind it, downloads, and the Python that rebuilds it."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from interp.figures import Hidden, Panel, Section
from interp.figures.export import python_code
from interp_explorer.cache import Opened
from interp_explorer.catalog import Entry
from interp_explorer.widgets.chart import Drawn, collected, show_figure
from interp_explorer.widgets.downloads import figure_downloads, show_table
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
    with collected() as drawn:
        if draw is not None:
            draw(opened.result, panel)
        else:
            show_figure(panel.figure, alt=panel.alt, key=f"{place}_figure")
    box = st.expander(
        "Numbers, downloads, Python", key=f"{place}_more", on_change="rerun"
    )
    if box.open:
        with box:
            _show_more(entry, opened, number, drawn, place=place)


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
            show_table(table.rows, key=f"{key}_rows", name=_file_name(table.title))


def _file_name(title: str) -> str:
    """A title as the name of a file: its letters and digits."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:60] or "table"


def _show_more(
    entry: Entry, opened: Opened, number: int, drawn: list[Drawn], *, place: str
) -> None:
    section = opened.section
    panel = section.panels[number]
    stem = f"{opened.result.KIND}-{number + 1}"
    if panel.rows is not None:
        show_table(panel.rows, key=f"{place}_rows", name=stem)
    about = Section(title=heading(panel), summary=section.summary, notes=section.notes)
    # The report's own figure has its numbers; what was chosen in has none.
    own = f"figures.report_section(result).panels[{number}].figure"
    figures = [
        replace(one, rows=panel.rows, code=own) if one.figure is panel.figure else one
        for one in drawn
    ]
    figure_downloads(
        figures,
        section=about,
        provenance=opened.result.provenance,
        key=place,
        name=stem,
    )
    codes = [one.code for one in figures]
    st.code(python_code(entry.path, figures=codes), language="python")
