import dataclasses
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sample_results import refusal, truthfulness

from interp import figures
from interp.errors import ResultError, ShapeError
from interp.figures.style import MODEL_COLOURS
from interp.results import TruthEffect


TRUTH_FIGURES = [
    figures.layer_curve,
    figures.cosine_curve,
    figures.transfer_matrix,
    figures.intervention_bars,
    figures.score_histogram,
    figures.probe_curves,
    figures.transfer_curve,
    figures.dataset_matrix,
    figures.dose_response,
]
ALL = [(make, truthfulness) for make in TRUTH_FIGURES]
ALL += [(figures.refusal_rates, refusal), (figures.cosine_curve, refusal)]
ALL += [(figures.refusal_candidates, refusal), (figures.refusal_doses, refusal)]
ALL += [(figures.refusal_side_effects, refusal), (figures.cosine_positions, refusal)]


def _traces(figure: go.Figure) -> list[Any]:
    # Plotly's own stubs do not know the attributes of its traces.
    return list(figure.data)


def _named(figure: go.Figure, name: str) -> Any:
    return next(trace for trace in _traces(figure) if trace.name == name)


def test_layer_curve_draws_each_models_own_direction_with_its_band():
    result = truthfulness()
    figure = figures.layer_curve(result)
    for i, name in enumerate(("base", "post")):
        trace = _named(figure, name)
        np.testing.assert_array_equal(trace.y, result.auroc[i, i])
        assert trace.line.color == list(MODEL_COLOURS.values())[i]
        largest = int(np.argmax(trace.marker.size))
        assert result.layers[largest] == result.best_layers[i]
        np.testing.assert_array_equal(trace.customdata[:, 0], result.layers)
    shade = _named(figure, "base interval")
    np.testing.assert_array_equal(shade.y[:8], result.auroc_high[0, 0])
    np.testing.assert_array_equal(shade.y[8:], result.auroc_low[0, 0][::-1])
    levels = {shape.y0 for shape in figure.layout.shapes}
    assert levels == {0.5, result.surface_auroc}
    for role in ("base", "post"):
        chance = {
            row.layer: row.random_auroc for row in result.probes if row.model == role
        }
        line = _named(figure, f"random directions, {role}")
        np.testing.assert_allclose(line.y, [chance[layer] for layer in line.x])


def test_layer_curve_leaves_out_a_baseline_that_was_not_measured():
    result = truthfulness()
    object.__setattr__(result, "surface_auroc", float("nan"))
    assert len(figures.layer_curve(result).layout.shapes) == 1


def test_cosine_curve_shows_both_metrics_with_both_null_bands():
    result = truthfulness()
    figure = figures.cosine_curve(result)
    lines = [t for t in _traces(figure) if t.name == "base against post"]
    for line, metric in zip(lines, ("plain", "whitened"), strict=True):
        rows = [row for row in result.cosines if row.metric == metric]
        np.testing.assert_allclose(line.y, [row.cosine for row in rows], rtol=1e-6)
    for name, null in (("alike", "shared"), ("separately", "independent")):
        shades = [t for t in _traces(figure) if t.name == f"labels shuffled {name}"]
        assert len(shades) == 2
        plain = [row for row in result.cosines if row.metric == "plain"]
        high = [getattr(row, f"{null}_high") for row in plain]
        np.testing.assert_allclose(shades[0].y[:8], high, rtol=1e-6)


def test_cosine_curve_of_an_older_result_and_of_refusal_has_one_panel():
    result = truthfulness()
    object.__setattr__(result, "cosines", ())
    figure = figures.cosine_curve(result)
    np.testing.assert_array_equal(_named(figure, "base against post").y, result.cosine)
    shade = _named(figure, "labels shuffled alike")
    np.testing.assert_array_equal(shade.y[:8], result.cosine_null_high)
    assert [trace.name for trace in _traces(figures.cosine_curve(refusal()))] == [
        "base against post"
    ]


def test_transfer_matrix_reads_each_row_at_its_own_best_layer():
    result = truthfulness()
    (heatmap,) = _traces(figures.transfer_matrix(result))
    base, post = result.best_layers
    expected = [result.auroc[0, :, base], result.auroc[1, :, post]]
    np.testing.assert_array_equal(heatmap.z, expected)
    assert (heatmap.zmin, heatmap.zmid, heatmap.zmax) == (0, 0.5, 1)
    middle = heatmap.colorscale[1]
    assert middle[0] == 0.5
    assert middle[1].endswith("0.0)"), "chance must be transparent"


def test_intervention_bars_carry_intervals_and_ranges_of_controls():
    result = truthfulness()
    drawn = next(row for row in result.interventions if row.condition == "random")
    rows = tuple(
        dataclasses.replace(drawn, draw=i, nie_gap=value)
        for i, value in enumerate((0.0, 0.1, -0.1))
    )
    direction = next(r for r in result.interventions if r.condition == "direction")
    object.__setattr__(result, "interventions", (direction, *rows))
    (bar,) = _traces(figures.intervention_bars(result))
    assert bar.y == ("base direction", "random vector")
    np.testing.assert_allclose(bar.x, [direction.nie_gap, 0.0], atol=1e-7)
    np.testing.assert_allclose(bar.error_x.array[1], 0.1, rtol=1e-6)
    np.testing.assert_allclose(bar.error_x.arrayminus[1], 0.1, rtol=1e-6)
    np.testing.assert_allclose(bar.error_x.array[0], 0.08, rtol=1e-5)
    saturation = _traces(figures.intervention_bars(result, effect="nie_saturation"))
    assert saturation[0].x[0] == np.float32(direction.nie_saturation)


def test_the_unchanged_model_is_no_bar():
    result = truthfulness()
    clean = dataclasses.replace(result.interventions[0], condition="none")
    assert isinstance(clean, TruthEffect)
    object.__setattr__(result, "interventions", (clean,))
    with pytest.raises(ResultError, match="no interventions"):
        figures.intervention_bars(result)


def test_score_histogram_counts_every_statement_once():
    result = truthfulness()
    figure = figures.score_histogram(result)
    assert sum(float(np.sum(trace.y)) for trace in _traces(figure)) == 2 * 120
    true = [trace for trace in _traces(figure) if trace.name == "true"]
    assert [float(np.sum(trace.y)) for trace in true] == [60, 60]


def test_cosines_by_position_stand_in_the_cell_of_their_position_and_layer():
    result = refusal()
    maps = _traces(figures.cosine_positions(result))
    templates = list(dict.fromkeys(row.template for row in result.cosines))
    assert len(maps) == len(templates)
    for one, template in zip(maps, templates, strict=True):
        own = [row for row in result.cosines if row.template == template]
        positions = sorted({row.position for row in own}, reverse=True)
        for row in own:
            at = positions.index(row.position), list(one.x).index(row.layer)
            assert one.z[at] == pytest.approx(row.cosine, nan_ok=True)


def test_refusal_rates_show_every_condition_with_its_wilson_interval():
    result = refusal()
    figure = figures.refusal_rates(result)
    post = [trace for trace in _traces(figure) if trace.name == "post"]
    bars = dict(zip(post[0].y, post[0].x, strict=True))
    assert bars == pytest.approx(
        {
            "unchanged": 0.95,
            "post direction ablated": 0.05,
            "base direction ablated": 0.375,
        }
    )
    row = result.condition("post", "harmful")
    assert row is not None
    assert post[0].error_x.array[0] == pytest.approx(row.high - row.rate, abs=1e-6)
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles == ["harmful instructions", "harmless instructions"]
    object.__setattr__(result, "conditions", ())
    with pytest.raises(ResultError, match="no refusal rates"):
        figures.refusal_rates(result)


@pytest.mark.parametrize(("make", "sample"), ALL)
def test_every_figure_is_pure_light_and_without_a_background(make, sample):
    result = sample()
    first, second = make(result), make(result)
    assert first.to_json() == second.to_json()
    assert first.layout.title.text
    assert first.layout.paper_bgcolor is None
    assert first.layout.plot_bgcolor is None
    assert len(first.to_json()) < 60_000
    for trace in _traces(first):
        for values in (trace.x, trace.y, getattr(trace, "z", None)):
            if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                assert values.dtype != np.float16


@pytest.mark.parametrize(("make", "sample"), ALL)
def test_names_of_models_reach_no_figure_as_markup(make, sample):
    result = sample()
    object.__setattr__(result, "models", ("a/<a href='x'>y</a>", "b/<b>z</b>"))
    drawn = make(result).to_json()
    assert "<a href" not in drawn
    assert "\\u003ca href" not in drawn


def test_a_token_strip_is_escaped_and_coloured_from_zero():
    strip = figures.token_strip(
        ["<script>", ' "a', "\n", "x"], np.array([1.0, -2.0, 0.0, np.nan])
    )
    assert "<script" not in strip
    assert "&lt;script&gt;" in strip
    assert "·&quot;a" in strip
    assert "rgba(47,127,201,0.375)" in strip
    assert "rgba(212,105,30,0.750)" in strip
    assert 'title="3: no score" style="background:transparent' in strip
    assert strip.count("data-pos=") == 4


def test_a_token_strip_needs_one_score_per_token():
    with pytest.raises(ShapeError, match="2 scores for 1 tokens"):
        figures.token_strip(["a"], np.array([1.0, 2.0]))
    assert "0.750" in figures.token_strip(["a"], np.array([1.0]), limit=0.5)
