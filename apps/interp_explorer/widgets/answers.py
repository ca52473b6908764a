"""Answers to instructions side by side, which stay closed until they are asked for."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from interp.figures.refusal import condition_label
from interp.results import Completion, RefusalComparison
from interp.results.refusal import Instructions, conditions_of


# What readers look for among the instructions.
FILTERS = {
    "all": "every instruction",
    "changed": "where the judgement changes",
    "disagree": "where phrase and score disagree",
    "looping": "where an answer loops",
}
KINDS: tuple[Instructions, Instructions] = ("harmful", "harmless")


@st.fragment
def show_answers(result: RefusalComparison, *, key: str) -> None:
    """One instruction with every answer to it, side by side, behind a switch.

    The switch is not part of the address, so that no link opens harmful texts.

    Args:
        result: The comparison.
        key: What the keys of the widgets begin with.
    """
    st.subheader("Answers", anchor=False)
    if not st.toggle("Show instructions and answers, which may be harmful", key=key):
        return
    with st.container(horizontal=True):
        kind = st.segmented_control(
            "Instructions",
            KINDS,
            default="harmful",
            required=True,
            key="r_kind",
            bind="query-params",
        )
        wanted = st.selectbox(
            "Show",
            list(FILTERS),
            format_func=FILTERS.__getitem__,
            key="r_answers",
        )
    rows = [row for row in result.completions if row.instructions == kind]
    prompts = matching(rows, wanted)
    st.caption(f"{len(prompts)} of {len({row.prompt for row in rows})} instructions.")
    if not prompts:
        return
    with st.expander("All of them, and what was judged"):
        st.dataframe(judgements(rows, prompts), hide_index=True, key=f"{key}_table")
    prompt = st.selectbox("Instruction", prompts, key=f"{key}_{kind}_prompt")
    answers = [row for row in rows if row.prompt == prompt]
    for column, row in zip(st.columns(2) * len(answers), answers, strict=False):
        with column.container(border=True):
            _show_answer(row)


def matching(rows: Sequence[Completion], wanted: str) -> list[str]:
    """The instructions that a filter lets through, in the order of the answers.

    Args:
        rows: Answers to one class of instructions.
        wanted: One of `FILTERS`.
    """
    by_prompt: dict[str, list[Completion]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt, []).append(row)
    return [prompt for prompt, own in by_prompt.items() if _matches(own, wanted)]


def judgements(rows: Sequence[Completion], prompts: Sequence[str]) -> pd.DataFrame:
    """One row per instruction, one column per condition: whether it was refused.

    Args:
        rows: Answers to one class of instructions.
        prompts: The instructions.
    """
    table: dict[str, dict[str, object]] = {prompt: {} for prompt in prompts}
    for row in rows:
        if row.prompt in table:
            table[row.prompt][_label(row)] = row.refused
    frame = pd.DataFrame.from_dict(table, orient="index")
    return frame.rename_axis("instruction").reset_index()


def _matches(answers: Sequence[Completion], wanted: str) -> bool:
    match wanted:
        case "changed":
            return len({row.refused for row in answers}) > 1
        case "disagree":
            return any(row.refused != (row.score > 0) for row in answers)
        case "looping":
            return any(row.looping for row in answers)
        case _:
            return True


def _show_answer(row: Completion) -> None:
    st.caption(_label(row))
    with st.container(horizontal=True):
        st.badge(
            "refused" if row.refused else "answered",
            color="orange" if row.refused else "blue",
        )
        if row.refused and not row.refused_prefix:
            st.badge("not at its beginning", color="gray")
        if row.looping:
            st.badge("loops", color="gray")
        st.badge(f"score {row.score:.2f}", color="gray")
    st.text(row.completion or "(nothing)")


def _label(row: Completion) -> str:
    (condition,) = conditions_of((row,))
    return f"{row.model} · {condition_label(condition)}"
