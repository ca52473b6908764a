"""What was found here: one card per result, the newest first."""

import math

import streamlit as st

from interp_explorer.catalog import Entry
from interp_explorer.pages import STUDIES, page_of
from interp_explorer.state import listed, root
from interp_explorer.widgets.text import date, escaped


CARDS_PER_PAGE = 12


def show_card(entry: Entry) -> None:
    """One result: what, of which models, when, what was found, and where to read on."""
    page = page_of(entry.kind)
    with st.container(border=True):
        title = page.title if page else entry.study
        models = " and ".join(entry.models) or "no model"
        st.markdown(f"**{escaped(title)}** · {escaped(models)}")
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
                query_params={"x_run": entry.name},
            )


st.title("Overview", anchor=False)
found = listed()
st.caption(f"Results in {escaped(str(root()))}")
finished = sum(entry.state == "finished" for entry in found.entries)
counts = st.columns(3)
counts[0].metric("Results", finished)
counts[1].metric("Not finished", len(found.entries) - finished)
counts[2].metric("Models", len({name for e in found.entries for name in e.models}))
if found.refused:
    st.warning(
        f"{len(found.refused)} paths lead out of the folder and were not read: "
        + escaped(", ".join(found.refused[:5]))
    )
if not found.complete:
    st.warning("There are too many folders here; only the first were read.")

left, right = st.columns(2)
with left:
    studies = st.multiselect(
        "Studies",
        [page.title for page in STUDIES],
        key="o_studies",
        bind="query-params",
        placeholder="All",
    )
with right:
    words = st.text_input(
        "Models, paths and findings that contain", key="o_words", bind="query-params"
    )
shown = [
    entry
    for entry in found.entries
    if (not studies or ((page := page_of(entry.kind)) and page.title in studies))
    and words.lower() in " ".join((*entry.models, entry.name, entry.headline)).lower()
]
if not shown:
    st.info("Nothing here fits." if found.entries else "There are no results here.")
n_pages = max(1, math.ceil(len(shown) / CARDS_PER_PAGE))
number = 1
if n_pages > 1:
    number = st.number_input(
        f"Page of {n_pages}", 1, n_pages, 1, key="o_page", bind="query-params"
    )
first = (number - 1) * CARDS_PER_PAGE
for entry in shown[first : first + CARDS_PER_PAGE]:
    show_card(entry)
