"""Where a model tells true from false, from the map of all probes to each statement."""

from functools import partial

import streamlit as st

from interp.figures import (
    Panel,
    carried_scores,
    dataset_curve,
    dataset_matrix,
)
from interp.figures.truthfulness_probes import matrix_names
from interp.figures.truthfulness_sites import probe_rows
from interp.results import ProbeSweep, TruthfulnessComparison
from interp.results.truthfulness import ROLES
from interp_explorer.pages import STUDY
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_cell
from interp_explorer.widgets.downloads import show_table
from interp_explorer.widgets.made import made
from interp_explorer.widgets.study import show_rest, show_study
from interp_explorer.widgets.sweep_site import show_alone, show_curve, show_sites
from interp_explorer.widgets.transfer_site import show_pairs_of_sets
from interp_explorer.widgets.truth_site import show_site, show_statements


PAGE = STUDY["truthfulness"]
# The layer of the cell that is chosen in the map of probes.
SITE = "t_site_layer"


def show_map(result: TruthfulnessComparison, panel: Panel) -> None:
    """The map of all probes; below it what lies behind the chosen one."""
    rows = probe_rows(result)
    cells = {(row.model, row.probe, row.layer): row for row in result.probes}
    best = max(result.probes, key=lambda row: row.validation_auroc)
    at, layer = choose_cell(
        panel.figure,
        rows=Choice(
            key="t_probe",
            label="Model and probe",
            names=tuple(f"{role} · {probe}" for role, probe in rows),
            default=rows.index((best.model, best.probe)),
        ),
        columns=_layers(result, default=best.layer),
        alt=panel.alt,
    )
    _site_is(int(result.layers[layer]))
    row = cells.get((*rows[at], int(result.layers[layer])))
    if row is None:
        st.info("This probe was not fitted at this layer.")
    else:
        show_site(result, row)


def _site_is(layer: int) -> None:
    """Let the figures below, which are drawn by themselves, follow a new layer."""
    before = st.session_state.get(SITE)
    st.session_state[SITE] = layer
    if before not in (None, layer):
        st.rerun()


def show_transfer(result: TruthfulnessComparison, panel: Panel) -> None:
    """Each direction in each model; below it the scores of the chosen pair."""
    i, j = choose_cell(
        panel.figure,
        rows=Choice(key="t_direction", label="Direction of", names=ROLES),
        columns=Choice(key="t_activations", label="Read in", names=ROLES, default=1),
        alt=panel.alt,
    )
    show_figure(
        made(partial(carried_scores, result, ROLES[i], ROLES[j])),
        alt="Histograms of the scores of true and of false statements.",
        key="t_carried",
    )
    lost = [
        row
        for row in result.carried
        if (row.direction, row.activations, row.layer)
        == (ROLES[i], ROLES[j], result.best_layers[i])
    ]
    for row in lost:
        st.metric(
            f"AUROC against {row.activations}'s own direction at layer {row.layer}",
            f"{row.difference:+.3f}",
            help=f"Paired 95 % interval: {row.low:+.3f} to {row.high:+.3f}",
        )
    rows = result.examples_dataframe()[["statement", "label", "group"]]
    rows = rows.assign(score=result.scores[i, j]).sort_values("score")
    st.caption("All test statements by this score, the lowest first.")
    show_table(rows, key="t_carried_rows", name="carried-scores")


def show_datasets(result: TruthfulnessComparison, panel: Panel) -> None:
    """Data sets against each other; below it the chosen pair at every layer."""
    trains, tests = matrix_names(result)
    layer = st.session_state.get(SITE)
    figure = panel.figure
    if layer in result.layers.tolist():
        st.caption(f"At layer {layer}, as chosen in the map of probes.")
        figure = made(partial(dataset_matrix, result, layer))
    i, j = choose_cell(
        figure,
        rows=Choice(key="t_train", label="Trained on", names=tuple(trains)),
        columns=Choice(key="t_test", label="Judged on", names=tuple(tests)),
        alt=panel.alt,
    )
    show_figure(
        made(partial(dataset_curve, result, trains[i], tests[j])),
        alt="AUROC of this pair of data sets by layer, in both models.",
        key="t_pair",
    )
    frame = result.datasets_dataframe()
    chosen = (frame["train"] == trains[i]) & (frame["test"] == tests[j])
    show_table(frame.loc[chosen], key="t_pair_rows", name="data-set-pair")


def show_cosines(result: TruthfulnessComparison, panel: Panel) -> None:
    """The cosines of all layers; below it the three of the chosen pair."""
    i, j = choose_cell(
        panel.figure,
        rows=_layers(result, key="t_row", label="Layer", default=result.best_layers[0]),
        columns=_layers(
            result, key="t_column", label="with layer", default=result.best_layers[1]
        ),
        alt=panel.alt,
    )
    within_base, across, within_post = (
        float(result.layer_cosines[a, b, i, j]) for a, b in ((0, 0), (0, 1), (1, 1))
    )
    with st.container(horizontal=True):
        st.metric("Within base", f"{within_base:.3f}")
        st.metric("Within post", f"{within_post:.3f}")
        st.metric("Base with post", f"{across:.3f}")


def _layers(
    result: TruthfulnessComparison,
    *,
    key: str = "t_layer",
    label: str = "Layer",
    default: int,
) -> Choice:
    layers = [int(layer) for layer in result.layers]
    return Choice(
        key=key,
        label=label,
        names=tuple(str(layer) for layer in layers),
        default=layers.index(default),
    )


if shown := show_study(
    PAGE,
    draw={
        "probe_map": show_map,
        "transfer_matrix": show_transfer,
        "dataset_matrix": show_datasets,
        "direction_cosines": show_cosines,
        "probe_heatmap": show_sites,
        "probe_curve": show_curve,
        "transfer_heatmap": show_pairs_of_sets,
    },
):
    entry, found = shown
    result = found.result
    if isinstance(result, TruthfulnessComparison) and not result.probe_scores.size:
        show_statements(result)
    if isinstance(result, ProbeSweep) and not found.section.panels:
        show_alone(result)
    show_rest(entry, found, key=PAGE.key)
