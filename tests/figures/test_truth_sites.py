"""Figures from the map of all probes to the single statement hold its numbers."""

from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sample_results import truthfulness
from truth_samples import DATASETS, PROBES

from interp import figures
from interp.errors import ResultError
from interp.figures import report_section
from interp.results.truthfulness import ROLES


def _traces(figure: go.Figure) -> list[Any]:
    # Plotly's own stubs do not know the attributes of its traces.
    return list(figure.data)


def test_the_map_has_every_probe_of_both_models_at_every_layer():
    result = truthfulness()
    (trace,) = _traces(figures.probe_map(result))
    assert np.shape(trace.z) == (2 * len(PROBES), len(result.layers))
    rows = [(role, probe) for role in ROLES for probe in PROBES]
    for one in result.probes:
        at = rows.index((one.model, one.probe)), one.layer
        assert trace.z[at] == pytest.approx(one.auroc, rel=1e-6)
        assert trace.customdata[at][0] == pytest.approx(one.auroc_low, rel=1e-6)


def test_histogram_and_calibration_of_a_site_count_its_statements():
    result = truthfulness()
    row = result.probes[20]
    true, false, _, curve = _traces(
        figures.site_scores(result, row.model, row.probe, row.layer)
    )
    labels = result.labels[result.shown]
    assert (true.y.sum(), false.y.sum()) == (labels.sum(), (~labels).sum())
    chance = 1 / (1 + np.exp(-result.probe_scores[20].astype(float)))
    assert sum(n for (n,) in curve.customdata) == chance.size
    first = (chance >= 0) & (chance <= 0.1)
    assert curve.y[0] == pytest.approx(labels[first].mean())
    assert curve.x[0] == pytest.approx(chance[first].mean())


def test_points_carry_the_number_of_their_statement_and_lie_where_it_lies():
    result = truthfulness()
    for trace in _traces(figures.component_scatter(result, "post", 3)):
        for x, y, (number, text) in zip(
            trace.x, trace.y, trace.customdata, strict=True
        ):
            at = int(np.flatnonzero(result.shown == number)[0])
            np.testing.assert_allclose(result.components[1, 3, at], [x, y])
            assert result.statements[number] == text
            assert result.labels[number] == (trace.name == "true")


def test_a_statement_has_its_logit_at_every_layer():
    result = truthfulness()
    number = int(result.shown[7])
    lines = _traces(figures.statement_curve(result, "ccs", number))
    for role, line in zip(ROLES, lines, strict=True):
        expected = [
            scores[7]
            for one, scores in zip(result.probes, result.probe_scores, strict=True)
            if (one.model, one.probe) == (role, "ccs")
        ]
        np.testing.assert_allclose(line.y, expected)
    absent = next(i for i in range(120) if i not in result.shown)
    with pytest.raises(ResultError, match="does not hold the scores of statement"):
        figures.statement_curve(result, "ccs", absent)


def test_the_scatter_marks_data_sets_by_symbol_and_truth_by_colour():
    sources = tuple(DATASETS[i % 3] for i in range(120))
    result = replace(truthfulness(), sources=sources)
    traces = _traces(figures.component_scatter(result, "post", 3))
    drawn = {}
    for trace in traces:
        look = (trace.marker.symbol, trace.marker.color)
        for (number, _), x in zip(trace.customdata, trace.x, strict=True):
            drawn[number] = (look, x)
    assert {*drawn} == {*result.shown.tolist()}
    places = result.components[1, 3, :, 0]
    for number, x in zip(result.shown.tolist(), places, strict=True):
        assert drawn[number][1] == x
    symbols = {sources[i]: look[0] for i, (look, _) in drawn.items()}
    colours = {bool(result.labels[i]): look[1] for i, (look, _) in drawn.items()}
    assert len({*symbols.values()}) == 3
    assert len({*colours.values()}) == 2
    assert all(
        look == (symbols[sources[i]], colours[bool(result.labels[i])])
        for i, (look, _) in drawn.items()
    )


def test_statements_without_their_negation_are_listed_behind_their_count():
    result = replace(truthfulness(), unpaired=("Oslo is old.",), n_unpaired=7)
    *_, table = report_section(result).hidden
    assert table.title.startswith("7 statements without their negation, the first 1")
    assert table.rows["statement"].tolist() == ["Oslo is old."]


def test_the_maps_of_cosines_are_within_and_across_models():
    result = truthfulness()
    within, other, across = _traces(figures.direction_cosines(result))
    np.testing.assert_array_equal(within.z, result.layer_cosines[0, 0])
    np.testing.assert_array_equal(other.z, result.layer_cosines[1, 1])
    np.testing.assert_array_equal(across.z, result.layer_cosines[0, 1])


def test_a_cell_of_the_data_sets_is_followed_over_layers():
    result = truthfulness()
    figure = figures.dataset_curve(result, DATASETS[0], DATASETS[1])
    lines = [trace for trace in _traces(figure) if not trace.fill]
    for role, line in zip(ROLES, lines, strict=True):
        expected = [
            row.auroc
            for row in result.dataset_transfer
            if (row.model, row.train, row.test) == (role, *DATASETS[:2])
        ]
        np.testing.assert_allclose(line.y, expected, rtol=1e-6)


def test_the_histogram_of_a_carried_direction_counts_all_statements():
    result = truthfulness()
    true, false = _traces(figures.carried_scores(result, "base", "post"))
    assert true.y.sum() == result.labels.sum()
    assert false.y.sum() == (~result.labels).sum()
    centre = np.average(true.x, weights=true.y)
    own = result.scores[0, 1][result.labels].mean()
    assert centre == pytest.approx(own, abs=0.15)
