"""What a figure shows now, where choices have changed it below its heading."""

import plotly.graph_objects as go
import streamlit as st

from interp.figures import Panel
from interp_explorer.widgets.panel import heading
from interp_explorer.widgets.text import escaped


def show_title(figure: go.Figure, panel: Panel) -> None:
    """The title of a figure, unless it is the heading above it.

    Args:
        figure: What is shown.
        panel: What the heading is of.
    """
    title = heading(Panel(figure=figure, alt=panel.alt))
    if title != heading(panel):
        st.markdown(f"**{escaped(title)}**")
