"""Which neurons set how sure a model is, one by one and shared by two models."""

from functools import partial

import numpy as np
import streamlit as st

from interp.figures import Panel, calibration_curve, effect_strips
from interp.figures.confidence_neurons import EFFECTS, Effect
from interp.results import ConfidenceComparison, NeuronTable
from interp.results.calibration import N_BINS
from interp.results.truthfulness import ROLES
from interp_explorer.pages import STUDY
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_point
from interp_explorer.widgets.made import made
from interp_explorer.widgets.neurons import (
    neuron_names,
    show_effects,
    show_shared,
    show_weights,
)
from interp_explorer.widgets.study import show_rest, show_study


PAGE = STUDY["confidence"]


def show_neurons(result: ConfidenceComparison | NeuronTable, panel: Panel) -> None:
    """Norm and LogitVar of every neuron; below them the card of the chosen one."""
    names = neuron_names(result)
    first = (
        result.candidates
        if isinstance(result, NeuronTable)
        else [n for own in result.candidates for n in own]
    )
    default = names.index(str(int(first[0]))) if len(first) else 0
    place = choose_point(
        panel.figure,
        points=Choice(
            key="c_neuron",
            label="Neuron",
            names=names,
            default=default,
            help_text="Also by a click on a point.",
        ),
        alt=panel.alt,
    )
    neuron = int(names[place])
    with st.container(border=True):
        st.markdown(f"**Neuron L{result.layer}N{neuron}**")
        show_weights(result, neuron)
        if isinstance(result, ConfidenceComparison):
            show_effects(result, neuron)


def show_strips(result: ConfidenceComparison, panel: Panel) -> None:
    """Every ablated neuron beside its controls, by the effect that is looked at."""
    label = st.selectbox(
        "Effect",
        list(EFFECTS),
        format_func=lambda name: EFFECTS[name],
        key="c_effect",
        bind="query-params",
    )
    by_label: dict[str, Effect] = {name: name for name in EFFECTS}
    effect = by_label[label or "entropy_change"]
    figure = made(partial(effect_strips, result, effect))
    show_figure(figure, alt=panel.alt, key="c_strips")


def show_overlap(result: ConfidenceComparison, panel: Panel) -> None:
    """The overlap by how many are taken, then with thresholds of the reader's own."""
    show_figure(panel.figure, alt=panel.alt, key="c_overlap")
    show_shared(result)


def show_calibration(result: ConfidenceComparison, panel: Panel) -> None:
    """Calibration errors of both models above the reliability diagram."""
    for role, column in zip(ROLES, st.columns(2), strict=True):
        row = result.row(role, "none")[0]
        column.metric(f"Calibration error, {role}", f"{row.ece:.3f}")
        noise = ""
        if not np.isnan(row.ece_p):
            noise = (
                f"{row.ece_debiased:.3f} without noise; calibrated predictions stay "
                f"below {row.ece_consistent:.3f} (p = {row.ece_p:.3f}); "
            )
        column.caption(
            f"{row.ece_low:.3f} to {row.ece_high:.3f} over texts, {N_BINS} bins; "
            f"{noise}"
            f"accuracy {row.accuracy:.3f}, mean confidence {row.top:.3f}"
        )
    bins = st.slider(
        "Bins of the diagram", 3, 30, N_BINS, key="c_bins", bind="query-params"
    )
    figure = made(partial(calibration_curve, result, n_bins=int(bins)))
    show_figure(figure, alt=panel.alt, key="c_reliability")


DRAW = {
    "neuron_scatter": show_neurons,
    "effect_strips": show_strips,
    "overlap_curve": show_overlap,
    "calibration_curve": show_calibration,
}
if shown := show_study(PAGE, draw=DRAW):
    show_rest(*shown, key=PAGE.key)
