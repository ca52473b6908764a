"""Data sets against each other, and the examples behind one pair of them."""

from functools import partial

import numpy as np
import streamlit as st

from interp.figures import Panel, transfer_heatmap, transfer_scores
from interp.results import TransferMatrix
from interp_explorer.state import choose
from interp_explorer.widgets.chart import (
    MOST_NUMBERS_ON_PHONES,
    hide_numbers_on_phones,
    show_figure,
)
from interp_explorer.widgets.clickable import Choice, choose_cell, unique
from interp_explorer.widgets.made import made
from interp_explorer.widgets.sweep_site import show_examples
from interp_explorer.widgets.text import number
from interp_explorer.widgets.titles import show_title
from interp_explorer.widgets.truth_site import AUROC


BELOW = f"{AUROC} Below it the probe is read the wrong way round."


def show_pairs_of_sets(result: TransferMatrix, panel: Panel) -> None:
    """The matrix at one site and position; below it the examples of the chosen cell.

    Args:
        result: The matrix.
        panel: Its map.
    """
    at = _choose_probe(result)
    figure = made(partial(transfer_heatmap, result, probe=at))
    show_title(figure.figure, panel)
    i, j = choose_cell(
        figure,
        rows=Choice(
            key="t_train",
            label="Trained on",
            names=result.trains,
            default=len(result.trains) - 1,
        ),
        columns=Choice(key="t_test", label="Judged on", names=result.tests),
        alt=panel.alt,
    )
    if len(result.tests) > MOST_NUMBERS_ON_PHONES:
        hide_numbers_on_phones("t_train_t_test_click")
    train, test = result.trains[i], result.tests[j]
    rows = result.examples_dataframe(train, test, probe=at)
    if rows.empty:
        st.info(
            "There are no scores of this pair: no probe could be fitted. What limits "
            "this, above, says why."
        )
        return
    _show_measures(result, i, j, at)
    show_figure(
        made(partial(transfer_scores, result, train, test, probe=at)),
        alt="Histograms of the scores of positive and negative examples.",
        key="t_transfer_scores",
    )
    show_examples(rows, key="t_transfer_rows")


def _choose_probe(result: TransferMatrix) -> int:
    """Which site and position; without a box if there is only one."""
    places = zip(result.sites, result.positions, strict=True)
    names = unique([f"{site} {position}".strip() for site, position in places])
    if len(names) == 1:
        return 0
    name = choose(
        "Site and position",
        names,
        key="t_place",
        default=names[result.best],
        help_text="By default where probes do best on data sets they did not see.",
    )
    return names.index(name) if name in names else result.best


def _show_measures(result: TransferMatrix, train: int, test: int, at: int) -> None:
    cell = train, test, at
    with st.container(horizontal=True):
        for label, value, low, high, about in (
            ("AUROC", result.auroc, result.auroc_lo, result.auroc_hi, BELOW),
            ("Accuracy", result.accuracy, result.accuracy_lo, result.accuracy_hi, ""),
        ):
            ends = f"95 % interval: {low[cell]:.3f} to {high[cell]:.3f}. {about}"
            st.metric(label, number(float(value[cell])), help=ends.strip())
        count = np.count_nonzero(result.dataset_index == test)
        st.metric("Examples", f"{count}")
