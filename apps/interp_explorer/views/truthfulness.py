"""Where a model tells true from false, with every statement and its scores."""

import streamlit as st

from interp.results import TruthfulnessComparison
from interp_explorer.pages import STUDY
from interp_explorer.widgets.study import show_rest, show_study


PAGE = STUDY["truthfulness"]


@st.fragment
def show_statements(result: TruthfulnessComparison) -> None:
    """The test statements and their scores in both models, found by words."""
    st.subheader("Statements", anchor=False)
    words = st.text_input(
        "Statements that contain",
        key="t_statements",
        bind="query-params",
        help="Upper and lower case do not matter.",
    )
    rows = result.examples_dataframe()
    if words:
        rows = rows[rows["statement"].str.contains(words, case=False, regex=False)]
    st.caption(f"{len(rows)} test statements. A column's head sorts them.")
    st.dataframe(rows, hide_index=True)


if shown := show_study(PAGE):
    entry, found = shown
    if isinstance(found.result, TruthfulnessComparison):
        show_statements(found.result)
    show_rest(entry, found, key=PAGE.key)
