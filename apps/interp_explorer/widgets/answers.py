"""Answers to instructions side by side, which stay closed until they are asked for."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from interp.figures.refusal import condition_label
from interp.results import Completion, ReadAnswer, RefusalComparison
from interp.results.refusal import Instructions, conditions_of
from interp_explorer.widgets.token_strip import Strip, StripScore, limit_of, show_strip


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
    places = [at for at, r in enumerate(result.completions) if r.instructions == kind]
    rows = [result.completions[at] for at in places]
    prompts = matching(rows, wanted)
    st.caption(f"{len(prompts)} of {len({row.prompt for row in rows})} instructions.")
    if not prompts:
        return
    with st.expander("All of them, and what was judged"):
        st.dataframe(judgements(rows, prompts), hide_index=True, key=f"{key}_table")
    prompt = st.selectbox("Instruction", prompts, key=f"{key}_{kind}_prompt")
    own = [at for at in places if result.completions[at].prompt == prompt]
    read = [result.read_answer(at) for at in own]
    is_coloured = _asks_for_colour(result, read)
    limit = limit_of([one.projections for one in read if one is not None])
    for column, at, one in zip(st.columns(2) * len(own), own, read, strict=False):
        with column.container(border=True):
            _show_marks(result.completions[at])
            if is_coloured and one is not None and one.tokens:
                show_strip(_strip(one, limit), key=f"{key}_strip_{at}")
            else:
                st.text(result.completions[at].completion or "(nothing)")


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


def _asks_for_colour(
    result: RefusalComparison, read: Sequence[ReadAnswer | None]
) -> bool:
    if not any(one is not None and one.tokens for one in read):
        return False
    return st.toggle(
        "Colour tokens by the refusal direction",
        value=True,
        key="r_coloured",
        bind="query-params",
        help="How far along the direction of the post-trained model (layer "
        f"{result.directions[1].layer}) the unchanged model is at each token when it "
        "reads the answer: 0 is the mean of harmless prompts where the direction was "
        "found, and 1, in the post-trained model, that of harmful ones. Click a token "
        "to read its value.",
    )


def _strip(read: ReadAnswer, limit: float) -> Strip:
    score = StripScore(
        name="along the direction", values=read.projections, unit="class gaps"
    )
    return Strip(
        label="Tokens of the answer",
        tokens=read.tokens,
        scores=[score],
        limit=limit,
        signed=True,
    )


def _show_marks(row: Completion) -> None:
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


def _label(row: Completion) -> str:
    (condition,) = conditions_of((row,))
    return f"{row.model} · {condition_label(condition)}"
