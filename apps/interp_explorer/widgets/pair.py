"""Two results beside each other: paired numbers, and figures on a common scale."""

import streamlit as st

from interp.errors import IncompatibleError
from interp.figures.difference import PanelPair
from interp.figures.export import csv_bytes
from interp.results import Result
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.panel import heading
from interp_explorer.widgets.text import escaped


@st.fragment
def show_numbers(first: Result, second: Result, *, key: str) -> None:
    """The numbers of both with paired intervals, where the library has a test.

    Args:
        first: A result.
        second: Another of its kind.
        key: What the keys of the widgets begin with.
    """
    # Imported here: the summaries of all studies take longer than a list of runs.
    from probes.studies.paired import imports_torch, paired_numbers

    st.subheader("Paired numbers", anchor=False)
    slow = imports_torch(first)
    label = "Compare the maps cell by cell (imports torch first: some seconds)"
    if slow and not st.toggle(label, key=f"{key}_slow"):
        return
    try:
        with st.spinner("Resampling"):
            found = paired_numbers(first, second)
    except IncompatibleError as error:
        st.caption(escaped(str(error)))
        return
    numbers = [
        name for name in found.rows.columns if name not in ("number", "p corrected")
    ]
    st.dataframe(
        found.rows,
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in numbers
        },
        key=f"{key}_numbers",
    )
    st.caption(escaped(f"{found.method} low and high are the ends of 95 %."))
    st.download_button(
        "CSV",
        lambda: csv_bytes(found.rows),
        "paired.csv",
        "text/csv",
        key=f"{key}_csv",
        on_click="ignore",
    )


@st.fragment
def show_pair(pair: PanelPair, *, key: str) -> None:
    """The same figure of both results, and their difference below.

    Args:
        pair: The figures.
        key: What the keys of the widgets begin with.
    """
    st.subheader(escaped(heading(pair.first)), anchor=False)
    for column, name, panel in zip(
        st.columns(2), ("First", "Second"), (pair.first, pair.second), strict=True
    ):
        with column:
            st.markdown(f"**{name}**")
            show_figure(panel.figure, alt=panel.alt, key=f"{key}_{name}")
    if pair.difference is None:
        st.info(escaped(pair.reason))
        return
    st.markdown(f"**{escaped(heading(pair.difference))}**")
    show_figure(
        pair.difference.figure, alt=pair.difference.alt, key=f"{key}_difference"
    )
    st.caption(
        "Bands and error bars do not subtract and are left out; the paired numbers "
        "above have intervals."
    )
