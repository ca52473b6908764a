"""Attention token by token: the numbers, the marks, and which steps are shown."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from map_samples import scores
from timeline_samples import CURVES, change, marks, timeline

from interp import figures
from interp.errors import ResultError
from interp.figures.attention import around_change


def traces(figure: Any) -> list[Any]:
    # Plotly's own stubs do not know the attributes of its traces.
    return list(figure.data)


def test_a_pattern_is_causal_with_the_diagonal_of_its_period():
    made = scores()
    pattern, diagonal = traces(figures.attention_pattern(made, 1, 2))
    assert np.isnan(pattern.z[np.triu_indices(8, 1)]).all()
    np.testing.assert_array_equal(pattern.z[7], made.patterns[0, 7])
    # Blocks of 4 repeat: token 4 is token 0 again, so that 1 followed it.
    assert (diagonal.x[0], diagonal.y[0]) == (1, 4)
    with pytest.raises(ResultError, match="was not kept"):
        figures.attention_pattern(made, 0, 0)


@pytest.mark.parametrize("checkpoint", [0, 3, -1])
def test_the_pattern_of_a_step_is_marked_at_all_earlier_copies(checkpoint):
    result = timeline()
    figure: Any = figures.attention_pattern(result, 1, 1, checkpoint=checkpoint)
    pattern, lines = traces(figure)
    rows = np.tril_indices(8)
    np.testing.assert_array_equal(pattern.z[rows], result.patterns[1, checkpoint][rows])
    drawn = np.isfinite(lines.x)
    cells = {*zip(lines.y[drawn].tolist(), lines.x[drawn].tolist(), strict=True)}
    assert cells == {(float(q), float(k)) for q, k in np.argwhere(marks())}
    # A line for each copy: between two of them is a gap.
    assert np.isnan(lines.x).sum() == 1
    assert f"at step {result.steps[checkpoint]}" in figure.layout.title.text


def test_the_share_along_the_marks_is_the_mean_over_queries_that_have_some():
    result = timeline()
    for place in range(7):
        kept = np.where(marks(), result.patterns[1, place].astype(np.float64), 0.0)
        expected = kept.sum(axis=1)[marks().any(axis=1)].mean()
        found = figures.marked_attention(result, 1, 1, checkpoint=place)
        assert found == pytest.approx(expected, rel=1e-5)
    assert np.isnan(figures.marked_attention(replace(result, pattern_period=0), 1, 1))


def test_without_repeats_nothing_is_marked():
    bare = replace(timeline(), pattern_period=0)
    assert len(traces(figures.attention_pattern(bare, 1, 1))) == 1


def test_the_steps_shown_are_those_before_at_and_behind_the_change():
    # The curve goes from a tenth to nine tenths of its way within 80 steps about 350.
    result = timeline()
    assert around_change(result, "prefix_matching") == (3, 4)
    wide = replace(change(CURVES[1], 350.0), width=300.0)
    result = replace(result, phases=(result.phases[0], wide))
    assert around_change(result, "prefix_matching") == (2, 3, 5)
    assert around_change(result, "copying") == (0, 3, 6)
    figure: Any = figures.attention_steps(result, "prefix_matching", "L1H1")
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["step 200", "step 300", "step 500"]
    maps = [trace for trace in traces(figure) if trace.type == "heatmap"]
    for trace, place in zip(maps, (2, 3, 5), strict=True):
        np.testing.assert_array_equal(trace.z[7], result.patterns[1, place, 7])
    assert [trace.showscale for trace in maps] == [True, False, False]


def test_a_change_at_the_ends_of_a_series_is_shown_with_what_there_is():
    wide = replace(change(CURVES[1], 350.0), width=5000.0)
    result = timeline()
    result = replace(result, phases=(result.phases[0], wide))
    assert around_change(result, "prefix_matching") == (0, 3, 6)


def test_a_result_without_patterns_has_no_such_panel():
    bare = replace(timeline(), pattern_heads=())
    names = [panel.name for panel in figures.report_section(bare).panels]
    assert "attention_steps" not in names


def test_heads_stand_beside_each_other_above_what_the_model_can_do():
    result = timeline(n_heads=3)
    figure: Any = figures.head_lines(result, "copying", "L1H2", beside=["L0H1", "L1H2"])
    lines = [trace for trace in traces(figure) if trace.mode == "lines+markers"]
    assert [line.name for line in lines[:2]] == ["L1H2", "L0H1"]
    np.testing.assert_array_equal(lines[0].y, result.heads[1, :, 1, 2])
    np.testing.assert_array_equal(lines[1].y, result.heads[1, :, 0, 1])
    assert [line.showlegend for line in lines] == [True, True, False]
    with pytest.raises(ResultError, match="no head 'L9H9'"):
        figures.head_lines(result, "copying", "L1H2", beside=["L9H9"])
