"""Whether one direction makes a model refuse; answers are shown only when asked for."""

from functools import partial

import pandas as pd
import streamlit as st

from interp.figures import (
    Panel,
    candidate_curves,
    refusal_candidates,
    refusal_projections,
)
from interp.figures.refusal_curves import candidate_places
from interp.figures.refusal_scores import SOURCE_NAMES, SOURCES
from interp.results import RefusalCandidate, RefusalComparison
from interp.results.truthfulness import ROLES, Role
from interp_explorer.pages import STUDY
from interp_explorer.widgets.answers import show_answers
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_cell
from interp_explorer.widgets.made import made
from interp_explorer.widgets.study import show_rest, show_study
from interp_explorer.widgets.text import escaped


PAGE = STUDY["refusal"]
NEAREST = 5


def show_candidates(result: RefusalComparison, panel: Panel) -> None:
    """All candidates as curves or as maps; below them the scores of the chosen one."""
    positions, layers = candidate_places(result)
    shown = st.segmented_control(
        "Candidates as",
        ["curves", "maps"],
        default="curves" if panel.name == "candidate_curves" else "maps",
        required=True,
        key="r_view",
        bind="query-params",
    )
    best = _most_usable(result)
    numbers = [number for number, _ in positions]
    draw = candidate_curves if shown == "curves" else refusal_candidates
    at, layer = choose_cell(
        made(partial(draw, result)),
        rows=Choice(
            key="r_position",
            label="Position",
            names=tuple(f"{number} {token}" for number, token in positions),
            default=numbers.index(best.position),
        ),
        columns=Choice(
            key="r_layer",
            label="Layer",
            names=tuple(str(layer) for layer in layers),
            default=layers.index(best.layer),
        ),
        alt=panel.alt,
    )
    wanted = numbers[at], layers[layer]
    chosen = [one for one in result.candidates if (one.position, one.layer) == wanted]
    if chosen:
        _show_candidate(result, chosen[0])
    else:
        st.info("There is no candidate at this position of this layer.")
    if not any(one.fate == "chosen" for one in result.candidates):
        _show_nearest(result)


def _show_candidate(result: RefusalComparison, one: RefusalCandidate) -> None:
    with st.container(horizontal=True):
        st.metric("Bypass", _number(one.bypass), help="Refusal score when ablated.")
        st.metric("Induce", _number(one.induce), help="Refusal score when added.")
        st.metric("KL", _number(one.kl), help="On harmless prompts when ablated.")
        if not pd.isna(one.norm):
            share = f"{one.relative_norm:.2g} of the mean harmless activation's."
            st.metric("Length", f"{one.norm:.3g}", help=share)
        if not pd.isna(one.share):
            resamples = f"Of {result.resamples} resamples choose it."
            st.metric("Bootstrap share", f"{one.share:.0%}", help=resamples)
    rank = f", rank {one.rank}" if one.rank else ""
    fate = one.fate[:1].upper() + one.fate[1:]
    st.markdown(f"**{escaped(fate + rank)}**")
    if result.rule:
        st.caption(f"The rule: {escaped(result.rule)}.")
    for reason in result.limits.missed(one) if result.limits else ():
        st.markdown(f"- {escaped(reason)}")


def _number(score: float) -> str:
    """A score, or a dash; the fate of a candidate says why it has none."""
    return "–" if pd.isna(score) else f"{score:.3g}"


def _show_nearest(result: RefusalComparison) -> None:
    st.markdown("**No candidate passed.** These miss the least:")
    rows = [
        {
            "position": one.position,
            "layer": one.layer,
            "bypass": one.bypass,
            "induce": one.induce,
            "kl": one.kl,
            "what it misses": "; ".join(_missed(result, one)),
        }
        for one in sorted(result.candidates, key=lambda one: _distance(result, one))
    ]
    st.dataframe(pd.DataFrame(rows[:NEAREST]), hide_index=True, key="r_nearest")


def _missed(result: RefusalComparison, one: RefusalCandidate) -> tuple[str, ...]:
    found = result.limits.missed(one) if result.limits else ()
    return found or (() if one.fate in ("chosen", "passed") else (one.fate,))


def _distance(result: RefusalComparison, one: RefusalCandidate) -> tuple[float, ...]:
    """How many conditions it misses, then how much refusal is left."""
    bypass = float("inf") if pd.isna(one.bypass) else one.bypass
    return (float(pd.isna(one.bypass)), float(len(_missed(result, one))), bypass)


def _most_usable(result: RefusalComparison) -> RefusalCandidate:
    return min(
        result.candidates,
        key=lambda one: (one.fate != "chosen", *_distance(result, one)),
    )


def show_transfer(result: RefusalComparison, panel: Panel) -> None:
    """Whose direction does what in which model; below it all that was run of it."""
    i, j = choose_cell(
        panel.figure,
        rows=Choice(
            key="r_direction",
            label="Direction",
            names=tuple(SOURCE_NAMES.get(of, of) for of in SOURCES),
            default=SOURCES.index("post"),
        ),
        columns=Choice(key="r_model", label="In", names=ROLES, default=1),
        alt=panel.alt,
    )
    rows = result.to_dataframe()
    rows = rows.loc[(rows["direction"] == SOURCES[i]) & (rows["model"] == ROLES[j])]
    if rows.empty:
        st.info("Nothing was run with this direction in this model.")
    st.dataframe(rows, hide_index=True, key="r_transfer_rows")


def show_projections(result: RefusalComparison, panel: Panel) -> None:
    """Prompts along the direction of one of the models."""
    held = {row.direction for row in result.projections}
    whose = st.segmented_control(
        "Direction of",
        [role for role in ROLES if role in held],
        default="post",
        required=True,
        key="r_along",
        bind="query-params",
    )
    direction: Role = "base" if whose == "base" else "post"
    alt = panel.alt
    if direction != "post":
        alt = f"The same means and bands along the direction of {direction}, by layer."
    figure = made(partial(refusal_projections, result, direction=direction))
    show_figure(figure, alt=alt, key="r_projections")


if shown := show_study(
    PAGE,
    draw={
        "candidate_curves": show_candidates,
        "refusal_candidates": show_candidates,
        "refusal_transfer": show_transfer,
        "refusal_projections": show_projections,
    },
    is_spare=lambda _, panel: panel.name == "refusal_candidates",
):
    entry, found = shown
    if isinstance(found.result, RefusalComparison) and found.result.completions:
        show_answers(found.result, key=f"r_{entry.name}_answers")
    show_rest(entry, found, key=PAGE.key)
