"""The pairs of prompts behind one cell of a patching map."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from interp.figures import aligned_tokens, cell_pairs, pair_spread
from interp.figures.knowledge_cells import Shown, cells_of
from interp.results import KnowledgeComparison
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.downloads import table_downloads
from interp_explorer.widgets.made import made
from interp_explorer.widgets.text import escaped


PAIR_KEY = "k_pair"
# As much of a statement as a box and an address can hold.
LONGEST_NAME = 60
RESTORED = "Restoration: 0 is the false prompt's answer, 1 the true one's."


def pair_names(result: KnowledgeComparison) -> list[str]:
    """What the pairs are called in a box: number and true statement."""
    return [
        f"{number}: {' '.join(text.split())[:LONGEST_NAME]}"
        for number, text in enumerate(result.true)
    ]


def show_pairs(
    result: KnowledgeComparison,
    shown: Shown,
    *,
    unit: int,
    cell: tuple[int, int],
    pair: int,
) -> None:
    """What happens to every pair at a cell, and one of them token by token.

    Args:
        result: The comparison.
        shown: Which map.
        unit: Which component.
        cell: The places of layer and column.
        pair: The pair that is shown in full; a click on a row chooses another.
    """
    layer, column = cell
    _show_cell(result, shown, unit=unit, cell=cell)
    show_tokens(result, shown, unit=unit, cell=cell, pair=pair)
    spread = partial(pair_spread, result, shown, unit=unit, layer=layer, column=column)
    show_figure(
        made(partial(spread, pair=pair)),
        alt="Every pair's value at the chosen cell, sorted; the line is the mean.",
        key="k_spread",
    )
    rows = cell_pairs(result, shown, unit=unit, layer=layer, column=column)
    _show_rows(rows, names=pair_names(result))


def show_tokens(
    result: KnowledgeComparison,
    shown: Shown,
    *,
    unit: int,
    cell: tuple[int, int],
    pair: int,
) -> None:
    """The two prompts of a pair, one above the other, and which answers are read.

    Args:
        result: The comparison.
        shown: Which map.
        unit: Which component.
        cell: The places of layer and column.
        pair: Which pair.
    """
    if pair >= len(result.pair_tokens):
        st.caption("Tokens of this pair were not kept; its statements are:")
        st.text(f"true:  {result.true[pair]}\nfalse: {result.false[pair]}")
        if not result.pair_tokens:
            st.caption("Studies keep them since: repeat the command below.")
        return
    tokens = result.pair_tokens[pair]
    layer, column = cell
    own = cells_of(result, shown, unit=unit, pair=pair)[layer]
    columns = np.array(tokens.columns)
    scores = np.where(columns >= 0, own[columns], np.nan).astype(np.float32)
    strip = aligned_tokens(
        tokens.clean,
        tokens.corrupted,
        scores,
        names=("true", "false"),
        label=f"{shown}, layer {result.layers[layer]}:",
        chosen=np.flatnonzero(columns == column).tolist(),
    )
    st.html(strip)
    answers = tokens.answers[0 if shown.endswith("base") else 1]
    st.caption(
        f"Read: logit of {escaped(repr(answers[0]))} - logit of "
        f"{escaped(repr(answers[1]))}. Colours are this pair's values in layer "
        f"{result.layers[layer]}, for every token; bold tokens differ, the chosen "
        "one is underlined."
    )


def _show_cell(
    result: KnowledgeComparison, shown: Shown, *, unit: int, cell: tuple[int, int]
) -> None:
    layer, column = cell
    mean = float(cells_of(result, shown, unit=unit)[layer, column])
    if shown == "difference":
        ends = (result.difference_low[unit], result.difference_high[unit])
    else:
        run = result.runs.index(shown)
        ends = (
            result.restoration_low[run, unit],
            result.restoration_high[run, unit],
        )
    low, high = (float(end[layer, column]) for end in ends)
    st.markdown(
        f"**Layer {result.layers[layer]}, {escaped(result.columns[column])}:** "
        f"mean {mean:.3f} \\[{low:.3f}, {high:.3f}\\]. {RESTORED}"
    )


def _show_rows(rows: pd.DataFrame, *, names: list[str]) -> None:
    def pick() -> None:
        for at in st.session_state["k_rows"].selection.rows:
            st.session_state[PAIR_KEY] = names[int(rows["pair"].iloc[at])]

    st.caption(f"{len(rows)} pairs have this cell. A click on a row shows its tokens.")
    st.dataframe(
        rows,
        hide_index=True,
        key="k_rows",
        on_select=pick,
        selection_mode="single-row",
        alt="The pairs behind the chosen cell, with their values and statements.",
    )
    table_downloads(rows, key="k_rows", name="knowledge-cell")
