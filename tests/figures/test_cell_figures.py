"""Figures of cells, pairs, neurons and heads show the numbers that they are about."""

from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from confidence_samples import CANDIDATES, confidence
from knowledge_samples import knowledge
from map_samples import ablations, formation, scores
from timeline_samples import STEPS, timeline

from interp import figures
from interp.errors import ResultError, ShapeError
from interp.figures.knowledge_cells import SHOWN, shown_maps
from interp.figures.timeline import map_heads
from interp.results import KnowledgeComparison


@pytest.fixture(scope="module")
def result() -> KnowledgeComparison:
    return knowledge()


def traces(figure: go.Figure) -> list[Any]:
    # Plotly's own stubs do not know the attributes of its traces.
    return list(figure.data)


def test_a_map_is_that_of_its_run_or_of_one_pair(result):
    for run, name in enumerate(result.runs):
        (trace,) = traces(figures.restoration_map(result, name))
        np.testing.assert_array_equal(trace.z, result.restoration[run, 0])
        assert (trace.zmin, trace.zmid, trace.zmax) == (-1, 0, 1)
    (trace,) = traces(figures.restoration_map(result, "difference"))
    np.testing.assert_array_equal(trace.z, result.difference[0])
    (trace,) = traces(figures.restoration_map(result, "post", pair=3))
    false, true = result.corrupted_ld[1, 3], result.clean_ld[1, 3]
    own = (result.pair_ld[1, 0, 3] - false) / (true - false)
    np.testing.assert_allclose(trace.z, own, rtol=1e-5)
    # Values put into post are measured on post's own scale.
    crossed = result.pair_restoration("base into post")[3]
    np.testing.assert_allclose(
        crossed, (result.pair_ld[2, 0, 3] - false) / (true - false), rtol=1e-5
    )


def test_maps_that_were_not_run_are_not_offered(result):
    assert shown_maps(result) == SHOWN
    names = ("ld", "restoration", "restoration_low", "restoration_high", "bins")
    kept = {n: getattr(result, n)[:2] for n in (*names, "inside", "pair_ld")}
    alone = replace(result, runs=("base", "post"), **kept)
    assert shown_maps(alone) == ("base", "post", "difference")
    with pytest.raises(ResultError, match="no map 'base into post'"):
        figures.restoration_map(alone, "base into post")
    with pytest.raises(ResultError, match="no pair 99"):
        figures.restoration_map(result, pair=99)
    with pytest.raises(ResultError, match="no component 4"):
        figures.restoration_map(result, unit=4)


def test_the_pairs_behind_a_cell_are_sorted_and_complete(result):
    rows = figures.cell_pairs(result, "base", unit=0, layer=1, column=2)
    assert sorted(rows["pair"]) == [*range(12)]
    assert rows["restoration"].is_monotonic_decreasing
    first = int(rows["pair"].iloc[0])
    assert rows["true"].iloc[0] == result.true[first]
    difference = figures.cell_pairs(result, "difference", unit=0, layer=1, column=2)
    np.testing.assert_allclose(
        difference["difference"], difference["post"] - difference["base"], rtol=1e-5
    )
    figure = figures.pair_spread(result, "base", unit=0, layer=1, column=2, pair=first)
    (points,) = traces(figure)
    np.testing.assert_allclose(points.y, rows["restoration"])
    assert points.marker.size[0] > points.marker.size[1]


def test_a_pair_without_the_column_is_left_out(result):
    cells = result.pair_ld.copy()
    cells[:, :, 5, :, 2] = np.nan
    without = replace(result, pair_ld=cells)
    rows = figures.cell_pairs(without, "base", unit=0, layer=1, column=2)
    assert 5 not in rows["pair"].tolist()


def test_cells_of_both_models_stand_against_each_other(result):
    _, own, others = traces(figures.cell_scatter(result))
    assert len(own.x) + len(others.x) == result.restoration[0, 0].size
    layer, column = own.customdata[3]
    assert own.x[3] == result.restoration[0, 0, layer, column]
    assert own.y[3] == result.restoration[1, 0, layer, column]
    assert "r = 0.980" in figures.cell_scatter(result).layout.title.text


def test_screened_cells_are_drawn_and_older_results_say_that_they_have_none(result):
    _, base, post = traces(figures.screening_scatter(result))
    assert [*base.x] == pytest.approx([0.5, 0.8])
    assert [*post.y] == pytest.approx([0.4, 0.9])
    with pytest.raises(ResultError, match="keeps no cells"):
        figures.screening_scatter(replace(result, screening=()))


def test_heads_are_a_grid_of_their_own(result):
    by_run = ("ld", "restoration_low", "restoration_high", "bins", "inside", "pair_ld")
    by_unit = ("difference", "difference_low", "difference_high")
    twice = {name: np.repeat(getattr(result, name), 2, axis=1) for name in by_run}
    twice |= {name: np.repeat(getattr(result, name), 2, axis=0) for name in by_unit}
    maps = np.concatenate([result.restoration, 2 * result.restoration], axis=1)
    both = replace(result, units=("z.h0", "z.h3"), restoration=maps, **twice)
    (trace,) = traces(figures.head_restoration(both, "base", column=3))
    assert [*trace.x] == [0, 3]
    np.testing.assert_allclose(trace.z[:, 1], 2 * trace.z[:, 0])
    with pytest.raises(ResultError, match="no map of single heads"):
        figures.head_restoration(result, "base", column=3)


def test_aligned_tokens_are_escaped_and_must_be_as_many():
    strip = figures.aligned_tokens(
        ["<b>", "x"], ["y", "x"], np.array([0.5, np.nan]), chosen=[1]
    )
    assert "<b>" not in strip
    assert strip.count("font-weight:700") == 1
    assert strip.count("solid currentColor") == 1
    with pytest.raises(ShapeError, match="2 and 1 tokens"):
        figures.aligned_tokens(["a", "b"], ["a"], np.zeros(2))


def test_strips_show_every_ablated_neuron_beside_its_controls():
    made = confidence()
    groups = traces(figures.effect_strips(made, "loss_direct"))
    assert len(groups) == 6
    assert [*groups[0].y] == pytest.approx([0.01, 0.01])
    assert [row[0] for row in groups[2].customdata] == [20, 21]
    pushing = traces(figures.frequency_scatter(made))
    assert [*pushing[-1].x] == pytest.approx([0.3])
    with pytest.raises(ResultError, match="no ablated neuron"):
        figures.effect_strips(replace(made, effects=()))


def test_shared_neurons_are_those_of_both_rankings():
    made = confidence()
    shared = figures.shared_neurons(made, percentile=75.0, n_candidates=3)
    both = {*CANDIDATES[0]} & {*CANDIDATES[1]}
    assert {*shared.rows.query("shared")["neuron"]} == both
    assert shared.overlap == pytest.approx(2 / 4)
    # Two random sets of 3 of 40: the expected number shared is 9 / 40.
    assert shared.expected == pytest.approx((9 / 40) / (6 - 9 / 40))
    swapped = shared.rows.set_index("neuron")["rank_change"]
    assert (swapped[3], swapped[5]) == (1, -1)
    lines = traces(figures.rank_slopes(shared))
    assert sum(len(line.x) for line in lines) == 3 * len(shared.rows)


def test_a_neurons_entropy_is_drawn_in_all_and_directly():
    total, direct = traces(figures.entropy_bars(confidence(), 3))
    assert [*total.x] == pytest.approx([0.04, 0.04])
    assert [*direct.x] == pytest.approx([0.004, 0.004])
    with pytest.raises(ResultError, match="Neuron 11"):
        figures.entropy_bars(confidence(), 11)


def test_fewer_bins_hold_all_predictions_too():
    for n_bins in (4, 15):
        _, base, *_ = traces(figures.calibration_curve(confidence(), n_bins=n_bins))
        assert len(base.x) <= n_bins
        assert sum(row[0] for row in base.customdata) == 120


def test_a_timeline_is_sorted_by_the_end_with_steps_on_a_logarithm():
    series = timeline(n_layers=2, n_heads=3)
    heads = map_heads(series, "copying", order="final")
    assert heads[0] == "L1H2"
    assert map_heads(series, "copying")[0] == "L0H0"
    figure = figures.timeline_map(series, "copying", order="final", scale="log")
    (trace,) = traces(figure)
    np.testing.assert_array_equal(trace.z[0], series.value("copying")[:, 1, 2])
    np.testing.assert_allclose(trace.x, np.log10(STEPS / 100 + 1), rtol=1e-6)
    assert [row[0] for row in trace.customdata[0]] == STEPS.tolist()


def test_a_head_stands_above_the_loss_with_its_change_marked():
    series = timeline(n_layers=2, n_heads=3)
    figure = figures.head_lines(series, "prefix_matching", "L1H2")
    lines = [t for t in traces(figure) if t.mode == "lines+markers"]
    np.testing.assert_array_equal(lines[0].y, series.value("prefix_matching")[:, 1, 2])
    np.testing.assert_array_equal(lines[1].y, series.curve("loss"))
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert {(shape.x0, shape.x1) for shape in bands} == {(300, 400), (345, 355)}
    # Another head than the highest has no change of its own.
    other = figures.head_lines(series, "prefix_matching", "L0H0")
    assert not [shape for shape in other.layout.shapes if shape.type == "rect"]
    for wrong in ("L9H9", "x"):
        with pytest.raises(ResultError, match=f"no head '{wrong}'"):
            figures.head_lines(series, "copying", wrong)


def test_heads_above_a_threshold_are_listed_with_when_they_stay():
    series = timeline(n_layers=1, n_heads=2)
    values = series.heads.copy()
    values[1, :, 0, 0] = [0, 1, 0, 1, 1, 0, 1]
    values[1, :, 0, 1] = [1, 1, 1, 1, 1, 1, 1]
    rows = figures.first_above(replace(series, heads=values), "copying", 0.5)
    assert rows["head"].tolist() == ["L0H1", "L0H0"]
    assert rows["first_step"].tolist() == [0, 100]
    assert rows["stays_from"].tolist() == [0, 600]
    values[1, -1, 0, 0] = 0
    rows = figures.first_above(replace(series, heads=values), "copying", 0.5)
    assert np.isnan(rows["stays_from"].iloc[1])
    assert figures.first_above(series, "copying", 9.0).empty


def test_runs_and_seeds_stand_beside_each_other():
    figure = figures.timelines_beside({"a": timeline(), "<b>": timeline()}, "loss")
    assert len(traces(figure)) == 4
    assert [note.text for note in figure.layout.annotations] == ["a", "&lt;b>"]
    with pytest.raises(ResultError, match="No run followed 'x'"):
        figures.timelines_beside({"a": timeline()}, "x")
    made = formation()
    lines = traces(figures.formation_seeds(made, "accuracy"))
    assert [line.legendgroup for line in lines] == ["0", "1", "0", "1"]
    np.testing.assert_array_equal(lines[1].y, made.curves[1, 2])


def test_one_head_is_shown_sequence_by_sequence():
    made = scores()
    *strips, even = traces(figures.score_strips(made, 1, 2))
    np.testing.assert_array_equal(strips[0].x, made.samples[0, 1, 2])
    assert [*even.x] == pytest.approx([0.1, 0.1])
    strips = traces(figures.ablation_strips(ablations(), 0, 1))
    np.testing.assert_array_equal(strips[1].x, ablations().loss_samples[1, 0, 1])
    with pytest.raises(ResultError, match="no head L5H0"):
        figures.score_strips(made, 5, 0)


def test_an_ablation_of_an_unknown_kind_is_drawn_as_text():
    made = replace(ablations(), kinds=("<b>new</b>", "zero"))
    routes = traces(figures.ablation_routes(made))
    assert routes[0].name == "&lt;b>new&lt;/b>"
