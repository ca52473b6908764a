"""How figures look on a page, and which of them it shows now."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from interp.figures.style import NEUTRAL
from interp_explorer.widgets.made import Made


# The camera in the figure's bar then saves an SVG, made in the browser.
PLOT_CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
TOP, LEGEND = 12, 40
PHONE = "40rem"
# There the numbers in a map of more columns would touch.
MOST_NUMBERS_ON_PHONES = 4
# Text colours of .streamlit/config.toml.
INK = {"light": "#1b1e24", "dark": "#e8eaee"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """A figure that a page shows.

    Attributes:
        figure: The figure, with its title.
        alt: What it shows, for readers who cannot see it.
        code: The expression that makes it; empty if it is a figure of the report.
        rows: The numbers behind it, if they are known.
    """

    figure: go.Figure
    alt: str
    code: str = ""
    rows: pd.DataFrame | None = None


_drawing: ContextVar[list[Drawn] | None] = ContextVar("drawing", default=None)


@contextmanager
def collected() -> Iterator[list[Drawn]]:
    """The figures that are shown inside, in their order, for downloads below them."""
    found: list[Drawn] = []
    before = _drawing.set(found)
    try:
        yield found
    finally:
        _drawing.reset(before)


def note_drawn(figure: go.Figure | Made, alt: str) -> go.Figure:
    """The figure; whoever collects what is shown then has it.

    Args:
        figure: The figure as it was made, with its title; one that is not of the
            report with the call that made it.
        alt: What it shows.
    """
    code = ""
    if isinstance(figure, Made):
        figure, code = figure.figure, figure.code
    found = _drawing.get()
    if found is not None:
        found.append(Drawn(figure=figure, alt=alt, code=code))
    return figure


def hide_numbers_on_phones(key: str) -> None:
    """Leave the numbers out of the cells of a figure on narrow screens.

    Only the browser knows how wide it is. Pointing at a cell still tells its number.

    Args:
        key: The key of the figure's widget.
    """
    st.html(
        f"<style>@media (max-width: {PHONE}) {{"
        f".st-key-{key} .annotation {{display: none}}}}</style>"
    )


def ink() -> str:
    """The colour of text, or one that reads on both backgrounds where it is unknown."""
    scheme = st.context.theme.type
    return INK[scheme] if scheme else NEUTRAL


def show_figure(figure: go.Figure | Made, *, alt: str, key: str) -> None:
    """A figure that cannot be clicked.

    Args:
        figure: The figure; see `note_drawn`.
        alt: What it shows, for readers who cannot see it.
        key: The key of its widget.
    """
    drawn = shown(note_drawn(figure, alt))
    st.plotly_chart(drawn, theme="streamlit", config=PLOT_CONFIG, alt=alt, key=key)


def shown(figure: go.Figure) -> go.Figure:
    """A copy as a page shows it: its title is a heading above it, which wraps.

    The legend stands at the upper edge.

    Args:
        figure: The figure.
    """
    drawn = go.Figure(figure)
    content = figure.to_plotly_json()
    has_legend = content["layout"].get("showlegend") is not False
    has_legend = has_legend and _has_legend(content["data"])
    drawn.update_layout(
        title_text="",
        margin_t=TOP + LEGEND if has_legend else TOP,
        legend={"yref": "container", "y": 1, "yanchor": "top"},
    )
    # Streamlit writes grey, which cannot be read on cells and bars.
    if st.context.theme.type:
        drawn.update_layout(font_color=ink())
        drawn.update_xaxes(tickfont_color=ink(), title_font_color=ink())
        drawn.update_yaxes(tickfont_color=ink(), title_font_color=ink())
    return drawn


def _has_legend(traces: list[dict[str, object]]) -> bool:
    # Heat maps have a scale instead, unless they ask for an entry.
    entries = [
        trace.get("showlegend", trace["type"] != "heatmap") is True for trace in traces
    ]
    return sum(entries) > 1 or any(trace.get("showlegend") is True for trace in traces)
