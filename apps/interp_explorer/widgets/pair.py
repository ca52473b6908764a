"""Two results beside each other: paired numbers, and figures on a common scale."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from interp.errors import IncompatibleError
from interp.figures import Section
from interp.figures.difference import (
    PanelPair,
    common_panels,
    panel_pair,
    shown_values,
)
from interp_explorer.cache import Opened
from interp_explorer.catalog import Entry, Stamp
from interp_explorer.widgets.chart import Drawn, collected, show_figure
from interp_explorer.widgets.downloads import figure_downloads, table_downloads
from interp_explorer.widgets.panel import heading
from interp_explorer.widgets.text import date, escaped, models_text


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
    with collected() as drawn:
        for column, name, panel in zip(
            st.columns(2), ("First", "Second"), (pair.first, pair.second), strict=True
        ):
            with column:
                st.markdown(f"**{name}**")
                show_figure(panel.figure, alt=panel.alt, key=f"{key}_{name}")
        _show_difference(pair, key=key)
    box = st.expander("Downloads, Python", key=f"{key}_more", on_change="rerun")
    if box.open:
        with box:
            _show_more(two, number, drawn, key=f"{key}_{number}")


def _show_difference(pair: PanelPair, *, key: str) -> None:
    if pair.difference is None:
        st.info(escaped(pair.reason))
        return
    if not any(values.any() for values in shown_values(pair.difference.figure)):
        st.info("The two figures show the same values: second minus first is 0.")
        return
    st.markdown(f"**{escaped(heading(pair.difference))}**")
    show_figure(
        pair.difference.figure, alt=pair.difference.alt, key=f"{key}_difference"
    )
    st.caption(
        "Bands and error bars do not subtract and are left out; where there are paired "
        "numbers, above, they have intervals."
    )


def _show_more(two: Two, number: int, drawn: list[Drawn], *, key: str) -> None:
    title = "Two results beside each other"
    about = Section(
        title=title,
        summary=" ".join(
            f"{place}: {models_text(entry.models, kind=entry.kind)}, "
            f"{date(entry.created)} ({entry.name})."
            for place, entry in zip(("First", "Second"), two.entries, strict=True)
        ),
    )
    figure_downloads(
        drawn,
        section=about,
        provenance=two.second.result.provenance,
        key=key,
        name=f"{two.first.result.KIND}-compared-{number + 1}",
    )
    st.caption("The page tells the origin of the second; the first has its own page.")
    paths = (two.entries[0].path, two.entries[1].path)
    st.code(pair_code(paths, number), language="python")


def pair_code(paths: tuple[Path, Path], number: int) -> str:
    """The Python that draws a figure of two results beside each other again.

    Args:
        paths: The folders of the results.
        number: Which of the figures that both have.
    """
    return (
        "from interp import figures, results\n"
        "from interp.figures.difference import common_panels, panel_pair\n\n"
        f"first = results.load({str(paths[0])!r})\n"
        f"second = results.load({str(paths[1])!r})\n"
        "panels = [figures.report_section(one).panels for one in (first, second)]\n"
        f"pair = panel_pair(*common_panels(*panels)[{number}])\n"
        "for panel in (pair.first, pair.second, pair.difference):\n"
        "    if panel is not None:\n"
        "        panel.figure.show()"
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
