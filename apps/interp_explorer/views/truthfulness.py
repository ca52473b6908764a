"""Where a model tells true from false, from the map of all probes to each statement."""

import streamlit as st

from interp.figures import Panel, carried_scores, dataset_curve
from interp.figures.truthfulness_probes import matrix_names
from interp.figures.truthfulness_sites import probe_rows
from interp.results import TruthfulnessComparison
from interp.results.truthfulness import ROLES
from interp_explorer.pages import STUDY
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_cell
from interp_explorer.widgets.study import show_rest, show_study
from interp_explorer.widgets.sweep_site import show_curve, show_sites
from interp_explorer.widgets.truth_site import show_site, show_statements


PAGE = STUDY["truthfulness"]


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
    row = cells.get((*rows[at], int(result.layers[layer])))
    if row is None:
        st.info("This probe was not fitted at this layer.")
    else:
        show_site(result, row)


def show_transfer(result: TruthfulnessComparison, panel: Panel) -> None:
    """Each direction in each model; below it the scores of the chosen pair."""
    i, j = choose_cell(
        panel.figure,
        rows=Choice(key="t_direction", label="Direction of", names=ROLES),
        columns=Choice(key="t_activations", label="Read in", names=ROLES, default=1),
        alt=panel.alt,
    )
    show_figure(
        carried_scores(result, ROLES[i], ROLES[j]),
        alt="Histograms of the scores of true and of false statements.",
        key="t_carried",
    )
    rows = result.examples_dataframe()[["statement", "label", "group"]]
    rows = rows.assign(score=result.scores[i, j])
    st.caption("All test statements by this score, the lowest first.")
    st.dataframe(rows.sort_values("score"), hide_index=True, key="t_carried_rows")


def show_datasets(result: TruthfulnessComparison, panel: Panel) -> None:
    """Data sets against each other; below it the chosen pair at every layer."""
    trains, tests = matrix_names(result)
    i, j = choose_cell(
        panel.figure,
        rows=Choice(key="t_train", label="Trained on", names=tuple(trains)),
        columns=Choice(key="t_test", label="Judged on", names=tuple(tests)),
        alt=panel.alt,
    )
    show_figure(
        dataset_curve(result, trains[i], tests[j]),
        alt="AUROC of this pair of data sets by layer, in both models.",
        key="t_pair",
    )
    frame = result.datasets_dataframe()
    chosen = (frame["train"] == trains[i]) & (frame["test"] == tests[j])
    st.dataframe(frame[chosen], hide_index=True, key="t_pair_rows")


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
    },
):
    entry, found = shown
    result = found.result
    if isinstance(result, TruthfulnessComparison) and not result.probe_scores.size:
        show_statements(result)
    show_rest(entry, found, key=PAGE.key)
