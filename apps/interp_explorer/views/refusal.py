"""Whether one direction makes a model refuse; answers are shown only when asked for."""

import streamlit as st

from interp.figures import Panel
from interp.results import RefusalComparison
from interp_explorer.pages import STUDY
from interp_explorer.widgets.clickable import Choice, choose_cell
from interp_explorer.widgets.study import show_rest, show_study


PAGE = STUDY["refusal"]


@st.fragment
def show_answers(result: RefusalComparison, *, key: str) -> None:
    """One instruction with every answer to it, side by side, behind a switch.

    The switch is not part of the address, so that no link opens harmful texts.
    """
    st.subheader("Answers", anchor=False)
    if not st.toggle("Show instructions and answers, which may be harmful", key=key):
        return
    with st.container(horizontal=True):
        kind = st.segmented_control(
            "Instructions",
            ["harmful", "harmless"],
            default="harmful",
            required=True,
            key=f"{key}_kind",
        )
        only_changed = st.toggle("Only where the judgement changes", key=f"{key}_only")
    rows = [row for row in result.completions if row.instructions == kind]
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    if only_changed:
        judged = {p: {row.refused for row in rows if row.prompt == p} for p in prompts}
        prompts = [prompt for prompt in prompts if len(judged[prompt]) > 1]
    if not prompts:
        st.caption("There are none.")
        return
    prompt = st.selectbox("Instruction", prompts, key=f"{key}_{kind}_prompt")
    answers = [row for row in rows if row.prompt == prompt]
    for column, row in zip(st.columns(2) * len(answers), answers, strict=False):
        done = "unchanged"
        if row.intervention != "none":
            done = f"{row.direction} direction: {row.intervention}"
        with column.container(border=True):
            st.caption(f"{row.model} · {done}")
            st.badge(
                "refused" if row.refused else "answered",
                color="orange" if row.refused else "blue",
            )
            st.text(row.completion or "(nothing)")


def show_candidates(result: RefusalComparison, panel: Panel) -> None:
    """The map of candidates; the chosen one's scores and fate below it."""
    positions = sorted({(one.position, one.token) for one in result.candidates})
    layers = sorted({one.layer for one in result.candidates})
    at, layer = choose_cell(
        panel.figure,
        rows=Choice(
            key="r_position",
            label="Position",
            names=tuple(f"{number} {token}" for number, token in positions),
        ),
        columns=Choice(
            key="r_layer", label="Layer", names=tuple(str(layer) for layer in layers)
        ),
        alt=panel.alt,
    )
    st.write(positions[at], layers[layer])


if shown := show_study(PAGE, draw={"refusal_candidates": show_candidates}):
    entry, found = shown
    if isinstance(found.result, RefusalComparison) and found.result.completions:
        show_answers(found.result, key=f"r_{entry.name}_answers")
    show_rest(entry, found, key=PAGE.key)
