"""Curves of candidates, scores of answers and carried directions hold their numbers."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sample_results import refusal

from interp import figures
from interp.errors import ResultError
from interp.figures.refusal_curves import candidate_places
from interp.figures.refusal_scores import SOURCES
from interp.results import RefusalCandidate, RefusalLimits
from interp.results.refusal import Instructions, Intervention
from interp.results.truthfulness import ROLES


def _traces(figure: go.Figure) -> list[Any]:
    # Plotly's own stubs do not know the attributes of its traces.
    return list(figure.data)


def test_every_candidate_is_a_point_of_each_of_the_three_panels():
    result = refusal()
    positions, layers = candidate_places(result)
    traces = _traces(figures.candidate_curves(result))
    assert len(traces) == 3 * len(positions)
    for name, axis in (("bypass", "y"), ("induce", "y2"), ("kl", "y3")):
        found = {
            (positions[row][0], layers[column]): y
            for trace in traces
            if trace.yaxis == axis
            for y, (row, column, _) in zip(trace.y, trace.customdata, strict=True)
        }
        for one in result.candidates:
            np.testing.assert_allclose(
                found[one.position, one.layer], getattr(one, name), rtol=1e-6
            )


def test_the_star_is_the_chosen_one_and_hollow_markers_fell():
    result = refusal()
    fates = {(one.position, one.layer): one.fate for one in result.candidates}
    names = {"chosen": "star", "passed": "circle"}
    positions, layers = candidate_places(result)
    for trace in _traces(figures.candidate_curves(result)):
        for symbol, (row, column, _) in zip(
            trace.marker.symbol, trace.customdata, strict=True
        ):
            fate = fates[positions[row][0], layers[column]]
            assert symbol == names.get(fate, "circle-open")


def test_excluded_layers_and_scores_beyond_the_limits_are_shaded():
    figure = figures.candidate_curves(refusal())
    late = [s for s in figure.layout.shapes if s.x0 == 5.5 and s.x1 == 7.5]
    assert [shape.xref for shape in late] == ["x", "x2", "x3"]
    regions = {s.yref: (s.y0, s.y1) for s in figure.layout.shapes if s not in late}
    assert regions["y"][0] == 5.0
    assert regions["y2"][1] == 0.0
    assert regions["y3"][0] == 0.1
    # Older results have no limits in numbers, only fates in words.
    old = replace(refusal(), limits=None)
    assert not figures.candidate_curves(old).layout.shapes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"layer": 6}, ("layer 6",)),
        ({"bypass": 5.0}, ("bypass 5",)),
        ({"induce": -0.1, "kl": 0.2}, ("induce -0.1", "KL 0.2")),
        # No number misses no limit; its fate says why it fell.
        ({"bypass": float("nan"), "induce": float("nan"), "kl": float("nan")}, ()),
    ],
)
def test_what_a_candidate_misses_is_said_of_each_limit(change, words):
    limits = RefusalLimits(
        first_late_layer=6, max_bypass=5.0, min_induce=0.0, max_kl=0.1
    )
    one = RefusalCandidate(
        model="post", layer=5, position=-1, token="", bypass=4.9, induce=0.0, kl=0.1,
        fate="",
    )  # fmt: skip
    missed = limits.missed(replace(one, **change))
    assert len(missed) == len(words)
    for said, word in zip(missed, words, strict=True):
        assert said.startswith(word)
    assert RefusalLimits(first_late_layer=9).missed(replace(one, kl=99.0)) == ()


def test_every_answer_is_a_point_without_its_text():
    result = refusal()
    figure = figures.refusal_scores(result)
    for role, box in zip(ROLES, _traces(figure), strict=True):
        own = [row.score for row in result.completions if row.model == role]
        assert Counter(box.x.tolist()) == Counter(own)
    text = str(figure.to_json())
    assert result.completions[0].prompt not in text
    assert result.completions[0].completion not in text


def test_matrices_hold_the_rate_of_each_direction_in_each_model():
    result = refusal()
    ablated, added = _traces(figures.refusal_transfer(result))
    done: tuple[tuple[Any, Intervention, Instructions], ...] = (
        (ablated, "ablate", "harmful"),
        (added, "add", "harmless"),
    )
    for trace, how, kind in done:
        for i, source in enumerate(SOURCES):
            for j, role in enumerate(ROLES):
                row = result.condition(
                    role,
                    kind,
                    intervention="none" if source == "none" else how,
                    direction=source,
                )
                expected = np.nan if row is None else row.rate
                np.testing.assert_allclose(trace.z[i][j], expected, rtol=1e-6)


def test_what_was_not_run_is_said_and_not_drawn():
    empty = replace(refusal(usable=False), completions=(), conditions=())
    for make in (
        figures.candidate_curves,
        figures.refusal_scores,
        figures.refusal_transfer,
    ):
        with pytest.raises(ResultError, match="has no"):
            make(empty)


def test_projections_are_means_with_bands_of_each_class_in_each_model():
    result = refusal()
    figure = figures.refusal_projections(result, direction="base")
    traces = _traces(figure)
    for number, role in enumerate(ROLES):
        axis = "y" if number == 0 else "y2"
        for kind in ("harmful", "harmless"):
            own = [
                row
                for row in result.projections
                if (row.model, row.direction, row.instructions) == (role, "base", kind)
            ]
            lines = [
                trace
                for trace in traces
                if (trace.yaxis, trace.legendgroup) == (axis, kind)
            ]
            assert len(lines) == 1
            np.testing.assert_allclose(lines[0].y, [row.mean for row in own])
            (area,) = [t for t in traces if (t.yaxis, t.name) == (axis, kind)]
            high, low = np.split(np.array(area.y), 2)
            np.testing.assert_allclose(high, [row.high for row in own])
            np.testing.assert_allclose(low[::-1], [row.low for row in own])
    assert sum(bool(trace.showlegend) for trace in traces) == 2
    assert {shape.x0 for shape in figure.layout.shapes} == {5}
    with pytest.raises(ResultError, match="no projections"):
        figures.refusal_projections(refusal(usable=False))


def test_scores_that_were_not_needed_are_gaps_and_counted():
    whole = refusal()
    fate = "does not induce refusal when added; bypass, KL not computed"
    some = tuple(
        replace(one, bypass=float("nan"), kl=float("nan"), fate=fate)
        if one.layer in (1, 2)
        else one
        for one in whole.candidates
    )
    result = replace(whole, candidates=some)
    for draw in (figures.candidate_curves, figures.refusal_candidates):
        assert "computed" not in str(draw(whole).layout.annotations)
        notes = draw(result).layout.annotations
        titles = [note.text.replace("<br>", " ") for note in notes]
        gaps = ["(4 of 16 not computed)" in title for title in titles]
        assert gaps == [True, False, True]
    for trace in _traces(figures.candidate_curves(result)):
        assert np.isnan(trace.y[[1, 2]]).all() == (trace.yaxis != "y2")
