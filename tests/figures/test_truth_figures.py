"""Figures of probes, data sets and doses hold the numbers of their result."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sample_results import truthfulness
from truth_samples import DATASETS, DOSES, PROBES

from interp import figures
from interp.errors import ResultError


def _traces(figure: go.Figure) -> list[Any]:
    # Plotly's own stubs do not know the attributes of its traces.
    return list(figure.data)


def test_probe_curves_draw_every_probe_of_both_models_with_its_interval():
    result = truthfulness()
    traces = _traces(figures.probe_curves(result))
    lines = [trace for trace in traces if trace.fill is None]
    shades = [trace for trace in traces if trace.fill == "toself"]
    assert len(lines) == len(shades) == 2 * len(PROBES)
    base = [row for row in result.probes if row.model == "base"]
    for line, shade, probe in zip(lines, shades, PROBES, strict=False):
        rows = [row for row in base if row.probe == probe]
        np.testing.assert_allclose(line.y, [row.auroc for row in rows], rtol=1e-6)
        high = [row.auroc_high for row in rows]
        np.testing.assert_allclose(shade.y[: len(rows)], high, rtol=1e-6)
    assert len({line.marker.symbol for line in lines}) == len(PROBES)


def test_transfer_curve_draws_the_four_combinations_at_every_layer():
    result = truthfulness()
    lines = {t.name: t for t in _traces(figures.transfer_curve(result)) if not t.fill}
    assert len(lines) == 4
    np.testing.assert_array_equal(lines["base direction in post"].y, result.auroc[0, 1])
    assert lines["base direction in post"].line.dash == "dot"
    assert lines["post direction in post"].line.dash == "solid"


def test_dataset_matrix_is_read_at_the_chosen_layer_of_each_model():
    result = truthfulness()
    panels = _traces(figures.dataset_matrix(result))
    for panel, role, layer in zip(
        panels, ("base", "post"), result.best_layers, strict=True
    ):
        cells = {
            (row.train, row.test): row.auroc
            for row in result.dataset_transfer
            if row.model == role and row.layer == layer
        }
        assert panel.y[-1] == "all others"
        expected = [[cells[train, test] for test in DATASETS] for train in panel.y]
        np.testing.assert_allclose(panel.z, expected, rtol=1e-6)
        assert (panel.zmin, panel.zmid, panel.zmax) == (0, 0.5, 1)


@pytest.mark.parametrize("effect", ["nie_gap", "nie_saturation"])
def test_dose_response_starts_at_zero_and_has_every_vector(effect):
    result = truthfulness()
    lines = [
        t for t in _traces(figures.dose_response(result, effect=effect)) if not t.fill
    ]
    assert len(lines) == 2 * 6
    for line in lines:
        np.testing.assert_allclose(line.x, [0, *DOSES])
        assert line.y[0] == 0
    carried = [
        row
        for row in result.doses
        if (row.direction, row.target, row.condition) == ("post", "base", "direction")
    ]
    (line,) = [t for t in lines[:6] if t.name == "post direction"]
    expected = [getattr(row, effect) for row in carried]
    np.testing.assert_allclose(line.y[1:], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "empty", "makes"),
    [
        ("probes", (), (figures.probe_curves, figures.probe_map)),
        ("dataset_transfer", (), (figures.dataset_matrix,)),
        ("doses", (), (figures.dose_response,)),
        (
            "layer_cosines",
            np.empty((0, 0, 0, 0), np.float32),
            (figures.direction_cosines,),
        ),
    ],
)
def test_what_was_not_measured_is_not_drawn(field, empty, makes):
    result = truthfulness()
    object.__setattr__(result, field, empty)
    for make in makes:
        with pytest.raises(ResultError, match=r"This result (has no|does not hold)"):
            make(result)
    before = {panel.name for panel in _panels(truthfulness())}
    after = {panel.name for panel in _panels(result)}
    assert before - after == {make.__name__ for make in makes}


def _panels(result):
    return figures.report_section(result).panels
