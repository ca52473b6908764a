"""A page about the results of one study: choose, what was found, figures, origin."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from interp.figures import Panel
from interp_explorer.cache import Opened, opened
from interp_explorer.catalog import Entry
from interp_explorer.pages import StudyPage
from interp_explorer.state import choose, choose_entry, listed
from interp_explorer.widgets.downloads import show_table
from interp_explorer.widgets.origin import show_origin
from interp_explorer.widgets.panel import Draw, heading, show_hidden, show_panel
from interp_explorer.widgets.text import date, escaped, models_text


ALL = "All figures"


def show_study(
    page: StudyPage,
    *,
    draw: Mapping[str, Draw] | None = None,
    is_spare: Callable[[Any, Panel], bool] | None = None,
) -> tuple[Entry, Opened] | None:
    """A whole page; what it shows is returned, so that a view can add to it.

    Args:
        page: The page.
        draw: What draws the figures of these names, as `"refusal_candidates"`, where
            readers can choose in them.
        is_spare: Which figures are shown only when they are asked for by name, since
            another one shows the same at a choice.
    """
    st.title(page.title, anchor=False)
    st.caption(page.about)
    entries = listed().of_kinds(page.kinds)
    if not entries:
        st.info(
            f"There are no results of this kind here. To make one: `{page.command}`"
        )
        return None
    left, right = st.columns(2)
    with left:
        entry = choose_entry(entries, key=f"{page.key}_run")
    found = opened(entry) if entry else None
    if entry is None or found is None:
        return None
    panels = found.section.panels
    titles = [f"{i}. {heading(panel)}" for i, panel in enumerate(panels, start=1)]
    with right:
        wanted = choose("Figure", [ALL, *titles], key=f"{page.key}_figure")
    _show_findings(entry, found, key=page.key)
    # Widgets of another result must not keep the state of this one.
    place = f"{page.key}_{entry.name}"
    for number, name in enumerate(titles):
        spare = is_spare is not None and is_spare(found.result, panels[number])
        if wanted == name or (wanted == ALL and not spare):
            by_name = (draw or {}).get(panels[number].name)
            show_panel(entry, found, number, key=place, draw=by_name)
    return entry, found


def show_rest(entry: Entry, found: Opened, *, key: str) -> None:
    """The tables that are closed at first, and where the result comes from.

    Args:
        entry: The result.
        found: The same, opened.
        key: What the keys of the widgets begin with.
    """
    for number, table in enumerate(found.section.hidden):
        show_hidden(table, key=f"{key}_{entry.name}_hidden_{number}")
    show_origin(found.result.provenance, entry)


def _show_findings(entry: Entry, found: Opened, *, key: str) -> None:
    models = models_text(entry.models, kind=entry.kind)
    st.markdown(f"**{escaped(found.section.summary)}**")
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.caption(
        f"{escaped(found.section.title)} · {escaped(models)} · {date(entry.created)}"
    )
    origin = right.popover(
        "Origin",
        icon=":material/fingerprint:",
        key=f"{key}_origin",
        on_change="rerun",
        help="What produced this, and the command that repeats it.",
    )
    if origin.open:
        with origin:
            show_origin(found.result.provenance, entry)
    # Imported here: the sentences of all studies take longer to import than a list
    # of runs takes to show.
    from probes.studies.summary import brief_table, sentences

    more = sentences(found.result)[1:]
    with st.expander("What was found, in numbers"):
        for sentence in more:
            st.markdown(f"- {escaped(sentence)}")
        show_table(
            brief_table(found.result),
            key=f"{key}_{entry.name}_brief",
            name=f"{found.result.KIND}-brief",
            alt="The numbers that matter most.",
        )
    if found.section.notes:
        with st.expander(f"What limits this ({len(found.section.notes)})"):
            for note in found.section.notes:
                st.markdown(f"- {escaped(note)}")
