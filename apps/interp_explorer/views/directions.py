"""Saved directions and probes: what they are, how alike, and out to other tools."""

import math
import shlex

import numpy as np
import pandas as pd
import streamlit as st

from interp.figures import Section
from interp.figures.cosine_matrix import cosine_matrix
from interp.provenance import record
from interp_explorer.saved import SavedDirection, saved_directions
from interp_explorer.state import choose, root
from interp_explorer.widgets.chart import (
    MOST_NUMBERS_ON_PHONES,
    Drawn,
    collected,
    hide_numbers_on_phones,
    show_figure,
)
from interp_explorer.widgets.downloads import (
    figure_downloads,
    show_table,
    table_downloads,
)
from interp_explorer.widgets.exports import show_exports
from interp_explorer.widgets.library import (
    MEANINGS,
    cosine_rows,
    facts,
    lab_query,
    labels,
    measures,
    python_code,
    stems,
    table,
    usual_width,
)
from interp_explorer.widgets.text import escaped


MOST_COMPARED = 40
USUALLY_COMPARED = 8


def show_cosines(found: list[SavedDirection]) -> None:
    """The cosines of those that are chosen and have as many dimensions."""
    st.subheader("How alike they are", anchor=False)
    same = choose_alike(found)
    if not same:
        st.caption("None is chosen.")
        return
    if len({saved.direction.model for saved in same}) > 1:
        st.caption(
            "These are of several models. A cosine across models means something only "
            "where one was trained from the other's weights."
        )
    alt = f"A matrix of the cosines of {len(same)} directions with each other."
    vectors = np.stack([saved.direction.unit for saved in same])
    with collected() as drawn:
        figure = cosine_matrix(labels(same), vectors, short=stems(same))
        show_figure(figure, alt=alt, key="d_cosines")
    if len(same) > MOST_NUMBERS_ON_PHONES:
        hide_numbers_on_phones("d_cosines")
    width = vectors.shape[1]
    st.caption(
        "Cosine: 1 is the same direction, 0 a right angle, -1 the opposite. "
        f"95 % of random directions of {width} dimensions have one below "
        f"{1.96 / math.sqrt(width):.2f} in size; activations that lie along few "
        "directions make larger ones likely too."
    )
    box = st.expander(
        "Numbers, downloads, Python", key="d_cosines_more", on_change="rerun"
    )
    if box.open:
        with box:
            show_more(same, drawn, alt=alt)


def choose_alike(found: list[SavedDirection]) -> list[SavedDirection]:
    """The chosen ones that have as many dimensions as the first of them."""
    width = usual_width(found)
    usual = [saved.name for saved in found if len(saved.direction.unit) == width]
    chosen = st.multiselect(
        "Directions and probes",
        [saved.name for saved in found],
        default=usual[:USUALLY_COMPARED],
        key="d_names",
        bind="query-params",
        max_selections=MOST_COMPARED,
    )
    picked = [saved for saved in found if saved.name in chosen]
    width = len(picked[0].direction.unit) if picked else 0
    same = [saved for saved in picked if len(saved.direction.unit) == width]
    if others := [saved.name for saved in picked if saved not in same]:
        st.warning(
            f"Left out because they have not {width} dimensions as the first one: "
            + escaped(", ".join(others))
        )
    return same


def show_more(same: list[SavedDirection], drawn: list[Drawn], *, alt: str) -> None:
    """The cosines as numbers and files, and the Python that draws them again."""
    rows = cosine_rows(same)
    show_table(rows, key="d_cosine_rows", name="cosines")
    figure_downloads(
        drawn,
        section=Section(title="How alike directions are", summary=alt),
        provenance=record("directions", command=""),
        key="d_cosines",
        name="cosines",
    )
    st.code(python_code(same), language="python")


def show_one(found: list[SavedDirection]) -> None:
    """What is known of one of them, where it is used, and downloads of it."""
    st.subheader("One direction or probe", anchor=False)
    name = choose("Direction or probe", [saved.name for saved in found], key="d_one")
    saved = next((one for one in found if one.name == name), None)
    if saved is None:
        return
    one = saved.direction
    st.markdown(f"**{escaped(one.rule)}**")
    st.caption(
        escaped(
            f"{one.model or 'unknown model'} · {one.site or 'unknown site'} · "
            f"{one.position or 'unknown position'} · {len(one.unit)} dimensions · "
            f"{one.n_positive} positive and {one.n_negative} negative examples"
        )
    )
    with st.container(horizontal=True):
        for label, value in measures(saved).items():
            said = "unknown" if math.isnan(value) else f"{value:.3g}"
            st.metric(label, said, help=MEANINGS.get(label))
    with st.container(horizontal=True):
        st.page_link(
            "views/lab.py",
            label="Use it in the Lab",
            icon=":material/science:",
            query_params=lab_query(saved, found),
        )
        if saved.run:
            st.page_link(
                "views/runs.py",
                label="The run that found it",
                icon=":material/folder_open:",
                query_params={"n_run": saved.run},
            )
    with st.expander("What produced it"):
        known = {what: value for what, value in facts(saved).items() if value}
        st.dataframe(
            pd.DataFrame({"what": [*known], "value": [*known.values()]}),
            hide_index=True,
            alt="What produced the direction or probe.",
        )
    st.subheader("Out to other programs", anchor=False)
    show_exports(saved)


def show_fetching() -> None:
    """How a direction of the hub comes here; a page asks nothing outside by itself."""
    box = st.expander("From the hub", key="d_hub", on_change="rerun")
    if not box.open:
        return
    folder = shlex.quote(str(root() / "hub"))
    with box:
        st.caption(
            "This page asks for nothing outside of this machine. A file that "
            "`interp.directions.save` wrote and somebody uploaded comes here by this "
            "command; name the commit, since a branch moves. It then stands in the "
            "table after reloading."
        )
        st.code(
            "hf download OWNER/NAME FILE.safetensors --revision COMMIT "
            f"--local-dir {folder}",
            language="bash",
            wrap_lines=True,
        )
        st.caption("In Python, without this page:")
        st.code(
            "from huggingface_hub import hf_hub_download\n\n"
            "from interp.directions import load\n\n"
            'file = hf_hub_download("OWNER/NAME", "FILE.safetensors", '
            'revision="COMMIT")\n'
            "direction = load(file)",
            language="python",
        )


st.title("Directions", anchor=False)
st.caption(
    "Every direction and linear probe that a study or your own code has saved below "
    "the folder: where it was found, how far apart its classes are, how alike they "
    "are, and downloads. A direction is a difference of class means (Marks & Tegmark "
    "2023, Arditi et al. 2024); a probe has a threshold as well (Alain & Bengio 2016)."
)
library = saved_directions(root())
for problem in library.problems[:5]:
    st.warning(escaped(problem))
if not library.complete:
    st.warning("There are too many files here; only the first were read.")
words = st.text_input("Names, models and sites that contain", key="d_words",
                      bind="query-params")  # fmt: skip
shown = [
    saved
    for saved in library.found
    if words.lower()
    in " ".join((saved.name, saved.direction.model, saved.direction.site)).lower()
]
if not library.found:
    st.info(
        "There are no directions or probes here. `interp compare BASE POST --out DIR` "
        "keeps those of the truthfulness and refusal studies, and "
        "`interp.directions.save(direction, file)` one of your own."
    )
elif not shown:
    st.info("Nothing here fits.")
else:
    rows = table(shown)
    st.caption(
        f"{len(shown)} directions and probes. A column's head sorts them, a click on a "
        "row opens one below."
    )

    def pick() -> None:
        for at in st.session_state["d_table"].selection.rows:
            st.session_state["d_one"] = shown[at].name

    st.dataframe(
        rows,
        hide_index=True,
        key="d_table",
        on_select=pick,
        selection_mode="single-row",
        alt="One row for each saved direction and probe.",
        column_config={
            name: st.column_config.NumberColumn(format="%.3g")
            for name in ("norm", "class gap", "test AUROC")
        },
    )
    table_downloads(rows, key="d_table", name="directions")
    show_cosines(shown)
    show_one(shown)
show_fetching()
