"""Heads over training: one head beside the model, when heads rise, other runs."""

from functools import partial

import numpy as np
import streamlit as st

from interp.errors import ResultError
from interp.figures import (
    Panel,
    first_above,
    head_lines,
    timeline_map,
    timelines_beside,
)
from interp.figures.timeline import map_heads
from interp.results import HeadTimeline
from interp_explorer.cache import opened
from interp_explorer.catalog import Entry
from interp_explorer.state import choose, listed
from interp_explorer.widgets.attended import show_pattern
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_cell
from interp_explorer.widgets.downloads import show_table
from interp_explorer.widgets.made import made
from interp_explorer.widgets.text import escaped, spoken
from interp_explorer.widgets.titles import show_title


FINAL, LAYER = "final score", "layer"
LOG, EVEN = "logarithm", "evenly spaced"


def show_heads(result: HeadTimeline, panel: Panel) -> None:
    """A map of heads and checkpoints; below it the chosen head and all first steps.

    Args:
        result: The timeline.
        panel: The map of the first score.
    """
    left, middle, right = st.columns(3)
    with left:
        metric = choose("Score", result.metrics, key="i_metric")
    with middle:
        order = st.segmented_control(
            "Heads sorted by",
            [FINAL, LAYER],
            default=FINAL,
            required=True,
            key="i_order",
            bind="query-params",
        )
    with right:
        scale = st.segmented_control(
            "Steps",
            [LOG, EVEN],
            default=LOG,
            required=True,
            key="i_steps",
            bind="query-params",
        )
    metric = metric if metric in result.metrics else result.metrics[0]
    by = "layer" if order == LAYER else "final"
    heads = map_heads(result, metric, order=by)
    along = "even" if scale == EVEN else "log"
    figure = made(partial(timeline_map, result, metric, order=by, scale=along))
    show_title(figure.figure, panel)
    at = choose_cell(
        figure,
        rows=Choice(
            key="i_head",
            label="Head",
            names=heads,
            default=heads.index(result.top(metric, k=1)[0]),
        ),
        columns=Choice(
            key="i_step",
            label="Step",
            names=tuple(str(step) for step in result.steps),
            default=len(result.steps) - 1,
            slider=True,
        ),
        alt=f"A map of {spoken(metric)} by head and checkpoint; highest at the end: "
        f"{', '.join(result.top(metric))}.",
    )
    _show_head(result, metric, heads[at[0]], checkpoint=at[1])
    _show_first_steps(result, metric)


def _show_head(
    result: HeadTimeline, metric: str, head: str, *, checkpoint: int
) -> None:
    layer, number = (int(part) for part in head[1:].split("H"))
    value = float(result.value(metric)[checkpoint, layer, number])
    error = float(
        result.stderr[result.metrics.index(metric), checkpoint, layer, number]
    )
    plus = f" ± {error:.3f}" if np.isfinite(error) else ""
    st.markdown(
        f"**{head} at step {result.steps[checkpoint]}:** {escaped(spoken(metric))} "
        f"{value:.3f}{plus} (standard error over sequences)"
    )
    left, right = st.columns(2)
    with left:
        beside = st.multiselect(
            "Heads beside it",
            [name for name in map_heads(result, metric, order="final") if name != head],
            key="i_heads",
            bind="query-params",
            max_selections=3,
        )
        show_figure(
            made(partial(head_lines, result, metric, head, beside=tuple(beside))),
            alt=f"{', '.join([head, *beside])} over training, with loss and "
            "in-context-learning score below and bands where they change.",
            key="i_lines",
        )
    with right:
        show_pattern(result, layer, number, checkpoint=checkpoint)


def _show_first_steps(result: HeadTimeline, metric: str) -> None:
    default = float(result.threshold[result.metrics.index(metric)])
    threshold = st.number_input(
        "Heads above",
        value=round(default, 3) if np.isfinite(default) else 0.5,
        step=0.05,
        format="%.3f",
        key="i_threshold",
        bind="query-params",
        help="The first step at which each head's score is above this.",
    )
    rows = first_above(result, metric, float(threshold))
    if rows.empty:
        st.caption("No head is ever above it.")
        return
    heads = "1 head is" if len(rows) == 1 else f"{len(rows)} heads are"
    st.caption(
        f"{heads} ever above it; the first step, the step from which a head stays "
        "above it, and its score at the end:"
    )
    show_table(
        rows,
        key="i_first",
        name="first-steps",
        alt="The first step at which each head is above the threshold.",
    )


@st.fragment
def show_beside(entry: Entry, result: HeadTimeline) -> None:
    """The same curve of other training runs, such as those of other seeds.

    Args:
        entry: The result of this page.
        result: The same, opened.
    """
    others = [
        one.name
        for one in listed().of_kinds((HeadTimeline.KIND,))
        if one.name != entry.name
    ]
    if not others or not result.curves:
        return
    st.subheader("Beside other training runs", anchor=False)
    left, right = st.columns(2)
    with left:
        curve = choose("Curve", result.curves, key="i_curve")
    with right:
        names = st.multiselect(
            "Runs", others, key="i_beside", bind="query-params", max_selections=11
        )
    by_name = {one.name: one for one in listed().entries}
    if not names:
        st.caption("Choose runs, such as those of other seeds.")
        return
    runs = {entry.name: result}
    for name in names:
        found = opened(by_name[name])
        if found and isinstance(found.result, HeadTimeline):
            runs[name] = found.result
    try:
        figure = timelines_beside(runs, curve or result.curves[0])
    except ResultError as error:
        st.caption(escaped(str(error)))
        return
    show_figure(
        figure,
        alt=f"{curve} of {len(runs)} training runs, a small panel for each.",
        key="i_runs",
    )
