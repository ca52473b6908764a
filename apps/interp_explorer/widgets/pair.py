"""Two results beside each other: paired numbers, and figures on a common scale."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from interp.errors import IncompatibleError
from interp.figures.difference import PanelPair, common_panels, panel_pair
from interp_explorer.cache import Opened
from interp_explorer.catalog import Entry, Stamp
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.downloads import table_downloads
from interp_explorer.widgets.panel import heading
from interp_explorer.widgets.text import escaped


if TYPE_CHECKING:
    from probes.studies.paired import PairedNumbers

MAX_KEPT = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Two:
    """Two opened results of one kind.

    Attributes:
        entries: Where they lie.
        first: The first one.
        second: The second one.
    """

    entries: tuple[Entry, Entry]
    first: Opened
    second: Opened

    @property
    def stamps(self) -> tuple[tuple[str, Stamp], ...]:
        """What tells these two from others, and from later states of them."""
        return tuple((str(entry.path), entry.stamp) for entry in self.entries)


def common_figures(two: Two) -> list[str]:
    """The titles of the figures that both have.

    Args:
        two: The results.
    """
    panels = two.first.section.panels, two.second.section.panels
    return [heading(first) for first, _ in common_panels(*panels)]


@st.fragment
def show_numbers(two: Two, *, key: str) -> None:
    """The numbers of both with paired intervals, where the library has a test.

    Args:
        two: The results.
        key: What the keys of the widgets begin with.
    """
    # Imported here: the summaries of all studies take longer than a list of runs.
    from probes.studies.paired import imports_torch

    st.subheader("Paired numbers", anchor=False)
    label = "Compute them now (imports torch first: some seconds)"
    if imports_torch(two.first.result) and not st.toggle(label, key=f"{key}_slow"):
        return
    try:
        found = _numbers(two.stamps, two)
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
    table_downloads(found.rows, key=f"{key}_numbers", name="paired")


@st.fragment
def show_pair(two: Two, number: int, *, key: str) -> None:
    """The same figure of both results, and their difference below.

    Args:
        two: The results.
        number: Which of the figures that both have.
        key: What the keys of the widgets begin with.
    """
    pair = _pair(two.stamps, number, two)
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


@st.cache_resource(max_entries=MAX_KEPT, show_spinner="Comparing")
def _pair(stamps: object, number: int, _two: Two) -> PanelPair:
    del stamps
    panels = _two.first.section.panels, _two.second.section.panels
    return panel_pair(*common_panels(*panels)[number])


@st.cache_resource(max_entries=MAX_KEPT, show_spinner="Resampling")
def _numbers(stamps: object, _two: Two) -> "PairedNumbers":
    from probes.studies.paired import paired_numbers

    del stamps
    return paired_numbers(_two.first.result, _two.second.result)
