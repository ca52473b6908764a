"""What was found here: one card per result, the newest first."""

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from interp_explorer.catalog import Catalog, Entry
from interp_explorer.glance import glance
from interp_explorer.missing import missing
from interp_explorer.pages import PAGES, page_of
from interp_explorer.state import listed, root
from interp_explorer.widgets.text import date, escaped, models_text


CARDS_PER_PAGE = 12
STATES = ("finished", "unfinished", "damaged")
FILTERS = ("o_studies", "o_states", "o_words")


def show_counts(found: Catalog) -> None:
    """How much is here, and what was not read."""
    finished, unfinished, damaged = (
        sum(entry.state == state for entry in found.entries) for state in STATES
    )
    models = {name for entry in found.entries for name in entry.models}
    # Plain text: every kind of element is one more script for the first page to fetch.
    st.markdown(
        f"**{finished}** results · **{unfinished}** not finished · "
        + f"**{damaged}** damaged · " * bool(damaged)
        + f"**{len(models)}** models"
    )
    if found.refused:
        st.warning(
            f"{len(found.refused)} paths lead out of the folder and were not read: "
            + escaped(", ".join(found.refused[:5]))
        )
    if not found.complete:
        st.warning("There are too many folders here; only the first were read.")


def filtered(found: Catalog) -> list[Entry]:
    """The results that the address asks for.

    The boxes are sent once they are asked for: their scripts are most of what the first
    page would wait for.
    """
    is_asked = any(key in st.query_params for key in FILTERS)
    box = st.expander("Filter", key="o_filter", expanded=is_asked, on_change="rerun")
    if not (box.open or is_asked):
        return list(found.entries)
    columns = box.columns(3)
    studies = columns[0].multiselect(
        "Studies",
        [page.title for page in PAGES],
        key=FILTERS[0],
        bind="query-params",
        placeholder="All",
    )
    states = columns[1].multiselect(
        "State", STATES, key=FILTERS[1], bind="query-params", placeholder="All"
    )
    words = columns[2].text_input(
        "Models, paths, findings that contain", key=FILTERS[2], bind="query-params"
    )
    return [
        entry
        for entry in found.entries
        if (not studies or ((page := page_of(entry.kind)) and page.title in studies))
        and (not states or entry.state in states)
        and words.lower()
        in " ".join((*entry.models, entry.name, entry.headline)).lower()
    ]


def show_card(entry: Entry) -> DeltaGenerator:
    """One result: what, of which models, when, what was found, and where to read on.

    Returns:
        The place of its number and line, which are read after all cards are there.
    """
    page = page_of(entry.kind)
    with st.container(border=True):
        left, right = st.columns([3, 1])
        with left:
            title = page.title if page else entry.study
            models = escaped(models_text(entry.models, kind=entry.kind))
            st.markdown(f"**{escaped(title)}** · {models}")
            st.caption(f"{date(entry.created)} · {escaped(entry.name)}")
            if entry.state == "finished":
                st.markdown(escaped(entry.headline))
            else:
                st.markdown(f":orange[{entry.state}] {escaped(entry.headline)}")
            with st.container(horizontal=True):
                if page:
                    st.page_link(
                        page.view,
                        label="Open",
                        icon=page.icon,
                        query_params={f"{page.key}_run": entry.name},
                    )
                st.page_link(
                    "views/runs.py",
                    label="Origin and files",
                    icon=":material/folder_open:",
                    query_params={"n_run": entry.name},
                )
        return right.empty()


def show_missing(found: Catalog) -> None:
    """Studies that were not run of the models here, with the commands."""
    hints = missing(found.entries, root())
    if not hints:
        return
    # Code is sent when it is asked for: what colours it is larger than all the rest.
    box = st.expander(
        f"Not measured yet ({len(hints)})", key="o_missing", on_change="rerun"
    )
    if not box.open:
        return
    with box:
        for hint in hints:
            of = f" of {escaped(models_text(hint.models))}" if hint.models else ""
            st.markdown(f"**{hint.page.title}**{of}")
            st.code(hint.command, language="bash", wrap_lines=True)


st.title("Overview", anchor=False)
found = listed()
st.caption(
    "What was measured here, the newest first: of each result its headline number, one "
    f"line of it, and what was found. Results in {escaped(str(root()))}"
)
show_counts(found)
shown = filtered(found)
if not shown:
    st.info("Nothing here fits." if found.entries else "There are no results here.")
n_pages = max(1, math.ceil(len(shown) / CARDS_PER_PAGE))
number = 1
if n_pages > 1:
    number = st.number_input(
        f"Page of {n_pages}", 1, n_pages, 1, key="o_page", bind="query-params"
    )
first = (number - 1) * CARDS_PER_PAGE
cards = [(entry, show_card(entry)) for entry in shown[first : first + CARDS_PER_PAGE]]
show_missing(found)
for entry, place in cards:
    if entry.state == "finished":
        with place.container():
            glance(entry)
