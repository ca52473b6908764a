"""What a chosen head attends to in one sequence, where that was kept."""

from functools import partial

import numpy as np
import streamlit as st

from interp.figures import attention_pattern, marked_attention
from interp.results import HeadScores, HeadTimeline
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.made import made
from interp_explorer.widgets.text import escaped


AGAIN = (
    "No attention patterns are kept here, as in results of older versions and of runs "
    "without an attention score. To keep them, measure in a new folder: "
    "`interp track SERIES --out NEW_FOLDER`"
)


def show_pattern(
    result: HeadScores | HeadTimeline, layer: int, head: int, *, checkpoint: int = -1
) -> None:
    """The pattern of a head, or of which heads it was kept.

    Args:
        result: The scores, or the timeline.
        layer: The head's layer.
        head: Its number.
        checkpoint: Which checkpoint of a timeline, by its place.
    """
    name = f"L{layer}H{head}"
    if name not in result.pattern_heads:
        if result.pattern_heads or isinstance(result, HeadScores):
            kept = ", ".join(result.pattern_heads) or "none"
            st.caption(f"Attention patterns were kept of: {escaped(kept)}.")
        else:
            st.caption(AGAIN)
        return
    given = {"checkpoint": checkpoint} if isinstance(result, HeadTimeline) else {}
    along = marked_attention(result, layer, head, **given)
    said = f"Attention of {name} by query and key in one sequence"
    if np.isfinite(along):
        said += f": {along:.0%} of it goes to what followed the same token before"
    st.caption(f"{said}.")
    show_figure(
        made(partial(attention_pattern, result, layer, head, **given)),
        alt=f"{said}.",
        key="i_pattern",
    )
