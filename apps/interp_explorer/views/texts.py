"""Texts that were saved in the Lab: what was written, unchanged and steered."""

import streamlit as st

from interp.figures import Panel
from interp.results import SteeredText
from interp_explorer.lab.links import SHARE
from interp_explorer.pages import TEXTS
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.sides import fill_sides, side_places, strip_of
from interp_explorer.widgets.study import show_rest, show_study
from interp_explorer.widgets.token_strip import show_strip


# Not in the address, so that no link opens harmful texts.
SWITCH = "s_texts"


def show_texts(result: SteeredText, panel: Panel) -> None:
    """Prompt, both texts with their scores, and the divergence of each token."""
    asked = result.asked
    how = f"temperature {asked.temperature:g}, seed {asked.seed}"
    st.caption(
        f"Layers: {asked.layers} · tokens: {asked.when} · at most "
        f"{asked.max_new_tokens} new tokens, {how}"
    )
    if result.link:
        st.page_link(
            "views/lab.py",
            label="Open these settings in the Lab",
            icon=":material/science:",
            query_params={SHARE: result.link},
        )
    if not st.toggle(
        "Show the prompt and both texts, which may be harmful", key=SWITCH
    ):
        return
    show_figure(panel.figure, alt=panel.alt, key="s_kl")
    st.markdown("**Prompt**")
    st.text(asked.prompt)
    strip = strip_of(result.sides.prompt, mask=True)
    show_strip(strip, key="s_prompt", clickable=False)
    columns, places = side_places(asked.in_words())
    fill_sides(result.sides, columns, places, key="s")


if shown := show_study(TEXTS, draw={"divergence_curve": show_texts}):
    show_rest(*shown, key=TEXTS.key)
