"""Where facts are read and moved, and the pairs of prompts behind every cell."""

from functools import partial

import numpy as np
import streamlit as st

from interp.figures import (
    Panel,
    head_restoration,
    patch_heatmap,
    restoration_map,
)
from interp.figures.knowledge_cells import SHOWN, Shown, head_columns, shown_maps
from interp.figures.patching import patch_cells, patch_roles
from interp.results import KnowledgeComparison, PatchMap
from interp.results.knowledge import MAX_LISTED
from interp_explorer.pages import STUDY
from interp_explorer.state import choose
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_cell
from interp_explorer.widgets.downloads import show_table
from interp_explorer.widgets.made import Made, made
from interp_explorer.widgets.pairs import PAIR_KEY, pair_names, show_pairs
from interp_explorer.widgets.study import show_rest, show_study
from interp_explorer.widgets.titles import show_title


PAGE = STUDY["knowledge"]
ALL_RULES = "All rules"
MEAN, SINGLE = "Mean over pairs", "One pair"


def choose_unit(units: tuple[str, ...]) -> int:
    """Which component is looked at; without a box if there is only one."""
    if len(units) == 1:
        return 0
    name = choose(
        "Component",
        units,
        key="k_unit",
        help_text="Further figures of a component are in the box Figure above.",
    )
    return units.index(name) if name in units else 0


def is_spare(result: KnowledgeComparison | PatchMap, panel: Panel) -> bool:
    """Whether a figure is of another component than the first.

    The first map shows all of them, at a choice.
    """
    if isinstance(result, PatchMap):
        first = patch_heatmap(result).to_plotly_json()["layout"]["title"]
        return panel.figure.to_plotly_json()["layout"]["title"] != first
    if panel.rows is None or "unit" not in panel.rows or not len(panel.rows):
        return False
    return panel.rows["unit"].iloc[0] != result.units[0]


def show_cells(result: KnowledgeComparison, panel: Panel) -> None:
    """One map at a time, and below it the pairs behind the chosen cell."""
    if is_spare(result, panel):
        show_figure(panel.figure, alt=panel.alt, key="k_maps")
        return
    unit = choose_unit(result.units)
    with st.container(horizontal=True):
        shown = choose_map(result)
        over = st.segmented_control(
            "Over",
            [MEAN, SINGLE],
            default=MEAN,
            required=True,
            key="k_over",
            bind="query-params",
        )
    names = pair_names(result)
    chosen = choose(
        "Pair", names, key=PAIR_KEY, help_text="Also by a click in the table below."
    )
    pair = names.index(chosen) if chosen in names else 0
    single = pair if over == SINGLE else None
    figure = made(partial(restoration_map, result, shown, unit=unit, pair=single))
    show_title(figure.figure, panel)
    alt = f"A map of restoration by layer and token: {shown}, {over}. {panel.alt}"
    cell = choose_place(result, figure, unit=unit, alt=alt)
    show_pairs(result, shown, unit=unit, cell=cell, pair=pair)
    if head_columns(result):
        st.caption("Single heads at the chosen token")
        show_figure(
            made(partial(head_restoration, result, shown, column=cell[1])),
            alt="Restoration by layer and head at the chosen token.",
            key="k_heads",
        )


def choose_map(result: KnowledgeComparison) -> Shown:
    """Of which model the map is, or their difference."""
    # Wrapped, since on a phone the last map would be out of sight.
    label = st.pills(
        "Map",
        shown_maps(result),
        default="base",
        required=True,
        key="k_map",
        bind="query-params",
        wrap=True,
    )
    by_label: dict[str, Shown] = {name: name for name in SHOWN}
    return by_label[label or "base"]


def choose_place(
    result: KnowledgeComparison, figure: Made, *, unit: int, alt: str
) -> tuple[int, int]:
    """The chosen layer and token of a map; that which restores most by default."""
    own = result.restoration[0, unit] * result.knowledge
    start = np.unravel_index(int(np.nanargmax(np.abs(own))), own.shape)
    return choose_cell(
        figure,
        rows=Choice(
            key="k_layer",
            label="Layer",
            names=tuple(str(layer) for layer in result.layers),
            default=int(start[0]),
        ),
        columns=Choice(
            key="k_column",
            label="Token",
            names=result.columns,
            default=int(start[1]),
        ),
        alt=alt,
    )


def show_patches(result: PatchMap, panel: Panel) -> None:
    """The map of one component, and the pairs behind the chosen cell."""
    if is_spare(result, panel):
        show_figure(panel.figure, alt=panel.alt, key="k_maps")
        return
    unit = choose_unit(result.units)
    roles = patch_roles(result)
    figure = made(partial(patch_heatmap, result, unit=unit))
    show_title(figure.figure, panel)
    layer, column = choose_cell(
        figure,
        rows=Choice(
            key="k_layer",
            label="Layer",
            names=tuple(str(number) for number in result.layers),
        ),
        columns=Choice(key="k_column", label="Token", names=roles),
        alt=panel.alt,
    )
    rows = patch_cells(result, unit=unit, layer=layer, role=roles[column])
    st.caption(f"{len(rows)} values are behind this cell.")
    show_table(rows, key="k_rows", name="patching-cell", alt="Values behind the cell.")


@st.fragment
def show_left_out(result: KnowledgeComparison) -> None:
    """How many statements found no partner, by rule, and which."""
    st.subheader("Statements without a partner", anchor=False)
    st.caption(
        f"{2 * len(result.true)} of {result.statements} statements make "
        f"{len(result.true)} pairs; the others:"
    )
    counts = result.dropped_dataframe()
    show_table(
        counts,
        key="k_left_out",
        name="knowledge-rules",
        alt="How many statements each rule of pairing cost, by file.",
    )
    listed = result.left_out_dataframe()
    if not len(listed):
        if len(counts):
            st.caption("Studies list them since: repeat the command below.")
        return
    title = f"Which they are ({len(listed)} of {counts['statements'].sum()})"
    with st.expander(title, key="k_which"):
        rule = choose("Rule", [ALL_RULES, *listed["rule"].unique()], key="k_rule")
        if rule != ALL_RULES:
            listed = listed.query("rule == @rule")
        st.caption(f"At most {MAX_LISTED} of each file and rule are kept, the first.")
        show_table(
            listed,
            key="k_unpaired",
            name="knowledge-unpaired",
            alt="Statements without a partner, with the rule that left them out.",
        )


DRAW = {"knowledge_maps": show_cells, "patch_heatmap": show_patches}
if found := show_study(PAGE, draw=DRAW, is_spare=is_spare):
    entry, opened = found
    if isinstance(opened.result, KnowledgeComparison):
        show_left_out(opened.result)
    show_rest(entry, opened, key=PAGE.key)
